// SPDX-License-Identifier: Apache-2.0
#include "net/access.hpp"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

using namespace qkd004::net;

namespace {

constexpr uid_t own = 1000;

struct question {
  std::string_view principal;
  std::string_view local;
  std::string_view remote;
  bool allowed;
};

void answers(const access_table& table, const std::vector<question>& questions) {
  for (const question& q : questions) {
    CAPTURE(q.principal);
    CAPTURE(q.local);
    CAPTURE(q.remote);
    CHECK(table.allows(q.principal, q.local, q.remote) == q.allowed);
  }
}

}  // namespace

TEST_CASE("access: finds what rows name in each kind of principal") {
  CHECK(identity_of("anonymous") == "anonymous");
  CHECK(identity_of("unix:uid:7") == "uid:7");
  CHECK(identity_of("tls:CN=ca,O=x#qkd://app@a") == "qkd://app@a");
  CHECK(identity_of("tls:CN=ca#qkd://app@a#qkd://other@a") == "qkd://app@a#qkd://other@a");
  CHECK(identity_of("tls:CN=ca#spki:00ff") == "spki:00ff");
  CHECK(identity_of("tls:CN=ca").empty());
}

TEST_CASE("access: keeps to a certificate's own URI, the own user and loopback when there are no rows") {
  answers(access_table{{}, own}, {
                                     {"tls:CN=ca#qkd://app@a", "qkd://app@a", "qkd://app@b", true},
                                     {"tls:CN=ca#qkd://app@a", "qkd://app2@a", "qkd://app@a", false},
                                     {"tls:CN=ca#qkd://app@a", "qkd://app@", "qkd://app@b", false},
                                     {"tls:CN=ca#spki:00ff", "qkd://app@a", "qkd://app@b", false},
                                     {"tls:CN=ca#", "", "qkd://app@b", false},
                                     {"unix:uid:1000", "qkd://app@a", "qkd://app@b", true},
                                     {"unix:uid:0", "qkd://app@a", "qkd://app@b", true},
                                     {"unix:uid:1001", "qkd://app@a", "qkd://app@b", false},
                                     {"unix:uid:10", "qkd://app@a", "qkd://app@b", false},
                                     {"unix:uid:unknown", "qkd://app@a", "qkd://app@b", false},
                                     {"anonymous", "qkd://app@a", "qkd://app@b", true},
                                     {"", "", "", false},
                                 });
}

TEST_CASE("access: lets only its rows decide when there are some") {
  const access_table table{{{"qkd://app@a", "qkd://app@a", "qkd://app@b"},
                            {"qkd://tools/*", "qkd://t*", "*"},
                            {"spki:00ff", "*", "qkd://far@b"},
                            {"uid:33", "qkd://web@a", "*"}},
                           own};
  answers(table, {
                     {"tls:CN=ca#qkd://app@a", "qkd://app@a", "qkd://app@b", true},
                     {"tls:CN=other#qkd://app@a", "qkd://app@a", "qkd://app@b", true},
                     {"tls:CN=ca#qkd://app@a", "qkd://app@a", "qkd://app@c", false},
                     {"tls:CN=ca#qkd://app@aa", "qkd://app@aa", "qkd://app@b", false},
                     {"tls:CN=ca#qkd://tools/x", "qkd://tt@a", "qkd://any@b", true},
                     {"tls:CN=ca#qkd://tools/x", "qkd://app@a", "qkd://any@b", false},
                     {"tls:CN=ca#qkd://tool", "qkd://tt@a", "qkd://any@b", false},
                     {"tls:CN=ca#spki:00ff", "qkd://app@a", "qkd://far@b", true},
                     {"tls:CN=ca#spki:00fe", "qkd://app@a", "qkd://far@b", false},
                     {"unix:uid:33", "qkd://web@a", "qkd://any@b", true},
                     {"unix:uid:3", "qkd://web@a", "qkd://any@b", false},
                     {"unix:uid:333", "qkd://web@a", "qkd://any@b", false},
                     {"unix:uid:0", "qkd://web@a", "qkd://any@b", false},
                     {"unix:uid:1000", "qkd://web@a", "qkd://any@b", false},
                     {"anonymous", "qkd://app@a", "qkd://app@b", false},
                 });
  answers(access_table{{{"anonymous"}}, own}, {{"anonymous", "qkd://app@a", "qkd://app@b", true},
                                               {"unix:uid:1000", "qkd://app@a", "qkd://app@b", false}});
  answers(access_table{{{"*"}}, own}, {{"anonymous", "qkd://app@a", "qkd://app@b", true},
                                       {"tls:CN=ca#spki:00", "qkd://app@a", "qkd://app@b", true}});
}
