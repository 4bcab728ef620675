// What a site must bear: callers that are slow, silent, half gone or very many, and times in which there is nothing to
// do for want of key or of a peer.
// SPDX-License-Identifier: Apache-2.0
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>

#include "net/certificates.hpp"
#include "net/proxy.hpp"

using namespace test;

namespace {

/// A socket and nothing else: a thousand of them are a thousand descriptors.
class plain_line {
 public:
  explicit plain_line(const std::string& address) {
    // over TLS, too, but without it
    const auto where =
        net::resolve(*net::parse_address("qkd004" + address.substr(address.find(':'))), net::reach::loopback)
            ->front();
    descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{20, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    is_connected_ = ::connect(descriptor_, where.data(), static_cast<socklen_t>(where.size())) == 0;
  }
  plain_line(plain_line&& other) noexcept
      : descriptor_{std::exchange(other.descriptor_, -1)}, is_connected_{other.is_connected_} {}
  plain_line& operator=(plain_line&&) = delete;
  ~plain_line() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  bool is_connected() const { return is_connected_; }
  int descriptor() const { return descriptor_; }
  bool send(std::span<const std::uint8_t> o) const {
    return ::send(descriptor_, o.data(), o.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(o.size());
  }
  /// So many octets, or fewer at the end.
  octets read(std::size_t count) const {
    octets o(count);
    std::size_t got = 0;
    for (ssize_t n = 1; got < count && n > 0; got += n > 0 ? static_cast<std::size_t>(n) : 0) {
      n = ::recv(descriptor_, o.data() + got, count - got, 0);
    }
    o.resize(got);
    return o;
  }
  bool has_ended() const {
    std::uint8_t one = 0;
    return ::recv(descriptor_, &one, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN;
  }
  /// Forgets the connection without a word to the other end, as a machine does that loses its power. Whether the
  /// system lets us.
  bool vanish() {
    const int on = 1;
    const bool may = ::setsockopt(descriptor_, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) == 0;
    ::close(std::exchange(descriptor_, -1));
    return may;
  }

 private:
  int descriptor_ = -1;
  bool is_connected_ = false;
};

/// A CLOSE of a stream that does not exist, and its answer without HELLO.
const octets request = frame_of(0x08, zeros(16));
const octets answer = frame_of(0x09, u32(3));

/// Reads keys at both ends of a stream until `until`; the longest that a pair of calls took.
struct steady_reader {
  explicit steady_reader(two_sites& s) : at_a{connect_to(s.a->address())}, at_b{connect_to(s.b->address())} {
    id = open_connect(*at_a).stream;
    open_connect(*at_b, id);
  }
  template <class Until>
  void read(Until until) {
    do {
      const auto before = boot_clock::now();
      REQUIRE(get_key(*at_a, id, next) == get_key(*at_b, id, next));
      longest = std::max(longest, boot_clock::now() - before);
      ++next;
    } while (!until());
  }
  std::shared_ptr<exchange> at_a;
  std::shared_ptr<exchange> at_b;
  key_stream_id id;
  std::uint64_t next = 0;
  boot_clock::duration longest{};
};

}  // namespace

TEST_CASE("robustness: serves others at once while slow, silent and half-closed callers hang about") {
  two_sites sites;
  const std::string address = sites.a->address();
  steady_reader reader{sites};
  std::vector<plain_line> slow;
  std::vector<plain_line> silent;
  std::vector<plain_line> half_closed;
  for (int i = 0; i < 20; ++i) {
    slow.emplace_back(address);
    silent.emplace_back(address);
    half_closed.emplace_back(address);
    half_closed.back().send(std::span{request}.first(12));
    ::shutdown(half_closed.back().descriptor(), SHUT_WR);
  }
  // an octet each 100 ms: the request takes 2.4 s
  std::size_t sent = 0;
  auto due = boot_clock::now();
  reader.read([&] {
    if (boot_clock::now() < due) return false;
    due += 100ms;
    for (const auto& s : slow) REQUIRE(s.send(std::span{request}.subspan(sent, 1)));
    return ++sent == request.size();
  });
  for (const auto& s : slow) CHECK(s.read(answer.size()) == answer);
  for (const auto& s : half_closed) CHECK(s.read(1).empty());  // gone, without an answer
  for (const auto& s : silent) CHECK_FALSE(s.has_ended());     // it has a minute
  CHECK(reader.next > 100);
  CHECK(reader.longest < 2s);  // less than a millisecond unless the machine is busy with something else
}

TEST_CASE("robustness: gives a frame its time once and not anew with every octet") {
  two_sites sites{[](net::site_options& o) { o.timeouts.frame = 300ms; }};
  const plain_line drips{sites.a->address()};
  const auto begin = boot_clock::now();
  octets long_frame = frame_of(0x02, octets(1'000, 'x'));
  for (std::size_t i = 0; i < long_frame.size() && !drips.has_ended(); ++i) {
    static_cast<void>(drips.send(std::span{long_frame}.subspan(i, 1)));
    std::this_thread::sleep_for(20ms);
  }
  CHECK(boot_clock::now() - begin < 5s);  // the frame would take 20 s
  CHECK(sites.a->log.has("has not completed its frame"));
}

TEST_CASE("robustness: gives a handshake its time once and not anew with every octet") {
  temporary_folder folder;
  authority ca{folder};
  auto options = site_options_of("a");
  options.listen = {"qkd004s://127.0.0.1:0"};
  options.self_link = true;
  options.tls = ca.site("a");
  options.timeouts.handshake = 300ms;
  running_site site{std::move(options)};
  const plain_line drips{site.address()};
  const auto begin = boot_clock::now();
  // a record of 1000 octets that begins as a ClientHello does
  octets record{0x16, 3, 1, 0x03, 0xe8, 1, 0, 0x03, 0xe4, 3, 3};
  record.resize(1'005);
  for (std::size_t i = 0; i < record.size() && !drips.has_ended(); ++i) {
    static_cast<void>(drips.send(std::span{record}.subspan(i, 1)));
    std::this_thread::sleep_for(20ms);
  }
  CHECK(boot_clock::now() - begin < 5s);
  CHECK(site.log.has("has not finished its handshake"));
  net::connect_options mine;
  mine.tls = ca.application("qkd://app@a");
  CHECK(connect_to(site.address(), mine));
}

TEST_CASE("robustness: is not held up by callers that vanished without a word") {
  two_sites sites;
  steady_reader reader{sites};
  bool may_vanish = true;
  {
    std::vector<plain_line> gone;
    for (int i = 0; i < 20; ++i) {
      gone.emplace_back(sites.a->address());
      // each waits for an answer that will not reach it
      gone.back().send(frame_of(0x04, id_octets(reader.id) + u32(1'000) + u32(0)));
    }
    for (auto& g : gone) may_vanish = g.vanish() && may_vanish;
  }
  if (!may_vanish) MESSAGE("no right to TCP_REPAIR here: these callers said that they left");
  reader.read([&] { return reader.next == 400; });
  CHECK(reader.longest < 2s);
}

TEST_CASE("robustness: serves a thousand connections at once and again a thousand") {
  constexpr std::size_t many = 1'000;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  constexpr rlim_t needed = 2 * many + 200;  // both ends are in this process
  if (before.rlim_max < needed) {
    MESSAGE("skipped: no more than " << before.rlim_max << " descriptors are allowed here");
    return;
  }
  rlimit enough = before;
  enough.rlim_cur = std::max(before.rlim_cur, needed);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &enough) == 0);
  {
    two_sites sites;
    steady_reader reader{sites};
    for (int round = 0; round < 2; ++round) {
      const auto begin = boot_clock::now();
      std::vector<plain_line> lines;
      for (std::size_t i = 0; i < many; ++i) {
        lines.emplace_back(sites.a->address());
        REQUIRE(lines.back().is_connected());
      }
      for (const auto& l : lines) REQUIRE(l.send(request));
      for (const auto& l : lines) REQUIRE(l.read(answer.size()) == answer);
      reader.read([&] { return reader.next % 50 == 49; });
      // and all of them once more, as idle connections are to stay
      for (const auto& l : lines) REQUIRE(l.send(request));
      for (const auto& l : lines) REQUIRE(l.read(answer.size()) == answer);
      CHECK(boot_clock::now() - begin < 10s);
    }
    CHECK(reader.longest < 2s);
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("robustness: keeps the processor idle while there is nothing to do for want of anything") {
  SUBCASE("no key from the source, and callers that wait for it") {
    memory_source_options slow;
    slow.rate_bps = 80;
    slow.block_bytes = 4096;  // one block at once, the next in seven minutes
    two_sites sites{make_memory_sources(slow), [](net::site_options&) {}};
    steady_reader reader{sites};
    reader.read([&] { return reader.next == 120; });
    std::vector<plain_line> waiting;
    for (std::uint32_t i = 0; i < 30; ++i) {
      waiting.emplace_back(sites.a->address());
      waiting.back().send(frame_of(0x04, id_octets(reader.id) + u32(1'000 + i) + u32(0)));
    }
    while (sites.a->on_manager([](key_manager& m) { return m.totals().waiting; }) < 30) {}
    CHECK(load_of_sites() < idle);
  }
  SUBCASE("a peer that is away") {
    two_sites sites;
    steady_reader reader{sites};
    reader.read([&] { return reader.next == 10; });
    sites.b.reset();
    CHECK(sites.a->log.has("lost a peer link=link peer=b "));
    CHECK(load_of_sites() < idle);
  }
  SUBCASE("a peer that has stopped reading and answering") {
    asio::io_context context;
    tcp::acceptor there{context, {asio::ip::address_v4::loopback(), 0}};
    auto options = site_options_of("a");
    options.peers.push_back(peer_of("b", net::to_uri(there.local_endpoint()), make_memory_sources().first));
    running_site a{std::move(options)};
    const tcp::socket hangs = there.accept();
    const auto at_a = connect_to(a.address());
    for (int i = 0; i < 50; ++i) open_connect(*at_a);
    CHECK(load_of_sites() < idle);
  }
  SUBCASE("no memory left for key") {
    two_sites sites{[](net::site_options& o) { o.memory.bytes = std::size_t{2} << 20; }};
    const auto at_a = connect_to(sites.a->address());
    status outcome{};
    for (int i = 0; i < 1'000 && outcome != status::resource_limit; ++i) {
      call c;
      qos large;
      large.key_chunk_size = 1'024;
      c.request = open_connect_request{"qkd://app@a", "qkd://app@b", large};
      ask(*at_a, c);
      outcome = std::get<open_connect_response>(c.response).outcome;
    }
    CHECK(outcome == status::resource_limit);
    CHECK(load_of_sites() < idle);
  }
  SUBCASE("a thousand streams that nobody reads") {
    two_sites sites{[](net::site_options& o) { o.memory.bytes = std::size_t{64} << 20; }};
    const auto at_a = connect_to(sites.a->address());
    for (int i = 0; i < 1'000; ++i) REQUIRE(open_connect(*at_a).outcome == status::peer_not_connected);
    CHECK(load_of_sites() < idle);
  }
}
