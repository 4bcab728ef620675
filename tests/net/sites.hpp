// Sites that run on threads of their own in this process, and sockets that say to them what no client of ours would.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <future>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "net/address.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/net/site.hpp"
#include "wire/out_buffer.hpp"
#include "wire/peer.hpp"

namespace test {

using namespace qkd004;
using namespace std::chrono_literals;
using asio::ip::tcp;

/// Nothing here takes that long unless it is broken.
inline constexpr auto patience = 20s;

inline secret_options some_memory() {
  secret_options o;
  o.allow_unlocked = true;
  return o;
}

/// Lines that sites log, and a way to wait for one.
class log_book {
 public:
  void add(std::string_view line) {
    const std::lock_guard lock{mutex_};
    lines_.emplace_back(line);
    changed_.notify_all();
  }
  /// Whether a line that contains `text` was or will soon be there, `times` times.
  bool has(std::string_view text, std::size_t times = 1) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, patience, [&] { return count(text) >= times; });
  }
  std::size_t count_now(std::string_view text) {
    const std::lock_guard lock{mutex_};
    return count(text);
  }

 private:
  std::size_t count(std::string_view text) const {
    std::size_t n = 0;
    for (const auto& line : lines_) n += line.find(text) != std::string::npos ? 1U : 0U;
    return n;
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

/// A site, started, with a thread to run on; stops by itself.
class running_site {
 public:
  explicit running_site(net::site_options options, std::size_t threads = 1) {
    options.memory.allow_unlocked = true;
    options.log = [this](net::log_level, std::string_view line) { log.add(line); };
    site.emplace(context, std::move(options));
    std::string why;
    const auto started = site->start(&why);
    REQUIRE_MESSAGE(started, why);
    for (std::size_t i = 0; i < threads; ++i) running.emplace_back([this] { context.run(); });
  }
  ~running_site() {
    site->stop();
    for (auto& thread : running) thread.join();
  }
  running_site(const running_site&) = delete;
  running_site& operator=(const running_site&) = delete;

  std::string address() const { return site->addresses().at(0); }

  /// What `ask` says of the key manager, asked on the site's thread.
  template <class Ask>
  auto on_manager(Ask ask) {
    std::promise<decltype(ask(site->manager()))> said;
    asio::post(context, [&] { said.set_value(ask(site->manager())); });
    return said.get_future().get();
  }

  log_book log;
  asio::io_context context;
  std::optional<net::site> site;
  std::vector<std::thread> running;
};

inline net::site_options site_options_of(std::string node) {
  net::site_options o;
  o.manager.node = std::move(node);
  o.listen = {"qkd004://127.0.0.1:0"};
  return o;
}

inline net::peer_options peer_of(std::string node, std::string address, std::shared_ptr<key_source> source) {
  net::peer_options p;
  p.link.name = "link";
  p.link.peer = std::move(node);
  p.address = std::move(address);
  p.source = std::move(source);
  return p;
}

/// Sites `a` and `b` with a link between them. `a` has the lower id: it dials, and allocates.
struct two_sites {
  explicit two_sites(void (*adjust)(net::site_options&) = nullptr)
      : two_sites{make_memory_sources(), adjust} {}

  two_sites(memory_source_pair sources, void (*adjust)(net::site_options&)) {
    auto of_b = site_options_of("b");
    of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
    if (adjust != nullptr) adjust(of_b);
    b.emplace(std::move(of_b));
    auto of_a = site_options_of("a");
    of_a.peers.push_back(peer_of("b", b->address(), std::move(sources.first)));
    if (adjust != nullptr) adjust(of_a);
    a.emplace(std::move(of_a));
  }

  std::optional<running_site> b;
  std::optional<running_site> a;
};

/// Part of a core that this process uses while this thread rests: the sites' threads are all that may run.
inline double load_of_sites() {
  constexpr auto span = 500ms;
  const auto used = [] {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
  };
  const auto before = used();
  std::this_thread::sleep_for(span);
  return std::chrono::duration<double>(used() - before) / std::chrono::duration<double>(span);
}

/// Less than this is idle. A sanitizer makes little work look like much.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr double idle = 0.5;
#else
inline constexpr double idle = 0.1;
#endif

/// A client's way to a site.
inline std::shared_ptr<exchange> connect_to(const std::string& address, net::connect_options options = {}) {
  std::string why;
  auto made = net::connect(address, secret_arena{some_memory()}, options, &why);
  REQUIRE_MESSAGE(made, why);
  return *made;
}

inline void ask(exchange& via, call& c, boot_clock::duration patience_of_caller = patience) {
  c.deadline = boot_clock::now() + patience_of_caller;
  call* const one = &c;
  via.start(std::span{&one, 1});
  via.wait(c);
}

inline open_connect_response open_connect(exchange& via, const key_stream_id& id = {}, qos quality = {}) {
  call c;
  c.request = open_connect_request{"qkd://app@a", "qkd://app@b", std::move(quality), id};
  ask(via, c);
  REQUIRE_MESSAGE(!c.error, c.error.message());
  return std::get<open_connect_response>(c.response);
}

/// A call whose key has a place, in memory of the test: test keys are no secret.
struct get_key_call : call {
  get_key_call(const key_stream_id& id, std::uint64_t index, std::uint32_t metadata_size = 0,
               std::size_t room = 64)
      : key(room) {
    get_key_request r;
    r.stream = id;
    r.index = index;
    r.metadata_size = metadata_size;
    request = r;
    key_buffer = key;
  }
  const get_key_response& answer() const { return std::get<get_key_response>(response); }
  std::vector<std::byte> octets() const { return {answer().key.begin(), answer().key.end()}; }
  std::vector<std::byte> key;
};

/// The key at an index, or nothing; then `outcome` says why.
inline std::vector<std::byte> get_key(exchange& via, const key_stream_id& id, std::uint64_t index,
                                      status* outcome = nullptr) {
  get_key_call c{id, index};
  ask(via, c);
  if (outcome == nullptr) {
    REQUIRE_MESSAGE(!c.error, c.error.message());
    REQUIRE(c.answer().outcome == status::success);
  } else {
    *outcome = c.error ? to_status(c.error) : c.answer().outcome;
  }
  return c.error ? std::vector<std::byte>{} : c.octets();
}

inline status close(exchange& via, const key_stream_id& id) {
  call c;
  c.request = close_request{id};
  ask(via, c);
  REQUIRE_MESSAGE(!c.error, c.error.message());
  return std::get<close_response>(c.response).outcome;
}

/// A socket without a client: sends any octets, and reads frames with a deadline.
class raw_socket {
 public:
  struct frame {
    std::array<std::uint8_t, 3> version{};
    std::uint8_t service = 0;
    std::vector<std::uint8_t> payload;
    std::uint32_t u32(std::size_t at) const {
      return static_cast<std::uint32_t>(payload.at(at)) << 24 |
             static_cast<std::uint32_t>(payload.at(at + 1)) << 16 |
             static_cast<std::uint32_t>(payload.at(at + 2)) << 8 | payload.at(at + 3);
    }
  };

  explicit raw_socket(const std::string& address) : socket_{context_} {
    socket_.connect(net::resolve(*net::parse_address(address), net::reach::loopback)->front());
  }

  void send(std::span<const std::uint8_t> octets) {
    std::error_code ignored;  // the other end may have closed: reading tells
    asio::write(socket_, asio::buffer(octets.data(), octets.size()), ignored);
  }
  void send(const std::vector<std::uint8_t>& octets) { send(std::span<const std::uint8_t>{octets}); }

  /// The next frame, or none at the end of the connection. Fails the test when neither comes.
  std::optional<frame> read() {
    std::vector<std::uint8_t> header(8);
    if (!read_all(header)) return std::nullopt;
    frame f;
    std::copy_n(header.begin(), 3, f.version.begin());
    f.service = header[3];
    f.payload.resize(static_cast<std::size_t>(header[4]) << 24 | static_cast<std::size_t>(header[5]) << 16 |
                     static_cast<std::size_t>(header[6]) << 8 | header[7]);
    if (!read_all(f.payload)) return std::nullopt;
    return f;
  }
  bool is_closed_by_peer() { return !read().has_value(); }
  /// Of a connection that is closed: whether with a FIN and not with a reset, which may overtake the last frame.
  bool was_closed_in_order() const { return last_error_ == asio::error::eof; }
  void close() {
    std::error_code ignored;
    socket_.close(ignored);
  }
  tcp::socket& socket() { return socket_; }

 private:
  bool read_all(std::vector<std::uint8_t>& into) {
    std::optional<std::error_code> outcome;
    asio::async_read(socket_, asio::buffer(into),
                     [&](const std::error_code& e, std::size_t) { outcome = e; });
    context_.restart();
    context_.run_for(patience);
    if (!outcome) {
      socket_.cancel();
      context_.restart();
      context_.run();
      FAIL("no answer and no end of the connection");
    }
    last_error_ = *outcome;
    return !*outcome;
  }

  asio::io_context context_;
  tcp::socket socket_;
  std::error_code last_error_;
};

using octets = std::vector<std::uint8_t>;

inline octets frame_of(std::uint8_t service, const octets& payload = {},
                       std::initializer_list<std::uint8_t> version = {2, 1, 1}) {
  octets f{version};
  f.push_back(service);
  for (int shift = 24; shift >= 0; shift -= 8)
    f.push_back(static_cast<std::uint8_t>(payload.size() >> shift));
  f.insert(f.end(), payload.begin(), payload.end());
  return f;
}

inline octets operator+(octets a, const octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline octets text0(std::string_view text) {
  octets o{text.begin(), text.end()};
  o.push_back(0);
  return o;
}

inline octets zeros(std::size_t count) { return octets(count); }

inline octets u32(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
          static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

inline octets id_octets(const key_stream_id& id) {
  octets o;
  for (const std::byte b : id.octets()) o.push_back(std::to_integer<std::uint8_t>(b));
  return o;
}

/// The frame in which a peer introduces itself.
inline octets hello_of_peer(std::string node, std::string link, std::uint8_t instance = 7) {
  peer::hello h;
  h.node = std::move(node);
  h.link = std::move(link);
  h.instance.fill(std::byte{instance});
  h.source_kind = "memory";
  wire::out_buffer out{secret_arena{some_memory()}, 4096};
  REQUIRE(wire::encode_peer(out, h));
  octets o;
  for (const std::byte b : std::as_const(out).pending()) o.push_back(std::to_integer<std::uint8_t>(b));
  return o;
}

}  // namespace test
