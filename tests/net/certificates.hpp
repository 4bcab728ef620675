// Certificates for tests, made by OpenSSL in a folder of their own, and a TLS client that is not ours.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/sites.hpp"

namespace test {

/// Removed with all that is in it.
class temporary_folder {
 public:
  temporary_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qkd004-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::string write_file(const std::string& path, std::string_view text, mode_t mode = 0600) {
  std::ofstream{path} << text;
  ::chmod(path.c_str(), mode);
  return path;
}

/// What a certificate says.
struct certificate_text {
  std::string names;  ///< as OpenSSL's configuration writes them: "URI:qkd://app@a,IP:127.0.0.1"; empty: none
  std::string usage = "serverAuth,clientAuth";  ///< empty: no extended key usage
  long from = -3600;                            ///< seconds from now
  long until = 3600;
  int of_name = MBSTRING_UTF8;  ///< the ASN.1 type of its subject's CN
};

/// One that issues certificates; its own is in the folder, too.
class authority {
 public:
  explicit authority(const temporary_folder& folder, const std::string& name = "ca",
                     const certificate_text& text = {})
      : folder_{folder}, name_{name}, key_{EVP_EC_gen("P-256"), EVP_PKEY_free}, own_{X509_new(), X509_free} {
    fill(own_.get(), key_.get(), own_.get(), name, text);
    extend(own_.get(), NID_basic_constraints, "critical,CA:TRUE");
    REQUIRE(X509_sign(own_.get(), key_.get(), EVP_sha256()) > 0);
    write(own_.get(), certificate());
  }

  std::string certificate() const { return folder_ / (name_ + ".pem"); }

  /// The files of one that this authority vouches for, or that vouches for itself.
  net::tls_options issue(const std::string& name, const certificate_text& text) {
    return make(name, text, true);
  }
  net::tls_options issue_itself(const std::string& name, const certificate_text& text) {
    return make(name, text, false);
  }

  /// An application's, good.
  net::tls_options application(const std::string& uri) {
    return issue("app" + std::to_string(++count_), {"URI:" + uri, "clientAuth"});
  }
  /// A site's, good.
  net::tls_options site(const std::string& node) {
    return issue("site" + std::to_string(++count_), {"URI:qkd://" + node + ",IP:127.0.0.1,DNS:localhost"});
  }

 private:
  using key_ptr = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
  using certificate_ptr = std::unique_ptr<X509, void (*)(X509*)>;

  static void extend(X509* to, int what, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, to, to, nullptr, nullptr, 0);
    X509_EXTENSION* const made = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
    REQUIRE(made != nullptr);
    X509_add_ext(to, made, -1);
    X509_EXTENSION_free(made);
  }

  static void fill(X509* to, EVP_PKEY* key, X509* issuer, const std::string& name,
                   const certificate_text& text) {
    static long serial = 1;
    REQUIRE(key != nullptr);
    X509_set_version(to, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(to), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(to), text.from);
    X509_gmtime_adj(X509_getm_notAfter(to), text.until);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(to), "CN", text.of_name,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(to, X509_get_subject_name(issuer));
    X509_set_pubkey(to, key);
  }

  static void write(X509* certificate, const std::string& path) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(path.c_str(), "w"), std::fclose};
    REQUIRE(PEM_write_X509(file.get(), certificate) == 1);
  }

  net::tls_options make(const std::string& name, const certificate_text& text, bool vouched) {
    const key_ptr key{EVP_EC_gen("P-256"), EVP_PKEY_free};
    const certificate_ptr made{X509_new(), X509_free};
    fill(made.get(), key.get(), vouched ? own_.get() : made.get(), name, text);
    if (!text.names.empty()) extend(made.get(), NID_subject_alt_name, text.names);
    if (!text.usage.empty()) extend(made.get(), NID_ext_key_usage, text.usage);
    REQUIRE(X509_sign(made.get(), vouched ? key_.get() : key.get(), EVP_sha256()) > 0);
    net::tls_options files;
    files.certificate = folder_ / (name + ".pem");
    files.key = folder_ / (name + ".key");
    files.authority = certificate();
    write(made.get(), files.certificate);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(files.key.c_str(), "w"),
                                                               std::fclose};
    ::chmod(files.key.c_str(), 0600);
    REQUIRE(PEM_write_PrivateKey(file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
    return files;
  }

  const temporary_folder& folder_;
  std::string name_;
  key_ptr key_;
  certificate_ptr own_;
  int count_ = 0;
};

/// OpenSSL on a blocking socket: says over TLS what no client of ours would.
class raw_tls {
 public:
  struct manner {
    const net::tls_options* own = nullptr;  ///< shows no certificate without
    int newest = TLS1_3_VERSION;
  };

  raw_tls(const std::string& address, const manner& how)
      : raw_{std::make_unique<raw_socket>("qkd004" + address.substr(address.find(':')))},
        context_{SSL_CTX_new(TLS_client_method()), SSL_CTX_free} {
    SSL_CTX_set_security_level(context_.get(), 0);
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context_.get(), how.newest);
    if (how.own != nullptr) {
      REQUIRE(SSL_CTX_use_certificate_chain_file(context_.get(), how.own->certificate.c_str()) == 1);
      REQUIRE(SSL_CTX_use_PrivateKey_file(context_.get(), how.own->key.c_str(), SSL_FILETYPE_PEM) == 1);
    }
    const timeval limit{20, 0};
    ::setsockopt(descriptor(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), descriptor());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }

  bool is_connected() const { return connected_; }
  int descriptor() { return raw_->socket().native_handle(); }
  SSL* ssl() { return ssl_.get(); }

  void send(const octets& o) {
    std::size_t taken = 0;
    SSL_write_ex(ssl_.get(), o.data(), o.size(), &taken);
  }
  /// The next frame's octets, or none at the end.
  std::optional<octets> read() {
    octets frame(8);
    if (!read_all(frame, 0)) return std::nullopt;
    const std::size_t size = static_cast<std::size_t>(frame[4]) << 24 |
                             static_cast<std::size_t>(frame[5]) << 16 |
                             static_cast<std::size_t>(frame[6]) << 8 | frame[7];
    frame.resize(8 + size);
    if (!read_all(frame, 8)) return std::nullopt;
    return frame;
  }
  octets exchange(const octets& request) {
    send(request);
    return read().value_or(octets{});
  }
  /// Whether the other end has said that this was all.
  bool was_ended() const { return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0; }

 private:
  bool read_all(octets& into, std::size_t from) {
    while (from < into.size()) {
      std::size_t got = 0;
      ERR_clear_error();
      if (SSL_read_ex(ssl_.get(), into.data() + from, into.size() - from, &got) != 1) return false;
      from += got;
    }
    return true;
  }

  std::unique_ptr<raw_socket> raw_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
  bool connected_ = false;
};

}  // namespace test
