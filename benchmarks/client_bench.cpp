// What the ways of the library's client to take keys over a wire cost, side by side: plain 004 (one GET_KEY a key), the
// extension's GET_KEYS one key at a time and in runs, and keys ahead (prefetch). SPDX-License-Identifier: Apache-2.0
//
// Two sites in this process, each on a thread of its own, linked by a memory source; a reader at site b takes the same
// keys in runs, or the window of the stream would stand still. All ways take turns inside each repetition.
//
//     QKD004_BENCH_REPETITIONS=15 bench_client_bench      default 5

#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "qkd004/client.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/net/site.hpp"

namespace {

using namespace qkd004;
using namespace std::chrono_literals;

constexpr std::size_t chunk = 32;
constexpr auto span_of_one = 400ms;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "client_bench: %s\n", what.c_str());
  std::exit(1);
}

secret_options memory() {
  secret_options o;
  o.allow_unlocked = true;
  return o;
}

/// A site on a thread of its own.
class running_site {
 public:
  running_site(std::string node, const std::string& listen, std::string peer, std::string address,
               std::shared_ptr<key_source> source) {
    net::site_options o;
    o.manager.node = std::move(node);
    o.memory = memory();
    o.listen = {"qkd004://127.0.0.1:0"};
    if (!listen.empty()) o.listen.push_back(listen);
    net::peer_options p;
    p.link.name = "link";
    p.link.peer = std::move(peer);
    p.address = std::move(address);
    p.source = std::move(source);
    o.peers.push_back(std::move(p));
    site_.emplace(context_, std::move(o));
    std::string why;
    if (!site_->start(&why)) fail(why);
    thread_ = std::thread{[this] { context_.run(); }};
  }
  ~running_site() {
    site_->stop();
    thread_.join();
  }
  running_site(const running_site&) = delete;
  running_site& operator=(const running_site&) = delete;

  [[nodiscard]] std::string address(std::size_t i = 0) const { return site_->addresses().at(i); }

 private:
  asio::io_context context_;
  std::optional<net::site> site_;
  std::thread thread_;
};

client client_at(const std::string& address, bool plain) {
  net::connect_options o;
  o.plain = plain;
  std::string why;
  auto via = net::connect(address, secret_arena{memory()}, o, &why);
  if (!via) fail(why);
  return {*via, secret_arena{memory()}};
}

struct way {
  const char* name;
  bool plain;
  std::uint32_t ahead;
  std::size_t run;
  std::string address;
  std::vector<double> per_second{};
};

/// Keys a second of one way, for a while.
double measure(const way& w, const std::string& other) {
  auto a = client_at(w.address, w.plain);
  auto b = client_at(other, false);
  auto mine = a.open_connect({"qkd://alice@a", "qkd://bob@b"});
  if (!mine) fail(mine.error().message());
  auto theirs = b.open_connect({"qkd://alice@a", "qkd://bob@b", {}, mine->id()});
  if (!theirs) fail(theirs.error().message());
  if (!mine->prefetch(w.ahead)) fail("no memory to prefetch");

  std::atomic<bool> done{false};
  std::thread reader{[&] {
    std::vector<std::byte> room(chunk * 64);
    while (!done && theirs->next_keys_into(room)) {}
  }};
  std::vector<std::byte> room(chunk * w.run);
  const auto take = [&](boot_clock::duration d) {
    std::uint64_t keys = 0;
    const auto until = boot_clock::now() + d;
    while (boot_clock::now() < until) {
      const auto got = mine->next_keys_into(room);
      if (!got) fail(got.error().message());
      keys += got->count;
    }
    return keys;
  };
  take(50ms);
  const auto begin = boot_clock::now();
  const auto keys = static_cast<double>(take(span_of_one));
  const double seconds = std::chrono::duration<double>(boot_clock::now() - begin).count();
  done = true;
  (void)mine->close();  // ends the reader's waiting
  reader.join();
  return keys / seconds;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

int main() {
  const char* const asked = std::getenv("QKD004_BENCH_REPETITIONS");
  const int repetitions = asked != nullptr ? std::max(std::atoi(asked), 1) : 5;
  char folder[] = "/tmp/qkd004-client-bench-XXXXXX";
  if (::mkdtemp(folder) == nullptr) fail("no temporary folder");
  const std::string file = std::string{folder} + "/site";
  {
    auto sources = make_memory_sources();
    running_site b{"b", "", "a", "", std::move(sources.second)};
    running_site a{"a", "unix:" + file, "b", b.address(), std::move(sources.first)};
    std::vector<way> ways;
    for (const std::size_t listener : {0U, 1U}) {
      const std::string to = a.address(listener);
      ways.push_back({"plain 004, GET_KEY", true, 0, 1, to});
      ways.push_back({"plain 004, 32 GET_KEY at once", true, 0, 32, to});
      ways.push_back({"GET_KEYS, one at a time", false, 0, 1, to});
      ways.push_back({"GET_KEYS, up to 64", false, 0, 64, to});
      ways.push_back({"64 keys ahead, one at a time", false, 64, 1, to});
      ways.push_back({"64 keys ahead, up to 64", false, 64, 64, to});
    }
    for (int i = 0; i < repetitions; ++i) {
      for (way& w : ways) w.per_second.push_back(measure(w, b.address()));
    }
    std::printf("%ld processors; medians of %d repetitions, %zu octets of key, a reader at the other end\n",
                ::sysconf(_SC_NPROCESSORS_ONLN), repetitions, chunk);
    for (std::size_t i = 0; i < ways.size(); ++i) {
      if (i % 6 == 0) std::printf("%s\n", i == 0 ? "TCP" : "Unix socket");
      std::vector<double> ratios;
      for (std::size_t r = 0; r < ways[i].per_second.size(); ++r) {
        ratios.push_back(ways[i].per_second[r] / ways[i - i % 6].per_second[r]);
      }
      std::printf("  %-32s %10.0f keys/s   %6.2f of the first\n", ways[i].name, median(ways[i].per_second),
                  median(ratios));
    }
  }
  ::rmdir(folder);
  return 0;
}
