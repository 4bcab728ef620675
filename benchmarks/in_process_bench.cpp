// What a key costs an application whose key manager is in the same process: key_stream::next_key_into from a filled
// ring, beside a mutex with a queue and boost::lockfree::spsc_queue, in turns within one run.
//
//     QKD004_BENCH_ROUNDS=4000 bench_in_process_bench     more rounds (default 2,000 of 128 keys for each way)
//
// That the keys are taken without a system call is a test (tests/core/no_system_call_test.cpp); that they are taken
// without an allocation is counted here.

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
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "qkd004/qkd004.hpp"

namespace {
std::atomic<std::uint64_t> allocations{0};
}

// not inlined: g++ would warn that free() does not belong to new
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

constexpr std::size_t keys = 128;  // the default window
using key = std::array<std::byte, 32>;

void use(const key& k) { asm volatile("" : : "r"(k.data()) : "memory"); }

/// Nanoseconds a key, one value a round.
struct series {
  const char* name;
  std::vector<double> ns;
  std::uint64_t allocated = 0;

  [[nodiscard]] double at(double quantile) {
    std::sort(ns.begin(), ns.end());
    return ns[static_cast<std::size_t>(quantile * static_cast<double>(ns.size() - 1))];
  }
};

/// Times `take`, which takes all keys that stand ready.
template <class Take>
void time(series& s, Take&& take) {
  const auto before = allocations.load();
  const auto from = std::chrono::steady_clock::now();
  take();
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - from;
  s.allocated += allocations.load() - before;
  s.ns.push_back(passed.count() / keys);
}

std::string processor() {
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace

int main() {
  const char* const asked = std::getenv("QKD004_BENCH_ROUNDS");
  const int rounds = asked == nullptr ? 2'000 : std::max(1, std::atoi(asked));

  auto [a, b] = qkd004::pair();
  qkd004::open_connect_request request{"qkd://alice@A", "qkd://bob@B"};
  auto at_a = a.open_connect(request).value();
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();

  series single{"next_key_into, one at a time", {}};
  series batch{"next_keys_into, runs of 64", {}};
  series chunk{"next_key (a key_chunk each)", {}};
  series naive{"mutex, deque of vectors, steady_clock, explicit_bzero", {}};
  series boost_queue{"boost::lockfree::spsc_queue, pop", {}};

  std::mutex mutex;
  std::deque<std::pair<std::vector<std::byte>, std::chrono::steady_clock::time_point>> deque;
  boost::lockfree::spsc_queue<key, boost::lockfree::capacity<keys>> spsc;
  std::vector<std::byte> drain(keys * 32);
  std::vector<std::byte> run(64 * 32);
  key k{};
  bool good = true;

  // Both sides are empty: whoever asks first fills both rings, and is not timed.
  const auto refill = [&] {
    std::size_t left = keys;
    while (left > 0) left -= at_b.next_keys_into(std::span{drain}.first(left * 32)).value().count;
    good = good && at_a.next_key_into(k).has_value();
  };
  // The first key of a window is taken by the refill: what is timed is what is left of it.
  const auto window = [&](auto&& take) {
    refill();
    take(keys - 1);
  };

  (void)at_a.next_key_into(k).value();
  for (std::size_t i = 1; i < keys; ++i) (void)at_a.next_key_into(k).value();
  for (int r = 0; r < rounds; ++r) {
    window([&](std::size_t n) {
      time(single, [&] {
        for (std::size_t i = 0; i < n; ++i) {
          good = good && at_a.next_key_into(k).has_value();
          use(k);
        }
      });
    });
    window([&](std::size_t n) {
      time(batch, [&] {
        while (n > 0)
          n -= at_a.next_keys_into(std::span{run}.first(std::min<std::size_t>(n, 64) * 32)).value().count;
      });
    });
    window([&](std::size_t n) {
      time(chunk, [&] {
        for (std::size_t i = 0; i < n; ++i) good = good && at_a.next_key().has_value();
      });
    });
    for (std::size_t i = 0; i < keys - 1; ++i) {
      deque.emplace_back(std::vector<std::byte>(32, std::byte{1}), std::chrono::steady_clock::now());
      spsc.push(k);
    }
    time(naive, [&] {
      for (std::size_t i = 0; i < keys - 1; ++i) {
        const std::lock_guard lock{mutex};
        auto& front = deque.front();
        if (std::chrono::steady_clock::now() - front.second < std::chrono::hours{1}) {
          std::memcpy(k.data(), front.first.data(), 32);
        }
        ::explicit_bzero(front.first.data(), 32);
        deque.pop_front();
        use(k);
      }
    });
    time(boost_queue, [&] {
      for (std::size_t i = 0; i < keys - 1; ++i) {
        spsc.pop(k);
        use(k);
      }
    });
  }
  if (!good) {
    std::fprintf(stderr, "a key did not come\n");
    return 1;
  }

  std::printf("%s, %u processors; 32-octet keys, one thread, %d rounds of %zu keys for each way, in turns\n",
              processor().c_str(), std::thread::hardware_concurrency(), rounds, keys - 1);
  std::printf("%-56s %8s %8s %8s %12s\n", "ns a key", "median", "5 %", "95 %", "allocations");
  for (series* s : {&single, &batch, &chunk, &naive, &boost_queue}) {
    std::printf("%-56s %8.1f %8.1f %8.1f %12llu\n", s->name, s->at(0.5), s->at(0.05), s->at(0.95),
                static_cast<unsigned long long>(s->allocated));
  }
  std::printf(
      "next_key_into against the mutex: %.1f times as fast; against boost's pop (no index, no TTL, no wipe, "
      "one "
      "reader): %.2f of its speed\n",
      naive.at(0.5) / single.at(0.5), boost_queue.at(0.5) / single.at(0.5));
  return 0;
}
