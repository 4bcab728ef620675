// SPDX-License-Identifier: Apache-2.0
#include "cli/certs.hpp"

#include <doctest/doctest.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "site_pair.hpp"

namespace fs = std::filesystem;
using namespace qkd004;
using namespace qkd004::cli;
using test::has;
using test::read_file;

namespace {

using certificate = std::unique_ptr<X509, decltype(&X509_free)>;

certificate read_certificate(const std::string& path) {
  const std::string text = read_file(path);
  const std::unique_ptr<BIO, decltype(&BIO_free)> in{
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
  certificate c{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), &X509_free};
  REQUIRE(c);
  return c;
}

/// X509_V_OK, or why this one may not be used so.
int verify(const std::string& authority, const std::string& path, int purpose) {
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store{X509_STORE_new(), &X509_STORE_free};
  REQUIRE(X509_STORE_add_cert(store.get(), read_certificate(authority).get()) == 1);
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context{X509_STORE_CTX_new(),
                                                                                &X509_STORE_CTX_free};
  const certificate c = read_certificate(path);
  REQUIRE(X509_STORE_CTX_init(context.get(), store.get(), c.get(), nullptr) == 1);
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_X509_STRICT);
  REQUIRE(X509_STORE_CTX_set_purpose(context.get(), purpose) == 1);
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

/// The URIs among the alternative names.
std::vector<std::string> uris_of(const std::string& path) {
  const certificate c = read_certificate(path);
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names{
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(c.get(), NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free};
  std::vector<std::string> uris;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int kind = 0;
    const auto* const value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &kind));
    if (kind != GEN_URI) continue;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                      static_cast<std::size_t>(ASN1_STRING_length(value)));
  }
  return uris;
}

std::vector<credentials> make(const certs_options& o) {
  std::string why;
  auto made = create_certs(o, &why);
  INFO(why);
  REQUIRE(made);
  return std::move(*made);
}

/// A set with the names that are there without options, in a folder that goes away.
struct usual_set {
  test::temporary_folder parent;
  std::string folder = parent.path("certs");
  std::vector<credentials> made = make({folder});
  [[nodiscard]] std::string path(const std::string& name) const { return folder + "/" + name; }
};

}  // namespace

TEST_CASE("certs: makes ten files of mode 0600 in a folder of mode 0700 when it is there not yet") {
  const usual_set set;
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator{set.folder}) {
    names.insert(entry.path().filename());
    struct stat s {};
    REQUIRE(::stat(entry.path().c_str(), &s) == 0);
    CHECK((s.st_mode & 07777) == 0600);
  }
  CHECK(names == std::set<std::string>{"authority.pem", "authority.key", "site-a.pem", "site-a.key",
                                       "site-b.pem", "site-b.key", "alice.pem", "alice.key", "bob.pem",
                                       "bob.key"});
  struct stat s {};
  REQUIRE(::stat(set.folder.c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 0700);
  REQUIRE(set.made.size() == 5);
  CHECK(set.made[0].certificate == set.path("authority.pem"));
  CHECK(set.made[0].identity.empty());
  CHECK(set.made[2].key == set.path("site-b.key"));
  CHECK(set.made[3].identity == "qkd://alice@site-a");
}

TEST_CASE("certs: lets sites be servers and clients, and applications clients only") {
  const usual_set set;
  const std::string authority = set.path("authority.pem");
  for (const char* site : {"site-a.pem", "site-b.pem"}) {
    INFO(site);
    CHECK(verify(authority, set.path(site), X509_PURPOSE_SSL_SERVER) == X509_V_OK);
    CHECK(verify(authority, set.path(site), X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
  }
  for (const char* application : {"alice.pem", "bob.pem"}) {
    INFO(application);
    CHECK(verify(authority, set.path(application), X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
    CHECK(verify(authority, set.path(application), X509_PURPOSE_SSL_SERVER) == X509_V_ERR_INVALID_PURPOSE);
  }
}

TEST_CASE("certs: are believed by nobody who has another authority") {
  const usual_set one;
  const usual_set other;
  CHECK(verify(other.path("authority.pem"), one.path("site-a.pem"), X509_PURPOSE_SSL_SERVER) != X509_V_OK);
}

TEST_CASE("certs: let only the authority sign") {
  const usual_set set;
  const certificate authority = read_certificate(set.path("authority.pem"));
  CHECK((X509_get_extension_flags(authority.get()) & EXFLAG_CA) != 0);
  CHECK(X509_get_pathlen(authority.get()) == 0);
  CHECK(X509_get_key_usage(authority.get()) == KU_KEY_CERT_SIGN);
  for (const char* name : {"site-a.pem", "alice.pem"}) {
    INFO(name);
    const certificate c = read_certificate(set.path(name));
    CHECK((X509_get_extension_flags(c.get()) & EXFLAG_CA) == 0);
    CHECK(X509_get_key_usage(c.get()) == KU_DIGITAL_SIGNATURE);
    CHECK(X509_check_issued(authority.get(), c.get()) == X509_V_OK);
    CHECK(X509_get0_authority_key_id(c.get()) != nullptr);
    CHECK(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(c.get()),
                                X509_get0_subject_key_id(authority.get())) == 0);
  }
}

TEST_CASE("certs: name one URI each, and the hosts of sites") {
  const usual_set set;
  CHECK(uris_of(set.path("site-a.pem")) == std::vector<std::string>{"qkd://site-a"});
  CHECK(uris_of(set.path("site-b.pem")) == std::vector<std::string>{"qkd://site-b"});
  CHECK(uris_of(set.path("alice.pem")) == std::vector<std::string>{"qkd://alice@site-a"});
  CHECK(uris_of(set.path("bob.pem")) == std::vector<std::string>{"qkd://bob@site-b"});
  const certificate site = read_certificate(set.path("site-a.pem"));
  CHECK(X509_check_host(site.get(), "localhost", 0, 0, nullptr) == 1);
  CHECK(X509_check_ip_asc(site.get(), "127.0.0.1", 0) == 1);
  CHECK(X509_check_ip_asc(site.get(), "::1", 0) == 1);
  CHECK(X509_check_ip_asc(site.get(), "127.0.0.2", 0) == 0);
  CHECK(X509_check_host(read_certificate(set.path("alice.pem")).get(), "localhost", 0, 0, nullptr) == 0);
}

TEST_CASE("certs: take nodes, applications, hosts and days when they are given") {
  const test::temporary_folder folder;
  const auto made =
      make({folder.path(), "north", "south", {"app://x.1@north"}, {"qkd.example", "192.0.2.7"}, 30});
  REQUIRE(made.size() == 4);
  CHECK(made[3].certificate == folder.path("x.1.pem"));
  CHECK(uris_of(folder.path("north.pem")) == std::vector<std::string>{"qkd://north"});
  CHECK(uris_of(folder.path("x.1.pem")) == std::vector<std::string>{"app://x.1@north"});
  const certificate site = read_certificate(folder.path("south.pem"));
  CHECK(X509_check_host(site.get(), "qkd.example", 0, 0, nullptr) == 1);
  CHECK(X509_check_ip_asc(site.get(), "192.0.2.7", 0) == 1);
  CHECK(X509_check_host(site.get(), "localhost", 0, 0, nullptr) == 0);
  int days = 0;
  int seconds = 0;
  REQUIRE(ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(site.get())) == 1);
  CHECK((days == 29 || days == 30));  // some seconds are over
  REQUIRE(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(site.get()), nullptr) == 1);
  CHECK(seconds >= 3'000);  // for clocks that are behind
}

TEST_CASE("certs: have keys that fit and serial numbers of their own") {
  const usual_set set;
  std::set<std::string> serials;
  for (const auto& one : set.made) {
    const certificate c = read_certificate(one.certificate);
    const std::string text = read_file(one.key);
    CHECK(text.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    const std::unique_ptr<BIO, decltype(&BIO_free)> in{
        BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{
        PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free};
    REQUIRE(key);
    CHECK(X509_check_private_key(c.get(), key.get()) == 1);
    CHECK(EVP_PKEY_get_bits(key.get()) == 256);
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> serial{
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(c.get()), nullptr), &BN_free};
    CHECK_FALSE(BN_is_negative(serial.get()));
    CHECK(BN_num_bits(serial.get()) <= 128);
    CHECK(BN_num_bits(serial.get()) > 64);  // of random 128 bits, all but one in 2^64 are
    const std::unique_ptr<char, void (*)(char*)> digits{BN_bn2hex(serial.get()),
                                                        [](char* p) { OPENSSL_free(p); }};
    serials.insert(digits.get());
  }
  CHECK(serials.size() == set.made.size());
}

TEST_CASE("certs: make nothing when one of the files is there") {
  const test::temporary_folder folder;
  test::write_file(folder.path("bob.key"), "mine");
  std::string why;
  CHECK(create_certs({folder.path()}, &why).error() == std::errc::file_exists);
  CHECK(has(why, folder.path("bob.key")));
  CHECK(read_file(folder.path("bob.key")) == "mine");
  CHECK(std::distance(fs::directory_iterator{folder.path()}, fs::directory_iterator{}) == 1);
}

TEST_CASE("certs: leave nothing behind when a file cannot be written") {
  const test::temporary_folder folder;
  // keys fit into the limit, certificates do not
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const signalled = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{400, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::string why;
  const auto made = create_certs({folder.path("certs")}, &why);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, signalled);
  CHECK(made.error() == std::errc::file_too_large);
  CHECK(has(why, folder.path("certs") + "/authority.pem"));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("certs: refuse what makes no sense before anything is made") {
  const test::temporary_folder folder;
  const std::string in = folder.path("certs");
  struct row {
    certs_options options;
    std::string word;
  };
  const row rows[] = {
      {{in, "site-a", "site-a", {}, {}, 365}, "'site-a' is taken"},
      {{in, "authority", "site-b", {}, {}, 365}, "'authority' is taken"},
      {{in, "../a", "site-b", {}, {}, 365}, "'../a'"},
      {{in, "", "site-b", {}, {}, 365}, "''"},
      {{in, std::string(65, 'a'), "site-b", {}, {}, 365}, "1 to 64"},
      {{in, "site-a", "site-b", {"alice"}, {}, 365}, "'alice' is not the URI"},
      {{in, "site-a", "site-b", {"qkd://alice"}, {}, 365}, "'qkd://alice' is not the URI"},
      {{in, "site-a", "site-b", {"qkd://al/ice@site-a"}, {}, 365}, "'al/ice'"},
      {{in, "site-a", "site-b", {"qkd://alice@"}, {}, 365}, "is not the URI"},
      {{in, "site-a", "site-b", {"qkd://alice@site-a", "qkd://alice@site-b"}, {}, 365}, "'alice' is taken"},
      {{in, "site-a", "site-b", {}, {"a host"}, 365}, "'a host'"},
      {{in, "site-a", "site-b", {}, {"127.0.0.256"}, 365}, "'127.0.0.256'"},
      {{in, "site-a", "site-b", {}, {""}, 365}, "''"},
      {{in, "site-a", "site-b", {}, {}, 0}, "0 days"},
  };
  for (const auto& r : rows) {
    INFO(r.word);
    std::string why;
    CHECK(create_certs(r.options, &why).error() == make_error_code(status::invalid_argument));
    INFO(why);
    CHECK(has(why, r.word));
  }
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("certs: names the files on standard output and what to do with them on standard error") {
  const test::temporary_folder folder;
  const auto o = test::run({"certs", folder.path("c"), "--application", "qkd://carol@site-b"});
  CHECK(o.code == 0);
  std::string files;
  for (const char* name : {"authority", "site-a", "site-b", "carol"}) {
    files += folder.path("c/") + name + ".pem\n" + folder.path("c/") + name + ".key\n";
  }
  CHECK(o.out == files);
  CHECK(has(o.err, "certificate = \"" + folder.path("c/site-a.pem") + "\""));
  CHECK(has(o.err, "--source qkd://carol@site-b"));
  CHECK(has(o.err, "keep it offline"));
  const auto again = test::run({"certs", folder.path("c"), "--application", "qkd://carol@site-b"});
  CHECK(again.code == 2);
  CHECK(again.out.empty());
  CHECK(has(again.err, folder.path("c/authority.key")));
}

TEST_CASE("certs: satisfy the openssl command where there is one") {
  const char* const program = "/usr/bin/openssl";
  if (!fs::exists(program)) return;
  const usual_set set;
  const auto verified = [&](const char* purpose, const char* name) {
    auto p = process::start({program,
                             {"verify", "-x509_strict", "-purpose", purpose, "-CAfile",
                              set.path("authority.pem"), set.path(name)},
                             set.parent.path("log")})
                 .value();
    return test::finish(p).code == 0;
  };
  CHECK(verified("sslserver", "site-a.pem"));
  CHECK(verified("sslclient", "site-a.pem"));
  CHECK(verified("sslclient", "bob.pem"));
  CHECK_FALSE(verified("sslserver", "bob.pem"));
}
