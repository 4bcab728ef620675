// One publisher and several takers at full speed: every octet of every key is accounted for.
// SPDX-License-Identifier: Apache-2.0
//
// QKD004_STRESS_KEYS sets how many keys each case moves (default 20 million), QKD004_SEED its random choices.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "qkd004/key_ring.hpp"

using namespace std::chrono_literals;
using qkd004::boot_clock;
using qkd004::key_ring;
using qkd004::status;
using qkd004::time_point;

namespace {

constexpr std::size_t key_size = 32;
constexpr std::size_t words = key_size / 8;
constexpr std::uint32_t most = 64;  // chunks in a batch
constexpr time_point start{1h};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::uint64_t keys_wanted() { return from_environment("QKD004_STRESS_KEYS", 20'000'000); }

/// splitmix64: small, and good enough for choices.
struct random_numbers {
  std::uint64_t state;

  std::uint64_t operator()() {
    std::uint64_t z = state += 0x9e37'79b9'7f4a'7c15U;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9U;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11ebU;
    return z ^ z >> 31;
  }
  std::uint64_t below(std::uint64_t n) { return operator()() % n; }
};

/// Word w of key `index`: no two are equal, and none is zero.
std::uint64_t word_of(std::uint64_t index, std::size_t w) {
  return (index * words + w + 1) * 0x9e37'79b9'7f4a'7c15U;
}

void write_key(std::byte* to, std::uint64_t index) {
  for (std::size_t w = 0; w < words; ++w) {
    const std::uint64_t word = word_of(index, w);
    std::memcpy(to + 8 * w, &word, 8);
  }
}

/// What one thread was given.
struct receipts {
  explicit receipts(std::uint64_t keys) : given((keys + 63) / 64) {}

  void add(std::uint64_t index, const std::byte* key) {
    std::uint64_t& bits = given[index / 64];
    const std::uint64_t bit = std::uint64_t{1} << index % 64;
    if ((bits & bit) != 0) ++twice;
    bits |= bit;
    for (std::size_t w = 0; w < words; ++w) {
      std::uint64_t word = 0;
      std::memcpy(&word, key + 8 * w, 8);
      if (word != word_of(index, w)) ++wrong;
      sum += word;
    }
    ++count;
  }

  std::vector<std::uint64_t> given;  ///< one bit an index
  std::uint64_t count = 0;
  std::uint64_t sum = 0;    ///< of all words
  std::uint64_t twice = 0;  ///< indices that came again
  std::uint64_t wrong = 0;  ///< words that were not the key's
  std::uint64_t calls = 0;
  std::uint64_t disorder = 0;  ///< indices that came after a higher one
};

/// All threads' receipts together: each index once at most, and each octet right.
struct account {
  std::uint64_t count = 0;
  std::uint64_t calls = 0;

  explicit account(const std::vector<receipts>& all) {
    std::uint64_t sum = 0, expected = 0, twice = 0, wrong = 0, disorder = 0;
    for (const receipts& r : all) {
      count += r.count;
      calls += r.calls;
      sum += r.sum;
      twice += r.twice;
      wrong += r.wrong;
      disorder += r.disorder;
    }
    std::uint64_t different = 0;
    for (std::size_t i = 0; i < all[0].given.size(); ++i) {
      std::uint64_t together = 0;
      for (const receipts& r : all) together |= r.given[i];
      different += static_cast<std::uint64_t>(std::popcount(together));
      for (; together != 0; together &= together - 1) {
        const std::uint64_t index = i * 64 + static_cast<std::uint64_t>(std::countr_zero(together));
        for (std::size_t w = 0; w < words; ++w) expected += word_of(index, w);
      }
    }
    CHECK(twice == 0);
    CHECK(wrong == 0);
    CHECK(disorder == 0);
    CHECK(different == count);
    CHECK(sum == expected);
  }
};

struct stress {
  explicit stress(std::uint32_t capacity, boot_clock::duration ttl = boot_clock::duration::max())
      : ring{key_ring::make({key_size, capacity, ttl}, arena).value()} {}

  /// Publishes up to `count` keys, no more than the total. Returns how many.
  std::uint32_t publish(std::uint32_t count) {
    const std::uint64_t first = ring->published();
    const auto left = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, total - first));
    const std::uint32_t n = ring->room(std::min(left, most));
    if (n == 0) return 0;
    for (std::uint32_t i = 0; i < n; ++i) write_key(batch.data() + i * key_size, first + i);
    ring->publish(std::span{batch}.first(n * key_size), now.load(std::memory_order_relaxed));
    return n;
  }

  /// Publishes everything, in batches of random size, then finishes.
  void publish_all() {
    while (ring->published() != total) {
      if (publish(static_cast<std::uint32_t>(random.below(most) + 1)) == 0) std::this_thread::yield();
    }
    ring->finish(status::stream_exhausted);
  }

  /// Waits for a change after `look` found nothing; true if there is an outcome other than insufficient_key.
  template <class Look>
  bool wait(Look look) {
    const std::uint32_t ticket = ring->prepare_wait();
    if (look() != status::insufficient_key) return true;
    ring->park(ticket, time_point::max());
    return false;
  }

  void report(const char* name, const account& a) const {
    std::printf("key_ring stress, %s: %llu keys delivered, %llu take calls, seed %llu\n", name,
                static_cast<unsigned long long>(a.count), static_cast<unsigned long long>(a.calls),
                static_cast<unsigned long long>(seed));
  }

  qkd004::secret_arena arena{{.bytes = std::size_t{2} << 20, .allow_unlocked = true}};
  std::shared_ptr<key_ring> ring;
  const std::uint64_t total = keys_wanted();
  const std::uint64_t seed = from_environment("QKD004_SEED", std::random_device{}());
  random_numbers random{seed};
  std::atomic<time_point> now{start};
  std::array<std::byte, most * key_size> batch{};
};

/// take_next() until the ring is finished, sleeping while it is empty.
void take_all(stress& s, receipts& r) {
  std::array<std::byte, key_size> key{};
  std::uint64_t expected = 0;
  for (;;) {
    key_ring::taken t = s.ring->take_next(key, start);
    if (t.outcome == status::insufficient_key) {
      const auto look = [&] { return (t = s.ring->take_next(key, start)).outcome; };
      if (!s.wait(look)) continue;
    }
    ++r.calls;
    if (t.outcome != status::success) {
      CHECK(t.outcome == status::stream_exhausted);
      return;
    }
    if (t.index < expected) ++r.disorder;
    expected = t.index + 1;
    r.add(t.index, key.data());
  }
}

void one_to(unsigned takers, const char* name) {
  stress s{1024};
  CAPTURE(s.seed);
  std::vector<receipts> all(takers, receipts{s.total});
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < takers; ++i) threads.emplace_back([&s, &r = all[i]] { take_all(s, r); });
  s.publish_all();
  for (auto& t : threads) t.join();
  const account a{all};
  CHECK(a.count == s.total);
  const auto b = s.ring->tally();
  CHECK(b.bound == s.total);
  CHECK(b.acknowledged == s.total);
  CHECK(b.live == 0);
  s.report(name, a);
}

/// take_next(), take() and take_run() in turns until the ring is finished.
void take_any_way(stress& s, receipts& r, std::uint64_t seed) {
  random_numbers random{seed};
  std::array<std::byte, most * key_size> keys{};
  std::uint64_t seen = 0;  // where the stream is, about
  status outcome{};
  const auto look = [&] {
    const time_point now = s.now.load(std::memory_order_relaxed);
    ++r.calls;
    switch (random.below(4)) {
      case 0: {  // an index that may be live, gone, or to come
        const auto t = s.ring->take(seen + random.below(64) - std::min<std::uint64_t>(seen, 16), keys, now);
        if (t.outcome == status::success) r.add(t.index, keys.data());
        // neither says that the ring is empty
        if (t.outcome == status::insufficient_key || t.outcome == status::index_not_available ||
            t.outcome == status::stream_exhausted) {
          return outcome = status::success;
        }
        return outcome = t.outcome;
      }
      case 1: {
        const auto run = s.ring->take_run(std::span{keys}.first(key_size * (1 + random.below(most))), now);
        for (std::uint32_t i = 0; i < run.count; ++i) r.add(run.first + i, keys.data() + i * key_size);
        seen = run.first + run.count;
        return outcome = run.outcome;
      }
      default: {
        const auto t = s.ring->take_next(keys, now);
        if (t.outcome == status::success) r.add(t.index, keys.data());
        seen = t.index;
        return outcome = t.outcome;
      }
    }
  };
  for (;;) {
    if (look() == status::insufficient_key && !s.wait(look)) continue;
    if (outcome == status::success || outcome == status::insufficient_key) continue;
    CHECK(outcome == status::stream_exhausted);
    return;
  }
}

}  // namespace

TEST_CASE("key_ring stress: delivers each key once when one thread takes") { one_to(1, "1 -> 1"); }

TEST_CASE("key_ring stress: delivers each key once when two threads take") { one_to(2, "1 -> 2"); }

TEST_CASE("key_ring stress: delivers each key once when four threads take") { one_to(4, "1 -> 4"); }

TEST_CASE("key_ring stress: delivers each key once at most when it is taken and served and expired at once") {
  constexpr auto ttl = 1'000ns;  // of a clock that goes one on with each batch
  stress s{256, ttl};
  CAPTURE(s.seed);
  std::vector<receipts> all(4, receipts{s.total});
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 3; ++i) {
    threads.emplace_back([&s, &r = all[i], i] { take_any_way(s, r, s.seed + 1 + i); });
  }

  // the publisher is also the owner of a wire, the clock and the expiry
  receipts& served = all[3];
  random_numbers random{s.seed};
  std::vector<std::uint64_t> unacknowledged;
  std::uint64_t torn = 0, acknowledged = 0, expired = 0, burnt = 0;
  while (s.ring->published() != s.total) {
    const time_point now = s.now.load(std::memory_order_relaxed) + 1ns;
    s.now.store(now, std::memory_order_relaxed);
    if (s.publish(static_cast<std::uint32_t>(random.below(most) + 1)) == 0) std::this_thread::yield();
    switch (random.below(8)) {
      case 0: {
        const std::uint64_t index = s.ring->lowest_live();
        const auto first = s.ring->serve(index, now);
        if (first.outcome != status::success) break;
        served.add(index, first.key.data());
        ++served.calls;
        unacknowledged.push_back(index);
        break;
      }
      case 1: {  // again the same octets; then no more
        for (const std::uint64_t index : unacknowledged) {
          const auto again = s.ring->serve(index, now);
          std::uint64_t word = 0;
          if (again.outcome == status::success) std::memcpy(&word, again.key.data(), 8);
          if (again.outcome == status::success && word != word_of(index, 0)) ++torn;
        }
        acknowledged += s.ring->acknowledge_below(s.ring->published());
        unacknowledged.clear();
        break;
      }
      case 2: {
        if (random.below(16) != 0) break;
        // makes everything up to now too old
        s.now.store(now + ttl, std::memory_order_relaxed);
        expired += s.ring->expire(now + ttl);
        unacknowledged.clear();
        break;
      }
      case 3: {
        if (s.ring->burn(s.ring->lowest_live()) == status::success) ++burnt;
        break;
      }
      default: expired += s.ring->expire(now);
    }
    const std::uint64_t low = s.ring->lowest_held();
    if (low > s.ring->published() || low + 256 < s.ring->published()) ++torn;
  }
  s.ring->finish(status::stream_exhausted);
  for (auto& t : threads) t.join();
  acknowledged += s.ring->acknowledge_below(s.total);
  s.ring->expire(s.now.load() + ttl);

  const account a{all};
  CHECK(torn == 0);
  const auto b = s.ring->tally();
  CHECK(b.bound == s.total);
  CHECK(b.live == 0);
  CHECK(b.discarded == burnt);
  CHECK(b.expired >= expired);
  CHECK(b.acknowledged == a.count - served.count + acknowledged);
  CHECK(b.acknowledged + b.expired + b.discarded == s.total);
  CHECK(served.count != 0);
  CHECK(expired != 0);
  s.report("mixed", a);
}

TEST_CASE("key_ring stress: loses nothing and delivers nothing twice when it is closed among takers") {
  const std::uint64_t seed = from_environment("QKD004_SEED", std::random_device{}());
  CAPTURE(seed);
  const std::uint64_t rounds = std::max<std::uint64_t>(1, keys_wanted() / 1000);
  random_numbers random{seed};
  const qkd004::secret_arena arena{{.bytes = std::size_t{1} << 20, .allow_unlocked = true}};

  struct hand {
    std::atomic<key_ring*> ring{nullptr};
    std::atomic<bool> arrived{false};
    std::uint64_t taken = 0;
    std::uint64_t unlike = 0;  ///< keys with wrong octets, and outcomes that cannot be
  };
  std::array<hand, 2> hands;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (hand& h : hands) {
    threads.emplace_back([&h, &stop] {
      std::array<std::byte, key_size> key{};
      for (;;) {
        key_ring* ring = nullptr;
        while ((ring = h.ring.load(std::memory_order_acquire)) == nullptr) {
          if (stop.load()) return;
          std::this_thread::yield();
        }
        h.arrived.store(true, std::memory_order_relaxed);
        for (;;) {
          const auto t = ring->take_next_wait(key, time_point::max());
          if (t.outcome != status::success) {
            if (t.outcome != status::unknown_key_stream) ++h.unlike;
            break;
          }
          std::array<std::byte, key_size> right{};
          write_key(right.data(), t.index);
          if (key != right) ++h.unlike;
          ++h.taken;
        }
        h.ring.store(nullptr, std::memory_order_release);
      }
    });
  }

  std::uint64_t unbalanced = 0, delivered = 0, discarded = 0;
  std::array<std::byte, most * key_size> batch{};
  for (std::uint64_t i = 0; i < rounds; ++i) {
    const auto ring = key_ring::make({key_size, 16, boot_clock::duration::max()}, arena).value();
    for (hand& h : hands) h.ring.store(ring.get(), std::memory_order_release);
    for (hand& h : hands) {
      while (!h.arrived.exchange(false, std::memory_order_relaxed)) std::this_thread::yield();
    }
    for (std::uint64_t batches = random.below(32); batches != 0; --batches) {
      const std::uint32_t n = ring->room(static_cast<std::uint32_t>(random.below(16) + 1));
      for (std::uint32_t k = 0; k < n; ++k) write_key(batch.data() + k * key_size, ring->published() + k);
      ring->publish(std::span{batch}.first(n * key_size), start);
      if (n == 0) std::this_thread::yield();
    }
    const std::uint64_t left = ring->close();
    for (hand& h : hands) {
      while (h.ring.load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
    }
    std::uint64_t taken = 0;
    for (hand& h : hands) taken += std::exchange(h.taken, 0);
    const auto b = ring->tally();
    if (b.bound != taken + left || b.acknowledged != taken || b.discarded != left || b.live != 0)
      ++unbalanced;
    delivered += taken;
    discarded += left;
  }
  stop.store(true);
  for (auto& t : threads) t.join();
  CHECK(unbalanced == 0);
  CHECK(hands[0].unlike == 0);
  CHECK(hands[1].unlike == 0);
  std::printf(
      "key_ring stress, closed among takers: %llu rings, %llu keys delivered, %llu discarded, seed %llu\n",
      static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(delivered),
      static_cast<unsigned long long>(discarded), static_cast<unsigned long long>(seed));
}
