// What the C interface adds: qkd004_next_key() beside key_stream::next_key_into(), both on a filled ring in this process,
// in turns within one run; runs of 64 keys; and what memory 10,000 open streams take.
//
//     QKD004_BENCH_ROUNDS=4000 bench_capi_bench       more rounds (default 2,000 of 127 keys for each way)
//     QKD004_BENCH_STREAMS=1000 bench_capi_bench      fewer streams (default 10,000)

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "measured.hpp"
#include "qkd004.h"
#include "qkd004/qkd004.hpp"

namespace {

using qkd004::bench::cpu_seconds;
using qkd004::bench::spread;
using qkd004::bench::spread_of;

constexpr std::size_t keys = 128;  // the default window
constexpr std::size_t timed = keys - 1;
constexpr std::size_t key_size = 32;
using key = std::array<std::uint8_t, key_size>;

void use(const void* k) { asm volatile("" : : "r"(k) : "memory"); }

void must(int result) {
  if (result != QKD004_SUCCESS && result != QKD004_PEER_NOT_CONNECTED)
    throw std::runtime_error{qkd004_last_error()};
}

std::size_t number_of(const char* variable, std::size_t otherwise) {
  const char* const asked = std::getenv(variable);
  return asked == nullptr ? otherwise : static_cast<std::size_t>(std::max(1, std::atoi(asked)));
}

/// A stream in this process with both ends, by the C++ interface.
class by_cpp {
 public:
  by_cpp() : by_cpp{qkd004::pair()} {}

  /// Both sides are empty: whoever asks first fills both rings, and is not timed.
  void refill() {
    for (std::size_t left = keys; left > 0;)
      left -= b_.next_keys_into(std::span{drain_}.first(left * key_size)).value().count;
    (void)a_.next_key_into(std::span{drain_}).value();
  }
  void take(std::size_t n) {
    std::array<std::byte, key_size> k{};
    for (; n > 0; --n) {
      if (!a_.next_key_into(k)) throw std::runtime_error{"a key did not come"};
      use(k.data());
    }
  }
  void take_runs(std::size_t n) {
    while (n > 0)
      n -= a_.next_keys_into(std::span{drain_}.first(std::min<std::size_t>(n, 64) * key_size)).value().count;
  }

 private:
  explicit by_cpp(std::pair<qkd004::client, qkd004::client> ends)
      : a_{ends.first.open_connect({"qkd://alice@A", "qkd://bob@B"}).value()},
        b_{ends.second.open_connect({"qkd://alice@A", "qkd://bob@B", {}, a_.id()}).value()} {
    take(keys);
  }
  std::vector<std::byte> drain_ = std::vector<std::byte>(keys * key_size);
  qkd004::key_stream a_;
  qkd004::key_stream b_;
};

/// The same by the C interface.
class by_c {
 public:
  by_c() {
    qkd004_client* a = nullptr;
    qkd004_client* b = nullptr;
    must(qkd004_pair(&a, &b));
    qkd004_key_stream_id id{};
    must(qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@B", nullptr, &id, 0, &a_));
    must(qkd004_open_connect(b, "qkd://alice@A", "qkd://bob@B", nullptr, &id, 0, &b_));
    must(qkd004_client_close(a));
    must(qkd004_client_close(b));
    take(keys);
  }
  by_c(const by_c&) = delete;
  by_c& operator=(const by_c&) = delete;
  ~by_c() {
    (void)qkd004_close(a_);
    (void)qkd004_close(b_);
  }

  void refill() {
    for (std::size_t left = keys; left > 0;) left -= run(b_, left);
    take(1);
  }
  void take(std::size_t n) {
    key k{};
    for (; n > 0; --n) {
      std::size_t size = k.size();
      std::uint64_t index = 0;
      must(qkd004_next_key(a_, k.data(), &size, &index, nullptr));
      use(k.data());
    }
  }
  void take_runs(std::size_t n) {
    while (n > 0) n -= run(a_, std::min<std::size_t>(n, 64));
  }

 private:
  std::size_t run(qkd004_stream* s, std::size_t most) {
    std::size_t size = most * key_size;
    std::size_t count = 0;
    must(qkd004_get_keys(s, drain_.data(), &size, nullptr, &count));
    return count;
  }
  std::vector<std::uint8_t> drain_ = std::vector<std::uint8_t>(keys * key_size);
  qkd004_stream* a_ = nullptr;
  qkd004_stream* b_ = nullptr;
};

/// Nanoseconds a key, one value a round.
template <class Way, class Take>
void time(std::vector<double>& to, Way& way, Take&& take) {
  way.refill();
  const double from = cpu_seconds();
  take(way);
  to.push_back((cpu_seconds() - from) * 1e9 / static_cast<double>(timed));
}

void say(const char* name, const spread& s) {
  std::printf("%-44s %8.1f %8.1f %8.1f\n", name, s.median, s.lowest, s.highest);
}

void overhead() {
  const std::size_t rounds = number_of("QKD004_BENCH_ROUNDS", 2'000);
  by_cpp cpp;
  by_c c;
  std::vector<double> single_cpp, single_c, run_cpp, run_c, more;
  for (std::size_t r = 0; r != rounds; ++r) {
    time(single_cpp, cpp, [](by_cpp& w) { w.take(timed); });
    time(single_c, c, [](by_c& w) { w.take(timed); });
    time(run_cpp, cpp, [](by_cpp& w) { w.take_runs(timed); });
    time(run_c, c, [](by_c& w) { w.take_runs(timed); });
    more.push_back(single_c.back() - single_cpp.back());
  }
  std::printf("%s; 32-octet keys, one thread, CPU time, %zu rounds of %zu keys for each way, in turns\n",
              qkd004::bench::machine().c_str(), rounds, timed);
  std::printf("%-44s %8s %8s %8s\n", "ns a key", "median", "lowest", "highest");
  say("key_stream::next_key_into", spread_of(single_cpp));
  say("qkd004_next_key", spread_of(single_c));
  say("key_stream::next_keys_into, runs of 64", spread_of(run_cpp));
  say("qkd004_get_keys, runs of 64", spread_of(run_c));
  std::printf(
      "qkd004_next_key costs %.2f ns more, %.2f times as much (medians); goal: 5 ns more at the most\n",
      spread_of(more).median, spread_of(single_c).median / spread_of(single_cpp).median);
}

/// A line of /proc/self/status, in MiB.
double status_mib(const char* name) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::strtod(line.c_str() + line.find(':') + 1, nullptr) / 1024;
  }
  return 0;
}

void growth() {
  const std::size_t streams = number_of("QKD004_BENCH_STREAMS", 10'000);
  constexpr std::uint32_t chunks = 64;
  qkd004_manager_options options = QKD004_MANAGER_OPTIONS_INIT;
  options.ring_chunks = chunks;
  options.memory_bytes = std::size_t{128} << 20;
  options.allow_unlocked = 1;
  options.max_streams = streams;
  qkd004_manager* manager = nullptr;
  qkd004_client* a = nullptr;
  qkd004_client* b = nullptr;
  const double rss_before = status_mib("VmRSS");
  const double locked_before = status_mib("VmLck");
  must(qkd004_manager_open(&options, &manager));
  must(qkd004_manager_connect(manager, 0, nullptr, &a));
  must(qkd004_manager_connect(manager, 1, nullptr, &b));
  std::vector<qkd004_stream*> at_a(streams);
  std::vector<qkd004_stream*> at_b(streams);
  const double from = cpu_seconds();
  for (std::size_t i = 0; i != streams; ++i) {
    qkd004_key_stream_id id{};
    must(qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@B", nullptr, &id, 0, &at_a[i]));
    must(qkd004_open_connect(b, "qkd://alice@A", "qkd://bob@B", nullptr, &id, 0, &at_b[i]));
  }
  std::vector<std::uint8_t> room(chunks * key_size);
  const auto run = [&](qkd004_stream* s, std::size_t most) {
    std::size_t size = most * key_size;
    std::size_t count = 0;
    must(qkd004_get_keys(s, room.data(), &size, nullptr, &count));
    return count;
  };
  // the first key of a stream is waited for, which fills its rings
  std::size_t full = 0;
  for (std::size_t i = 0; i != streams; ++i) (void)run(at_a[i], 1);
  const double seconds = cpu_seconds() - from;
  const double rss = status_mib("VmRSS") - rss_before;
  const double locked = status_mib("VmLck") - locked_before;
  for (qkd004_stream* const s : at_a) full += run(s, chunks) + 1 == chunks ? 1U : 0U;
  std::printf(
      "%zu open streams of %u chunks of 32 octets, both ends in this process, opened and filled in %.1f s of "
      "CPU: "
      "%zu rings full\n",
      streams, chunks, seconds, full);
  std::printf(
      "both key managers, and the streams of both applications: resident %.1f MiB, of it locked %.1f MiB; "
      "that is %.1f MiB a key manager, goal: 64 MiB at the most\n",
      rss, locked, rss / 2);
  for (std::size_t i = 0; i != streams; ++i) {
    must(qkd004_close(at_a[i]));
    must(qkd004_close(at_b[i]));
  }
  must(qkd004_client_close(a));
  must(qkd004_client_close(b));
  must(qkd004_manager_close(manager));
}

}  // namespace

int main() {
  try {
    overhead();
    growth();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
