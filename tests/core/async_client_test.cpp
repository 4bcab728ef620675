// async_client over pair(), and over a transport that stands here: what completes, when, and how often.
#include "qkd004/async_client.hpp"

#include <doctest/doctest.h>

#include <array>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "qkd004/in_process.hpp"

using namespace qkd004;
using namespace std::chrono_literals;

namespace {

const auto canceled = std::make_error_code(std::errc::operation_canceled);

/// Both ends of a stream, each with a client of its own, and what drives them.
struct both {
  both() {
    a->open_connect({"qkd://alice@A", "qkd://bob@B", quality()},
                    [this](result<async_key_stream> s) { alice.emplace(std::move(s.value())); });
    until([this] { return alice.has_value(); });
    b->open_connect({"qkd://alice@A", "qkd://bob@B", quality(), alice->id()},
                    [this](result<async_key_stream> s) { bob.emplace(std::move(s.value())); });
    until([this] { return bob.has_value(); });
  }
  static qos quality() {
    qos q;
    q.timeout_ms = 20'000;
    return q;
  }
  template <class Done>
  void until(Done done) {
    const auto end = boot_clock::now() + 20s;
    while (!done()) {
      REQUIRE(boot_clock::now() < end);
      if (a) (void)a->drive();
      if (b) (void)b->drive();
    }
  }
  std::shared_ptr<in_process_link> link = std::make_shared<in_process_link>(pair_options{});
  std::shared_ptr<exchange> at_a = std::make_shared<in_process_exchange>(link, 0, "alice");
  std::shared_ptr<exchange> at_b = std::make_shared<in_process_exchange>(link, 1, "bob");
  std::optional<async_client> a{std::in_place, at_a, link->arena(0)};
  std::optional<async_client> b{std::in_place, at_b, link->arena(1)};
  std::optional<async_key_stream> alice;
  std::optional<async_key_stream> bob;
};

}  // namespace

TEST_CASE("async_client: gives calls that were started together a key each, from drive() only") {
  both s;
  std::map<std::uint64_t, secret_bytes> at_a;
  std::map<std::uint64_t, secret_bytes> at_b;
  const auto into = [](auto& where) {
    return [&where](result<key_chunk> k) {
      REQUIRE(k);
      REQUIRE(where.emplace(k->index, std::move(k->key)).second);
    };
  };
  for (int i = 0; i < 200; ++i) {
    CHECK(s.alice->next_key(into(at_a)) != 0);
    s.bob->next_key(into(at_b));
  }
  CHECK(at_a.empty());
  s.until([&] { return at_a.size() == 200 && at_b.size() == 200; });
  for (std::uint64_t i = 0; i < 200; ++i) {
    REQUIRE(equal_in_constant_time(at_a.at(i).span(), at_b.at(i).span()));
  }
}

TEST_CASE("async_client: takes runs, keys by index and what is there, and waits for the peer") {
  both s;
  std::optional<key_batch> run;
  s.alice->next_keys(16, [&](result<key_batch> b) { run.emplace(std::move(b.value())); });
  std::optional<key_chunk> named;
  s.alice->get_key(40, [&](result<key_chunk> k) { named.emplace(std::move(k.value())); });
  std::optional<std::error_code> gone;
  bool met = false;
  s.alice->wait_for_peer(0ms, [&](result<void> r) { met = r.has_value(); });
  s.until([&] { return run && named && met; });
  CHECK(run->first == 0);
  CHECK(run->count == 16);
  CHECK(run->bytes(15).size() == 32);
  CHECK(named->index == 40);
  s.alice->get_key(40, [&](result<key_chunk> k) { gone = k.error(); });
  std::optional<std::error_code> beyond;
  s.alice->get_key(100'000, [&](result<key_chunk> k) { beyond = k.error(); });
  s.until([&] { return gone.has_value(); });
  CHECK(*gone == make_error_code(status::index_not_available));
  CHECK_FALSE(beyond);
  s.alice->cancel();
  s.until([&] { return beyond.has_value(); });
  CHECK(*beyond == canceled);
}

TEST_CASE("async_client: has no room for more keys than can be counted in octets") {
  both s;
  std::optional<std::error_code> ends;
  const std::size_t most = std::numeric_limits<std::size_t>::max() / 32 + 2;  // times 32 octets: 32
  s.alice->next_keys(most, [&](result<key_batch> b) { ends = b.error(); });
  s.until([&] { return ends.has_value(); });
  CHECK(*ends == make_error_code(status::resource_limit));
}

TEST_CASE("async_client: a call that is cancelled completes once, as cancelled, and takes no key") {
  both s;
  std::vector<std::error_code> ends;
  const auto id = s.alice->next_key([&](result<key_chunk> k) { ends.push_back(k.error()); });
  s.alice->cancel(id);  // before it was looked at: it may still have its key
  s.until([&] { return ends.size() == 1; });
  std::uint64_t next = ends.front() ? 0 : 1;
  ends.clear();
  std::size_t had = 0;
  while (had < 128 - next) {
    std::optional<std::size_t> count;
    s.alice->next_keys(128 - next - had, [&](result<key_batch> b) { count = b.value().count; });
    s.until([&] { return count.has_value(); });
    had += *count;
  }
  const auto waits = s.alice->next_key([&](result<key_chunk> k) { ends.push_back(k.error()); });
  for (int i = 0; i < 10; ++i) (void)s.a->drive();
  CHECK(ends.empty());
  s.a->cancel(waits);
  s.a->cancel(waits);
  s.until([&] { return !ends.empty(); });
  CHECK(ends == std::vector{canceled});
  s.a->cancel(waits);
  (void)s.a->drive();
  CHECK(ends.size() == 1);
  std::optional<std::uint64_t> index;
  s.alice->next_key([&](result<key_chunk> k) { index = k.value().index; });
  std::optional<std::size_t> read;
  s.bob->next_keys(64, [&](result<key_batch> b) { read = b.value().count; });
  s.until([&] { return index && read; });
  CHECK(*index == 128);
}

TEST_CASE("async_client: completes what waits as cancelled when it goes, and its streams are closed") {
  both s;
  int ends = 0;
  s.alice->get_key(500, [&](result<key_chunk> k) {
    CHECK(k.error() == canceled);
    ++ends;
  });
  (void)s.a->drive();
  s.a->open_connect({"qkd://alice@A", "qkd://bob@B"}, [&](result<async_key_stream> o) {
    CHECK(o.error() == canceled);
    ++ends;
  });
  s.alice.reset();
  s.a.reset();
  CHECK(ends == 2);
  client again = connect(s.link, 0, "alice");
  CHECK(again.open_connect({"qkd://alice@A", "qkd://bob@B", {}, s.bob->id()}).error() ==
        make_error_code(status::ksid_in_use));
}

namespace {

/// Asks for the same key again and again, and lives only here and in the call that it started.
struct asks_again {
  std::shared_ptr<async_key_stream> stream;
  int* ends;
  async_call_id* last;
  void operator()(const result<key_chunk>& k) const {
    CHECK(k.error() == canceled);
    if (++*ends < 1'000) *last = stream->get_key(500, *this);
  }
};

}  // namespace

TEST_CASE(
    "async_client: goes though each completion starts the next call, and the stream that goes then is "
    "closed") {
  both s;
  int ends = 0;
  async_call_id last = 1;
  auto stream = std::make_shared<async_key_stream>(std::move(*s.alice));
  s.alice.reset();
  stream->get_key(500, asks_again{stream, &ends, &last});
  stream.reset();
  (void)s.a->drive();
  s.a.reset();
  CHECK(ends == 1);
  CHECK(last == 0);
  client again = connect(s.link, 0, "alice");
  CHECK(again.open_connect({"qkd://alice@A", "qkd://bob@B", {}, s.bob->id()}).error() ==
        make_error_code(status::ksid_in_use));
}

TEST_CASE(
    "async_client: a server that grants keys of no octets is protocol_error, and no Timeout the default") {
  /// Grants what it is told to.
  class granting final : public exchange {
   public:
    void start(std::span<call* const> calls) override {
      for (call* const c : calls) {
        if (std::holds_alternative<open_connect_request>(c->request)) {
          open_connect_response r;
          r.quality.key_chunk_size = chunk;
          c->response = r;
        } else {
          c->response = close_response{};
        }
        c->complete();
      }
    }
    void wait(call&) override {}
    void cancel(call&) noexcept override {}
    std::uint32_t chunk = 0;
  };
  const auto via = std::make_shared<granting>();
  async_client c{via, secret_arena{}};
  std::optional<std::error_code> refused;
  c.open_connect({"qkd://alice@A", "qkd://bob@B"}, [&](result<async_key_stream> s) { refused = s.error(); });
  while (!refused) (void)c.drive();
  CHECK(*refused == make_error_code(status::protocol_error));
  via->chunk = 32;
  std::optional<std::uint32_t> timeout_ms;
  c.open_connect({"qkd://alice@A", "qkd://bob@B"},
                 [&](result<async_key_stream> s) { timeout_ms = s.value().quality().timeout_ms; });
  while (!timeout_ms) (void)c.drive();
  CHECK(*timeout_ms == qos_defaults::timeout_ms);
}

TEST_CASE("async_client: close ends what waits, and happens once") {
  both s;
  int ends = 0;
  s.alice->get_key(500, [&](result<key_chunk> k) {
    CHECK(k.error() == canceled);
    ++ends;
  });
  (void)s.a->drive();
  s.alice->close([&](result<void> r) {
    CHECK(r);
    ++ends;
  });
  s.alice->close([&](result<void> r) {
    CHECK(r);
    ++ends;
  });
  s.until([&] { return ends == 3; });
  std::optional<std::error_code> after;
  s.alice->get_key(3, [&](result<key_chunk> k) { after = k.error(); });
  s.until([&] { return after.has_value(); });
  CHECK(*after == make_error_code(status::unknown_key_stream));
}

TEST_CASE("async_client: an exception of a completion leaves drive(), and the rest goes on") {
  both s;
  int ends = 0;
  s.alice->next_key([&](result<key_chunk>) {
    ++ends;
    throw std::runtime_error{"mine"};
  });
  s.alice->next_key([&](result<key_chunk>) { ++ends; });
  int thrown = 0;
  for (int i = 0; i < 50 && ends < 2; ++i) {
    try {
      (void)s.a->drive();
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(ends == 2);
  CHECK(thrown == 1);
}
