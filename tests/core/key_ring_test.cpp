// SPDX-License-Identifier: Apache-2.0
#include "qkd004/key_ring.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using qkd004::boot_clock;
using qkd004::key_ring;
using qkd004::secret_arena;
using qkd004::status;
using qkd004::time_point;

namespace {

using octets = std::vector<std::byte>;

constexpr time_point start{1h};

/// Octet k of chunk p; never zero, so that a wiped octet is told from any key.
std::byte octet_of(std::uint64_t p, std::size_t k) {
  const std::uint64_t mixed = (p * 0x9e37'79b9'7f4a'7c15U + k * 0x2545'f491'4f6c'dd1dU) >> 40;
  return static_cast<std::byte>(mixed % 255 + 1);
}

octets chunk_of(std::uint64_t p, std::size_t size) {
  octets chunk(size);
  for (std::size_t k = 0; k < size; ++k) chunk[k] = octet_of(p, k);
  return chunk;
}

bool all_zero(std::span<const std::byte> s) {
  return std::all_of(s.begin(), s.end(), [](std::byte b) { return b == std::byte{0}; });
}

/// A ring, with its clock in the test's hand.
struct ring_fixture {
  explicit ring_fixture(key_ring::options o) : size{o.chunk_size}, out(o.chunk_size) {
    ring = key_ring::make(o, arena).value();
  }

  /// As many as fit, at most `count`. Returns how many.
  std::uint32_t publish(std::uint32_t count) {
    const std::uint32_t fits = ring->room(count);
    octets batch;
    for (std::uint64_t p = ring->published(); p != ring->published() + fits; ++p) {
      const octets chunk = chunk_of(p, size);
      batch.insert(batch.end(), chunk.begin(), chunk.end());
    }
    ring->publish(batch, now);
    return fits;
  }

  /// The index of the next key if its content is right, else -1.
  std::int64_t next() {
    const auto t = ring->take_next(out, now);
    if (t.outcome != status::success || out != chunk_of(t.index, size)) return -1;
    return static_cast<std::int64_t>(t.index);
  }

  status next_outcome() { return ring->take_next(out, now).outcome; }

  /// What take(index) comes to; wrong content is protocol_error.
  status take(std::uint64_t index) {
    const auto t = ring->take(index, out, now);
    CHECK(t.index == index);
    if (t.outcome == status::success && out != chunk_of(index, size)) return status::protocol_error;
    return t.outcome;
  }

  status serve(std::uint64_t index) {
    const auto s = ring->serve(index, now);
    if (s.outcome != status::success) {
      CHECK(s.key.empty());
      return s.outcome;
    }
    return octets(s.key.begin(), s.key.end()) == chunk_of(index, size) ? status::success
                                                                       : status::protocol_error;
  }

  /// The balance, in the order of its members; its sum is checked each time.
  std::array<std::uint64_t, 5> tally() const {
    const auto b = ring->tally();
    CHECK(b.bound == b.acknowledged + b.expired + b.discarded + b.live);
    CHECK(b.bound == ring->published());
    return {b.bound, b.acknowledged, b.expired, b.discarded, b.live};
  }

  secret_arena arena{{.bytes = std::size_t{2} << 20, .allow_unlocked = true}};
  std::size_t size;
  octets out;
  time_point now = start;
  std::shared_ptr<key_ring> ring;
};

using row = std::array<std::uint64_t, 5>;

}  // namespace

TEST_CASE("key_ring: refuses options outside their bounds") {
  const secret_arena arena{{.bytes = 64 << 10, .allow_unlocked = true}};
  const auto outcome = [&](key_ring::options o) { return key_ring::make(o, arena).error(); };
  CHECK(outcome({0, 4, 1s}) == status::invalid_argument);
  CHECK(outcome({32, 0, 1s}) == status::invalid_argument);
  CHECK(outcome({32, 1, 1s}) == status::invalid_argument);
  CHECK(outcome({32, 12, 1s}) == status::invalid_argument);
  CHECK(outcome({32, 4, 0s}) == status::invalid_argument);
  CHECK(outcome({32, 4, -1s}) == status::invalid_argument);
  CHECK(outcome({32, 4096, 1s}) == status::resource_limit);
  CHECK(outcome({0xffff'ffff, 0x8000'0000, 1s}) == status::resource_limit);
  CHECK(!outcome({1, 2, 1ns}));
}

TEST_CASE("key_ring: takes the octets of the arena that it says and gives them back when it goes") {
  const secret_arena arena{{.bytes = 1 << 20, .allow_unlocked = true}};
  for (const std::uint32_t size : {1U, 16U, 32U, 48U, 49U, 64U, 1000U}) {
    const key_ring::options o{size, 8, 1s};
    auto ring = key_ring::make(o, arena).value();
    CHECK(arena.used() == key_ring::bytes_needed(o));
    CHECK(ring->shape().chunk_size == size);
    CHECK(ring->shape().capacity == 8);
    CHECK(ring->shape().ttl == 1s);
    ring.reset();
    CHECK(arena.used() == 0);
  }
  CHECK(key_ring::bytes_needed({32, 128, 1s}) == 128 * 64);
}

TEST_CASE("key_ring: delivers in order when nobody asks for an index") {
  ring_fixture f{{32, 8, 10s}};
  CHECK(f.publish(5) == 5);
  for (int i = 0; i < 5; ++i) CHECK(f.next() == i);
  CHECK(f.next_outcome() == status::insufficient_key);
  CHECK(f.ring->take_next(f.out, f.now).index == 5);
}

TEST_CASE("key_ring: delivers every size of chunk whole over many rounds") {
  for (const std::uint32_t size : {1U, 7U, 16U, 31U, 32U, 33U, 48U, 64U, 100U, 4096U}) {
    CAPTURE(size);
    ring_fixture f{{size, 4, 10s}};
    for (std::int64_t i = 0; i < 40; ++i) {
      CHECK(f.publish(1) == 1);
      CHECK(f.next() == i);
    }
    CHECK(f.tally() == row{40, 40, 0, 0, 0});
  }
}

TEST_CASE("key_ring: delivers chunks of 64 KiB") {
  ring_fixture f{{64 << 10, 8, 10s}};
  CHECK(f.publish(8) == 8);
  CHECK(f.serve(3) == status::success);
  CHECK(f.ring->acknowledge_below(4) == 1);
  for (const std::int64_t i : {0, 1, 2, 4, 5, 6, 7}) CHECK(f.next() == i);
  CHECK(f.publish(9) == 8);
  CHECK(f.next() == 8);
}

TEST_CASE("key_ring: works with two slots") {
  ring_fixture f{{32, 2, 10s}};
  for (std::int64_t i = 0; i < 20; i += 2) {
    CHECK(f.publish(3) == 2);
    CHECK(f.take(static_cast<std::uint64_t>(i) + 1) == status::success);
    CHECK(f.publish(3) == 0);  // the lower one still has its slot
    CHECK(f.next() == i);
  }
  CHECK(f.tally() == row{20, 20, 0, 0, 0});
}

TEST_CASE("key_ring: delivers by index out of order and each index once") {
  ring_fixture f{{32, 8, 10s}};
  f.publish(8);
  for (const std::uint64_t i : {5U, 0U, 7U, 2U}) CHECK(f.take(i) == status::success);
  for (const std::uint64_t i : {5U, 0U, 7U, 2U}) CHECK(f.take(i) == status::index_not_available);
  for (const std::int64_t i : {1, 3, 4, 6}) CHECK(f.next() == i);
  CHECK(f.take(6) == status::index_not_available);
  CHECK(f.publish(8) == 8);
  CHECK(f.take(0) == status::index_not_available);  // its slot holds chunk 8 now
  CHECK(f.take(8) == status::success);
}

TEST_CASE("key_ring: says that an index is not there yet when it was not published") {
  ring_fixture f{{32, 4, 10s}};
  CHECK(f.take(0) == status::insufficient_key);
  f.publish(4);
  CHECK(f.take(4) == status::insufficient_key);  // its slot holds chunk 0
  CHECK(f.take(400) == status::insufficient_key);
  f.next();
  CHECK(f.take(4) == status::insufficient_key);
}

TEST_CASE("key_ring: takes no index for a smaller one when its upper bits are set") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(4);
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t i :
       {std::uint64_t{1} << 62, std::uint64_t{1} << 63 | 1, std::uint64_t{3} << 62, most}) {
    CHECK(f.take(i) == status::insufficient_key);
    CHECK(f.serve(i) == status::insufficient_key);
    CHECK(f.ring->burn(i) == status::insufficient_key);
  }
  CHECK(f.tally() == row{4, 0, 0, 0, 4});
}

TEST_CASE("key_ring: has room for as many as are free in one row") {
  ring_fixture f{{32, 8, 10s}};
  CHECK(f.ring->room(0) == 0);
  CHECK(f.ring->room(3) == 3);
  CHECK(f.ring->room(1000) == 8);
  f.publish(8);
  CHECK(f.ring->room(8) == 0);
  f.take(1);
  f.take(2);
  CHECK(f.ring->room(8) == 0);  // chunk 8 needs the slot of chunk 0
  f.take(0);
  CHECK(f.ring->room(8) == 3);
  CHECK(f.ring->room(2) == 2);
}

TEST_CASE("key_ring: publishes nothing when the batch is empty") {
  ring_fixture f{{32, 4, 10s}};
  f.ring->publish({}, f.now);
  CHECK(f.ring->published() == 0);
  CHECK(f.next_outcome() == status::insufficient_key);
}

TEST_CASE("key_ring: takes a run across the wrap") {
  ring_fixture f{{32, 8, 10s}};
  f.publish(6);
  for (int i = 0; i < 5; ++i) f.next();
  f.publish(7);
  octets out(8 * 32);
  const auto r = f.ring->take_run(out, f.now);
  CHECK(r.outcome == status::success);
  CHECK(r.first == 5);
  CHECK(r.count == 8);
  for (std::uint64_t i = 0; i < 8; ++i) {
    CHECK(octets(out.begin() + 32 * static_cast<std::ptrdiff_t>(i),
                 out.begin() + 32 * static_cast<std::ptrdiff_t>(i + 1)) == chunk_of(5 + i, 32));
  }
  CHECK(f.tally() == row{13, 13, 0, 0, 0});
}

TEST_CASE("key_ring: ends a run at a gap and where the buffer ends") {
  ring_fixture f{{16, 8, 10s}};
  f.publish(8);
  f.take(3);
  f.serve(6);
  octets out(100);  // six chunks and a bit
  auto r = f.ring->take_run(out, f.now);
  CHECK(r.first == 0);
  CHECK(r.count == 3);
  CHECK(all_zero(std::span{out}.subspan(3 * 16)));
  r = f.ring->take_run(std::span{out}.first(31), f.now);
  CHECK(r.first == 4);
  CHECK(r.count == 1);
  r = f.ring->take_run(out, f.now);
  CHECK(r.first == 5);
  CHECK(r.count == 1);
  r = f.ring->take_run(out, f.now);
  CHECK(r.first == 7);
  CHECK(r.count == 1);
  r = f.ring->take_run(out, f.now);
  CHECK(r.outcome == status::insufficient_key);
  CHECK(r.first == 8);
  CHECK(r.count == 0);
}

TEST_CASE("key_ring: takes no more than the ring holds when the buffer is larger") {
  ring_fixture f{{16, 4, 10s}};
  f.publish(4);
  octets out(1000);
  CHECK(f.ring->take_run(out, f.now).count == 4);
}

TEST_CASE("key_ring: starts a run at the first chunk that is not expired") {
  ring_fixture f{{32, 8, 10s}};
  f.publish(3);
  f.now += 5s;
  f.publish(3);
  f.now += 5s;
  octets out(8 * 32);
  const auto r = f.ring->take_run(out, f.now);
  CHECK(r.first == 3);
  CHECK(r.count == 3);
  CHECK(r.since == start + 5s);
  CHECK(f.tally() == row{6, 3, 3, 0, 0});
}

TEST_CASE("key_ring: consumes nothing when the buffer is smaller than a chunk") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(1);
  octets small(31);
  CHECK(f.ring->take_next(small, f.now).outcome == status::invalid_argument);
  CHECK(f.ring->take(0, small, f.now).outcome == status::invalid_argument);
  CHECK(f.ring->take_run(small, f.now).outcome == status::invalid_argument);
  CHECK(f.ring->take_run({}, f.now).outcome == status::invalid_argument);
  CHECK(f.ring->take_next_wait(small, time_point::max()).outcome == status::invalid_argument);
  CHECK(all_zero(small));
  CHECK(f.next() == 0);
}

TEST_CASE("key_ring: writes one chunk when the buffer is larger") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(1);
  octets large(40, std::byte{0xee});
  CHECK(f.ring->take_next(large, f.now).outcome == status::success);
  CHECK(std::count(large.begin() + 32, large.end(), std::byte{0xee}) == 8);
}

TEST_CASE("key_ring: tells when a chunk was published") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(1);
  f.now += 3s;
  f.publish(1);
  f.now += 3s;
  CHECK(f.ring->oldest() == start);
  CHECK(f.ring->serve(0, f.now).since == start);
  CHECK(f.ring->take(1, f.out, f.now).since == start + 3s);
  CHECK(f.ring->oldest() == start);
  f.ring->acknowledge_below(1);
  CHECK(!f.ring->oldest());
}

TEST_CASE("key_ring: delivers up to the TTL and not from it on") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(4);
  f.now = start + 10s - 1ns;
  CHECK(f.next() == 0);
  CHECK(f.take(1) == status::success);
  f.now += 1ns;
  CHECK(f.take(2) == status::index_not_available);
  CHECK(f.take(2) == status::index_not_available);
  CHECK(f.next_outcome() == status::insufficient_key);
  CHECK(f.tally() == row{4, 2, 2, 0, 0});
  CHECK(f.publish(4) == 4);
  CHECK(f.next() == 4);
}

TEST_CASE("key_ring: leaves the buffer alone when the chunk is expired") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(2);
  f.now += 10s;
  CHECK(f.take(0) == status::index_not_available);
  CHECK(f.next_outcome() == status::insufficient_key);
  CHECK(all_zero(f.out));
}

TEST_CASE("key_ring: expires what is old enough whether live or served") {
  ring_fixture f{{32, 8, 10s}};
  f.publish(3);
  f.now += 4s;
  f.publish(3);
  CHECK(f.serve(1) == status::success);
  CHECK(f.serve(4) == status::success);
  f.take(0);
  const auto view = f.ring->serve(1, f.now).key;
  CHECK(f.ring->expire(start + 10s - 1ns) == 0);
  CHECK(f.ring->expire(start + 10s) == 2);
  CHECK(all_zero(view));
  CHECK(f.ring->expire(start + 10s) == 0);
  f.now = start + 10s;
  CHECK(f.serve(1) == status::index_not_available);
  CHECK(f.serve(2) == status::index_not_available);
  CHECK(f.ring->lowest_held() == 3);
  CHECK(f.tally() == row{6, 1, 2, 0, 3});
  CHECK(f.ring->expire(start + 1h) == 3);
  CHECK(f.ring->acknowledge_below(8) == 0);
  CHECK(f.tally() == row{6, 1, 5, 0, 0});
  f.now = start + 1h;
  CHECK(f.publish(8) == 8);
  CHECK(f.next() == 6);
}

TEST_CASE("key_ring: does not serve what is expired") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(2);
  CHECK(f.serve(0) == status::success);
  f.now += 10s;
  CHECK(f.serve(0) == status::index_not_available);
  CHECK(f.serve(1) == status::index_not_available);
  CHECK(f.tally() == row{2, 0, 2, 0, 0});
}

TEST_CASE("key_ring: keeps key for ever when the TTL is the longest") {
  ring_fixture f{{32, 4, boot_clock::duration::max()}};
  f.publish(2);
  f.now = time_point::max();
  CHECK(f.ring->expire(f.now) == 0);
  CHECK(f.next() == 0);
  CHECK(f.serve(1) == status::success);
}

TEST_CASE("key_ring: serves the same octets again until they are acknowledged") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(4);
  CHECK(f.serve(1) == status::success);
  const auto view = f.ring->serve(1, f.now).key;
  CHECK(f.ring->serve(1, f.now + 1s).key.data() == view.data());
  CHECK(f.ring->acknowledge_below(1) == 0);
  CHECK(f.serve(1) == status::success);
  CHECK(!all_zero(view));
  CHECK(f.ring->acknowledge_below(2) == 1);
  CHECK(all_zero(view));
  CHECK(f.serve(1) == status::index_not_available);
  CHECK(f.ring->acknowledge_below(2) == 0);
  CHECK(f.tally() == row{4, 1, 0, 0, 3});
}

TEST_CASE("key_ring: acknowledges what was served and leaves what was not read") {
  ring_fixture f{{32, 8, 10s}};
  f.publish(8);
  for (const std::uint64_t i : {6U, 1U, 4U}) CHECK(f.serve(i) == status::success);
  CHECK(f.ring->acknowledge_below(5) == 2);
  CHECK(f.serve(0) == status::success);  // below the mark, and unread until now
  CHECK(f.serve(6) == status::success);
  CHECK(f.ring->acknowledge_below(std::numeric_limits<std::uint64_t>::max()) == 2);
  for (const std::int64_t i : {2, 3, 5, 7}) CHECK(f.next() == i);
  CHECK(f.tally() == row{8, 8, 0, 0, 0});
}

TEST_CASE("key_ring: acknowledges over many rounds when chunks are served in order") {
  ring_fixture f{{32, 8, 10s}};
  for (std::uint64_t i = 0; i < 100; ++i) {
    f.publish(1);
    CHECK(f.serve(i) == status::success);
    if (i >= 4) CHECK(f.ring->acknowledge_below(i - 3) == 1);
  }
  CHECK(f.ring->lowest_held() == 96);
  CHECK(f.ring->lowest_live() == 100);
  CHECK(f.tally() == row{100, 96, 0, 0, 4});
}

TEST_CASE("key_ring: gives a served chunk to no taker") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(3);
  CHECK(f.serve(0) == status::success);
  CHECK(f.serve(1) == status::success);
  CHECK(f.take(0) == status::index_not_available);
  CHECK(f.next() == 2);
  CHECK(f.next_outcome() == status::insufficient_key);
  CHECK(f.serve(0) == status::success);
}

TEST_CASE("key_ring: does not serve what is taken or not there") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(2);
  f.take(0);
  CHECK(f.serve(0) == status::index_not_available);
  CHECK(f.serve(2) == status::insufficient_key);
  CHECK(f.serve(4) == status::insufficient_key);
  f.publish(3);
  CHECK(f.serve(0) == status::index_not_available);
}

TEST_CASE("key_ring: burns a chunk when it was not delivered") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(4);
  f.take(0);
  const auto view = f.ring->serve(1, f.now).key;
  CHECK(f.ring->burn(0) == status::index_not_available);
  CHECK(f.ring->burn(1) == status::success);
  CHECK(all_zero(view));
  CHECK(f.ring->burn(1) == status::index_not_available);
  CHECK(f.ring->burn(2) == status::success);
  CHECK(f.take(2) == status::index_not_available);
  CHECK(f.ring->burn(4) == status::insufficient_key);
  CHECK(f.next() == 3);
  CHECK(f.tally() == row{4, 2, 0, 2, 0});
}

TEST_CASE("key_ring: knows its lowest chunks after takes out of order") {
  ring_fixture f{{32, 8, 10s}};
  CHECK(f.ring->lowest_held() == 0);
  CHECK(f.ring->lowest_live() == 0);
  CHECK(!f.ring->oldest());
  f.publish(8);
  f.serve(0);
  f.take(1);
  f.serve(3);
  CHECK(f.ring->lowest_held() == 0);
  CHECK(f.ring->lowest_live() == 2);
  f.ring->acknowledge_below(1);
  CHECK(f.ring->lowest_held() == 2);
  f.take(2);
  CHECK(f.ring->lowest_held() == 3);
  CHECK(f.ring->lowest_live() == 4);
  for (std::uint64_t i = 4; i < 8; ++i) f.take(i);
  CHECK(f.ring->lowest_live() == 8);
  CHECK(f.ring->lowest_held() == 3);
}

TEST_CASE("key_ring: wipes a slot when its chunk is taken") {
  for (const std::uint32_t size : {7U, 16U, 32U, 48U, 64U, 1000U}) {
    CAPTURE(size);
    ring_fixture f{{size, 2, 10s}};
    f.publish(2);
    // where chunks of the two slots lie
    const std::array views{f.ring->serve(0, f.now).key, f.ring->serve(1, f.now).key};
    CHECK(f.ring->acknowledge_below(2) == 2);
    CHECK(all_zero(views[0]));
    CHECK(all_zero(views[1]));
    f.publish(2);
    CHECK(!all_zero(views[0]));
    CHECK(f.next() == 2);
    CHECK(all_zero(views[0]));
    CHECK(!all_zero(views[1]));
    CHECK(f.take(3) == status::success);
    CHECK(all_zero(views[1]));
    f.publish(2);
    octets out(2 * size);
    CHECK(f.ring->take_run(out, f.now).count == 2);
    CHECK(all_zero(views[0]));
    CHECK(all_zero(views[1]));
    f.publish(2);
    CHECK(f.ring->close() == 2);
    CHECK(all_zero(views[0]));
    CHECK(all_zero(views[1]));
  }
}

TEST_CASE("key_ring: wipes a slot when a taker finds it expired") {
  ring_fixture f{{32, 2, 10s}};
  f.publish(2);
  const std::array views{f.ring->serve(0, f.now).key, f.ring->serve(1, f.now).key};
  f.ring->acknowledge_below(2);
  f.publish(2);
  f.now += 10s;
  f.take(3);
  CHECK(all_zero(views[1]));
  CHECK(!all_zero(views[0]));
  f.next_outcome();
  CHECK(all_zero(views[0]));
}

TEST_CASE("key_ring: keeps the rest deliverable when it is finished") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(2);
  f.ring->finish(status::stream_exhausted);
  CHECK(f.ring->room(4) == 0);
  CHECK(f.take(0) == status::success);
  CHECK(f.take(0) == status::index_not_available);
  CHECK(f.next() == 1);
  CHECK(f.next_outcome() == status::stream_exhausted);
  CHECK(f.take(1) == status::index_not_available);
  CHECK(f.take(2) == status::stream_exhausted);
  CHECK(f.serve(2) == status::stream_exhausted);
  CHECK(f.ring->take_run(f.out, f.now).outcome == status::stream_exhausted);
  CHECK(f.ring->take_next_wait(f.out, time_point::max()).outcome == status::stream_exhausted);
  f.ring->finish(status::no_qkd_connection);
  CHECK(f.next_outcome() == status::no_qkd_connection);
  CHECK(f.tally() == row{2, 2, 0, 0, 0});
}

TEST_CASE("key_ring: wipes and counts what is left when it is closed") {
  ring_fixture f{{32, 8, 10s}};
  f.publish(6);
  f.take(2);
  f.serve(4);
  CHECK(f.ring->close() == 5);
  CHECK(f.tally() == row{6, 1, 0, 5, 0});
  CHECK(f.next_outcome() == status::unknown_key_stream);
  for (std::uint64_t i = 0; i < 8; ++i) {
    CHECK(f.take(i) == status::unknown_key_stream);
    CHECK(f.serve(i) == status::unknown_key_stream);
  }
  CHECK(f.ring->room(1) == 0);
  CHECK(f.ring->close(status::shutting_down) == 0);
  CHECK(f.next_outcome() == status::shutting_down);
  CHECK(f.ring->expire(f.now + 1h) == 0);
  CHECK(f.ring->acknowledge_below(6) == 0);
  f.ring->finish(status::stream_exhausted);
  CHECK(f.take(0) == status::stream_exhausted);  // still closed
}

TEST_CASE("key_ring: keeps its balance at each step") {
  ring_fixture f{{32, 8, 10s}};
  CHECK(f.tally() == row{0, 0, 0, 0, 0});
  f.publish(8);
  CHECK(f.tally() == row{8, 0, 0, 0, 8});
  f.next();
  CHECK(f.tally() == row{8, 1, 0, 0, 7});
  f.serve(1);
  CHECK(f.tally() == row{8, 1, 0, 0, 7});
  f.ring->acknowledge_below(2);
  CHECK(f.tally() == row{8, 2, 0, 0, 6});
  f.ring->burn(2);
  CHECK(f.tally() == row{8, 2, 0, 1, 5});
  f.publish(1);
  CHECK(f.tally() == row{9, 2, 0, 1, 6});
  f.now += 10s;
  f.take(3);
  CHECK(f.tally() == row{9, 2, 1, 1, 5});
  f.ring->expire(f.now);
  CHECK(f.tally() == row{9, 2, 6, 1, 0});
  f.publish(8);
  CHECK(f.tally() == row{17, 2, 6, 1, 8});
  f.ring->close();
  CHECK(f.tally() == row{17, 2, 6, 9, 0});
}

TEST_CASE("key_ring: carries its epoch") {
  ring_fixture f{{32, 4, 10s}};
  CHECK(f.ring->epoch() == 0);
  f.ring->set_epoch(7);
  CHECK(f.ring->epoch() == 7);
}

TEST_CASE("key_ring: waits no longer than the deadline when nothing is published") {
  ring_fixture f{{32, 4, 10s}};
  const auto deadline = boot_clock::now() + 2ms;
  const auto t = f.ring->take_next_wait(f.out, deadline);
  CHECK(t.outcome == status::timeout);
  CHECK(t.index == 0);
  CHECK(boot_clock::now() >= deadline);
  CHECK(f.ring->take_next_wait(f.out, boot_clock::now() - 1s).outcome == status::timeout);
}

TEST_CASE("key_ring: does not wait when a key is there and the deadline is past") {
  ring_fixture f{{32, 4, 10s}};
  f.now = boot_clock::now();
  f.publish(1);
  CHECK(f.ring->take_next_wait(f.out, time_point::min()).outcome == status::success);
}

TEST_CASE("key_ring: wakes a taker when something is published") {
  ring_fixture f{{32, 4, 10s}};
  std::atomic<bool> waits{false};
  std::thread taker{[&] {
    octets out(32);
    // as a taker with a clock of its own would write it
    key_ring::taken t = f.ring->take_next(out, start);
    while (t.outcome == status::insufficient_key) {
      const auto ticket = f.ring->prepare_wait();
      waits.store(true);
      t = f.ring->take_next(out, start);
      if (t.outcome != status::insufficient_key) break;
      f.ring->park(ticket, time_point::max());
      t = f.ring->take_next(out, start);
    }
    CHECK(t.outcome == status::success);
    CHECK(t.index == 0);
    CHECK(out == chunk_of(0, 32));
  }};
  while (!waits.load()) std::this_thread::yield();
  f.publish(1);
  taker.join();
}

TEST_CASE("key_ring: lets every blocked taker go when it is closed or finished") {
  for (const status why : {status::unknown_key_stream, status::get_key_peer_not_connected}) {
    ring_fixture f{{32, 4, 10s}};
    std::atomic<int> waiting{0};
    std::atomic<int> told{0};
    std::vector<std::thread> takers;
    for (int i = 0; i < 4; ++i) {
      takers.emplace_back([&] {
        octets out(32);
        waiting.fetch_add(1);
        if (f.ring->take_next_wait(out, time_point::max()).outcome == why) told.fetch_add(1);
      });
    }
    while (waiting.load() < 4) std::this_thread::yield();
    if (why == status::unknown_key_stream) {
      f.ring->close();
    } else {
      f.ring->finish(why);
    }
    for (auto& t : takers) t.join();
    CHECK(told.load() == 4);
  }
}

TEST_CASE("key_ring: loses no wake-up when keys come one at a time") {
  constexpr std::uint64_t rounds = 200'000;
  ring_fixture f{{32, 2, boot_clock::duration::max()}};
  std::atomic<std::uint64_t> answers{0};
  std::uint64_t wrong = 0;
  std::thread taker{[&] {
    octets out(32);
    for (std::uint64_t i = 0; i < rounds; ++i) {
      const auto t = f.ring->take_next_wait(out, time_point::max());
      if (t.outcome != status::success || t.index != i || out[0] != octet_of(i, 0)) ++wrong;
      answers.store(i + 1, std::memory_order_relaxed);
    }
  }};
  octets chunk(32);
  for (std::uint64_t i = 0; i < rounds; ++i) {
    // the next one only once the last one was taken, and then at each point of the taker's way to sleep
    for (int spins = 0; answers.load(std::memory_order_relaxed) != i || f.ring->room(1) == 0; ++spins) {
      if (spins > 1000) std::this_thread::yield();
    }
    for (std::uint64_t wait = i * 0x9e37'79b9U % 256; wait != 0; --wait) asm volatile("");
    chunk[0] = octet_of(i, 0);
    f.ring->publish(chunk, start);
  }
  taker.join();
  CHECK(wrong == 0);
  CHECK(f.tally() == row{rounds, rounds, 0, 0, 0});
}

TEST_CASE("key_ring: gives a forked child no key when the parent's ring is full") {
  ring_fixture f{{32, 4, 10s}};
  f.publish(4);
  f.next();
  f.serve(1);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto refused = [](status s) { return s == status::shutting_down; };
    bool good = refused(f.ring->take_next(f.out, f.now).outcome);
    for (std::uint64_t i = 0; i < 5; ++i) good = good && refused(f.ring->take(i, f.out, f.now).outcome);
    good = good && refused(f.ring->take_run(f.out, f.now).outcome);
    good = good && refused(f.ring->serve(1, f.now).outcome);
    good = good && refused(f.ring->take_next_wait(f.out, time_point::max()).outcome);
    good = good && f.ring->room(4) == 0;
    good = good && f.ring->close() == 0;
    ::_exit(good ? 0 : 1);
  }
  int how = 0;
  REQUIRE(::waitpid(child, &how, 0) == child);
  CHECK(WIFEXITED(how));
  CHECK(WEXITSTATUS(how) == 0);
  CHECK(f.serve(1) == status::success);
  CHECK(f.take(2) == status::success);
}

TEST_CASE("key_ring: takes nothing in a forked child when the ring was never filled") {
  ring_fixture f{{32, 4, 10s}};
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool good = f.ring->room(4) == 0 && f.next_outcome() == status::shutting_down;
    ::_exit(good ? 0 : 1);
  }
  int how = 0;
  REQUIRE(::waitpid(child, &how, 0) == child);
  CHECK(WIFEXITED(how));
  CHECK(WEXITSTATUS(how) == 0);
}

TEST_CASE("key_ring: finds its place again when its hint is far behind") {
  ring_fixture f{{32, 4, 10s}};
  // taken by index: the hint of take_next() stays where it was
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    f.publish(1);
    CHECK(f.take(i) == status::success);
  }
  f.publish(4);
  f.take(10'001);
  CHECK(f.next() == 10'000);
  CHECK(f.next() == 10'002);
  CHECK(f.next() == 10'003);
  CHECK(f.next_outcome() == status::insufficient_key);
  CHECK(f.ring->take_next(f.out, f.now).index == 10'004);
}

TEST_CASE("key_ring: lives as long as a taker holds it when its maker lets go") {
  std::shared_ptr<key_ring> taker;
  octets out(32);
  {
    ring_fixture f{{32, 4, 10s}};
    f.publish(1);
    taker = f.ring;
  }
  CHECK(taker->take_next(out, start).outcome == status::success);
  CHECK(out == chunk_of(0, 32));
}
