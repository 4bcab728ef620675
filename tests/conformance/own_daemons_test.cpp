// Every case against our own daemons, over every transport and dialect that they speak.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "conformance/daemons.hpp"
#include "conformance/run.hpp"
#include "net/certificates.hpp"

using namespace test;
namespace cf = qkd004::conformance;

namespace {

// --- The list of transports ---

place_options forge_over_tcp() { return {}; }

place_options qubip_over_tcp() {
  place_options o;
  o.spoken = cf::dialect::qubip;
  return o;
}

place_options forge_over_unix_socket() {
  place_options o;
  const auto folder = std::make_shared<temporary_folder>();
  o.adjust = [folder](net::site_options& s) { s.listen.push_back("unix:" + (*folder / s.manager.node)); };
  return o;
}

place_options rest_over_http() {
  place_options o;
  o.adjust = [](net::site_options& s) { s.listen.push_back("http://127.0.0.1:0"); };
  return o;
}

/// Certificates, and what makes them.
struct certified {
  temporary_folder folder;
  authority issuer{folder};
};

cf::connector connector_of(const net::tls_options& files) {
  std::string why;
  auto made = cf::connect_tls(files, {}, why);
  REQUIRE_MESSAGE(made, why);
  return *made;
}

/// Of two applications each may open what the other may: so the streams themselves have to tell them apart.
place_options over_tls(const std::string& listener) {
  place_options o;
  const auto files = std::make_shared<certified>();
  o.adjust = [files, listener](net::site_options& s) {
    s.listen.push_back(listener);
    s.tls = files->issuer.site(s.manager.node);
    s.access = {{"qkd://alice@site-a"}, {"qkd://bob@site-b"}};
  };
  o.connect = connector_of(files->issuer.application("qkd://alice@site-a"));
  o.connect_b = connector_of(files->issuer.application("qkd://bob@site-b"));
  return o;
}

place_options forge_over_tls() { return over_tls("qkd004s://127.0.0.1:0"); }
place_options rest_over_https() { return over_tls("https://127.0.0.1:0"); }

// ---

/// Skipped where the key source of a site that is its own peer has no bound.
const std::set<std::string_view> boundless{"qos.min-too-high", "qos.jitter-too-fine"};

bool may_skip(const cf::test_case& c, const place& p) {
  const bool own_peer = p.whom.uri_a == p.whom.uri_b;
  if ((c.dialects & static_cast<unsigned>(p.whom.spoken)) == 0) return true;
  if ((c.needs & cf::need::hello) != 0 && !p.whom.greets) return true;
  if ((c.needs & cf::need::stranger) != 0 && !p.whom.two_principals) return true;
  if (c.id == "principal.resume" &&
      (p.whom.uri_a.starts_with("qkd004:") || p.whom.uri_a.starts_with("http:")))
    return true;  // nobody has a name there
  if (p.whom.uri_a.starts_with("http") && (c.needs & cf::need::frames) != 0) return true;
  const unsigned features = cf::need::features_of(c.needs);
  if ((features & p.whom.features) != features) return true;
  return own_peer && ((c.needs & (cf::need::cut_link | cf::need::restart)) != 0 || boundless.contains(c.id));
}

template <class Place>
void examine(const place_options& transport, std::string_view group) {
  Place p{transport};
  cf::run_options o;
  o.ours = true;
  o.destructive = true;
  o.chosen = [group](const cf::test_case& c) { return c.group() == group; };
  const auto results = cf::run_cases(p.whom, o);
  CHECK_FALSE(results.empty());
  for (const auto& r : results) {
    const std::string id{r.what->id};
    CHECK_MESSAGE(r.is != cf::verdict::fail, id, ": expected ", r.expected, ", got ", r.got);
    CHECK_MESSAGE((r.is != cf::verdict::skip || may_skip(*r.what, p)), id, " was skipped: ", r.why);
    if (r.took > 2500ms) MESSAGE(id, " took ", r.took.count(), " ms");
  }
}

}  // namespace

// One test for each transport and group of cases.
#define CONFORMANCE_GROUP(name, Place, transport, group) \
  TEST_CASE(name ": passes " group) { examine<Place>(transport(), group); }

/// What a transport may make a difference to.
#define CONFORMANCE_OF_TRANSPORT(name, Place, transport) \
  CONFORMANCE_GROUP(name, Place, transport, "sequence")  \
  CONFORMANCE_GROUP(name, Place, transport, "key")       \
  CONFORMANCE_GROUP(name, Place, transport, "close")     \
  CONFORMANCE_GROUP(name, Place, transport, "ends")      \
  CONFORMANCE_GROUP(name, Place, transport, "principal") \
  CONFORMANCE_GROUP(name, Place, transport, "many")      \
  CONFORMANCE_GROUP(name, Place, transport, "hostile")   \
  CONFORMANCE_GROUP(name, Place, transport, "extension") \
  CONFORMANCE_GROUP(name, Place, transport, "link")

#define CONFORMANCE(name, Place, transport)           \
  CONFORMANCE_OF_TRANSPORT(name, Place, transport)    \
  CONFORMANCE_GROUP(name, Place, transport, "status") \
  CONFORMANCE_GROUP(name, Place, transport, "qos")    \
  CONFORMANCE_GROUP(name, Place, transport, "metadata")

CONFORMANCE("forge on TCP at two sites", two_sites_place, forge_over_tcp)
CONFORMANCE("forge on TCP at a site that is its own peer", self_link_place, forge_over_tcp)
CONFORMANCE("QUBIP on TCP at two sites", two_sites_place, qubip_over_tcp)
CONFORMANCE_OF_TRANSPORT("forge on a Unix socket at two sites", two_sites_place, forge_over_unix_socket)
CONFORMANCE_OF_TRANSPORT("forge over TLS at two sites", two_sites_place, forge_over_tls)
CONFORMANCE("REST on HTTP at two sites", two_sites_place, rest_over_http)
CONFORMANCE("REST on HTTP at a site that is its own peer", self_link_place, rest_over_http)
CONFORMANCE_OF_TRANSPORT("REST over HTTPS at two sites", two_sites_place, rest_over_https)
