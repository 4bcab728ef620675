// A pair of sites for benchmarks/http_vs_nginx.sh, which measures: site a with HTTP and HTTPS on one thread, site b with
// a reader that keeps the stream going. SPDX-License-Identifier: Apache-2.0
//
//     bench_http_bench [CERTIFICATE KEY AUTHORITY]
//
// prints `<pid of a> <http://...> <https://... or -> <streams of fresh keys>
// <stream whose key 0 stays> <the same over TLS>`, and serves until
// its input ends.

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "qkd004/client.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/seeded_source.hpp"

namespace {

using namespace qkd004;

constexpr std::uint32_t window = 4'096;
constexpr int fresh_streams = 32;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "http_bench: %s\n", why.c_str());
  std::_Exit(1);
}

secret_arena arena_of(std::size_t bytes) {
  secret_options o;
  o.bytes = bytes;
  o.allow_unlocked = true;
  return secret_arena{o};
}

net::site_options options_of(const std::string& node, const std::string& peer_address) {
  auto secret = arena_of(64 << 10).allocate(seeded_secret_bytes);
  if (!secret) die("no memory for the secret");
  auto source = make_seeded_source(std::move(*secret));
  if (!source) die("no source: " + source.error().message());
  net::site_options o;
  o.manager.node = node;
  o.manager.limits.ring_chunks = window;
  o.memory.allow_unlocked = true;
  o.memory.bytes = std::size_t{64} << 20;
  o.listen = {"qkd004://127.0.0.1:0"};
  net::peer_options p;
  p.link.name = "bench";
  p.link.peer = node == "a" ? "b" : "a";
  p.address = peer_address;
  p.source = std::move(*source);
  o.peers.push_back(std::move(p));
  return o;
}

/// Takes every key of a stream, so that its window goes on.
void drain(const std::string& address, const key_stream_id& id) {
  const secret_arena arena = arena_of(1 << 20);
  auto way = net::connect(address, arena);
  if (!way) die("b: " + way.error().message());
  client c{*way, arena};
  auto stream = c.open_connect({"qkd://app@a", "qkd://app@b", {}, id});
  if (!stream) die("b: " + stream.error().message());
  std::vector<std::byte> keys(64 * 32);
  for (;;) {
    const auto run = stream->next_keys_into(keys);
    if (!run && run.error() != make_error_code(status::timeout)) die("b: " + run.error().message());
  }
}

/// Site b, in a process of its own: says where it is, and drains the streams that it is told of.
int run_b(int in, int out) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  asio::io_context context{1};
  net::site site{context, options_of("b", "")};
  std::string why;
  if (!site.start(&why)) die(why);
  const std::string address = site.addresses().front();
  std::thread server{[&] { context.run(); }};
  const std::string line = address + "\n";
  if (::write(out, line.data(), line.size()) < 0) die("pipe");
  std::FILE* const lines = ::fdopen(in, "r");
  char text[64];
  while (std::fgets(text, sizeof text, lines) != nullptr) {
    const auto id = key_stream_id::parse(std::string_view{text}.substr(0, 36));
    if (id) std::thread{drain, address, *id}.detach();
  }
  std::_Exit(0);
}

}  // namespace

int main(int count, char** arguments) {
  int to_b[2];
  int from_b[2];
  if (::pipe(to_b) != 0 || ::pipe(from_b) != 0) die("pipe");
  const pid_t b = ::fork();
  if (b < 0) die("fork");
  if (b == 0) {
    ::close(to_b[1]);
    return run_b(to_b[0], from_b[1]);
  }
  ::close(from_b[1]);
  std::FILE* const lines = ::fdopen(from_b[0], "r");
  char text[256];
  if (std::fgets(text, sizeof text, lines) == nullptr) die("site b did not start");
  std::string address_of_b = text;
  address_of_b.pop_back();

  auto o = options_of("a", address_of_b);
  o.listen.push_back("http://127.0.0.1:0");
  if (count == 4) {
    net::tls_options tls;
    tls.certificate = arguments[1];
    tls.key = arguments[2];
    tls.authority = arguments[3];
    o.tls = tls;
    o.listen.push_back("https://127.0.0.1:0");
  }
  asio::io_context context{1};
  net::site site{context, std::move(o)};
  std::string why;
  if (!site.start(&why)) die(why);
  const auto addresses = site.addresses();
  std::thread server{[&] { context.run(); }};

  const secret_arena arena = arena_of(1 << 20);
  const auto connected = [&](const std::string& uri) {
    net::connect_options way;
    if (uri.starts_with("https")) {
      way.tls.emplace();
      way.tls->certificate = arguments[1];
      way.tls->key = arguments[2];
      way.tls->authority = arguments[3];
    }
    auto made = net::connect(uri, arena, way, &why);
    if (!made) die(why);
    return *made;
  };
  client plain{connected(addresses.at(1)), arena};
  client secure{connected(addresses.back()), arena};
  std::vector<key_stream> open;
  const auto opened = [&](client& c) {
    for (int tries = 0;; ++tries) {
      auto stream = c.open_connect({"qkd://app@a", "qkd://app@b"});
      if (stream) {
        const std::string line = stream->id().to_string() + "\n";
        if (::write(to_b[1], line.data(), line.size()) < 0) die("site b has gone");
        open.push_back(std::move(*stream));
        return line.substr(0, 36);
      }
      if (tries == 500) die("no link: " + stream.error().message());
      std::this_thread::sleep_for(std::chrono::milliseconds{10});  // the sites find one another
    }
  };
  // one for each measurement: an index that nobody asked for when the one before ended would hold the window
  std::string fresh;
  for (int i = 0; i < fresh_streams; ++i) fresh += (i == 0 ? "" : ",") + opened(plain);
  const std::string again = opened(plain);
  if (const auto key = open.back().get_key(0); !key) die("no key: " + key.error().message());
  const bool tls = count == 4;
  const std::string over_tls = tls ? opened(secure) : "-";
  if (tls && !open.back().get_key(0)) die("no key over TLS");
  std::cout << ::getpid() << ' ' << addresses.at(1) << ' ' << (tls ? addresses.back() : "-") << ' ' << fresh
            << ' ' << again << ' ' << over_tls << std::endl;
  while (std::getline(std::cin, why)) {}
  ::kill(b, SIGKILL);
  ::waitpid(b, nullptr, 0);
  std::_Exit(0);
}
