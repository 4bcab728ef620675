// What TLS costs: GET_KEY beside plain TCP, and handshakes beside `openssl s_server`. SPDX-License-Identifier: Apache-2.0
//
// One site, its own peer, with a plain and a TLS listener, serves on a thread of its own; its processor time is that
// thread's. The same key is read again and again, so what is measured is the wire. The client is one loop on a blocking
// socket, with OpenSSL or without; both ways take turns inside each repetition, so that a change of the machine meets
// both.
//
// A handshake is a full one, TLS 1.3, mutual, ECDSA P-256: connect, shake hands, say close_notify, wait for the other
// end's close. The same client code does it with the site and with `openssl s_server`, which verifies clients, too, and
// is a process of its own. Both close when they are told to; neither issues tickets.
//
//     QKD004_BENCH_REPETITIONS=15 bench_tls_bench     default 5

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/address.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/net/site.hpp"
#include "wire/frame.hpp"

namespace {

using namespace qkd004;
using namespace std::chrono_literals;

constexpr auto one_measurement = 300ms;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "tls_bench: %s\n", what.c_str());
  std::exit(1);
}

// --- Certificates -------------------------------------------------------------------------------------

/// Made by the openssl program, in a folder that goes in the end.
class certificates {
 public:
  certificates() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qkd004-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) die("no temporary folder");
    folder_ = pattern;
    make("ca", "-addext keyUsage=critical,keyCertSign");
    leaf("server", "URI:qkd://a,IP:127.0.0.1", "serverAuth");
    leaf("client", "URI:qkd://one@a", "clientAuth");
  }
  ~certificates() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  certificates(const certificates&) = delete;
  certificates& operator=(const certificates&) = delete;

  net::tls_options of(const std::string& name) const {
    net::tls_options files;
    files.certificate = file(name + ".pem");
    files.key = file(name + ".key");
    files.authority = file("ca.pem");
    return files;
  }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }

 private:
  void make(const std::string& name, const std::string& more) const {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=" + name +
        " -keyout " + file(name + ".key") + " -out " + file(name + ".pem") + " " + more + " 2>/dev/null";
    if (std::system(command.c_str()) != 0) die("the openssl program cannot make a certificate");
    std::filesystem::permissions(file(name + ".key"),
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  void leaf(const std::string& name, const std::string& names, const std::string& usage) const {
    make(name, "-CA " + file("ca.pem") + " -CAkey " + file("ca.key") + " -addext subjectAltName=" + names +
                   " -addext extendedKeyUsage=" + usage);
  }

  std::filesystem::path folder_;
};

// --- Servers ------------------------------------------------------------------------------------------

class server_thread {
 public:
  explicit server_thread(const certificates& files) {
    net::site_options o;
    o.manager.node = "a";
    o.memory.allow_unlocked = true;
    o.self_link = true;
    o.listen = {"qkd004://127.0.0.1:0", "qkd004s://127.0.0.1:0"};
    o.tls = files.of("server");
    site_ = std::make_unique<net::site>(context_, std::move(o));
    std::string why;
    if (!site_->start(&why)) die(why);
    plain = site_->addresses().at(0);
    tls = site_->addresses().at(1);
    thread_ = std::thread{[this] { context_.run(); }};
    if (::pthread_getcpuclockid(thread_.native_handle(), &clock_) != 0) die("no clock of the thread");
  }
  ~server_thread() {
    site_->stop();
    thread_.join();
  }
  server_thread(const server_thread&) = delete;
  server_thread& operator=(const server_thread&) = delete;

  /// Nanoseconds on a processor.
  std::uint64_t processor_time() const {
    timespec t{};
    ::clock_gettime(clock_, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
  }

  std::string plain;
  std::string tls;

 private:
  asio::io_context context_{1};
  std::unique_ptr<net::site> site_;
  std::thread thread_;
  clockid_t clock_{};
};

std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&at), &size) != 0) {
    die("no free port");
  }
  ::close(socket);
  return ntohs(at.sin_port);
}

/// `openssl s_server`; it stops when its input ends, so that is held open.
class openssl_server {
 public:
  explicit openssl_server(const certificates& files) : port{free_port()} {
    int in[2];
    if (::pipe2(in, O_CLOEXEC) != 0) die("pipe");
    const auto own = files.of("server");
    const std::string accept = "127.0.0.1:" + std::to_string(port);
    pid_ = ::fork();
    if (pid_ < 0) die("fork");
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(in[0], 0);
      const int nowhere = ::open("/dev/null", O_WRONLY);
      ::dup2(nowhere, 1);
      ::dup2(nowhere, 2);
      ::execlp("openssl", "openssl", "s_server", "-accept", accept.c_str(), "-cert", own.certificate.c_str(),
               "-key", own.key.c_str(), "-CAfile", own.authority.c_str(), "-Verify", "2",
               "-verify_return_error", "-tls1_3", "-num_tickets", "0", "-no_cache", "-quiet", nullptr);
      std::_Exit(127);
    }
    ::close(in[0]);
    input_ = in[1];
  }
  ~openssl_server() {
    ::close(input_);
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  openssl_server(const openssl_server&) = delete;
  openssl_server& operator=(const openssl_server&) = delete;

  std::uint64_t processor_time() const {
    std::ifstream file{"/proc/" + std::to_string(pid_) + "/schedstat"};
    std::uint64_t ns = 0;
    file >> ns;
    return ns;
  }

  const std::uint16_t port;

 private:
  pid_t pid_ = 0;
  int input_ = -1;
};

// --- The client that is the same for all --------------------------------------------------------------

using context_ptr = std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)>;

context_ptr client_context(const net::tls_options& own) {
  context_ptr c{SSL_CTX_new(TLS_client_method()), SSL_CTX_free};
  SSL_CTX_set_min_proto_version(c.get(), TLS1_3_VERSION);
  SSL_CTX_set_verify(c.get(), SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_use_certificate_chain_file(c.get(), own.certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(c.get(), own.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_load_verify_file(c.get(), own.authority.c_str()) != 1) {
    die("the client cannot read its certificate");
  }
  SSL_CTX_set_read_ahead(c.get(), 1);
  return c;
}

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    ::close(socket);
    return -1;
  }
  const int one = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return socket;
}

class connection {
 public:
  /// `context`: null without TLS.
  connection(std::uint16_t port, SSL_CTX* context) : socket_{connect_to(port)} {
    if (socket_ < 0) die("cannot connect");
    if (context == nullptr) return;
    ssl_.reset(SSL_new(context));
    SSL_set_fd(ssl_.get(), socket_);
    if (SSL_connect(ssl_.get()) != 1) die("the handshake failed");
  }
  ~connection() {
    ssl_.reset();
    ::close(socket_);
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Sends, and waits for that many octets.
  void exchange(const std::string& request, std::size_t reply) {
    if (ssl_) {
      std::size_t sent = 0;
      if (SSL_write_ex(ssl_.get(), request.data(), request.size(), &sent) != 1) die("cannot send");
    } else if (::send(socket_, request.data(), request.size(), MSG_NOSIGNAL) !=
               static_cast<ssize_t>(request.size())) {
      die("cannot send");
    }
    for (std::size_t got = 0; got < reply;) {
      std::size_t count = 0;
      if (ssl_) {
        if (SSL_read_ex(ssl_.get(), input_.data(), input_.size(), &count) != 1) die("the connection broke");
      } else {
        const ssize_t n = ::recv(socket_, input_.data(), input_.size(), 0);
        if (n <= 0) die("the connection broke");
        count = static_cast<std::size_t>(n);
      }
      got += count;
      if (got > reply) die("answers of another size");
    }
    if (input_[3] != 5) die("no answer to GET_KEY");
  }

 private:
  int socket_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
  std::array<char, 65536> input_{};
};

struct figures {
  double per_second = 0;
  double server_ns = 0;  ///< processor time each
};

/// As often as goes in the time of one measurement; `step` does `count` of them.
figures measure(const std::function<void()>& step, int count,
                const std::function<std::uint64_t()>& processor_time) {
  const std::uint64_t before = processor_time();
  const auto begin = std::chrono::steady_clock::now();
  auto now = begin;
  std::uint64_t done = 0;
  for (; now - begin < one_measurement; now = std::chrono::steady_clock::now()) {
    step();
    done += static_cast<std::uint64_t>(count);
  }
  figures f;
  f.per_second = static_cast<double>(done) / std::chrono::duration<double>(now - begin).count();
  f.server_ns = static_cast<double>(processor_time() - before) / static_cast<double>(done);
  return f;
}

void shake_hands(std::uint16_t port, SSL_CTX* context) {
  const int socket = connect_to(port);
  if (socket < 0) die("cannot connect");
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl{SSL_new(context), SSL_free};
  SSL_set_fd(ssl.get(), socket);
  if (SSL_connect(ssl.get()) != 1) die("the handshake failed");
  if (SSL_session_reused(ssl.get()) != 0) die("that was no full handshake");
  SSL_shutdown(ssl.get());
  char octet = 0;
  std::size_t count = 0;
  ERR_clear_error();
  if (SSL_read_ex(ssl.get(), &octet, 1, &count) == 1 ||
      (SSL_get_error(ssl.get(), 0) == SSL_ERROR_SSL &&
       ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
    die("the server refused");
  }
  ::close(socket);
}

// --- What is compared ---------------------------------------------------------------------------------

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

struct column {
  std::vector<double> per_second;
  std::vector<double> server_ns;
  void add(const figures& f) {
    per_second.push_back(f.per_second);
    server_ns.push_back(f.server_ns);
  }
};

void print(const char* name, const column& c) {
  const auto [low, high] = std::minmax_element(c.per_second.begin(), c.per_second.end());
  std::printf("  %-22s %10.0f/s  (%.0f to %.0f)   server %7.0f ns\n", name, median(c.per_second), *low, *high,
              median(c.server_ns));
}

/// Medians of the ratios, each formed inside one repetition.
void print_ratio(const char* name, const std::vector<double>& ours, const std::vector<double>& theirs) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs[i]);
  std::printf("  %-40s %.2f\n", name, median(ratios));
}

/// A stream with one key that was served once and may be read again.
std::string get_key_request_at(const std::string& uri, const net::connect_options& options) {
  secret_options memory;
  memory.allow_unlocked = true;
  memory.bytes = 1 << 20;
  std::string why;
  const auto via = net::connect(uri, secret_arena{memory}, options, &why);
  if (!via) die(why);
  call c;
  c.deadline = boot_clock::now() + 10s;
  c.request = open_connect_request{"qkd://one@a", "qkd://two@a"};
  call* const one = &c;
  (*via)->start(std::span{&one, 1});
  (*via)->wait(c);
  if (c.error) die("OPEN_CONNECT: " + c.error.message());
  const auto opened = std::get<open_connect_response>(c.response);
  if (opened.outcome != status::peer_not_connected)
    die("OPEN_CONNECT: " + std::string{to_string(opened.outcome)});
  std::string frame{2, 1, 1, 4, 0, 0, 0, 24};
  frame.append(reinterpret_cast<const char*>(opened.stream.octets().data()), 16);
  frame.append(8, '\0');  // index 0, no metadata
  return frame;
}

constexpr std::size_t key_reply = wire::frame_header::size + 4 + 4 + 4 + 32 + 4;

void compare_get_key(const server_thread& server, const certificates& files, int repetitions) {
  const context_ptr context = client_context(files.of("client"));
  net::connect_options as;
  as.tls = files.of("client");
  const std::string plain_request = get_key_request_at(server.plain, {});
  const std::string tls_request = get_key_request_at(server.tls, as);
  connection plain{net::parse_address(server.plain)->port, nullptr};
  connection tls{net::parse_address(server.tls)->port, context.get()};
  plain.exchange(plain_request, key_reply);
  tls.exchange(tls_request, key_reply);
  for (const int in_flight : {1, 16}) {
    std::string plain_batch;
    std::string tls_batch;
    for (int i = 0; i < in_flight; ++i) {
      plain_batch += plain_request;
      tls_batch += tls_request;
    }
    const std::size_t reply = key_reply * static_cast<std::size_t>(in_flight);
    column of_plain;
    column of_tls;
    const auto clock = [&] { return server.processor_time(); };
    for (int i = 0; i < repetitions; ++i) {
      of_plain.add(measure([&] { plain.exchange(plain_batch, reply); }, in_flight, clock));
      of_tls.add(measure([&] { tls.exchange(tls_batch, reply); }, in_flight, clock));
    }
    std::printf("GET_KEY, 1 connection, %d in flight\n", in_flight);
    print("plain TCP", of_plain);
    print("TLS 1.3", of_tls);
    print_ratio("TLS / plain, requests", of_tls.per_second, of_plain.per_second);
    print_ratio("TLS / plain, server time", of_tls.server_ns, of_plain.server_ns);
    std::fflush(stdout);
  }
}

void compare_handshakes(const server_thread& server, const certificates& files, int repetitions) {
  const context_ptr context = client_context(files.of("client"));
  const openssl_server other{files};
  const auto give_up = std::chrono::steady_clock::now() + 10s;
  for (int probe = -1; probe < 0;) {  // a connection that says nothing is one that s_server lets go
    probe = connect_to(other.port);
    if (probe >= 0) ::close(probe);
    if (std::chrono::steady_clock::now() > give_up) die("openssl s_server did not start");
    std::this_thread::sleep_for(10ms);
  }
  const std::uint16_t port = net::parse_address(server.tls)->port;
  column of_ours;
  column of_other;
  for (int i = 0; i < repetitions; ++i) {
    of_ours.add(
        measure([&] { shake_hands(port, context.get()); }, 1, [&] { return server.processor_time(); }));
    of_other.add(
        measure([&] { shake_hands(other.port, context.get()); }, 1, [&] { return other.processor_time(); }));
  }
  std::printf("full mutual TLS 1.3 handshakes, ECDSA P-256, one after another\n");
  print("this site", of_ours);
  print("openssl s_server", of_other);
  print_ratio("site / s_server, handshakes", of_ours.per_second, of_other.per_second);
  print_ratio("site / s_server, server time", of_ours.server_ns, of_other.server_ns);
}

}  // namespace

int main(int argc, char**) {
  if (argc != 1) die("usage: tls_bench");
  ::signal(SIGPIPE, SIG_IGN);  // OpenSSL's socket BIO, in the client
  const char* const wanted = std::getenv("QKD004_BENCH_REPETITIONS");
  const int repetitions = wanted == nullptr ? 5 : std::max(1, std::atoi(wanted));
  std::printf("%ld processors; medians (least to most) of %d repetitions of %lld ms, 32 octets of key\n",
              ::sysconf(_SC_NPROCESSORS_ONLN), repetitions, static_cast<long long>(one_measurement.count()));
  const certificates files;
  const server_thread server{files};
  compare_get_key(server, files, repetitions);
  compare_handshakes(server, files, repetitions);
  return 0;
}
