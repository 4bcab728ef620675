// What a key costs on its way through the key_ring, beside a mutex with a queue and
// boost::lockfree::spsc_queue.
// SPDX-License-Identifier: Apache-2.0
//
// First Google Benchmark's own table: one thread, each way by itself. Then a table of comparisons, in which
// all ways take turns inside each repetition and a ratio is formed only within one repetition: on a virtual
// machine the two processors come nearer and go farther (a cache line's round trip of about 110 or 600 ns)
// within seconds. A ping-pong before and after each repetition says which it was, and repetitions are binned
// by it.
//
//     QKD004_BENCH_REPETITIONS=30 bench_key_ring_bench     more repetitions of the comparisons (default 15)

#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/lockfree/spsc_queue.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "qkd004/key_ring.hpp"

// --- Allocations of this program, counted -----------------------------------------------------------

namespace {
std::atomic<std::uint64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::max(alignment, sizeof(void*)), size) != 0) throw std::bad_alloc{};
  return memory;
}
}  // namespace

// not inlined: g++ would warn that free() does not belong to new
[[gnu::noinline]] void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

using namespace std::chrono_literals;
using qkd004::key_ring;
using qkd004::status;
using qkd004::time_point;

constexpr std::size_t key_size = 32;
constexpr std::size_t batch = 64;
using key = std::array<std::byte, key_size>;
using steady = std::chrono::steady_clock;

double ns_since(steady::time_point start) {
  return std::chrono::duration<double, std::nano>(steady::now() - start).count();
}

void relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

const std::vector<std::byte>& some_keys() {
  static const auto keys = [] {
    std::vector<std::byte> k(4096 * key_size);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = static_cast<std::byte>(i * 37 % 251);
    return k;
  }();
  return keys;
}

// --- The ways a key can go -----------------------------------------------------------------------
//
// Each has put(n) for the producer and get(n) for the consumer, which return how many went; n is 1 or batch.
// A producer that found its queue full goes on when there is room for a batch: chasing the consumer slot by
// slot makes every queue slow.

/// The key_ring, with a clock reading (at the kernel's tick) on every call.
class ring_way {
 public:
  explicit ring_way(std::uint32_t capacity)
      : ring_{key_ring::make({key_size, capacity, std::chrono::hours{1}}, arena()).value()} {}

  std::size_t put(std::size_t n) {
    if (room_ < n && (room_ = ring_->room(batch)) < batch) return room_ = 0;
    ring_->publish(std::span{some_keys()}.first(n * key_size), put_clock_.now());
    room_ -= static_cast<std::uint32_t>(n);
    return n;
  }
  std::size_t get(std::size_t n) {
    if (n == 1) return ring_->take_next(out_, get_clock_.now()).outcome == status::success ? 1 : 0;
    return ring_->take_run(std::span{out_}.first(n * key_size), get_clock_.now()).count;
  }
  const std::byte* out() const { return out_.data(); }

 private:
  static const qkd004::secret_arena& arena() {
    static const qkd004::secret_arena a{{.bytes = std::size_t{4} << 20, .allow_unlocked = true}};
    return a;
  }
  std::shared_ptr<key_ring> ring_;
  alignas(64) std::uint32_t room_ = 0;  // known to be free
  qkd004::tick_clock put_clock_;
  alignas(64) qkd004::tick_clock get_clock_;
  alignas(64) std::array<std::byte, batch * key_size> out_{};
};

/// boost's queue for one producer and one consumer: no index, no TTL, no clock, nothing wiped.
class boost_way {
 public:
  explicit boost_way(std::uint32_t capacity) : queue_{capacity} {}

  std::size_t put(std::size_t n) {
    const key* keys = reinterpret_cast<const key*>(some_keys().data());
    if (room_ < n && (room_ = queue_.write_available()) < batch) return room_ = 0;
    room_ -= n;
    return n == 1 ? (queue_.push(*keys) ? 1 : 0) : queue_.push(keys, n);
  }
  std::size_t get(std::size_t n) {
    return n == 1 ? (queue_.pop(out_[0]) ? 1 : 0) : queue_.pop(out_.data(), n);
  }
  const std::byte* out() const { return out_[0].data(); }

 private:
  boost::lockfree::spsc_queue<key> queue_;
  alignas(64) std::size_t room_ = 0;  // known to be free
  alignas(64) std::array<key, batch> out_{};
};

/// What one writes first: a mutex, a deque of vectors, the exact clock, explicit_bzero.
class naive_way {
 public:
  explicit naive_way(std::uint32_t capacity) : capacity_{capacity} {}

  std::size_t put(std::size_t n) {
    const auto now = steady::now();
    const std::lock_guard lock{mutex_};
    std::size_t i = 0;
    for (; i < n && queue_.size() < capacity_; ++i) {
      const auto from = some_keys().begin() + static_cast<std::ptrdiff_t>(i * key_size);
      queue_.push_back({{from, from + key_size}, now});
    }
    return i;
  }
  std::size_t get(std::size_t n) {
    const auto now = steady::now();
    const std::lock_guard lock{mutex_};
    std::size_t i = 0;
    for (; i < n && !queue_.empty(); ++i) {
      entry& e = queue_.front();
      if (now - e.since < std::chrono::hours{1}) std::memcpy(out_[i].data(), e.octets.data(), key_size);
      ::explicit_bzero(e.octets.data(), key_size);
      queue_.pop_front();
    }
    return i;
  }
  const std::byte* out() const { return out_[0].data(); }

 private:
  struct entry {
    std::vector<std::byte> octets;
    steady::time_point since;
  };
  const std::size_t capacity_;
  std::mutex mutex_;
  std::deque<entry> queue_;
  alignas(64) std::array<key, batch> out_{};
};

// --- One thread -----------------------------------------------------------------------------------

template <class Way>
void fill(Way& way, std::size_t count) {
  for (std::size_t put = 0; put < count;) put += way.put(std::min(batch, count - put));
}

/// Takes `count` keys `N` at a time; ns for all. The clock is read twice.
template <std::size_t N, class Way>
double drain(Way& way, std::size_t count) {
  const auto start = steady::now();
  for (std::size_t got = 0; got < count;) {
    got += way.get(N);
    benchmark::DoNotOptimize(way.out());
    benchmark::ClobberMemory();
  }
  return ns_since(start);
}

template <class Way, std::size_t N>
void one_thread(benchmark::State& state) {
  const auto capacity = static_cast<std::uint32_t>(state.range(0));
  const auto way = std::make_unique<Way>(capacity);
  std::uint64_t allocated = 0;
  for (auto _ : state) {
    fill(*way, capacity);
    const auto before = allocations.load(std::memory_order_relaxed);
    state.SetIterationTime(drain<N>(*way, capacity) * 1e-9);
    allocated += allocations.load(std::memory_order_relaxed) - before;
  }
  const auto keys = static_cast<double>(state.iterations()) * capacity;
  state.counters["per_key"] =
      benchmark::Counter(keys, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["allocations"] = static_cast<double>(allocated);
}

// --- Two threads ----------------------------------------------------------------------------------

/// Runs the calling thread on one processor only, if there is a choice.
void pin(unsigned cpu) {
  if (std::thread::hardware_concurrency() < 2) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  ::sched_setaffinity(0, sizeof set, &set);
}

/// A thread on processor 1 that does what it is given, while this thread, on processor 0, does its part.
class helper {
 public:
  helper() : thread_{[this] { serve(); }} {}
  ~helper() {
    job_.store(2);
    thread_.join();
  }
  void start(std::function<void()> f) {
    work_ = std::move(f);
    job_.store(1);
  }
  void wait() const {
    while (job_.load() != 0) relax();
  }

 private:
  void serve() {
    pin(1);
    for (int spins = 0;;) {
      const int job = job_.load();
      if (job == 2) return;
      if (job == 1) {
        work_();
        job_.store(0);
        spins = 0;
      } else if (++spins > 10'000) {
        std::this_thread::sleep_for(50us);
      }
    }
  }
  std::function<void()> work_;
  alignas(64) std::atomic<int> job_{0};
  std::thread thread_;
};

/// ns for one cache line to go to the other processor and back.
double round_trip(helper& other) {
  constexpr int rounds = 2'000;
  struct alignas(64) ball {
    std::atomic<int> at{0};
  };
  static ball b;
  b.at.store(0);
  other.start([] {
    for (int i = 0; i < rounds; ++i) {
      while (b.at.load(std::memory_order_acquire) != 2 * i + 1) {}
      b.at.store(2 * i + 2, std::memory_order_release);
    }
  });
  steady::time_point start;
  for (int i = 0; i < rounds; ++i) {
    if (i == rounds / 10) start = steady::now();  // by then the other thread has come
    b.at.store(2 * i + 1, std::memory_order_release);
    while (b.at.load(std::memory_order_acquire) != 2 * i + 2) {}
  }
  const double ns = ns_since(start) / (rounds - rounds / 10);
  other.wait();
  return ns;
}

/// ns per key from the other thread to this one, `P` at a time in, `C` at a time out.
template <class Way, std::size_t P, std::size_t C>
double two_threads(helper& other, std::uint32_t capacity, std::size_t count) {
  Way way{capacity};
  std::atomic<bool> ready{false}, go{false};
  other.start([&] {
    ready.store(true);
    while (!go.load(std::memory_order_acquire)) {}
    for (std::size_t put = 0; put < count;) {
      const std::size_t n = way.put(P);
      put += n;
      if (n == 0) relax();
    }
  });
  while (!ready.load()) relax();
  std::uint64_t sum = 0;
  const auto start = steady::now();
  go.store(true, std::memory_order_release);
  for (std::size_t got = 0; got < count;) {
    const std::size_t n = way.get(C);
    if (n == 0) {
      relax();
      continue;
    }
    got += n;
    for (std::size_t i = 0; i < n; ++i) sum += std::to_integer<std::uint64_t>(way.out()[i * key_size]);
  }
  const double ns = ns_since(start);
  other.wait();
  benchmark::DoNotOptimize(sum);
  return ns / static_cast<double>(count);
}

/// Times the scheduler took a processor away from one of our threads.
long preemptions() {
  rusage r{};
  ::getrusage(RUSAGE_SELF, &r);
  return r.ru_nivcsw;
}

/// Runs a trial again while other programs got in between, 20 times at most; counts in `disturbed` those it
/// gave up.
double undisturbed(const std::function<double()>& trial, int& disturbed) {
  double ns = 0;
  for (int i = 0; i < 20; ++i) {
    const long before = preemptions();
    ns = trial();
    if (preemptions() == before) return ns;
  }
  ++disturbed;
  return ns;
}

// --- The table of comparisons ---------------------------------------------------------------------

struct variant {
  std::string name;
  int peer;  ///< index of the variant it is compared with; its own: none
  std::function<double()> run;
  std::vector<double> ns;  ///< per key, of each repetition
};

struct spread {
  double median, least, most;
};

spread spread_of(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return {v[v.size() / 2], v.front(), v.back()};
}

void print_bin(const char* title, const std::vector<variant>& variants,
               const std::vector<std::size_t>& rows) {
  std::printf("\n%s: %zu repetitions\n%-42s %28s %10s   %s\n", title, rows.size(), "",
              "ns per key: median (min, max)", "M keys/s", "speed against its peer: median (min, max)");
  if (rows.empty()) return;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const variant& it = variants[v];
    std::vector<double> ns, ratio;
    for (const std::size_t r : rows) {
      ns.push_back(it.ns[r]);
      ratio.push_back(variants[static_cast<std::size_t>(it.peer)].ns[r] / it.ns[r]);
    }
    const spread n = spread_of(ns);
    std::printf("%-42s %9.2f (%7.2f, %8.2f) %10.1f", it.name.c_str(), n.median, n.least, n.most,
                1e3 / n.median);
    if (static_cast<std::size_t>(it.peer) != v) {
      const spread q = spread_of(ratio);
      std::printf("   %6.2f (%.2f, %.2f)", q.median, q.least, q.most);
    }
    std::printf("\n");
  }
}

void compare() {
  pin(0);
  const char* wish = std::getenv("QKD004_BENCH_REPETITIONS");
  const int repetitions = std::max(1, wish != nullptr ? std::atoi(wish) : 15);
  constexpr std::uint32_t slots = 1024;
  constexpr std::size_t keys = 50'000;
  helper other;

  // one thread: the ways stay, filled and drained in turn
  ring_way ring{slots};
  boost_way boost{slots};
  naive_way naive{slots};
  std::uint64_t allocated = 0;
  const auto alone = [](auto& way, auto n, std::uint64_t* counter) {
    constexpr std::size_t at_once = decltype(n)::value;
    return [&way, counter] {
      constexpr std::size_t rounds = 20;
      double ns = 0;
      for (std::size_t i = 0; i < rounds; ++i) {
        fill(way, slots);
        const auto before = allocations.load(std::memory_order_relaxed);
        ns += drain<at_once>(way, slots);
        if (counter != nullptr) *counter += allocations.load(std::memory_order_relaxed) - before;
      }
      return ns / (rounds * slots);
    };
  };
  const std::integral_constant<std::size_t, 1> one;
  const std::integral_constant<std::size_t, batch> many;

  std::vector<variant> variants;
  const auto add = [&variants](std::string name, int peer, std::function<double()> run) {
    const int self = static_cast<int>(variants.size());
    variants.push_back({std::move(name), peer < 0 ? self : peer, std::move(run), {}});
    return self;
  };
  int peer = add("one thread: mutex + deque<vector>, take 1", -1, alone(naive, one, nullptr));
  add("one thread: key_ring, take 1", peer, alone(ring, one, &allocated));
  peer = add("one thread: boost spsc, pop 1", -1, alone(boost, one, nullptr));
  add("one thread: key_ring, take 1, against boost", peer, alone(ring, one, &allocated));
  add("one thread: key_ring, take_run of 64", peer, alone(ring, many, &allocated));
  const auto pair = [&](const std::string& how, auto p, auto c) {
    const int b = add("two threads: boost spsc " + how, -1, [&other] {
      return two_threads<boost_way, decltype(p)::value, decltype(c)::value>(other, slots, keys);
    });
    add("two threads: key_ring " + how, b, [&other] {
      return two_threads<ring_way, decltype(p)::value, decltype(c)::value>(other, slots, keys);
    });
  };
  pair("1 -> 1", one, one);
  pair("64 -> 1", many, one);
  pair("64 -> 64", many, many);
  add("two threads: mutex + deque<vector> 1 -> 1", 5,
      [&other] { return two_threads<naive_way, 1, 1>(other, slots, keys / 8); });

  std::vector<std::size_t> near, far, changed;
  std::vector<double> probes;
  int disturbed = 0;
  const auto begin = steady::now();
  for (int r = -1; r < repetitions; ++r) {   // the first is to warm up
    if (steady::now() - begin > 40s) break;  // other programs keep the processors
    const double before = round_trip(other);
    for (auto& v : variants) v.ns.push_back(undisturbed(v.run, disturbed));
    const double after = round_trip(other);
    if (r < 0) {
      for (auto& v : variants) v.ns.clear();
      allocated = 0;
      disturbed = 0;
      continue;
    }
    probes.push_back(before);
    probes.push_back(after);
    constexpr double border = 300;  // ns, between the two modes
    ((before < border) != (after < border) ? changed
     : before < border                     ? near
                                           : far)
        .push_back(static_cast<std::size_t>(r));
  }
  const spread probe = spread_of(probes);
  std::printf(
      "\n%d repetitions, %u slots, keys of %zu octets; a line to the other processor and back: "
      "%.0f ns (%.0f, %.0f)\n",
      repetitions, slots, key_size, probe.median, probe.least, probe.most);
  print_bin("near (below 300 ns)", variants, near);
  print_bin("far", variants, far);
  if (!changed.empty()) print_bin("changed in between (not to be used)", variants, changed);
  std::printf("\ntrials that other programs interrupted even after 20 attempts: %d\n", disturbed);
  std::printf("allocations during the takes from key_ring: %llu\n",
              static_cast<unsigned long long>(allocated));
}

std::string processor() {
  std::ifstream file{"/proc/cpuinfo"};
  for (std::string text; std::getline(file, text);) {
    if (text.starts_with("model name")) return text.substr(text.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace

BENCHMARK_TEMPLATE(one_thread, naive_way, 1)->Arg(128)->Arg(4096)->UseManualTime()->MinTime(0.2);
BENCHMARK_TEMPLATE(one_thread, boost_way, 1)->Arg(128)->Arg(4096)->UseManualTime()->MinTime(0.2);
BENCHMARK_TEMPLATE(one_thread, ring_way, 1)->Arg(128)->Arg(4096)->UseManualTime()->MinTime(0.2);
BENCHMARK_TEMPLATE(one_thread, ring_way, batch)->Arg(128)->Arg(4096)->UseManualTime()->MinTime(0.2);

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext(
      "machine", processor() + ", " + std::to_string(std::thread::hardware_concurrency()) + " processors");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  compare();
}
