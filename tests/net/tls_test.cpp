// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/wait.h>

#include <functional>
#include <map>

#include "net/certificates.hpp"
#include "net/proxy.hpp"

using namespace test;

namespace {

/// Two sites that speak TLS with everybody, and an authority for all.
struct tls_sites {
  using adjust = std::function<void(net::site_options&)>;

  explicit tls_sites(const adjust& change = {}) {
    auto sources = make_memory_sources();
    auto of_b = options_of("b");
    of_b.peers.push_back(peer_of("a", "qkd004s:", std::move(sources.second)));
    if (change) change(of_b);
    b.emplace(std::move(of_b));
    auto of_a = options_of("a");
    of_a.peers.push_back(peer_of("b", b->address(), std::move(sources.first)));
    if (change) change(of_a);
    a.emplace(std::move(of_a));
  }

  net::site_options options_of(const std::string& node) {
    auto o = site_options_of(node);
    o.listen = {"qkd004s://127.0.0.1:0"};
    o.tls = ca.site(node);
    return o;
  }

  static net::connect_options as(const net::tls_options& who) {
    net::connect_options o;
    o.tls = who;
    return o;
  }
  std::shared_ptr<exchange> at_a(const std::string& uri = "qkd://app@a") {
    return connect_to(a->address(), as(ca.application(uri)));
  }
  std::shared_ptr<exchange> at_b(const std::string& uri = "qkd://app@b") {
    return connect_to(b->address(), as(ca.application(uri)));
  }

  temporary_folder folder;
  authority ca{folder};
  std::optional<running_site> b;
  std::optional<running_site> a;
};

/// A site that is its own peer, with a certificate of that text.
net::site_options lone_site(const net::tls_options& tls) {
  auto o = site_options_of("a");
  o.listen = {"qkd004s://127.0.0.1:0"};
  o.self_link = true;
  o.tls = tls;
  return o;
}

std::string refusal(const std::string& address, const net::connect_options& options, std::errc expected) {
  std::string why;
  const auto made = net::connect(address, secret_arena{some_memory()}, options, &why);
  REQUIRE_FALSE(made);
  CHECK_MESSAGE(made.error() == expected, why << " / " << made.error().message());
  return why;
}

status open_outcome(exchange& via, const key_stream_id& id, std::string source = "qkd://app@a",
                    std::string destination = "qkd://app@b") {
  call c;
  c.request = open_connect_request{std::move(source), std::move(destination), {}, id};
  ask(via, c);
  REQUIRE_MESSAGE(!c.error, c.error.message());
  return std::get<open_connect_response>(c.response).outcome;
}

constexpr std::uint8_t hello_frame[] = {2, 1, 1, 0x40, 0, 0, 0, 16, 0, 1, 0, 0,
                                        0, 0, 0, 0,    0, 0, 0, 0,  0, 0, 0, 0};
const octets hello{std::begin(hello_frame), std::end(hello_frame)};

}  // namespace

TEST_CASE("tls: gives both applications the same keys when sites and applications speak nothing else") {
  tls_sites sites;
  CHECK(sites.a->address().starts_with("qkd004s://127.0.0.1:"));
  CHECK(sites.a->log.has("a peer is up link=link peer=b"));
  CHECK(sites.a->log.count_now("'anonymous'") == 0);
  const auto at_a = sites.at_a();
  const auto at_b = sites.at_b();
  const auto first = open_connect(*at_a);
  CHECK(open_connect(*at_b, first.stream).outcome == status::success);
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto key = get_key(*at_a, first.stream, i);
    REQUIRE(key.size() == 32);
    REQUIRE(get_key(*at_b, first.stream, i) == key);
  }
  CHECK(close(*at_a, first.stream) == status::success);
  CHECK(close(*at_b, first.stream) == status::success);
}

TEST_CASE("tls: carries chunks larger than its records") {
  tls_sites sites{[](net::site_options& o) { o.manager.limits.ring_chunks = 8; }};
  const auto at_a = sites.at_a();
  const auto at_b = sites.at_b();
  qos large;
  large.key_chunk_size = 64 * 1024;
  const auto opened = open_connect(*at_a, {}, large);
  REQUIRE(opened.outcome == status::peer_not_connected);
  open_connect(*at_b, opened.stream);
  for (std::uint64_t i = 0; i < 3; ++i) {
    get_key_call one{opened.stream, i, 0, 64 * 1024};
    get_key_call other{opened.stream, i, 0, 64 * 1024};
    ask(*at_a, one);
    ask(*at_b, other);
    REQUIRE_MESSAGE(!one.error, one.error.message());
    REQUIRE(one.octets().size() == 64 * 1024);
    REQUIRE(one.octets() == other.octets());
  }
}

TEST_CASE("tls: answers 256 pipelined requests and a half-closed client in order") {
  tls_sites sites{[](net::site_options& o) { o.manager.limits.ring_chunks = 512; }};
  const auto at_a = sites.at_a();
  const auto stream = open_connect(*at_a).stream;
  for (std::uint64_t i = 0; i < 256; ++i) get_key(*at_a, stream, i);  // they are there, and may be read again

  const auto own = sites.ca.application("qkd://app@a");
  for (const bool in_order : {true, false}) {
    CAPTURE(in_order);
    raw_tls client{sites.a->address(), {&own}};
    octets many;
    for (std::uint32_t i = 0; i < 256; ++i)
      many = std::move(many) + frame_of(0x04, id_octets(stream) + u32(i) + u32(0));
    client.send(many);
    if (in_order) {
      SSL_shutdown(client.ssl());  // close_notify, and then reads on
    } else {
      ::shutdown(client.descriptor(), SHUT_WR);  // without: a truncation, but these frames are complete
    }
    std::uint32_t next = 0;
    while (const auto answer = client.read()) {
      REQUIRE(answer->size() == 8 + 48);
      REQUIRE((*answer)[3] == 0x05);
      REQUIRE(octets{answer->begin() + 12, answer->begin() + 16} == u32(next));
      ++next;
    }
    CHECK(next == 256);
    CHECK(client.was_ended());
  }
}

TEST_CASE("tls: stops reading from a client that reads no answer and goes on when it does") {
  tls_sites sites{[](net::site_options& o) {
    o.manager.limits.max_unsent = 64 * 1024;
    o.manager.limits.max_in_flight = 4;
  }};
  const auto at_a = sites.at_a();
  qos large;
  large.key_chunk_size = 4096;
  const auto stream = open_connect(*at_a, {}, large).stream;
  get_key_call first{stream, 0, 0, 4096};
  ask(*at_a, first);
  REQUIRE_FALSE(first.error);
  constexpr int count = 3000;  // 12 MiB: more than the system's buffers hold
  const auto own = sites.ca.application("qkd://app@a");
  raw_tls late{sites.a->address(), {&own}};
  octets many;
  for (int i = 0; i < count; ++i)
    many = std::move(many) + frame_of(0x04, id_octets(stream) + u32(0) + u32(0));
  late.send(many);           // 96 KB of requests
  SSL_shutdown(late.ssl());  // and nothing more
  int answered = 0;
  for (; answered < count; ++answered) {
    const auto answer = late.read();
    if (!answer || answer->size() != 8 + 16 + 4096) break;
  }
  CHECK(answered == count);
}

TEST_CASE("tls: refuses a client whose certificate is not good, says why, and serves the others") {
  tls_sites sites;
  const auto before = sites.at_a();
  const auto stream = open_connect(*before).stream;
  authority other{sites.folder, "other"};
  net::tls_options stranger = other.application("qkd://app@a");
  stranger.authority = sites.ca.certificate();
  const certificate_text good{"URI:qkd://app@a", "clientAuth"};
  const auto with = [&](auto change) {
    certificate_text text = good;
    change(text);
    return text;
  };
  struct row {
    const char* logged;
    const char* told;
    net::tls_options files;
  };
  const row rows[] = {
      {"no authority that is believed here", "no authority that it believes", stranger},
      {"has expired", "expired", sites.ca.issue("expired", with([](auto& t) { t.until = -60; }))},
      {"is not valid yet", "refuses this end's certificate",
       sites.ca.issue("early", with([](auto& t) { t.from = 1800; }))},
      {"not meant for a client", "not meant for this",
       sites.ca.issue("server", with([](auto& t) { t.usage = "serverAuth"; }))},
      {"not meant for a client", "not meant for this",
       sites.ca.issue("no-usage", with([](auto& t) { t.usage = ""; }))},
      {"self-signed", "refuses this end's certificate", sites.ca.issue_itself("self", good)},
  };
  std::map<std::string, std::size_t> lines;
  std::uint64_t index = 0;
  for (const row& r : rows) {
    const std::string logged = r.logged;
    CAPTURE(logged);
    CAPTURE(r.files.certificate);
    const std::string why = refusal(sites.a->address(), tls_sites::as(r.files), std::errc::permission_denied);
    CHECK_MESSAGE(why.find(r.told) != std::string::npos, why);
    CHECK(sites.a->log.has(logged, ++lines[logged]));
    CHECK(sites.a->log.count_now(logged) == lines[logged]);
    CHECK(get_key(*before, stream, index++).size() == 32);
    const auto after = sites.at_b();
    CHECK(after != nullptr);
  }
}

TEST_CASE("tls: refuses clients without a certificate and with old versions or none") {
  tls_sites sites;
  const auto before = sites.at_a();
  const auto stream = open_connect(*before).stream;
  const auto own = sites.ca.application("qkd://app@a");

  raw_tls nobody{sites.a->address(), {}};
  CHECK(nobody.is_connected());  // TLS 1.3 says so with the first answer only
  CHECK(nobody.exchange(hello).empty());
  CHECK(ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
  CHECK(sites.a->log.has("it showed no certificate"));

  CHECK_FALSE(raw_tls{sites.a->address(), {&own, TLS1_2_VERSION}}.is_connected());
  CHECK(sites.a->log.has("no version of TLS that is allowed here", 1));
  CHECK_FALSE(raw_tls{sites.a->address(), {&own, TLS1_1_VERSION}}.is_connected());
  CHECK(sites.a->log.has("no version of TLS that is allowed here", 2));

  raw_socket plain{"qkd004" + sites.a->address().substr(7)};
  plain.send(hello);
  CHECK(plain.is_closed_by_peer());
  CHECK(sites.a->log.has("it does not speak TLS"));

  raw_socket short_one{"qkd004" + sites.a->address().substr(7)};
  short_one.close();
  CHECK(sites.a->log.has("it closed during the handshake"));
  CHECK(sites.a->log.count_now("refused remote=qkd004s://127.0.0.1:") == 5);

  CHECK(get_key(*before, stream, 0).size() == 32);
  CHECK(open_outcome(*sites.at_a(), {}) == status::peer_not_connected);
}

TEST_CASE("tls: takes version 1.2 only where it is allowed") {
  tls_sites sites{[](net::site_options& o) { o.tls->allow_tls_1_2 = true; }};
  const auto own = sites.ca.application("qkd://app@a");
  raw_tls old{sites.a->address(), {&own, TLS1_2_VERSION}};
  REQUIRE(old.is_connected());
  CHECK(old.exchange(hello).at(3) == 0x41);
  CHECK_FALSE(raw_tls{sites.a->address(), {&own, TLS1_1_VERSION}}.is_connected());
  CHECK_FALSE(raw_tls{sites.a->address(), {nullptr, TLS1_2_VERSION}}.is_connected());
}

TEST_CASE("tls: drops a client that is silent in its handshake and a client that is after it") {
  tls_sites sites{[](net::site_options& o) {
    o.timeouts.handshake = 100ms;
    o.timeouts.silence = 100ms;
  }};
  const auto at_a = sites.at_a();
  const auto stream = open_connect(*at_a).stream;
  raw_socket silent{"qkd004" + sites.a->address().substr(7)};
  CHECK(get_key(*at_a, stream, 0).size() == 32);
  CHECK(silent.is_closed_by_peer());
  CHECK(sites.a->log.has("has not finished its handshake"));
  const auto own = sites.ca.application("qkd://app@a");
  raw_tls later{sites.a->address(), {&own}};
  REQUIRE(later.is_connected());
  CHECK_FALSE(later.read());
  CHECK(later.was_ended());
  CHECK(sites.a->log.has("has not said anything"));
  CHECK(get_key(*at_a, stream, 1).size() == 32);
}

TEST_CASE("tls: says that a plain server speaks no TLS") {
  two_sites plain;
  temporary_folder folder;
  authority ca{folder};
  const auto as = tls_sites::as(ca.application("qkd://app@a"));
  const std::string why =
      refusal("qkd004s" + plain.a->address().substr(6), as, std::errc::protocol_not_supported);
  CHECK_MESSAGE(why.find("does not speak TLS") != std::string::npos, why);
  const auto at_a = connect_to(plain.a->address());
  CHECK(get_key(*at_a, open_connect(*at_a).stream, 0).size() == 32);
}

TEST_CASE("tls: gives up in time when the server says nothing in the handshake") {
  temporary_folder folder;
  authority ca{folder};
  asio::io_context context;
  tcp::acceptor silent{context, {asio::ip::address_v4::loopback(), 0}};
  auto as = tls_sites::as(ca.application("qkd://app@a"));
  as.connect_timeout = 50ms;
  refusal(net::to_uri(silent.local_endpoint(), net::scheme::tls), as, std::errc::timed_out);
}

TEST_CASE("tls: tells a client that a server is not who it should be") {
  temporary_folder folder;
  authority ca{folder};
  authority other{folder, "other"};
  const auto as = tls_sites::as(ca.application("qkd://app@a"));
  const auto told = [&](const net::tls_options& of_site, const net::connect_options& client) {
    net::tls_options files = of_site;
    files.authority = ca.certificate();
    running_site site{lone_site(files)};
    std::string why = refusal(site.address(), client, std::errc::permission_denied);
    CHECK(site.log.has("refused"));
    return why;
  };
  const auto has = [](const std::string& why, const char* text) {
    CHECK_MESSAGE(why.find(text) != std::string::npos, why);
  };
  has(told(ca.issue("no-server", {"URI:qkd://a,IP:127.0.0.1", "clientAuth"}), as), "not meant for a server");
  has(told(ca.issue("no-usage", {"URI:qkd://a,IP:127.0.0.1", ""}), as), "not meant for a server");
  has(told(ca.issue("old", {"IP:127.0.0.1", "serverAuth", -3600, -60}), as), "has expired");
  has(told(ca.issue("far", {"URI:qkd://a,IP:192.0.2.1,DNS:127.0.0.1"}), as), "does not name this host");
  has(told(other.site("a"), as), "no authority that is believed here");
  auto strict = as;
  strict.server = "qkd://a";
  has(told(ca.site("b"), strict), "somebody else's");
  has(told(ca.issue("no-uri", {"IP:127.0.0.1"}), strict), "somebody else's");

  running_site good{lone_site(ca.issue("elsewhere", {"URI:qkd://a,IP:192.0.2.1"}))};
  CHECK(connect_to(good.address(), strict));  // the URI is enough
  const std::string port = good.address().substr(good.address().rfind(':'));
  running_site named{lone_site(ca.issue("named", {"DNS:localhost"}))};
  CHECK(connect_to("qkd004s://localhost" + named.address().substr(named.address().rfind(':')), as));
}

TEST_CASE("tls: lets a caller open only what is its own where there is no table") {
  tls_sites sites;
  const auto mine = sites.at_a("qkd://app@a");
  CHECK(open_outcome(*mine, {}) == status::peer_not_connected);
  CHECK(open_outcome(*mine, {}, "qkd://other@a", "qkd://app@b") == status::not_authorized);
  const auto theirs = sites.at_a("qkd://app@b");  // right, but of the other site
  CHECK(open_outcome(*theirs, {}) == status::not_authorized);
}

TEST_CASE("tls: lets the table decide where there is one") {
  tls_sites sites{[](net::site_options& o) {
    o.access = {{"qkd://ops/*", "qkd://app@a", "*"}};
    o.listen.push_back("qkd004://127.0.0.1:0");
  }};
  CHECK(open_outcome(*sites.at_a("qkd://ops/1"), {}) == status::peer_not_connected);
  CHECK(open_outcome(*sites.at_a("qkd://ops/1"), {}, "qkd://app2@a") == status::not_authorized);
  CHECK(open_outcome(*sites.at_a("qkd://app@a"), {}) == status::not_authorized);
  CHECK(open_outcome(*connect_to(sites.a->site->addresses().at(1)), {}) == status::not_authorized);
}

TEST_CASE("tls: knows callers by issuer and URI, or by their public key") {
  std::vector<std::string> principals;
  std::mutex mutex;
  temporary_folder folder;
  authority ca{folder, "c#a, x"};
  auto options = lone_site(ca.site("a"));
  options.manager.may_open = [&](std::string_view principal, std::string_view, std::string_view) {
    const std::lock_guard lock{mutex};
    principals.emplace_back(principal);
    return true;
  };
  running_site site{std::move(options)};
  const auto principal_with = [&](const std::string& name, const std::string& names) {
    const auto via = connect_to(site.address(), tls_sites::as(ca.issue(name, {names, "clientAuth"})));
    open_outcome(*via, {}, "qkd://one@a", "qkd://two@a");
    const std::lock_guard lock{mutex};
    return principals.back();
  };
  const std::string issuer = "tls:CN=c\\23a\\, x#";
  CHECK(principal_with("one", "URI:qkd://app@a") == issuer + "qkd://app@a");
  CHECK(principal_with("two", "DNS:x,URI:qkd://first@a,URI:qkd://second@a") == issuer + "qkd://first@a");
  CHECK(principal_with("fragment", "URI:qkd://app@a#x") == issuer + "qkd://app@a#x");
  for (const char* const names : {"", "DNS:app.example", "URI:uid:0", "URI:spki:00", "URI:anonymous"}) {
    CAPTURE(names);
    const std::string principal = principal_with("keyed", names);
    REQUIRE(principal.starts_with(issuer + "spki:"));
    const std::string digest = principal.substr(issuer.size() + 5);
    CHECK(digest.size() == 64);
    CHECK(digest.find_first_not_of("0123456789abcdef") == std::string::npos);
  }
}

TEST_CASE("tls: takes authorities for one only if their names are") {
  temporary_folder folder;
  certificate_text no_string;
  no_string.of_name = V_ASN1_BIT_STRING;
  authority pairs[][2] = {
      {authority{folder, "\\#"}, authority{folder, "\\23"}},
      {authority{folder, "xy", no_string}, authority{folder, "#0303007879"}},
  };
  tls_sites sites{[&](net::site_options& o) {
    std::ofstream believed{o.tls->authority, std::ios::app};
    for (auto& pair : pairs)
      for (authority& one : pair) believed << std::ifstream{one.certificate()}.rdbuf();
  }};
  for (auto& pair : pairs) {
    const auto as = [&](authority& issuer) {
      auto files = issuer.application("qkd://app@a");
      files.authority = sites.ca.certificate();
      return connect_to(sites.a->address(), tls_sites::as(files));
    };
    const auto owner = as(pair[0]);
    const auto stream = open_connect(*owner).stream;
    REQUIRE_FALSE(stream.is_null());
    CHECK(open_outcome(*as(pair[1]), stream) == status::ksid_in_use);
    CHECK(open_outcome(*as(pair[0]), stream) == status::peer_not_connected);  // and its owner resumes it
  }
}

TEST_CASE("tls: lets a principal resume its stream and fences it off on its older connections") {
  tls_sites sites;
  const auto first = sites.at_a();
  const auto opened = open_connect(*first);
  const auto key = get_key(*first, opened.stream, 0);
  const auto second = sites.at_a();  // another certificate and key, but the same URI of the same issuer
  const auto resumed = open_connect(*second, opened.stream);
  CHECK(resumed.outcome == status::peer_not_connected);
  CHECK(resumed.epoch == opened.epoch + 1);
  CHECK(get_key(*second, opened.stream, 0) == key);
  status outcome{};
  get_key(*first, opened.stream, 1, &outcome);
  CHECK(outcome == status::not_authorized);
}

TEST_CASE("tls: says the same of another principal's stream as of one that does not exist") {
  tls_sites sites{[](net::site_options& o) { o.access = {{"*"}}; }};
  const auto mine = sites.at_a();
  const auto stream = open_connect(*mine).stream;
  const auto key = get_key(*mine, stream, 0);
  const key_stream_id unknown = *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");

  const auto thief = sites.at_a("qkd://thief@a");
  CHECK(open_outcome(*thief, stream) == status::ksid_in_use);
  const auto own = sites.ca.application("qkd://thief@a");
  for (const bool greets : {true, false}) {
    raw_tls raw{sites.a->address(), {&own}};
    if (greets) REQUIRE_FALSE(raw.exchange(hello).empty());
    for (const std::uint32_t room : {0U, 64U}) {
      const octets of_other =
          raw.exchange(frame_of(0x04, id_octets(stream) + u32(0) + u32(room) + zeros(room)));
      const octets of_none =
          raw.exchange(frame_of(0x04, id_octets(unknown) + u32(0) + u32(room) + zeros(room)));
      REQUIRE_FALSE(of_other.empty());
      CHECK(of_other == of_none);
    }
    const octets closed = raw.exchange(frame_of(0x08, id_octets(stream)));
    REQUIRE_FALSE(closed.empty());
    CHECK(closed == raw.exchange(frame_of(0x08, id_octets(unknown))));
  }
  CHECK(get_key(*mine, stream, 0) == key);
}

TEST_CASE("tls: keeps nothing of a session that a client could come back with") {
  tls_sites sites{[](net::site_options& o) { o.tls->allow_tls_1_2 = true; }};
  const auto own = sites.ca.application("qkd://app@a");
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    CAPTURE(version);
    raw_tls client{sites.a->address(), {&own, version}};
    REQUIRE(client.exchange(hello).size() > 8);
    CHECK(SSL_version(client.ssl()) == version);
    CHECK(SSL_SESSION_has_ticket(SSL_get0_session(client.ssl())) == 0);
    if (version == TLS1_3_VERSION) CHECK(SSL_SESSION_is_resumable(SSL_get0_session(client.ssl())) == 0);
  }
}

TEST_CASE("tls: goes on when the client changes its keys and asks for the server's to change") {
  tls_sites sites;
  const auto own = sites.ca.application("qkd://app@a");
  raw_tls client{sites.a->address(), {&own}};
  const octets first = client.exchange(hello);
  REQUIRE(first.size() > 8);
  const octets close_unknown = frame_of(0x08, zeros(16));
  for (int i = 0; i < 5; ++i) {
    REQUIRE(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
    CHECK(client.exchange(close_unknown).at(3) == 0x09);
  }
}

TEST_CASE("tls: leaves the connection to the parent when a child of fork lets go of it") {
  tls_sites sites;
  two_sites plain;
  auto over_tls = sites.at_a();
  auto over_tcp = connect_to(plain.a->address());
  for (auto* const via : {&over_tls, &over_tcp}) {
    const auto stream = open_connect(**via).stream;
    const pid_t child = ::fork();
    if (child == 0) {
      via->reset();
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    CHECK(get_key(**via, stream, 0).size() == 32);
  }
}

TEST_CASE("tls: loses no key when the connection between peers is cut") {
  temporary_folder folder;
  authority ca{folder};
  proxy between;
  auto sources = make_memory_sources();
  const auto options_of = [&](const std::string& node, const std::string& other) {
    auto o = site_options_of(node);
    o.listen.push_back("qkd004s://127.0.0.1:0");
    o.tls = ca.site(node);
    o.peers.push_back(peer_of(other, "qkd004s" + between.address().substr(6), nullptr));
    return o;
  };
  auto of_b = options_of("b", "a");
  of_b.peers[0].source = std::move(sources.second);
  running_site b{std::move(of_b)};
  between.lead_to(b.site->addresses().at(1));
  auto of_a = options_of("a", "b");
  of_a.peers[0].source = std::move(sources.first);
  running_site a{std::move(of_a)};
  const auto at_a = connect_to(a.address());
  const auto at_b = connect_to(b.address());
  const auto stream = open_connect(*at_a).stream;
  open_connect(*at_b, stream);
  for (std::uint64_t i = 0; i < 500; ++i) {
    if (i % 100 == 50) between.cut();
    REQUIRE(get_key(*at_a, stream, i) == get_key(*at_b, stream, i));
  }
  CHECK(a.log.has("lost a peer link=link peer=b "));
  CHECK(a.log.has("a peer is up link=link peer=b", 2));
}

TEST_CASE("tls: believes a peer only with its own certificate") {
  tls_sites sites;
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  const auto of_c = sites.ca.site("c");
  raw_tls impostor{sites.b->address(), {&of_c}};
  const octets error = impostor.exchange(hello_of_peer("a", "link"));
  REQUIRE(error.size() >= 12);
  CHECK(error[3] == 0x00);
  CHECK(octets{error.begin() + 8, error.begin() + 12} == u32(1026));
  CHECK_FALSE(impostor.read());
  CHECK(sites.b->log.has("its certificate is that of qkd://c and not of qkd://a"));
  const auto nameless = sites.ca.issue("nameless", {"IP:127.0.0.1"});
  raw_tls unnamed{sites.b->address(), {&nameless}};
  CHECK(unnamed.exchange(hello_of_peer("a", "link")).at(3) == 0x00);
  CHECK(sites.b->log.has("its certificate has no SAN URI"));
  CHECK(sites.b->log.count_now("comes anew") == 0);
  CHECK(sites.b->log.count_now("refused") == 2);
}

TEST_CASE("tls: believes no peer over plain TCP that has to come over TLS") {
  temporary_folder folder;
  authority ca{folder};
  auto options = site_options_of("b");
  options.tls = ca.site("b");
  options.peers.push_back(peer_of("a", "qkd004s:", make_memory_sources().first));
  options.peers.push_back(peer_of("a2", "", make_memory_sources().first));
  options.peers.back().identity = "qkd://a2.example";
  running_site site{std::move(options)};
  for (const char* const node : {"a", "a2"}) {
    raw_socket plain{site.address()};
    plain.send(hello_of_peer(node, "link"));
    const auto error = plain.read();
    REQUIRE(error);
    CHECK(error->service == 0x00);
    CHECK(error->u32(0) == 1026);
  }
  CHECK(site.log.has("not over TLS", 2));
}

TEST_CASE("tls: does not talk to a site that is not the peer it dialed") {
  temporary_folder folder;
  authority ca{folder};
  auto sources = make_memory_sources();
  auto of_c = site_options_of("c");
  of_c.listen = {"qkd004s://127.0.0.1:0"};
  of_c.tls = ca.site("c");
  of_c.peers.push_back(peer_of("a", "qkd004s:", std::move(sources.second)));
  running_site c{std::move(of_c)};
  auto of_a = site_options_of("a");
  of_a.tls = ca.site("a");
  of_a.peers.push_back(peer_of("b", c.address(), std::move(sources.first)));
  running_site a{std::move(of_a)};
  CHECK(a.log.has("cannot reach a peer link=link peer=b address=" + c.address() +
                  " why=\"its certificate is somebody else's"));
  CHECK(c.log.has("refused", 2));  // it tries again
  CHECK(c.log.count_now("is up") == 0);
}

TEST_CASE("tls: believes a peer by the URI it was told") {
  temporary_folder folder;
  authority ca{folder};
  auto sources = make_memory_sources();
  const auto options_of = [&](const std::string& node, const std::string& other) {
    auto o = site_options_of(node);
    o.listen = {"qkd004s://127.0.0.1:0"};
    o.tls = ca.issue("of-" + node, {"URI:urn:site:" + node});
    o.peers.push_back(peer_of(other, "qkd004s:", nullptr));
    o.peers[0].identity = "urn:site:" + other;
    return o;
  };
  auto of_b = options_of("b", "a");
  of_b.peers[0].source = std::move(sources.second);
  running_site b{std::move(of_b)};
  auto of_a = options_of("a", "b");
  of_a.peers[0].source = std::move(sources.first);
  of_a.peers[0].address = b.address();
  running_site a{std::move(of_a)};
  CHECK(a.log.has("a peer is up link=link peer=b"));
  CHECK(b.log.has("a peer is up link=link peer=a"));
}

TEST_CASE("tls: says which file is wrong and how when it cannot use one") {
  temporary_folder folder;
  authority ca{folder};
  const auto good = ca.site("a");
  const auto other = ca.site("b");
  struct row {
    const char* why;
    std::errc error;
    net::tls_options files;
  };
  const auto with = [&](auto change) {
    net::tls_options files = good;
    change(files);
    return files;
  };
  const std::string open_key = folder / "open.key";
  std::filesystem::copy_file(good.key, open_key);
  ::chmod(open_key.c_str(), 0640);
  const std::string text = write_file(folder / "text", "no PEM at all\n");
  const std::string broken =
      write_file(folder / "broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const std::string locked =
      write_file(folder / "locked",
                 "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
  const row rows[] = {
      {"no file is given", std::errc::invalid_argument, {}},
      {"/nowhere", std::errc::no_such_file_or_directory, with([](auto& f) { f.certificate = "/nowhere"; })},
      {"/nowhere", std::errc::no_such_file_or_directory, with([](auto& f) { f.key = "/nowhere"; })},
      {"/nowhere", std::errc::no_such_file_or_directory, with([](auto& f) { f.authority = "/nowhere"; })},
      {"is no file", std::errc::invalid_argument, with([](auto& f) { f.key = "/"; })},
      {"open.key may be read by others", std::errc::permission_denied,
       with([&](auto& f) { f.key = open_key; })},
      {"is not that of the certificate", std::errc::invalid_argument,
       with([&](auto& f) { f.key = other.key; })},
      {"text holds no certificate", std::errc::invalid_argument,
       with([&](auto& f) { f.certificate = text; })},
      {"broken holds no certificate", std::errc::invalid_argument,
       with([&](auto& f) { f.certificate = broken; })},
      {"text holds no private key", std::errc::invalid_argument, with([&](auto& f) { f.key = text; })},
      {"locked holds no private key in PEM, or one with a password", std::errc::invalid_argument,
       with([&](auto& f) { f.key = locked; })},
      {"text holds no authority's certificate", std::errc::invalid_argument,
       with([&](auto& f) { f.authority = text; })},
      {"broken holds no authority's certificate", std::errc::invalid_argument,
       with([&](auto& f) { f.authority = broken; })},
  };
  for (const row& r : rows) {
    CAPTURE(r.why);
    asio::io_context context;
    auto options = lone_site(r.files);
    options.memory = some_memory();
    net::site site{context, std::move(options)};
    std::string why;
    const auto started = site.start(&why);
    REQUIRE_FALSE(started);
    CHECK_MESSAGE(started.error() == r.error, started.error().message());
    CHECK_MESSAGE(why.find(r.why) != std::string::npos, why);
    why = refusal("qkd004s://127.0.0.1:1", tls_sites::as(r.files), r.error);
    CHECK_MESSAGE(why.find(r.why) != std::string::npos, why);
  }
}

TEST_CASE("tls: needs a certificate wherever it is asked for") {
  asio::io_context context;
  const auto sentence = [&](auto change) {
    auto options = site_options_of("a");
    options.memory = some_memory();
    change(options);
    net::site site{context, std::move(options)};
    std::string why;
    CHECK(site.start(&why).error() == std::errc::invalid_argument);
    return why;
  };
  CHECK(sentence([](auto& o) { o.listen = {"qkd004s://127.0.0.1:0"}; }).find("needs a certificate") !=
        std::string::npos);
  CHECK(sentence([](auto& o) {
          o.peers = {peer_of("b", "qkd004s://127.0.0.1:1", make_memory_sources().first)};
        }).find("over TLS only") != std::string::npos);
  temporary_folder folder;
  authority ca{folder};
  CHECK(sentence([&](auto& o) {
          o.tls = ca.site("a");
          o.peers = {peer_of("b", "qkd004://127.0.0.1:1", make_memory_sources().first)};
          o.peers[0].identity = "qkd://b";
        }).find("has to be qkd004s://") != std::string::npos);
  net::connect_options options;
  CHECK(refusal("qkd004s://127.0.0.1:1", options, std::errc::invalid_argument).find("needs a certificate") !=
        std::string::npos);
  options.server = "qkd://a";
  CHECK(refusal("qkd004://127.0.0.1:1", options, std::errc::invalid_argument).find("qkd://a") !=
        std::string::npos);
}
