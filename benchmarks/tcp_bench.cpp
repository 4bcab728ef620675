// What GET_KEY costs over TCP on one machine, beside GET of redis. SPDX-License-Identifier: Apache-2.0
//
// Two sites run in processes of their own, linked by a seeded source without a rate. Keys are taken at site a and
// measured there; a reader in site b's process takes the same keys, or the window of the stream would stand still.
// Three ways take turns inside each repetition, so that a change of the machine meets all of them:
//
//     fresh    GET_KEY, a new key each time; site b and its reader work too, on the same processors
//     again    GET_KEY of a key that was served before (a retransmission): the wire and nothing else
//     redis    GET of 32 octets from a redis-server, if there is one (benchmarks/tcp_vs_redis.sh)
//
// The client is the same loop for all: it sends a batch on each connection and counts the octets that come back.
// "server ns" is processor time of the server a request, from the scheduler's accounting: the steadiest figure here.
// Afterwards the library's own client, one call at a time, and redis-benchmark; and the memory of a site with
// 100 open streams of 64 keys.
//
//     QKD004_BENCH_REPETITIONS=15 bench_tcp_bench [--redis PORT PID]     default 5

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "net/address.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/seeded_source.hpp"
#include "wire/forge.hpp"

namespace {

using namespace qkd004;
using namespace std::chrono_literals;

constexpr auto one_measurement = 300ms;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "tcp_bench: %s\n", what.c_str());
  std::exit(1);
}

// --- A site in a process of its own -------------------------------------------------------------------

secret_arena arena_of(std::size_t bytes) {
  secret_options o;
  o.bytes = bytes;
  o.allow_unlocked = true;
  return secret_arena{o};
}

void start_and_wait(exchange& via, call& c) {
  c.deadline = boot_clock::now() + 10s;
  call* const one = &c;
  via.start(std::span{&one, 1});
  via.wait(c);
}

open_connect_response open_at(exchange& via, const key_stream_id& id, std::uint32_t timeout_ms = 0) {
  call c;
  open_connect_request r{"qkd://bench@a", "qkd://bench@b"};
  r.stream = id;
  r.quality.timeout_ms = timeout_ms;
  c.request = r;
  start_and_wait(via, c);
  if (c.error) die("OPEN_CONNECT: " + c.error.message());
  auto opened = std::get<open_connect_response>(c.response);
  if (static_cast<std::uint32_t>(opened.outcome) > 1)
    die("OPEN_CONNECT: " + std::string{to_string(opened.outcome)});
  return opened;
}

struct key_call : call {
  std::array<std::byte, 32> key{};
  void prepare(const key_stream_id& id, std::uint64_t index) {
    get_key_request r;
    r.stream = id;
    r.index = index;
    rearm();
    request = r;
    key_buffer = key;
    deadline = boot_clock::now() + 10s;
  }
  bool has_key() const { return !error && std::get<get_key_response>(response).outcome == status::success; }
};

/// Takes every key of the stream, in order, until the site is gone.
void drain(const std::string& address, const key_stream_id& id) {
  auto via = net::connect(address, arena_of(1 << 20));
  if (!via) return;
  open_at(**via, id);
  std::array<key_call, 128> calls;
  std::vector<call*> started;
  for (auto& c : calls) started.push_back(&c);
  for (std::uint64_t next = 0;;) {
    for (std::size_t i = 0; i < calls.size(); ++i) calls[i].prepare(id, next + i);
    (*via)->start(started);
    std::size_t got = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      (*via)->wait(calls[i]);
      if (calls[i].error && to_status(calls[i].error) != status::timeout) return;
      if (calls[i].has_key() && got == i) ++got;
    }
    next += got;
  }
}

int run_site(const std::string& node, const std::string& peer_address, std::uint32_t ring_chunks) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto secret = arena_of(64 << 10).allocate(seeded_secret_bytes);
  if (!secret) die("no memory for the secret");
  auto source = make_seeded_source(std::move(*secret));
  if (!source) die("no source: " + source.error().message());

  net::site_options o;
  o.manager.node = node;
  o.manager.limits.ring_chunks = ring_chunks;
  o.manager.limits.max_in_flight = 4096;
  o.memory.allow_unlocked = true;
  o.listen = {"qkd004://127.0.0.1:0"};
  net::peer_options p;
  p.link.name = "bench";
  p.link.peer = node == "a" ? "b" : "a";
  p.address = peer_address;
  p.source = std::move(*source);
  o.peers.push_back(std::move(p));
  if (std::getenv("QKD004_BENCH_LOG") != nullptr) {
    o.log = [node](net::log_level, std::string_view line) {
      std::fprintf(stderr, "%s: %.*s\n", node.c_str(), static_cast<int>(line.size()), line.data());
    };
  }
  asio::io_context context{1};
  net::site site{context, std::move(o)};
  std::string why;
  if (!site.start(&why)) die(why);
  const std::string address = site.addresses().front();
  std::cout << address << std::endl;
  std::thread server{[&] { context.run(); }};
  for (std::string line; std::getline(std::cin, line);) {
    if (const auto id = key_stream_id::parse(line)) std::thread{drain, address, *id}.detach();
  }
  std::_Exit(0);
}

class process {
 public:
  process(const std::string& node, const std::string& peer, std::uint32_t ring_chunks) {
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) die("pipe");
    const std::string chunks = std::to_string(ring_chunks);
    pid_ = ::fork();
    if (pid_ < 0) die("fork");
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::execl("/proc/self/exe", "tcp_bench", "--site", node.c_str(), peer.c_str(), chunks.c_str(), nullptr);
      std::_Exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    input_ = in[1];
    std::FILE* const lines = ::fdopen(out[0], "r");
    char line[256];
    if (std::fgets(line, sizeof line, lines) == nullptr) die("site " + node + " did not start");
    std::fclose(lines);
    address_ = line;
    address_.pop_back();
  }
  ~process() {
    ::close(input_);
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  void say(const std::string& line) const {
    const std::string ended = line + "\n";
    if (::write(input_, ended.data(), ended.size()) < 0) die("a site has gone");
  }
  pid_t pid() const { return pid_; }
  const std::string& address() const { return address_; }

 private:
  pid_t pid_;
  int input_;
  std::string address_;
};

/// Nanoseconds on a processor, all threads together.
std::uint64_t processor_time(pid_t pid) {
  std::uint64_t sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/task"}) {
    std::ifstream file{thread.path() / "schedstat"};
    std::uint64_t ns = 0;
    if (file >> ns) sum += ns;
  }
  return sum;
}

double resident_mib(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

// --- The client that is the same for all --------------------------------------------------------------

struct load {
  int connections;
  int in_flight;
};

struct figures {
  double per_second = 0;
  double p50_us = 0;     ///< of a batch of `in_flight`
  double server_ns = 0;  ///< processor time a request
};

/// What to send for one request, at the end of a buffer.
using make_request = std::function<void(std::string&)>;

class raw_client {
 public:
  raw_client(std::uint16_t port, int connections) : connections_(static_cast<std::size_t>(connections)) {
    poll_ = ::epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      connection& c = connections_[i];
      c.socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (::connect(c.socket, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("cannot connect");
      const int one = 1;
      ::setsockopt(c.socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      ::fcntl(c.socket, F_SETFL, O_NONBLOCK);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = i;
      ::epoll_ctl(poll_, EPOLL_CTL_ADD, c.socket, &event);
    }
  }
  ~raw_client() {
    for (const auto& c : connections_) ::close(c.socket);
    ::close(poll_);
  }
  raw_client(const raw_client&) = delete;
  raw_client& operator=(const raw_client&) = delete;

  figures run(int in_flight, std::size_t reply_octets, const make_request& make, pid_t server) {
    const std::size_t batch = reply_octets * static_cast<std::size_t>(in_flight);
    std::vector<double> times;
    std::uint64_t done = 0;
    const std::uint64_t before = processor_time(server);
    const auto begin = std::chrono::steady_clock::now();
    auto now = begin;
    for (auto& c : connections_) send(c, in_flight, make, now);
    std::size_t busy = connections_.size();
    std::array<epoll_event, 64> events{};
    while (busy > 0) {
      const int ready = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), 10'000);
      if (ready <= 0) die("no answer");
      now = std::chrono::steady_clock::now();
      for (int i = 0; i < ready; ++i) {
        connection& c = connections_[events[static_cast<std::size_t>(i)].data.u64];
        const ssize_t count = ::recv(c.socket, input_.data(), input_.size(), 0);
        if (count <= 0) die("the connection broke");
        c.got += static_cast<std::size_t>(count);
        if (c.got < batch) continue;
        if (c.got > batch) die("more answers than requests, or answers of another size");
        times.push_back(std::chrono::duration<double, std::micro>(now - c.since).count());
        done += static_cast<std::uint64_t>(in_flight);
        if (now - begin < one_measurement) {
          send(c, in_flight, make, now);
        } else {
          --busy;
        }
      }
    }
    figures f;
    f.per_second = static_cast<double>(done) / std::chrono::duration<double>(now - begin).count();
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                     times.end());
    f.p50_us = times[times.size() / 2];
    f.server_ns = static_cast<double>(processor_time(server) - before) / static_cast<double>(done);
    return f;
  }

 private:
  struct connection {
    int socket = -1;
    std::size_t got = 0;
    std::chrono::steady_clock::time_point since;
  };

  void send(connection& c, int in_flight, const make_request& make,
            std::chrono::steady_clock::time_point now) {
    output_.clear();
    for (int i = 0; i < in_flight; ++i) make(output_);
    c.got = 0;
    c.since = now;
    if (::send(c.socket, output_.data(), output_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(output_.size())) {
      die("cannot send");
    }
  }

  int poll_;
  std::vector<connection> connections_;
  std::string output_;
  std::array<char, 65536> input_{};
};

constexpr std::size_t key_reply = wire::frame_header::size + 4 + 4 + 4 + 32 + 4;

void put_get_key(std::string& to, const key_stream_id& id, std::uint32_t index) {
  static constexpr char header[8] = {2, 1, 1, 4, 0, 0, 0, 24};
  to.append(header, sizeof header);
  to.append(reinterpret_cast<const char*>(id.octets().data()), 16);
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(index >> shift));
  to.append(4, '\0');
}

// --- Both sites ---------------------------------------------------------------------------------------

struct pair_of_sites {
  explicit pair_of_sites(std::uint32_t ring_chunks)
      : b{"b", "", ring_chunks}, a{"a", b.address(), ring_chunks}, arena{arena_of(1 << 20)} {
    std::string why;
    auto made = net::connect(a.address(), arena, {}, &why);
    if (!made) die(why);
    at_a = std::move(*made);
    port = net::parse_address(a.address())->port;
  }
  /// A stream whose keys are taken at b as they come.
  key_stream_id drained_stream() const {
    const auto id = open_at(*at_a, {}).stream;
    b.say(id.to_string());
    return id;
  }

  process b;
  process a;
  secret_arena arena;
  std::shared_ptr<exchange> at_a;
  std::uint16_t port = 0;
};

struct redis {
  std::uint16_t port = 0;
  pid_t pid = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

struct column {
  std::vector<double> per_second;
  std::vector<double> p50_us;
  std::vector<double> server_ns;
  void add(const figures& f) {
    per_second.push_back(f.per_second);
    p50_us.push_back(f.p50_us);
    server_ns.push_back(f.server_ns);
  }
};

void print(const char* name, const column& c) {
  const auto [low, high] = std::minmax_element(c.per_second.begin(), c.per_second.end());
  std::printf("  %-22s %10.0f/s  (%.0f to %.0f)   p50 %8.1f us", name, median(c.per_second), *low, *high,
              median(c.p50_us));
  if (!c.server_ns.empty()) std::printf("   server %6.0f ns", median(c.server_ns));
  std::printf("\n");
}

/// Medians of the ratios, each formed inside one repetition.
void print_ratio(const char* name, const std::vector<double>& ours, const std::vector<double>& theirs) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i)
    ratios.push_back(ours[i] / theirs[i]);
  if (!ratios.empty()) std::printf("  %-40s %.2f\n", name, median(ratios));
}

/// redis-benchmark's own figures: requests a second, and the median of its latencies.
std::optional<figures> redis_benchmark(const redis& r, const load& l) {
  std::ostringstream command;
  command << "redis-benchmark -h 127.0.0.1 -p " << r.port << " -t get -d 32 -c " << l.connections << " -P "
          << l.in_flight << " -n " << (l.in_flight == 1 ? 30'000 : 300'000) << " --csv 2>/dev/null";
  std::FILE* const out = ::popen(command.str().c_str(), "r");
  if (out == nullptr) return std::nullopt;
  std::optional<figures> f;
  char line[512];
  while (std::fgets(line, sizeof line, out) != nullptr) {
    double rps = 0;
    double average = 0;
    double least = 0;
    double p50 = 0;
    if (std::sscanf(line, "\"GET\",\"%lf\",\"%lf\",\"%lf\",\"%lf\"", &rps, &average, &least, &p50) == 4) {
      f = figures{rps, p50 * 1000, 0};
    }
  }
  ::pclose(out);
  return f;
}

/// The library's client: batches of calls, as an application makes them.
figures own_client(exchange& via, const key_stream_id& id, std::uint64_t& next, int in_flight) {
  std::vector<key_call> calls(static_cast<std::size_t>(in_flight));
  std::vector<call*> started;
  for (auto& c : calls) started.push_back(&c);
  std::vector<double> times;
  const auto begin = std::chrono::steady_clock::now();
  auto now = begin;
  while (now - begin < one_measurement) {
    for (auto& c : calls) c.prepare(id, next++);
    const auto since = now;
    via.start(started);
    for (auto& c : calls) {
      via.wait(c);
      if (!c.has_key()) {
        die("GET_KEY: " + (c.error ? c.error.message()
                                   : std::string{to_string(std::get<get_key_response>(c.response).outcome)}));
      }
    }
    now = std::chrono::steady_clock::now();
    times.push_back(std::chrono::duration<double, std::micro>(now - since).count());
  }
  figures f;
  f.per_second =
      static_cast<double>(times.size()) * in_flight / std::chrono::duration<double>(now - begin).count();
  f.p50_us = median(times);
  return f;
}

void compare(const redis& r, int repetitions) {
  constexpr std::uint32_t window = 8192;
  const pair_of_sites sites{window};
  const auto stream = sites.drained_stream();
  const auto still = open_at(*sites.at_a, {}).stream;  // one key of it is read again and again
  std::uint64_t next = 0;
  {
    key_call first;
    first.prepare(still, 0);
    call* const one = &first;
    sites.at_a->start(std::span{&one, 1});
    sites.at_a->wait(first);
    if (!first.has_key()) die("no key");
  }
  const make_request fresh = [&](std::string& to) {
    put_get_key(to, stream, static_cast<std::uint32_t>(next++));
  };
  const make_request again = [&](std::string& to) { put_get_key(to, still, 0); };
  const make_request get = [](std::string& to) { to += "GET key:__rand_int__\r\n"; };
  constexpr std::size_t redis_reply = 5 + 32 + 2;

  if (r.port != 0) {
    raw_client setup{r.port, 1};
    setup.run(
        1, 5, [](std::string& to) { to += "SET key:__rand_int__ 0123456789abcdef0123456789abcdef\r\n"; },
        r.pid);
  }
  for (const load l : {load{1, 1}, load{1, 16}, load{64, 1}, load{64, 16}}) {
    column of_fresh;
    column of_again;
    column of_redis;
    column of_own;
    column of_redis_benchmark;
    raw_client ours{sites.port, l.connections};
    std::unique_ptr<raw_client> theirs;
    if (r.port != 0) theirs = std::make_unique<raw_client>(r.port, l.connections);
    for (int i = 0; i < repetitions; ++i) {
      of_fresh.add(ours.run(l.in_flight, key_reply, fresh, sites.a.pid()));
      of_again.add(ours.run(l.in_flight, key_reply, again, sites.a.pid()));
      if (theirs) of_redis.add(theirs->run(l.in_flight, redis_reply, get, r.pid));
      if (l.connections != 1) continue;
      of_own.add(own_client(*sites.at_a, stream, next, l.in_flight));
      of_own.server_ns.clear();
      if (const auto f = r.port == 0 ? std::nullopt : redis_benchmark(r, l)) {
        of_redis_benchmark.add(*f);
        of_redis_benchmark.server_ns.clear();
      }
    }
    std::printf("%d connection%s, %d in flight on each\n", l.connections, l.connections == 1 ? "" : "s",
                l.in_flight);
    print("GET_KEY fresh", of_fresh);
    print("GET_KEY again", of_again);
    if (theirs) print("redis GET", of_redis);
    if (l.connections == 1) print("fresh, library client", of_own);
    if (!of_redis_benchmark.per_second.empty()) print("redis-benchmark", of_redis_benchmark);
    if (theirs) {
      print_ratio("fresh / redis, requests", of_fresh.per_second, of_redis.per_second);
      print_ratio("again / redis, requests", of_again.per_second, of_redis.per_second);
      print_ratio("fresh / redis, p50", of_fresh.p50_us, of_redis.p50_us);
      print_ratio("fresh / redis, server time", of_fresh.server_ns, of_redis.server_ns);
      print_ratio("again / redis, server time", of_again.server_ns, of_redis.server_ns);
    }
    if (!of_redis_benchmark.per_second.empty()) {
      print_ratio("library client / redis-benchmark", of_own.per_second, of_redis_benchmark.per_second);
      print_ratio("the same, p50", of_own.p50_us, of_redis_benchmark.p50_us);
    }
    std::fflush(stdout);
  }
}

void memory() {
  const pair_of_sites sites{64};
  auto at_b = net::connect(sites.b.address(), sites.arena);
  if (!at_b) die("no site b");
  const double empty = resident_mib(sites.a.pid());
  for (int i = 0; i < 100; ++i) {
    const auto id = open_at(*sites.at_a, {}).stream;
    open_at(**at_b, id);
    key_call last;  // the ring has been filled when its last key is there
    last.prepare(id, 63);
    call* const one = &last;
    sites.at_a->start(std::span{&one, 1});
    sites.at_a->wait(last);
    if (!last.has_key()) die("no key");
  }
  std::printf("resident memory of a site: %.1f MiB, with 100 open streams of 64 keys %.1f MiB\n", empty,
              resident_mib(sites.a.pid()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments{argv + 1, argv + argc};
  if (arguments.size() == 4 && arguments[0] == "--site") {
    return run_site(arguments[1], arguments[2], static_cast<std::uint32_t>(std::stoul(arguments[3])));
  }
  redis r;
  if (arguments.size() == 3 && arguments[0] == "--redis") {
    r.port = static_cast<std::uint16_t>(std::stoul(arguments[1]));
    r.pid = static_cast<pid_t>(std::stol(arguments[2]));
  } else if (!arguments.empty()) {
    die("usage: tcp_bench [--redis PORT PID]");
  }
  const char* const wanted = std::getenv("QKD004_BENCH_REPETITIONS");
  const int repetitions = wanted == nullptr ? 5 : std::max(1, std::atoi(wanted));
  std::printf("%ld processors; medians (least to most) of %d repetitions of %lld ms, 32 octets of key\n",
              ::sysconf(_SC_NPROCESSORS_ONLN), repetitions, static_cast<long long>(one_measurement.count()));
  compare(r, repetitions);
  memory();
  return 0;
}
