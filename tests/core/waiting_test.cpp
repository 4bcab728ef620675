// Calls that wait in this process, or on a transport that stands here: how they are cancelled and interrupted, and that
// no key is lost or had twice by that.
#include "qkd004/waiting.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "core/waiting_call.hpp"
#include "qkd004/in_process.hpp"

using namespace qkd004;
using namespace std::chrono_literals;
using ::test::waiting_call;

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

TEST_CASE("waiting_hook: is asked no more often in this process than over a wire") {
  auto [a, b] = pair();
  auto request = request_for();
  request.quality.timeout_ms = 300;
  auto stream = a.open_connect(request).value();
  std::vector<std::byte> room(128 * 32);
  for (std::size_t had = 0; had < 128;) had += stream.next_keys_into(room).value().count;
  int asked = 0;
  const waiting_hook hook{[&] {
    ++asked;
    return true;
  }};
  const auto since = boot_clock::now();
  CHECK(stream.next_key().error() == make_error_code(status::timeout));
  CHECK(asked > 0);
  CHECK(asked <= (boot_clock::now() - since) / waiting_hook::interval);
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
        r.outcome = opens;
        r.quality.key_chunk_size = chunk;
        r.quality.timeout_ms = timeout_ms;
        r.quality.ttl_s = ttl_s;
        r.epoch = 1;
        c->response = r;
        c->complete();
      } else if (asks_for_key(c->request)) {
        asked.push_back(index_of(c->request));
        if (!failed_next(c)) waiting_.push_back({c, c->request});
      } else {
        if (std::holds_alternative<close_request>(c->request)) {
          ++closed;
          c->response = close_response{};
        }
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
    while (answers_at_once && !c.done()) answer();
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
  [[nodiscard]] extensions supports() const override { return can; }

  /// Answers the oldest request, whoever waits for it now. With strict once, a key is given once.
  void answer(status outcome = status::success) {
    const std::lock_guard lock{mutex_};
    REQUIRE(!waiting_.empty());
    const auto w = waiting_.front();
    waiting_.pop_front();
    answer(w, outcome);
  }
  /// The youngest.
  void answer_last() {
    const std::lock_guard lock{mutex_};
    REQUIRE(!waiting_.empty());
    const auto w = waiting_.back();
    waiting_.pop_back();
    answer(w, status::success);
  }
  /// Until that many calls were started.
  void until_started(int count) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return started >= count; });
  }
  /// The same, but no longer than `most`.
  void until_started(int count, boot_clock::duration most) {
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, most, [&] { return started >= count; });
  }

  std::function<void()> on_start;
  std::function<void()> on_wait;
  std::function<void()> before_cancel;
  extensions can{true, true, true, false, false};
  status opens = status::success;
  std::uint32_t chunk = 32;
  std::uint32_t timeout_ms = long_time_ms;
  bool strict = false;
  std::uint32_t ttl_s = 0;
  bool answers_at_once = false;
  std::uint32_t age_ms = 0;
  int started = 0;
  int fails = 0;                     ///< so many requests for key come to a broken connection
  std::vector<std::uint64_t> asked;  ///< indices, as their requests came
  std::map<std::uint64_t, int> given;
  std::uint64_t acknowledged = 0;  ///< below
  int closed = 0;

 private:
  struct waiting {
    call* asks;
    any_request request;
  };
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
  void answer(const waiting& w, status outcome) {
    const std::uint64_t index = index_of(w.request);
    std::uint32_t count = 1;
    if (const auto* several = std::get_if<get_keys_request>(&w.request)) count = several->count;
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
      r.chunk_size = chunk;
      w.asks->response = r;
      w.asks->keys = outcome == status::success ? count : 0;
      if (!w.asks->metadata_buffer.empty()) w.asks->metadata_buffer.front() = metadata;
    }
    for (std::uint32_t i = 0; outcome == status::success && i < count; ++i) {
      std::memset(w.asks->key_buffer.data() + i * chunk, static_cast<int>(index + i + 1), chunk);
    }
    w.asks->complete();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<waiting> waiting_;
};

struct slow_stream {
  explicit slow_stream(bool strict = false, std::uint32_t ttl_s = 0) {
    via->strict = strict;
    via->ttl_s = ttl_s;
    open();
  }
  explicit slow_stream(void (*adjust)(slow_exchange&)) {
    adjust(*via);
    open();
  }
  void open() {
    auto r = request_for();
    r.strict_once = via->strict;
    stream.emplace(c.open_connect(r).value());
  }
  static secret_options memory() {
    secret_options o;
    o.allow_unlocked = true;
    return o;
  }
  std::shared_ptr<slow_exchange> via = std::make_shared<slow_exchange>();
  client c{via, secret_arena{memory()}};
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
  std::atomic<bool> crossed{false};
  s.via->before_cancel = [&] {
    s.via->answer();
    crossed = true;
  };
  // until it is in the waiting room: before that there is nothing to cancel
  while (!crossed) s.stream->cancel();
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

TEST_CASE(
    "key_stream: with strict once the first of two requests for a key is kept, whichever ended first") {  // R8
  for (const std::size_t ends_first : {0U, 1U}) {
    CAPTURE(ends_first);
    slow_stream s{true};
    std::atomic<bool> goes_on[2] = {true, true};
    const auto wait = [&](std::size_t i) {
      const waiting_hook hook{[&] { return goes_on[i].load(); }};
      CHECK((i == 0 ? s.stream->get_key(0) : s.stream->next_key()).error() == canceled);
    };
    std::vector<std::thread> threads;
    for (const std::size_t i : {0U, 1U}) {
      threads.emplace_back(wait, i);
      s.via->until_started(static_cast<int>(i) + 2);
    }
    for (const std::size_t i : {ends_first, 1 - ends_first}) {
      goes_on[i] = false;
      threads[i].join();
    }
    s.via->answer();
    s.via->answer();
    s.via->answers_at_once = true;  // what is asked for beyond
    const auto k = s.stream->next_key().value();
    CHECK(k.index == 0);
    CHECK(value_of(k) == 1);
    CHECK(s.via->started == 3);
  }
}

TEST_CASE(
    "key_stream: with strict once a key that came while the hook threw is kept for the next call") {  // R8
  for (const bool named : {false, true}) {
    CAPTURE(named);
    slow_stream s{true};
    s.via->age_ms = 7;
    std::vector<std::byte> room(32);
    {
      const waiting_hook hook{[&]() -> bool {
        s.via->answer();
        throw std::runtime_error{"interrupted"};
      }};
      key_chunk unused;
      CHECK_THROWS_AS(
          (void)s.stream->key_into(room, unused, named ? std::optional<std::uint64_t>{0} : std::nullopt),
          std::runtime_error);
    }
    CHECK(room == std::vector<std::byte>(32));  // who has not had it has not seen it
    s.via->answers_at_once = true;              // what is asked for beyond
    const auto k = s.stream->next_key().value();
    CHECK(k.index == 0);
    CHECK(value_of(k) == 1);
    CHECK(k.metadata.age_ms == 7);
    CHECK(s.via->started == 2);
  }
}

TEST_CASE("key_stream: with strict once gives large keys, too") {
  slow_stream s{[](slow_exchange& e) {
    e.strict = true;
    e.chunk = 100 * 1024;
    e.answers_at_once = true;
  }};
  CHECK(s.stream->next_key().value().bytes().size() == 100 * 1024);
}

TEST_CASE("key_stream: with strict once over plain 004 a run burns no key behind a gap") {  // R8
  slow_stream s{[](slow_exchange& e) {
    e.strict = true;
    e.can = {};
    e.answers_at_once = true;
  }};
  REQUIRE(s.stream->get_key(3));
  std::set<std::uint64_t> had{3};
  std::vector<std::byte> room(8 * 32);
  while (had.size() < 9) {
    const auto run = s.stream->next_keys_into(room).value();
    for (std::size_t i = 0; i < run.count; ++i) REQUIRE(had.insert(run.first + i).second);
    REQUIRE(run.first + run.count <= 9);
  }
}

TEST_CASE("key_stream: over plain 004 the requests of a cancelled run are taken over one after another") {
  slow_stream s{[](slow_exchange& e) { e.can = {}; }};
  std::vector<std::byte> room(4 * 32);
  s.via->on_wait = [&] { s.stream->cancel(); };
  REQUIRE(s.stream->next_keys_into(room).error() == canceled);
  REQUIRE(s.via->started == 5);
  for (int i = 0; i < 4; ++i) s.via->answer();
  for (unsigned i = 0; i < 4; ++i) {
    const auto run = s.stream->next_keys_into(room).value();
    CHECK(run.first == i);
    CHECK(run.count == 1);
    CHECK(room[31] == std::byte{static_cast<unsigned char>(i + 1)});
  }
  CHECK(s.via->started == 5);
}

TEST_CASE("key_stream: a key that was kept for a named call is not had again once it was had") {
  slow_stream s;
  s.via->on_wait = [&] { s.stream->cancel(); };
  REQUIRE(s.stream->get_key(5).error() == canceled);
  s.via->answer();
  s.via->on_wait = [&] { s.via->answer(); };
  std::vector<std::byte> room(16 * 32);
  REQUIRE(s.stream->next_keys_into(room).value().count == 16);
  REQUIRE(s.stream->acknowledge());
  s.via->on_wait = [&] { s.via->answer(status::index_not_available); };
  CHECK(s.stream->get_key(5).error() == make_error_code(status::index_not_available));
}

TEST_CASE("key_stream: an answer that comes for a key that was had meanwhile is nobody's") {
  slow_stream s;
  std::vector<std::byte> room(16 * 32);
  s.via->on_wait = [&] {
    s.via->on_wait = [&] { s.via->answer_last(); };
    REQUIRE(s.stream->next_keys_into(room).value().count == 16);
    s.stream->cancel();
  };
  REQUIRE(s.stream->get_key(5).error() == canceled);
  s.via->answer();
  s.via->on_wait = [&] { s.via->answer(status::index_not_available); };
  CHECK(s.stream->get_key(5).error() == make_error_code(status::index_not_available));
}

TEST_CASE("key_stream: next_key waits, though the request that it takes over did not") {
  slow_stream s;
  s.via->on_wait = [&] { s.stream->cancel(); };
  REQUIRE(s.stream->try_next_key().error() == canceled);
  s.via->on_wait = [&] {
    s.via->answer(status::insufficient_key);
    s.via->answers_at_once = true;
  };
  CHECK(s.stream->next_key().value().index == 0);
  CHECK(s.via->started == 3);
}

TEST_CASE("key_stream: requests for what is next leave in the order of their indices") {
  slow_stream s;
  std::optional<std::thread> other;
  const auto ask = [&](std::uint64_t index) { CHECK(s.stream->next_key().value().index == index); };
  s.via->on_start =
      [&] {  // between the claim and the request; the other one is not seen before this is through
        other.emplace(ask, 1);
        s.via->until_started(2, 100ms);
      };
  std::thread one{ask, 0};
  s.via->until_started(3);
  s.via->answer();
  s.via->answer();
  one.join();
  other->join();
  CHECK(s.via->asked == std::vector<std::uint64_t>{0, 1});
}

TEST_CASE("key_stream: can be closed again after an exception of the transport") {
  slow_stream s;
  s.via->on_wait = [] { throw std::runtime_error{"no"}; };
  CHECK_THROWS_AS((void)s.stream->close(), std::runtime_error);
  CHECK(s.stream->close());
  CHECK(s.via->closed == 2);
  CHECK(s.stream->close());
  CHECK(s.via->closed == 2);
}

TEST_CASE("client: a server that grants keys of no octets is protocol_error") {
  const auto via = std::make_shared<slow_exchange>();
  client c{via, secret_arena{slow_stream::memory()}};
  via->chunk = 0;
  CHECK(c.open_connect(request_for()).error() == make_error_code(status::protocol_error));
  via->opens = status::qos_not_met;  // a proposal may leave it to the key manager
  CHECK(c.open_connect(request_for()).value().outcome() == status::qos_not_met);
}

TEST_CASE(
    "client: a server that grants no Timeout means the default, and its proposals stay as they are") {  // D3, D5
  const auto via = std::make_shared<slow_exchange>();
  client c{via, secret_arena{slow_stream::memory()}};
  via->timeout_ms = 0;
  CHECK(c.open_connect(request_for()).value().quality().timeout_ms == qos_defaults::timeout_ms);
  via->opens = status::qos_not_met;
  CHECK(c.open_connect(request_for()).value().quality().timeout_ms == 0);
}
