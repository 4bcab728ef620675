// What push mode carries: keys per second from one QKD device to one key manager over HTTP on loopback, 8 in flight.
// SPDX-License-Identifier: Apache-2.0
//
// The whole of both roles: a site with its key manager, its stream and its device on one thread; a site that takes what
// is posted into a push_source, which hands it on, on another. Only their other ends are short cuts: the other device's
// keys go from its key manager to the other end of the source by a call, and the two ends of the source speak by calls.
// The linked key source is in memory and as fast as asked; keys have 32 octets.
//
// What is printed: keys handed on per second of the clock, and processor time of each thread for a key. On a machine
// that others use, the second says more.
//
//     QKD004_BENCH_REPETITIONS=15 bench_push_bench     default 5

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "measured.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/push/device.hpp"
#include "qkd004/push/receiver.hpp"

namespace {

using namespace qkd004;
using namespace std::chrono_literals;

constexpr auto one_measurement = 1'000ms;
constexpr char source_uri[] = "qkd://a@dev-a";
constexpr char destination_uri[] = "qkd://b@dev-b";

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "push_bench: %s\n", what.c_str());
  std::exit(1);
}

/// A site and the thread that runs it.
struct host {
  explicit host(net::site_options o) : work{context.get_executor()}, site{context, std::move(o)} {}
  void start() {
    std::string why;
    if (!site.start(&why)) die(why);
    thread = std::thread{[this] { context.run(); }};
  }
  void stop() {
    asio::post(context, [this] {
      if (receiver) receiver->stop();
      if (device) device->stop();
      site.stop();
    });
    work.reset();
    thread.join();
  }
  [[nodiscard]] std::string address(const char* scheme) const {
    for (const auto& uri : site.addresses()) {
      if (uri.starts_with(scheme)) return uri;
    }
    return {};
  }
  double cpu() {
    std::promise<double> told;
    asio::post(context, [&] { told.set_value(bench::cpu_seconds()); });
    return told.get_future().get();
  }

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work;
  net::site site;
  std::optional<push::device> device;
  std::optional<push::receiver> receiver;
  std::thread thread;
};

net::site_options options_of(const char* node) {
  net::site_options o;
  o.manager.node = node;
  o.listen = {"qkd004://127.0.0.1:0", "http://127.0.0.1:0"};
  o.memory = {std::size_t{16} << 20, true};
  return o;
}

push_source_options source_of(push_source_options::end which) {
  push_source_options o{source_uri, destination_uri, which, security_class::simulated_insecure};
  o.memory.allow_unlocked = true;
  return o;
}

/// The other device, without HTTP: reads the stream, hands its keys to the other end of the source and acknowledges.
struct other_device final : net::site_caller {
  other_device(host& at, push_source& to) : here{at}, into{to} { at.site.set_caller(this); }

  void open(const key_stream_id& id) {
    here.site.join([this, id] {
      who = {here.site.service().connect(std::string{anonymous_principal}), 0};
      open_connect_request r{source_uri, destination_uri, {}, id};
      r.no_wait = true;
      here.site.service().open_connect(who, r, boot_clock::now());
    });
  }
  void go_on() {
    here.site.join([this] {
      auto& service = here.site.service();
      if (next > acknowledged) service.acknowledge(who, {stream, epoch, next}, boot_clock::now());
      acknowledged = next;
      const std::uint32_t more = 128 - std::exchange(credit, 128);
      if (more > 0) service.subscribe(who, {stream, epoch, next, more}, boot_clock::now());
    });
  }

  using net::site_caller::answer;
  void answer(const caller&, const open_connect_response& r) override {
    if (!is_answer(r.outcome, operation::open_connect))
      die("the other device cannot open the stream: " + std::string{to_string(r.outcome)});
    stream = r.stream;
    epoch = r.epoch;
    asio::post(here.context, [this] { go_on(); });
  }
  void answer(const caller&, const close_response&) override {}
  void answer(const caller&, const wait_peer_response&) override {}
  void answer(const caller&, const acknowledge_response&) override {}
  void deliver(connection_id, const key_stream_id&, const get_keys_response& r) override {
    if (r.outcome != status::success) return;
    for (std::size_t i = 0; i < r.keys.size(); ++i) {
      push_key_material m;
      m.index = push_wire_index(r.first + i);
      m.key = r.keys[i].key;
      while (into.take(m, boot_clock::now()) == push_source::verdict::no_room) std::this_thread::yield();
    }
    next = r.first + r.keys.size();
    credit -= static_cast<std::uint32_t>(r.keys.size());
    asio::post(here.context, [this] { go_on(); });
  }

  host& here;
  push_source& into;
  caller who;
  key_stream_id stream;
  std::uint64_t epoch = 0;
  std::uint64_t next = 0;
  std::uint64_t acknowledged = 0;
  std::uint32_t credit = 0;
};

/// What two key managers would do with the ends of the source: carry their words, and take their keys.
struct two_ends {
  two_ends(asio::io_context& on, push_source& first, push_source& second)
      : context{on}, ends{&first, &second} {
    key_source_session session;
    session.higher[0] = std::byte{1};
    for (push_source* const e : ends) {
      if (!e->start(session, boot_clock::now())) die("the source does not start");
      e->channel()->up();
      e->channel()->on_ready([this] {
        if (called.exchange(true)) return;
        asio::post(context, [this] { carry(); });
      });
    }
    asio::post(context, [this] { carry(); });
  }
  void carry() {
    called = false;
    for (bool more = true; more;) {
      more = false;
      for (const std::size_t n : {0U, 1U}) {
        std::vector<std::byte> words;
        if (!ends[n]->channel()->next(words)) continue;
        if (!ends[1 - n]->channel()->receive(words)) die("the ends do not understand one another");
        more = true;
      }
    }
    for (const std::size_t n : {0U, 1U}) {
      for (;;) {
        const auto block = ends[n]->poll(arena, boot_clock::now());
        if (!block || !block->has_value()) break;
        if (n == 0) handed_on.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }

  asio::io_context& context;
  push_source* ends[2];
  secret_arena arena{{std::size_t{1} << 20, true}};
  std::atomic<bool> called{false};
  std::atomic<std::uint64_t> handed_on{0};
};

}  // namespace

int main() {
  const char* const wanted = std::getenv("QKD004_BENCH_REPETITIONS");
  const int repetitions = wanted != nullptr ? std::atoi(wanted) : 5;

  auto pair = make_memory_sources({});
  auto at_b = options_of("dev-b");
  at_b.peers.push_back({{"link", "dev-a", {}}, "", std::move(pair.second), ""});
  host device_b{std::move(at_b)};
  device_b.start();
  auto at_k = options_of("kms");
  at_k.self_link = true;
  host manager{std::move(at_k)};
  manager.start();

  auto at_a = options_of("dev-a");
  at_a.peers.push_back({{"link", "dev-b", {}}, device_b.address("qkd004"), std::move(pair.first), ""});
  host device_a{std::move(at_a)};
  push::device_options d;
  d.key_managers[source_uri] = {manager.address("http"), ""};
  d.memory.allow_unlocked = true;
  device_a.device.emplace(device_a.context, device_a.site, std::move(d));
  std::string why;
  if (!device_a.device->start(&why)) die(why);
  device_a.start();

  const auto mine = std::make_shared<push_source>(source_of(push_source_options::end::begins));
  push_source theirs{source_of(push_source_options::end::follows)};
  two_ends ends{manager.context, *mine, theirs};
  push::receiver_options r;
  r.links = {{"link", mine, device_a.address("http"), "", false}};
  r.memory.allow_unlocked = true;
  manager.receiver.emplace(manager.context, manager.site, std::move(r));
  if (!manager.receiver->start(&why)) die(why);

  const auto until = [](auto done) {
    for (int i = 0; !done(); ++i) {
      if (i == 10'000) die("no key came");
      std::this_thread::sleep_for(1ms);
    }
  };
  other_device other{device_b, theirs};
  until([&] { return !mine->stream().is_null() && theirs.stream() == mine->stream(); });
  other.open(mine->stream());
  // the other end of the source is served by a call: it is told that its device has opened and armed
  until([&] {
    if (const auto call = theirs.next_call(boot_clock::now())) {
      push_reply reply{true, 201, status::success, mine->stream(), {}};
      reply.quality.key_chunk_size = 32;
      theirs.replied(reply, boot_clock::now());
    }
    return ends.handed_on > 1'000;
  });

  std::vector<double> rates;
  std::vector<double> of_device;
  std::vector<double> of_manager;
  for (int i = 0; i < repetitions; ++i) {
    const std::uint64_t keys = ends.handed_on;
    const double wall = bench::wall_seconds();
    const double a = device_a.cpu();
    const double k = manager.cpu();
    std::this_thread::sleep_for(one_measurement);
    const auto count = static_cast<double>(ends.handed_on - keys);
    rates.push_back(count / (bench::wall_seconds() - wall));
    of_device.push_back((device_a.cpu() - a) / count * 1e6);
    of_manager.push_back((manager.cpu() - k) / count * 1e6);
  }
  const auto rate = bench::spread_of(rates);
  const auto device = bench::spread_of(of_device);
  const auto kms = bench::spread_of(of_manager);
  std::printf("%s\n", bench::machine().c_str());
  std::printf("push: %.0f keys/s (%.0f to %.0f) of 32 octets, 8 in flight; goal 20000\n", rate.median,
              rate.lowest, rate.highest);
  std::printf("processor: device %.1f us a key (%.1f to %.1f), key manager %.1f us a key (%.1f to %.1f)\n",
              device.median, device.lowest, device.highest, kms.median, kms.lowest, kms.highest);
  // every key that was handed on was posted and acknowledged on its own
  std::promise<std::uint64_t> told;
  const std::uint64_t handed_on = ends.handed_on;
  asio::post(device_a.context, [&] {
    // what is acknowledged now may not have been heard of yet
    told.set_value(device_a.device->report().at(0).acknowledged + 8);
  });
  if (told.get_future().get() < handed_on) die("keys came that were not posted");
  const auto report = mine->report();
  if (report.given_up != 0 || report.lost_here != 0) die("keys were lost");
  std::fflush(stdout);
  std::_Exit(0);
}
