// SPDX-License-Identifier: Apache-2.0
#include "cli/certs.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/print.hpp"
#include "cli/private_output.hpp"
#include "qkd004/routing.hpp"

namespace qkd004::cli {

namespace {

constexpr std::size_t longest_name = 64;    ///< a common name's upper bound in RFC 5280
constexpr std::size_t longest_uri = 2'000;  ///< limits::max_uri
constexpr int serial_bits = 128;            ///< nobody guesses it, and no two are alike
constexpr long backdated_s = 3'600;         ///< for clocks that are behind ours
constexpr long longest_life_days = 36'500;
constexpr std::string_view authority_name = "authority";

// --- OpenSSL's objects ---

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using key_pointer = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using certificate_pointer = std::unique_ptr<X509, freed_by<X509_free>>;
using extension_pointer = std::unique_ptr<X509_EXTENSION, freed_by<X509_EXTENSION_free>>;
using names_pointer = std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>>;
using name_pointer = std::unique_ptr<GENERAL_NAME, freed_by<GENERAL_NAME_free>>;
using string_pointer = std::unique_ptr<ASN1_STRING, freed_by<ASN1_STRING_free>>;
using number_pointer = std::unique_ptr<BIGNUM, freed_by<BN_free>>;
using stream_pointer = std::unique_ptr<BIO, freed_by<BIO_free>>;

/// OpenSSL said no. Never leaves this file.
struct openssl_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void openssl_failed(const char* call) {
  char reason[256];
  ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
  ERR_clear_error();
  throw openssl_error{fmt::format("{}: {}", call, reason)};
}

void check(bool done, const char* call) {
  if (!done) openssl_failed(call);
}

template <class Pointer>
Pointer held(typename Pointer::pointer object, const char* call) {
  check(object != nullptr, call);
  return Pointer{object};
}

// --- A certificate ---

/// What a certificate says of the one who shows it.
struct subject {
  std::string name;                ///< the file's, and the common name
  std::string identity;            ///< URI
  std::vector<std::string> hosts;  ///< where it can be reached; empty: it does not listen
};

/// A key and its certificate.
struct certified {
  key_pointer key;
  certificate_pointer certificate;
};

void set_random_serial(X509* certificate) {
  const auto number = held<number_pointer>(BN_new(), "BN_new");
  check(BN_rand(number.get(), serial_bits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1, "BN_rand");
  check(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr,
        "BN_to_ASN1_INTEGER");
}

/// An extension in OpenSSL's configuration language. Nothing that was typed goes through here.
void add_extension(X509* certificate, X509* issuer, int which, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const auto extension = held<extension_pointer>(X509V3_EXT_conf_nid(nullptr, &context, which, value), value);
  check(X509_add_ext(certificate, extension.get(), -1) == 1, "X509_add_ext");
}

void add_name(GENERAL_NAMES* names, int kind, string_pointer text) {
  auto name = held<name_pointer>(GENERAL_NAME_new(), "GENERAL_NAME_new");
  GENERAL_NAME_set0_value(name.get(), kind, text.release());
  check(sk_GENERAL_NAME_push(names, name.get()) > 0, "sk_GENERAL_NAME_push");
  static_cast<void>(name.release());
}

string_pointer ascii(const std::string& text) {
  auto string = held<string_pointer>(ASN1_STRING_type_new(V_ASN1_IA5STRING), "ASN1_STRING_type_new");
  check(ASN1_STRING_set(string.get(), text.data(), static_cast<int>(text.size())) == 1, "ASN1_STRING_set");
  return string;
}

/// The octets of an address in digits, or none.
string_pointer ip_address(const std::string& text) {
  string_pointer address{a2i_IPADDRESS(text.c_str())};
  if (!address) ERR_clear_error();
  return address;
}

void add_alternative_names(X509* certificate, const subject& who) {
  const auto names = held<names_pointer>(GENERAL_NAMES_new(), "GENERAL_NAMES_new");
  add_name(names.get(), GEN_URI, ascii(who.identity));
  for (const auto& host : who.hosts) {
    if (auto address = ip_address(host)) {
      add_name(names.get(), GEN_IPADD, std::move(address));
    } else {
      add_name(names.get(), GEN_DNS, ascii(host));
    }
  }
  check(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1,
        "X509_add1_ext_i2d");
}

/// A new key, and a certificate that is not signed yet. Without `issuer` it is its own.
certified begin(const std::string& common_name, int days, X509* issuer) {
  certified made{held<key_pointer>(EVP_EC_gen("P-256"), "EVP_EC_gen"),
                 held<certificate_pointer>(X509_new(), "X509_new")};
  X509* const c = made.certificate.get();
  check(X509_set_version(c, X509_VERSION_3) == 1, "X509_set_version");
  set_random_serial(c);
  X509_NAME* const name = X509_get_subject_name(c);
  check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(common_name.data()),
                                   static_cast<int>(common_name.size()), -1, 0) == 1,
        "X509_NAME_add_entry_by_txt");
  check(X509_set_issuer_name(c, X509_get_subject_name(issuer != nullptr ? issuer : c)) == 1,
        "X509_set_issuer_name");
  check(X509_gmtime_adj(X509_getm_notBefore(c), -backdated_s) != nullptr, "notBefore");
  check(X509_time_adj_ex(X509_getm_notAfter(c), days, 0, nullptr) != nullptr, "notAfter");
  check(X509_set_pubkey(c, made.key.get()) == 1, "X509_set_pubkey");
  return made;
}

void sign(X509* certificate, EVP_PKEY* with) {
  check(X509_sign(certificate, with, EVP_sha256()) > 0, "X509_sign");
}

certified make_authority(int days) {
  certified made = begin("qkd004 authority", days, nullptr);
  X509* const c = made.certificate.get();
  add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(c, c, NID_key_usage, "critical,keyCertSign");
  add_extension(c, c, NID_subject_key_identifier, "hash");
  add_extension(c, c, NID_authority_key_identifier, "keyid:always");
  sign(c, made.key.get());
  return made;
}

/// Who can be reached is a server too: sites dial one another.
certified make_certificate(const subject& who, int days, const certified& authority) {
  X509* const issuer = authority.certificate.get();
  certified made = begin(who.name, days, issuer);
  X509* const c = made.certificate.get();
  add_extension(c, issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(c, issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(c, issuer, NID_ext_key_usage, who.hosts.empty() ? "clientAuth" : "serverAuth,clientAuth");
  add_extension(c, issuer, NID_subject_key_identifier, "hash");
  add_extension(c, issuer, NID_authority_key_identifier, "keyid:always");
  add_alternative_names(c, who);
  sign(c, authority.key.get());
  return made;
}

// --- What was asked for ---

/// What is wrong with a name that becomes a file's, or nothing.
std::string wrong_with_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (name.empty() || name.size() > longest_name || name.front() == '.' || name.front() == '-' ||
      !std::all_of(name.begin(), name.end(), plain)) {
    return fmt::format("'{}' cannot name a file here: 1 to {} letters, digits, '-', '_' and '.'", name,
                       longest_name);
  }
  return {};
}

/// What is wrong with a URI that is to be scheme://name@node, or nothing.
std::string wrong_with_application(const std::string& uri) {
  const auto scheme = uri.find("://");
  const auto at = uri.rfind('@');
  const bool ascii_only = std::all_of(uri.begin(), uri.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (scheme == std::string::npos || at == std::string::npos || at < scheme + 3 || !ascii_only ||
      !is_uri(uri, longest_uri) || node_of(uri).empty()) {
    return fmt::format("'{}' is not the URI of an application such as qkd://alice@site-a", uri);
  }
  return {};
}

/// What is wrong with a name or an address of a host, or nothing.
std::string wrong_with_host(const std::string& host) {
  if (ip_address(host)) return {};
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  // a last part in digits is an address that is none
  const std::string_view last = std::string_view{host}.substr(host.rfind('.') + 1);
  const bool digits = std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (host.empty() || host.size() > 253 || digits || !std::all_of(host.begin(), host.end(), plain)) {
    return fmt::format("'{}' is neither a host's name nor an IP address", host);
  }
  return {};
}

/// The certificates to make, the authority's not among them, or what is wrong.
std::vector<subject> subjects_of(const certs_options& o, std::string& wrong) {
  std::vector<std::string> hosts = o.hosts;
  if (hosts.empty()) hosts = {"localhost", "127.0.0.1", "::1"};
  std::vector<std::string> applications = o.applications;
  if (applications.empty()) applications = {"qkd://alice@" + o.node_a, "qkd://bob@" + o.node_b};

  std::vector<subject> all;
  std::set<std::string, std::less<>> taken{std::string{authority_name}};
  const auto add = [&](subject who) {
    if (wrong.empty()) wrong = wrong_with_name(who.name);
    if (wrong.empty() && !taken.insert(who.name).second)
      wrong = fmt::format("the name '{}' is taken: every certificate needs a file of its own", who.name);
    all.push_back(std::move(who));
  };
  for (const auto& node : {o.node_a, o.node_b}) add({node, "qkd://" + node, hosts});
  for (const auto& uri : applications) {
    if (wrong.empty()) wrong = wrong_with_application(uri);
    if (!wrong.empty()) return {};
    const auto start = uri.find("://") + 3;
    add({uri.substr(start, uri.rfind('@') - start), uri, {}});
  }
  for (const auto& host : hosts) {
    if (wrong.empty()) wrong = wrong_with_host(host);
  }
  if (wrong.empty() && (o.days < 1 || o.days > longest_life_days)) {
    wrong = fmt::format("certificates cannot live {} days; 1 to {} are possible", o.days, longest_life_days);
  }
  return all;
}

// --- Files ---

/// Files that go away again unless all of them were written.
class new_files {
 public:
  new_files() = default;
  new_files(const new_files&) = delete;
  new_files& operator=(const new_files&) = delete;
  ~new_files() {
    for (const auto& path : made_) ::unlink(path.c_str());
    if (!folder_.empty()) ::rmdir(folder_.c_str());
  }

  result<void> make_folder(const std::string& path, std::string* why) {
    if (::mkdir(path.c_str(), S_IRWXU) == 0) {
      folder_ = path;
    } else if (errno != EEXIST) {
      return failed(path, {errno, std::generic_category()}, why);
    }
    return {};
  }

  result<void> write(const std::string& path, BIO* content, std::string* why) {
    auto file = private_output::create(path, why);
    if (!file) return file.error();
    made_.push_back(path);
    char* octets = nullptr;
    const auto size = static_cast<std::size_t>(BIO_get_mem_data(content, &octets));
    if (const auto written = file->write(std::as_bytes(std::span{octets, size})); !written)
      return failed(path, written.error(), why);
    if (const auto closed = file->close(); !closed) return failed(path, closed.error(), why);
    return {};
  }

  void keep() noexcept {
    made_.clear();
    folder_.clear();
  }

 private:
  static std::error_code failed(const std::string& path, std::error_code error, std::string* why) {
    if (why != nullptr) *why = path + ": " + error.message();
    return error;
  }

  std::vector<std::string> made_;
  std::string folder_;
};

/// The key goes from OpenSSL's memory to the file through a buffer that is wiped when it is freed.
result<void> write_key(new_files& files, const std::string& path, EVP_PKEY* key, std::string* why) {
  const auto text = held<stream_pointer>(BIO_new(BIO_s_secmem()), "BIO_new");
  check(PEM_write_bio_PrivateKey(text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "PEM_write_bio_PrivateKey");
  return files.write(path, text.get(), why);
}

result<void> write_certificate(new_files& files, const std::string& path, X509* certificate,
                               std::string* why) {
  const auto text = held<stream_pointer>(BIO_new(BIO_s_mem()), "BIO_new");
  check(PEM_write_bio_X509(text.get(), certificate) == 1, "PEM_write_bio_X509");
  return files.write(path, text.get(), why);
}

result<std::vector<credentials>> make_all(const certs_options& o, const std::vector<subject>& subjects,
                                          std::string* why) {
  const auto path = [&](std::string_view name, std::string_view kind) {
    return fmt::format("{}/{}.{}", o.folder, name, kind);
  };
  std::vector<credentials> paths{{path(authority_name, "pem"), path(authority_name, "key"), {}}};
  for (const auto& who : subjects)
    paths.push_back({path(who.name, "pem"), path(who.name, "key"), who.identity});

  new_files files;
  if (const auto made = files.make_folder(o.folder, why); !made) return made.error();
  std::vector<certified> made;
  made.push_back(make_authority(o.days));
  for (const auto& who : subjects) made.push_back(make_certificate(who, o.days, made.front()));
  for (std::size_t i = 0; i < made.size(); ++i) {
    if (const auto done = write_key(files, paths[i].key, made[i].key.get(), why); !done) return done.error();
    const auto done = write_certificate(files, paths[i].certificate, made[i].certificate.get(), why);
    if (!done) return done.error();
  }
  files.keep();
  return paths;
}

/// A string as TOML writes it.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

result<std::vector<credentials>> create_certs(const certs_options& o, std::string* why) {
  std::string wrong;
  const auto subjects = subjects_of(o, wrong);
  if (!wrong.empty()) {
    if (why != nullptr) *why = wrong;
    return status::invalid_argument;
  }
  try {
    return make_all(o, subjects, why);
  } catch (const openssl_error& error) {
    if (why != nullptr) *why = error.what();
    return std::make_error_code(std::errc::io_error);
  }
}

exit_code certs(const certs_options& o) {
  std::string why;
  const auto made = create_certs(o, &why);
  if (!made) return complain(exit_code::usage, why);
  for (const auto& one : *made) put(fmt::format("{}\n{}\n", one.certificate, one.key));

  const auto absolute = [](const std::string& path) {
    return toml_string(std::filesystem::absolute(path).lexically_normal().string());
  };
  const auto& authority = made->at(0);
  const auto& application = made->at(3);
  std::string text =
      "\nFor the TOML files of the sites, which then listen on and dial qkd004s://HOST:PORT:\n";
  for (const auto& site : {made->at(1), made->at(2)}) {
    text += fmt::format("\n  [tls]  # {}\n  certificate = {}\n  key = {}\n  authority = {}\n", site.identity,
                        absolute(site.certificate), absolute(site.key), absolute(authority.certificate));
  }
  text += fmt::format(
      "\nAn application may open the streams whose end at a site is its own URI ([[access]] lets others):\n\n"
      "  qkd004 open --uri qkd004s://HOST:PORT --certificate {} --key {} --authority {} --source {} ...\n"
      "\nWhoever has {} can be any site and any application: keep it offline, or\n"
      "remove it when no further certificate is wanted.\n",
      application.certificate, application.key, authority.certificate, application.identity, authority.key);
  put_error(text);
  return exit_code::ok;
}

}  // namespace qkd004::cli
