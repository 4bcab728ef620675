// client and key_stream, over a transport that stands here and nowhere in the library, and over pair().
#include "qkd004/client.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "core/two_sites.hpp"
#include "qkd004/in_process.hpp"

using namespace qkd004;
using namespace std::chrono_literals;

namespace {

using testing::a_to_b;

std::vector<std::byte> copy(const key_chunk& c) { return {c.bytes().begin(), c.bytes().end()}; }

/// A transport of a user's own: it has no ring to give, and loses what it is told to.
class lossy_exchange final : public exchange {
 public:
  lossy_exchange(std::shared_ptr<in_process_link> link, std::size_t site)
      : inner_{std::make_shared<in_process_exchange>(std::move(link), site, "anonymous")} {}

  void start(std::span<call* const> calls) override {
    inner_->start(calls);
    for (call* c : calls) {
      started += 1;
      if (started == lose) {  // the reply is lost: the server has served, the caller gets an error
        inner_->wait(*c);
        if (!c->key_buffer.empty()) std::memset(c->key_buffer.data(), 0, c->key_buffer.size());
        c->error = std::make_error_code(std::errc::connection_reset);
      }
    }
  }
  void wait(call& c) override { inner_->wait(c); }
  void cancel(call& c) noexcept override { inner_->cancel(c); }

  int started = 0;
  int lose = -1;

 private:
  std::shared_ptr<exchange> inner_;
};

}  // namespace

TEST_CASE("key_stream: the short way gives the key that is due, or none and takes none") {
  auto [a, b] = pair();
  auto at_a = a.open_connect(a_to_b).value();
  std::array<std::byte, 32> key{};
  CHECK_FALSE(at_a.ready_key_into(key));  // where the ring is was not looked up yet
  CHECK(at_a.next_key_into(key).value() == 0);
  CHECK_FALSE(at_a.ready_key_into(std::span{key}.first(31)));
  std::uint64_t due = 1;
  while (const auto index = at_a.ready_key_into(key)) CHECK(*index == due++);
  CHECK(due > 1);
  CHECK(at_a.ready_key_into(key) == std::nullopt);
}

TEST_CASE("key_stream: acknowledge tells the key manager what was had, and then nothing") {
  const auto link = std::make_shared<in_process_link>(pair_options{});
  class wire final : public exchange {
   public:
    explicit wire(std::shared_ptr<exchange> inner) : inner_{std::move(inner)} {}
    void start(std::span<call* const> calls) override {
      for (call* c : calls) {
        if (const auto* had = std::get_if<acknowledge_request>(&c->request)) told.push_back(had->below);
      }
      inner_->start(calls);
    }
    void wait(call& c) override { inner_->wait(c); }
    void cancel(call& c) noexcept override { inner_->cancel(c); }
    [[nodiscard]] extensions supports() const override { return {true, true, true, false, false}; }
    std::vector<std::uint64_t> told;

   private:
    std::shared_ptr<exchange> inner_;
  };
  const auto via = std::make_shared<wire>(std::make_shared<in_process_exchange>(link, 0, "anonymous"));
  client here{via, secret_arena{}};
  auto stream = here.open_connect(a_to_b).value();
  REQUIRE(stream.acknowledge());
  CHECK(via->told.empty());
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(stream.next_key().value().index == i);
  REQUIRE(stream.acknowledge());
  CHECK(via->told == std::vector<std::uint64_t>{3});
  REQUIRE(stream.acknowledge());
  CHECK(via->told.size() == 1);
  CHECK(stream.get_key(2).error() == make_error_code(status::index_not_available));
}

TEST_CASE("pair: gives the same keys at both ends, each once") {
  auto [a, b] = pair();
  auto at_a = a.open_connect(a_to_b).value();
  CHECK(at_a.outcome() == status::peer_not_connected);
  auto request = a_to_b;
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  CHECK(at_b.outcome() == status::success);
  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    const auto x = at_a.next_key().value();
    const auto y = at_b.next_key().value();
    REQUIRE(x.index == i);
    REQUIRE(y.index == i);
    REQUIRE(copy(x) == copy(y));
    REQUIRE(seen.insert(copy(x)).second);
  }
  CHECK(at_a.get_key(3).error() == make_error_code(status::index_not_available));
}

TEST_CASE("pair: delivers every key to two threads at each end, whatever they do") {
  auto [a, b] = pair();
  auto at_a = a.open_connect(a_to_b).value();
  auto request = a_to_b;
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  constexpr std::uint64_t keys = 20'000;
  std::vector<std::vector<std::byte>> got_a(keys);
  std::vector<std::vector<std::byte>> got_b(keys);
  std::atomic<std::uint64_t> count_a{0};
  std::atomic<std::uint64_t> count_b{0};
  const auto read = [](key_stream& s, auto& into, auto& count) {
    while (count.fetch_add(1) < keys) {
      auto c = s.next_key();
      if (!c) return;
      into[c->index] = copy(*c);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] { read(at_a, got_a, count_a); });
    threads.emplace_back([&] { read(at_b, got_b, count_b); });
  }
  for (auto& t : threads) t.join();
  for (std::uint64_t i = 0; i < keys; ++i) {
    REQUIRE(got_a[i].size() == 32);
    REQUIRE(got_a[i] == got_b[i]);
  }
}

TEST_CASE("key_stream: takes runs, and keys into the caller's memory") {
  auto [a, b] = pair();
  auto at_a = a.open_connect(a_to_b).value();
  auto request = a_to_b;
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  std::vector<std::byte> x(64 * 32);
  std::vector<std::byte> y(32);
  const auto run = at_a.next_keys_into(x).value();
  CHECK(run.first == 0);
  CHECK(run.count == 64);
  for (std::uint64_t i = 0; i < 64; ++i) {
    REQUIRE(at_b.next_key_into(y).value() == i);
    REQUIRE(std::memcmp(y.data(), x.data() + i * 32, 32) == 0);
  }
  CHECK(at_a.next_key_into(std::span{y}.first(31)).error() == make_error_code(status::invalid_argument));
  CHECK(at_a.next_key().value().index == 64);
}

TEST_CASE("key_stream: waits for the other side up to Timeout when it runs ahead") {
  auto [a, b] = pair();
  auto request = a_to_b;
  request.quality.timeout_ms = 300;
  auto at_a = a.open_connect(request).value();
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  for (int i = 0; i < 128; ++i) REQUIRE(at_a.next_key());
  CHECK(at_a.try_next_key().error() == make_error_code(status::insufficient_key));
  const auto from = boot_clock::now();
  CHECK(at_a.next_key().error() == make_error_code(status::timeout));
  const auto took = boot_clock::now() - from;
  CHECK(took >= 300ms);
  CHECK(took < 3s);
  std::thread reader{[&] {
    for (int i = 0; i < 128; ++i) (void)at_b.next_key();
  }};
  CHECK(at_a.next_key().value().index == 128);
  reader.join();
}

TEST_CASE("key_stream: ends blocked readers when it is closed, and the other end reads on") {
  auto [a, b] = pair();
  auto at_a = a.open_connect(a_to_b).value();
  auto request = a_to_b;
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  std::error_code error;
  std::thread reader{[&] { error = at_a.get_key(5'000).error(); }};
  CHECK(at_a.close());
  CHECK(at_a.close());
  reader.join();
  CHECK(error == make_error_code(status::unknown_key_stream));
  CHECK(at_b.next_key());
  CHECK(a.open_connect(request).error() == make_error_code(status::ksid_in_use));
}

TEST_CASE("key_stream: closes when it goes, unless it was detached") {
  auto [a, b] = pair();
  key_stream_id id;
  {
    auto s = a.open_connect(a_to_b).value();
    id = s.id();
    s.detach();
  }
  auto request = a_to_b;
  request.stream = id;
  {
    auto resumed = a.open_connect(request);
    REQUIRE(resumed);
    CHECK(resumed->next_key().value().index == 0);
  }
  CHECK(a.open_connect(request).error() == make_error_code(status::ksid_in_use));
}

TEST_CASE("key_stream: is fenced off when somebody resumes its stream") {  // R3
  const auto link = std::make_shared<in_process_link>(pair_options{});
  auto one = connect(link, 0, "alice");
  auto two = connect(link, 0, "alice");
  auto first = one.open_connect(a_to_b).value();
  CHECK(first.next_key());
  auto request = a_to_b;
  request.stream = first.id();
  auto second = two.open_connect(request).value();
  CHECK(first.next_key().error() == make_error_code(status::not_authorized));
  CHECK(second.next_key().value().index == 1);
  first.detach();
}

TEST_CASE("key_stream: carries a counter-proposal when the QoS cannot be met") {  // D5
  auto [a, b] = pair();
  auto request = a_to_b;
  request.quality.key_chunk_size = 1 << 30;
  auto refused = a.open_connect(request).value();
  CHECK(refused.outcome() == status::qos_not_met);
  CHECK(refused.next_key().error() == make_error_code(status::qos_not_met));
  request.quality = refused.quality();
  CHECK(a.open_connect(request).value().outcome() == status::peer_not_connected);
}

TEST_CASE("key_stream: gives a forked child an error and never a key") {
  auto [a, b] = pair();
  auto at_a = a.open_connect(a_to_b).value();
  CHECK(at_a.next_key());
  const pid_t child = ::fork();
  if (child == 0) {
    std::array<std::byte, 32> out{};
    const auto r = at_a.next_key_into(out);
    bool zero = true;
    for (const auto o : out) zero = zero && o == std::byte{0};
    ::_exit(!r && zero ? 0 : 1);
  }
  int how = 0;
  ::waitpid(child, &how, 0);
  CHECK(WIFEXITED(how));
  CHECK(WEXITSTATUS(how) == 0);
  CHECK(at_a.next_key().value().index == 1);
}

TEST_CASE("client: works over a transport that the library does not know") {
  const auto link = std::make_shared<in_process_link>(pair_options{});
  const auto wire_a = std::make_shared<lossy_exchange>(link, 0);
  const auto wire_b = std::make_shared<lossy_exchange>(link, 1);
  client a{wire_a, link->arena(0)};
  client b{wire_b, link->arena(1)};
  auto at_a = a.open_connect(a_to_b).value();
  auto request = a_to_b;
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto x = at_a.next_key().value();
    const auto y = at_b.next_key().value();
    REQUIRE(x.index == i);
    REQUIRE(copy(x) == copy(y));
  }
  CHECK(at_a.close());
}

TEST_CASE("client: asks for the same index again when the reply was lost") {  // D13
  for (int lose = 1; lose <= 6; ++lose) {
    CAPTURE(lose);
    const auto link = std::make_shared<in_process_link>(pair_options{});
    const auto wire_a = std::make_shared<lossy_exchange>(link, 0);
    client a{wire_a, link->arena(0)};
    client b = connect(link, 1);
    auto at_a = a.open_connect(a_to_b).value();
    auto request = a_to_b;
    request.stream = at_a.id();
    auto at_b = b.open_connect(request).value();
    wire_a->started = 0;
    wire_a->lose = lose;
    for (std::uint64_t i = 0; i < 5; ++i) {
      const auto x = at_a.next_key().value();
      REQUIRE(x.index == i);
      REQUIRE(copy(x) == copy(at_b.next_key().value()));
    }
  }
}

TEST_CASE("client: asks for runs in one go over a transport without a ring") {
  const auto link = std::make_shared<in_process_link>(pair_options{});
  const auto wire_a = std::make_shared<lossy_exchange>(link, 0);
  client a{wire_a, link->arena(0)};
  client b = connect(link, 1);
  auto at_a = a.open_connect(a_to_b).value();
  auto request = a_to_b;
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();
  wire_a->started = 0;
  wire_a->lose = 20;
  std::map<std::uint64_t, std::vector<std::byte>> got;
  std::vector<std::byte> x(16 * 32);
  while (got.size() < 64) {
    const auto run = at_a.next_keys_into(x).value();
    for (std::size_t i = 0; i < run.count; ++i) {
      got[run.first + i].assign(x.begin() + static_cast<std::ptrdiff_t>(i * 32),
                                x.begin() + static_cast<std::ptrdiff_t>(i * 32 + 32));
    }
  }
  for (std::uint64_t i = 0; i < 64; ++i) REQUIRE(got.at(i) == copy(at_b.next_key().value()));
}

TEST_CASE("client: goes on at the lowest live index after its keys expired") {
  auto [a, b] = pair();
  auto request = a_to_b;
  request.quality.ttl_s = 1;
  auto at_a = a.open_connect(request).value();
  CHECK(at_a.next_key().value().index == 0);
  const auto give_up = boot_clock::now() + 20s;
  std::uint64_t index = 0;
  while (index < 128 && boot_clock::now() < give_up) {
    const auto k = at_a.next_key();
    if (k) index = k->index;
    std::this_thread::sleep_for(200ms);
  }
  CHECK(index >= 128);  // the rest of the first window died unread
}

namespace {

/// A key manager that has every key at once; key i is 32 octets of the value i.
class eager_exchange final : public exchange {
 public:
  void start(std::span<call* const> calls) override {
    for (call* const c : calls) {
      if (std::holds_alternative<open_connect_request>(c->request)) {
        open_connect_response r;
        r.quality.key_chunk_size = 32;
        r.quality.timeout_ms = 1'000;
        r.epoch = 1;
        c->response = r;
      } else if (std::holds_alternative<get_keys_request>(c->request)) {
        if (before_answer) continue;  // in wait()
        answer(*c);
      } else if (std::holds_alternative<close_request>(c->request)) {
        c->response = close_response{};
      } else {
        c->response = acknowledge_response{};
      }
      c->complete();
    }
  }
  void wait(call& c) override {
    if (c.done()) return;
    std::exchange(before_answer, {})();
    answer(c);
    c.complete();
  }
  void cancel(call&) noexcept override {}
  [[nodiscard]] extensions supports() const override { return {true, true, true, true, true}; }
  [[nodiscard]] result<std::unique_ptr<key_flow>> subscribe(const open_connect_response&, std::uint64_t first,
                                                            std::uint32_t, const secret_arena&) override {
    class flow final : public key_flow {
     public:
      flow(eager_exchange& owner, std::uint64_t next) : owner_{owner}, next_{next} {}
      taken take(std::span<std::byte> out, std::span<key_metadata>) override {
        std::memset(out.data(), static_cast<int>(next_), 32);
        return {{}, next_++, 1};
      }
      void await(call& c) override { c.complete(); }
      void stop() override {
        if (owner_.on_stop) std::exchange(owner_.on_stop, {})();
      }
      std::uint64_t position() override { return next_; }

     private:
      eager_exchange& owner_;
      std::uint64_t next_;
    };
    subscribed_from.push_back(first);
    return std::unique_ptr<key_flow>{std::make_unique<flow>(*this, first)};
  }

  std::function<void()> before_answer;
  std::function<void()> on_stop;
  status next_outcome = status::success;
  std::uint64_t lowest = 0;  ///< of an outcome that is no success
  std::vector<std::uint64_t> subscribed_from;

 private:
  void answer(call& c) {
    const auto& asked = std::get<get_keys_request>(c.request);
    get_keys_response r;
    r.outcome = std::exchange(next_outcome, status::success);
    r.first = r.outcome == status::success ? asked.first : std::max(asked.first, lowest);
    r.chunk_size = 32;
    c.keys = r.outcome == status::success ? asked.count : 0;
    for (std::uint32_t i = 0; i < c.keys; ++i) {
      std::memset(c.key_buffer.data() + i * 32, static_cast<int>(asked.first + i), 32);
    }
    c.response = r;
  }
};

}  // namespace

TEST_CASE("key_stream: has keys sent ahead only once nothing below is missing, so that none comes twice") {
  const auto via = std::make_shared<eager_exchange>();
  client c{via, secret_arena{}};
  auto stream = c.open_connect(a_to_b).value();
  std::vector<std::byte> room(4 * 32);
  // two readers: the first one's keys are late, the second has those behind them
  via->before_answer = [&] {
    std::vector<std::byte> other(4 * 32);
    CHECK(stream.next_keys_into(other)->first == 4);
    via->next_outcome = status::timeout;
  };
  CHECK(stream.next_keys_into(room).error() == make_error_code(status::timeout));
  REQUIRE(stream.prefetch(8));
  CHECK(via->subscribed_from.empty());
  CHECK(stream.next_keys_into(room)->first == 0);
  CHECK(stream.next_key()->index == 8);
  CHECK(via->subscribed_from == std::vector<std::uint64_t>{8});
  CHECK(stream.next_key()->index == 9);
}

TEST_CASE("key_stream: gives no key twice to who asks while what is sent ahead ends") {
  const auto via = std::make_shared<eager_exchange>();
  client c{via, secret_arena{}};
  auto stream = c.open_connect(a_to_b).value();
  REQUIRE(stream.prefetch(8));
  for (std::uint64_t i = 0; i < 3; ++i) REQUIRE(stream.next_key().value().index == i);
  std::future<std::uint64_t> other;
  via->on_stop = [&] {  // the other one asks meanwhile, and is not answered before this is through
    other = std::async(std::launch::async, [&] { return stream.next_key().value().index; });
    other.wait_for(100ms);
  };
  CHECK(stream.close());
  CHECK(other.get() == 3);
}

TEST_CASE("key_stream: goes on with keys that are sent ahead once those that were missing are gone") {
  const auto via = std::make_shared<eager_exchange>();
  client c{via, secret_arena{}};
  auto stream = c.open_connect(a_to_b).value();
  via->before_answer = [&] {
    REQUIRE(stream.prefetch(8));
    CHECK(via->subscribed_from.empty());
    via->next_outcome = status::index_not_available;
    via->lowest = 5;
  };
  CHECK(stream.next_key().value().index == 5);
  CHECK(via->subscribed_from == std::vector<std::uint64_t>{5});
}
