// Calls that wait in this process, or on a transport that stands here: how they are cancelled and interrupted, and that
// no key is lost or had twice by that.
#include "qkd004/waiting.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "core/waiting_call.hpp"
#include "qkd004/in_process.hpp"

using namespace qkd004;
using namespace std::chrono_literals;
using test::waiting_call;

namespace {

const auto canceled = std::make_error_code(std::errc::operation_canceled);
constexpr std::uint32_t long_time_ms = 30'000;  // nothing here waits that long unless it is broken

open_connect_request request_for(key_stream_id id = {}) {
  open_connect_request r{"qkd://alice@A", "qkd://bob@B", {}, id};
  r.quality.timeout_ms = long_time_ms;
  return r;
}

struct pair_of_streams {
  std::pair<client, client> clients = pair();
  key_stream a = clients.first.open_connect(request_for()).value();
  key_stream b = clients.second.open_connect(request_for(a.id())).value();

  void drain_a() {
    std::vector<std::byte> room(128 * 32);
    std::size_t had = 0;
    while (had < 128) had += a.next_keys_into(room).value().count;
  }
};

bool is_prompt(time_point since) { return boot_clock::now() - since < 10s; }

}  // namespace

TEST_CASE("key_stream: cancel ends a call that waits for key, which stays where it is") {
  pair_of_streams s;
  s.drain_a();
  waiting_call next{[&] { return s.a.next_key(); }};
  waiting_call named{[&] { return s.a.get_key(500); }};
  waiting_call run{[&] {
    std::vector<std::byte> room(64);
    return s.a.next_keys_into(room);
  }};
  const auto since = boot_clock::now();
  s.a.cancel();
  CHECK(next.end() == canceled);
  CHECK(named.end() == canceled);
  CHECK(run.end() == canceled);
  CHECK(is_prompt(since));
  for (int i = 0; i < 64; ++i) CHECK(s.b.next_key());
  CHECK(s.a.next_key().value().index == 128);
}

TEST_CASE("key_stream: cancel is nothing to calls that come later, and to other streams") {
  pair_of_streams s;
  auto other = s.clients.first.open_connect(request_for()).value();
  s.drain_a();
  waiting_call next{[&] { return s.a.next_key(); }};
  waiting_call peer{[&] { return other.wait_for_peer(); }};
  s.a.cancel();
  CHECK(next.end() == canceled);
  CHECK(s.b.next_key());
  CHECK(s.b.next_key());
  waiting_call again{[&] { return s.a.get_key(130); }};
  s.clients.first.cancel();  // all, of all its streams
  CHECK(again.end() == canceled);
  CHECK(peer.end() == canceled);
}

TEST_CASE("client: cancel ends an OPEN_CONNECT that waits for the other side, which can be made again") {
  auto [a, b] = pair();
  const auto id = *key_stream_id::parse("11111111-2222-4333-8444-555555555555");
  waiting_call open{[&, &a = a] { return a.open_connect(request_for(id)); }};
  const auto since = boot_clock::now();
  a.cancel();
  CHECK(open.end() == canceled);
  CHECK(is_prompt(since));
  auto at_b = b.open_connect(request_for(id)).value();
  auto at_a = a.open_connect(request_for(id)).value();
  CHECK(at_a.next_key().value().index == 0);
  CHECK(at_b.next_key().value().index == 0);
}

TEST_CASE("key_stream: close ends calls of other threads that wait") {
  pair_of_streams s;
  s.drain_a();
  waiting_call next{[&] { return s.a.next_key(); }};
  CHECK(s.a.close());
  CHECK(next.end() == make_error_code(status::unknown_key_stream));
}

TEST_CASE("key_stream: loses no key and gives none twice while calls are cancelled again and again") {
  pair_of_streams s;
  constexpr std::uint64_t keys = 5'000;
  std::vector<std::atomic<int>> had(keys + 4);
  std::atomic<std::uint64_t> count{0};
  std::atomic<int> cancelled{0};
  const auto read = [&] {
    while (count < keys) {
      const auto k = s.a.next_key();
      if (k) {
        if (k->index < had.size()) had[k->index] += 1;
        count += 1;
      } else {
        REQUIRE(k.error() == canceled);
        cancelled += 1;
      }
    }
  };
  std::thread one{read};
  std::thread two{read};
  std::thread other{[&] {  // slowly, so that the readers wait
    for (std::uint64_t i = 0; i < keys; ++i) {
      REQUIRE(s.b.next_key());
      if (i % 8 == 0) s.a.cancel();
    }
    while (count < keys) s.a.cancel();
  }};
  for (auto* t : {&one, &two, &other}) t->join();
  for (std::uint64_t i = 0; i < keys; ++i) REQUIRE(had[i] == 1);
}

TEST_CASE("waiting_hook: ends a call of its thread when it says so, without a key consumed") {
  pair_of_streams s;
  s.drain_a();
  int asked = 0;
  {
    const waiting_hook hook{[&] { return ++asked < 3; }};
    CHECK(s.a.next_key().error() == canceled);
    CHECK(asked == 3);
    asked = 0;
    CHECK(s.clients.first
              .open_connect(request_for(*key_stream_id::parse("11111111-2222-4333-8444-555555555555")))
              .error() == canceled);
    CHECK(asked == 3);
    const waiting_hook inner{[] { return false; }};
    asked = 0;
    CHECK(s.a.next_key().error() == canceled);
    CHECK(asked == 0);
  }
  CHECK(s.b.next_key());
  CHECK(s.b.next_key());
  asked = 0;
  CHECK(s.a.next_key().value().index == 128);
  CHECK(asked == 0);
}

TEST_CASE("waiting_hook: lets its exception through, and the call goes without a trace") {
  pair_of_streams s;
  s.drain_a();
  {
    const waiting_hook hook{[]() -> bool { throw std::runtime_error{"interrupted"}; }};
    CHECK_THROWS_AS((void)s.a.next_key(), std::runtime_error);
    CHECK_THROWS_AS((void)s.clients.first.open_connect(
                        request_for(*key_stream_id::parse("11111111-2222-4333-8444-555555555555"))),
                    std::runtime_error);
  }
  for (int i = 0; i < 2; ++i) CHECK(s.b.next_key());
  CHECK(s.a.next_key().value().index == 128);
  s.a.cancel();  // nobody is left in the room
}

TEST_CASE("key_manager: a call in this process that is cancelled takes no key when it comes") {
  const auto link = std::make_shared<in_process_link>(pair_options{});
  in_process_exchange via{link, 0, "alice"};
  client a{std::shared_ptr<exchange>{&via, [](exchange*) {}}, link->arena(0)};
  auto at_a = a.open_connect(request_for()).value();
  client b = connect(link, 1, "bob");
  auto at_b = b.open_connect(request_for(at_a.id())).value();
  std::vector<std::byte> room(128 * 32);
  for (std::size_t had = 0; had < 128;) had += at_a.next_keys_into(room).value().count;  // by the ring
  call c;
  get_key_request r;
  r.stream = at_a.id();
  r.index = 128;
  c.request = r;
  c.key_buffer = room;
  call* one = &c;
  via.start(std::span{&one, 1});
  via.cancel(c);
  CHECK(c.done());
  CHECK(c.error == canceled);
  for (int i = 0; i < 64; ++i) CHECK(at_b.next_key());
  CHECK(at_a.next_key().value().index == 128);
}

namespace {

/// A key manager over a wire whose answers come when the test says so; key i is 32 octets of the value i + 1.
class slow_exchange final : public exchange {
 public:
  void start(std::span<call* const> calls) override {
    if (on_start) std::exchange(on_start, {})();
    const std::lock_guard lock{mutex_};
    for (call* const c : calls) {
      ++started;
      if (std::holds_alternative<open_connect_request>(c->request)) {
        open_connect_response r;
        r.quality.key_chunk_size = 32;
        r.quality.timeout_ms = long_time_ms;
        r.quality.ttl_s = ttl_s;
        r.epoch = 1;
        c->response = r;
        c->complete();
      } else if (asks_for_key(c->request)) {
        if (!failed_next(c)) waiting_.push_back({c, c->request});
      } else {
        if (std::holds_alternative<close_request>(c->request)) c->response = close_response{};
        if (const auto* had = std::get_if<acknowledge_request>(&c->request)) {
          acknowledged = had->below;
          c->response = acknowledge_response{};
        }
        c->complete();
      }
    }
    changed_.notify_all();
  }
  void wait(call& c) override {
    if (on_wait) std::exchange(on_wait, {})();
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return c.done(); });
  }
  void wait_until(call& c, time_point until) override {
    if (on_wait) std::exchange(on_wait, {})();
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, until - boot_clock::now(), [&] { return c.done(); });
  }
  void cancel(call& c) noexcept override {
    if (before_cancel) std::exchange(before_cancel, {})();
    const std::lock_guard lock{mutex_};
    if (c.done()) return;
    for (auto& w : waiting_) {
      if (w.asks == &c) w.asks = c.inherit();
    }
    c.error = canceled;
    c.complete();
    changed_.notify_all();
  }
  [[nodiscard]] extensions supports() const override { return {true, true, true, false, false}; }

  /// Answers the oldest request, whoever waits for it now. With strict once, a key is given once.
  void answer(status outcome = status::success) {
    const std::lock_guard lock{mutex_};
    REQUIRE(!waiting_.empty());
    const auto w = waiting_.front();
    waiting_.erase(waiting_.begin());
    const std::uint64_t index = index_of(w.request);
    const bool again = outcome == status::success && ++given[index] > 1 && strict;
    if (again) outcome = status::index_not_available;
    if (w.asks == nullptr) return;
    // who reads an answer may go by what was asked
    REQUIRE(w.asks->request.index() == w.request.index());
    REQUIRE(index_of(w.asks->request) == index);
    const std::uint64_t lowest = index + (again ? 1U : 0U);
    key_metadata metadata;
    metadata.age_ms = age_ms;
    if (std::holds_alternative<get_key_request>(w.request)) {
      get_key_response r;
      r.outcome = outcome;
      r.index = lowest;
      r.metadata = metadata;
      w.asks->response = r;
    } else {
      get_keys_response r;
      r.outcome = outcome;
      r.first = lowest;
      r.chunk_size = 32;
      w.asks->response = r;
      w.asks->keys = outcome == status::success ? 1 : 0;
      if (!w.asks->metadata_buffer.empty()) w.asks->metadata_buffer.front() = metadata;
    }
    if (outcome == status::success) std::memset(w.asks->key_buffer.data(), static_cast<int>(index + 1), 32);
    w.asks->complete();
    changed_.notify_all();
  }
  /// Until that many calls were started.
  void until_started(int count) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return started >= count; });
  }

  std::function<void()> on_start;
  std::function<void()> on_wait;
  std::function<void()> before_cancel;
  bool strict = false;
  std::uint32_t ttl_s = 0;
  std::uint32_t age_ms = 0;
  int started = 0;
  int fails = 0;  ///< so many requests for key come to a broken connection
  std::map<std::uint64_t, int> given;
  std::uint64_t acknowledged = 0;  ///< below

 private:
  static bool asks_for_key(const any_request& r) {
    return std::holds_alternative<get_key_request>(r) || std::holds_alternative<get_keys_request>(r);
  }
  static std::uint64_t index_of(const any_request& r) {
    const auto* one = std::get_if<get_key_request>(&r);
    return one != nullptr ? one->index : std::get<get_keys_request>(r).first;
  }
  bool failed_next(call* c) {
    if (fails == 0) return false;
    --fails;
    c->error = std::make_error_code(std::errc::connection_reset);
    c->complete();
    return true;
  }
  struct waiting {
    call* asks;
    any_request request;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<waiting> waiting_;
};

struct slow_stream {
  explicit slow_stream(bool strict = false, std::uint32_t ttl_s = 0) {
    via->strict = strict;
    via->ttl_s = ttl_s;
    auto r = request_for();
    r.strict_once = strict;
    stream.emplace(c.open_connect(r).value());
  }
  std::shared_ptr<slow_exchange> via = std::make_shared<slow_exchange>();
  client c{via, secret_arena{}};
  std::optional<key_stream> stream;
};

/// The value of its octets: one more than its index.
int value_of(const key_chunk& k) { return std::to_integer<int>(k.bytes()[31]); }

}  // namespace

TEST_CASE("key_stream: an answer that comes after its call was cancelled is the next call's") {
  slow_stream s;
  waiting_call next{[&] { return s.stream->next_key(); }};
  s.stream->cancel();
  CHECK(next.end() == canceled);
  s.via->answer();
  const auto k = s.stream->next_key().value();
  CHECK(k.index == 0);
  CHECK(value_of(k) == 1);
  CHECK(s.via->started == 2);
}

TEST_CASE("key_stream: a cancelled request for a named key is taken over by who asks for the next") {
  for (const bool is_late : {true, false}) {
    CAPTURE(is_late);
    slow_stream s;
    s.via->on_wait = [&] { s.stream->cancel(); };
    REQUIRE(s.stream->get_key(0).error() == canceled);
    if (is_late) {
      s.via->on_wait = [&] { s.via->answer(); };
    } else {
      s.via->answer();
    }
    const auto k = s.stream->next_key().value();
    CHECK(k.index == 0);
    CHECK(value_of(k) == 1);
    CHECK(s.via->started == 2);
  }
}

TEST_CASE("key_stream: acknowledges what it had, though a request that would have said so was not made") {
  slow_stream s;
  s.via->on_wait = [&] {  // while the first is waited for, the second is asked for and given up
    const waiting_hook hook{[] { return false; }};
    REQUIRE(s.stream->next_key().error() == canceled);
    s.via->answer();
  };
  REQUIRE(s.stream->next_key().value().index == 0);
  s.via->on_wait = [&] { s.via->answer(status::resource_limit); };
  REQUIRE(s.stream->next_key().error() == make_error_code(status::resource_limit));
  REQUIRE(s.via->started == 3);
  CHECK(s.stream->acknowledge());
  CHECK(s.via->acknowledged == 1);
}

TEST_CASE("key_stream: an answer that was kept is asked for again when its key has expired") {  // D15
  slow_stream s{false, 1};
  s.via->on_wait = [&] { s.stream->cancel(); };
  REQUIRE(s.stream->next_key().error() == canceled);
  s.via->age_ms = 1'000;
  s.via->answer();
  s.via->on_wait = [&] { s.via->answer(); };
  CHECK(s.stream->next_key().value().index == 0);
  CHECK(s.via->started == 3);
}

TEST_CASE("key_stream: a cancelled request is taken over by the next call, and not made again") {
  slow_stream s;
  for (int i = 0; i < 100; ++i) {
    s.via->on_wait = [&] { s.stream->cancel(); };
    REQUIRE(s.stream->next_key().error() == canceled);
  }
  CHECK(s.via->started == 2);
  CHECK(s.stream->try_next_key().error() == make_error_code(status::insufficient_key));
  s.via->on_wait = [&] { s.via->answer(); };
  CHECK(value_of(s.stream->next_key().value()) == 1);
  CHECK(s.via->started == 2);
}

TEST_CASE("key_stream: an answer that crosses a cancel is the call's") {
  slow_stream s;
  std::optional<result<key_chunk>> got;
  std::thread reader{[&] { got.emplace(s.stream->next_key()); }};
  s.via->until_started(2);
  s.via->before_cancel = [&] { s.via->answer(); };
  // until it is in the waiting room: before that there is nothing to cancel
  while (s.via->before_cancel) s.stream->cancel();
  reader.join();
  REQUIRE(got->has_value());
  CHECK(got->value().index == 0);
}

TEST_CASE("key_stream: is cancelled while its call is being started") {
  slow_stream s;
  s.via->on_start = [&] { s.stream->cancel(); };
  CHECK(s.stream->next_key().error() == canceled);
  s.via->on_wait = [&] { s.via->answer(); };
  CHECK(s.stream->next_key().value().index == 0);
}

TEST_CASE("key_stream: is cancelled between two attempts") {
  slow_stream s;
  s.via->fails = 1;  // the first; the second is never made
  s.via->on_start = [&] { s.stream->cancel(); };
  CHECK(s.stream->next_key().error() == canceled);
  CHECK(s.via->started == 2);
  s.via->on_wait = [&] { s.via->answer(); };
  CHECK(s.stream->next_key().value().index == 0);
}

TEST_CASE("key_stream: an exception of the transport leaves every key where it was") {
  slow_stream s;
  s.via->on_wait = [] { throw std::runtime_error{"no"}; };
  CHECK_THROWS_AS((void)s.stream->next_key(), std::runtime_error);
  s.via->on_wait = [&] { s.via->answer(); };
  CHECK(s.stream->next_key().value().index == 0);
}

TEST_CASE("key_stream: with strict once the key of a cancelled call is kept for the next") {  // R8
  slow_stream s{true};
  for (const bool is_late : {true, false}) {
    CAPTURE(is_late);
    const auto index = is_late ? 0U : 1U;
    const int before = s.via->started;
    for (int i = 0; i < 2; ++i) {  // the second adopts the first's
      waiting_call next{[&] { return s.stream->next_key(); }};
      s.stream->cancel();
      CHECK(next.end() == canceled);
    }
    CHECK(s.via->started == before + 1);
    std::optional<std::thread> answers;
    if (is_late) {
      answers.emplace([&] { s.via->answer(); });
    } else {
      s.via->answer();
    }
    const auto k = s.stream->next_key().value();
    if (answers) answers->join();
    CHECK(k.index == index);
    CHECK(value_of(k) == static_cast<int>(index) + 1);
    CHECK(s.via->given.at(index) == 1);
    CHECK(s.via->started == before + 1);
  }
}

TEST_CASE("key_stream: with strict once what is kept for nobody goes with it") {
  auto s = std::make_unique<slow_stream>(true);
  const auto via = s->via;
  waiting_call next{[&] { return s->stream->next_key(); }};
  s->stream->cancel();
  CHECK(next.end() == canceled);
  s.reset();
  CHECK(via->given.empty());
}
