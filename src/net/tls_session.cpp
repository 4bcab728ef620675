// SPDX-License-Identifier: Apache-2.0
#include "net/tls_session.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <utility>

#include "net/address.hpp"
#include "qkd004/status.hpp"

namespace qkd004::net {

namespace {

template <auto Free>
struct freer {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
using bio_ptr = std::unique_ptr<BIO, freer<BIO_free_all>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freer<EVP_PKEY_free>>;
using context_ptr = std::unique_ptr<SSL_CTX, freer<SSL_CTX_free>>;
using names_ptr = std::unique_ptr<GENERAL_NAMES, freer<GENERAL_NAMES_free>>;
using certificate_ptr = std::unique_ptr<X509, freer<X509_free>>;

/// The longest SAN URI that counts, and longer than any source or destination may be.
constexpr std::size_t longest_uri = 1024;

/// Where SSL keeps its tls_session; made with the first context, below 0 if there was no memory then.
int session_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// A URI that a certificate may be known by: printable, and none of the words that stand for callers without one.
bool is_name(std::string_view uri) {
  if (uri.size() > longest_uri || uri.find(':') == std::string_view::npos) return false;
  if (std::any_of(uri.begin(), uri.end(), [](char c) { return c <= 0x20 || c >= 0x7f; })) return false;
  return !uri.starts_with("spki:") && !uri.starts_with("uid:");
}

/// The first SAN URI, if it is a name.
std::string uri_of(const X509* certificate) {
  const names_ptr names{
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const one = sk_GENERAL_NAME_value(names.get(), i);
    if (one->type != GEN_URI) continue;
    const ASN1_IA5STRING* const text = one->d.uniformResourceIdentifier;
    std::string uri{reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                    static_cast<std::size_t>(ASN1_STRING_length(text))};
    return is_name(uri) ? uri : std::string{};
  }
  return {};
}

/// RFC 2253 without `#`, so that the first one of a principal is where the issuer ends: `\23` for one in a text, `\x`
/// before the DER of what is no text. Neither is ever anything else, as a backslash of a name's own is doubled.
std::string issuer_of(const X509* certificate) {
  const bio_ptr text{BIO_new(BIO_s_mem())};
  if (!text || X509_NAME_print_ex(text.get(), X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253) < 0)
    return {};
  char* octets = nullptr;
  const long size = BIO_get_mem_data(text.get(), &octets);
  std::string issuer;
  bool in_type = true;  // in `CN=`, which comes first, and after each `,` or `+` that bears no backslash
  long value = 0;       // where that of the type begins
  for (long i = 0; i < size; ++i) {
    const bool escaped = octets[i] == '\\' && i + 1 < size;
    if (escaped) ++i;
    if (octets[i] == '#') {  // one with a backslash stands first in a text, one without may be DER's
      issuer += !escaped && i == value ? "\\x" : "\\23";
      continue;
    }
    if (escaped) issuer += '\\';
    issuer += octets[i];
    if (escaped) continue;
    if (in_type && octets[i] == '=') {
      in_type = false;
      value = i + 1;
    } else if (octets[i] == ',' || octets[i] == '+') {
      in_type = true;
    }
  }
  return issuer;
}

std::string spki_of(const X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return {};
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(der, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(der);
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char octet : digest) {
    hex += digits[octet >> 4];
    hex += digits[octet & 15];
  }
  return hex;
}

// --- Failures in words ---

const char* words_of_certificate(long verdict, bool of_client) {
  switch (verdict) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return "its certificate is self-signed";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "its certificate comes from no authority that is believed here";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "its certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "its certificate is not valid yet";
    case X509_V_ERR_INVALID_PURPOSE:
      return of_client ? "its certificate is not meant for a client (extended key usage)"
                       : "its certificate is not meant for a server (extended key usage)";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return "its certificate does not name this host";
    case X509_V_ERR_APPLICATION_VERIFICATION: return "its certificate is somebody else's (SAN URI)";
    default: return X509_verify_cert_error_string(verdict);
  }
}

struct reason {
  int number;
  std::errc error;
  const char* words;
};

constexpr reason reasons[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, std::errc::permission_denied, "it showed no certificate"},
    {SSL_R_UNSUPPORTED_PROTOCOL, std::errc::protocol_not_supported,
     "it speaks no version of TLS that is allowed here"},
    {SSL_R_VERSION_TOO_LOW, std::errc::protocol_not_supported,
     "it speaks no version of TLS that is allowed here"},
    {SSL_R_WRONG_SSL_VERSION, std::errc::protocol_not_supported,
     "it speaks no version of TLS that is allowed here"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, std::errc::protocol_not_supported,
     "it speaks no version of TLS that is allowed here"},
    {SSL_R_WRONG_VERSION_NUMBER, std::errc::protocol_not_supported, "it does not speak TLS"},
    {SSL_R_HTTP_REQUEST, std::errc::protocol_not_supported, "it does not speak TLS but HTTP"},
    {SSL_R_HTTPS_PROXY_REQUEST, std::errc::protocol_not_supported, "it does not speak TLS but HTTP"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, std::errc::permission_denied,
     "it wants a certificate, and was shown none"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, std::errc::permission_denied,
     "it refuses this end's certificate: expired"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, std::errc::permission_denied,
     "it refuses this end's certificate: of no authority that it believes"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, std::errc::permission_denied,
     "it refuses this end's certificate: not meant for this"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, std::errc::permission_denied, "it refuses this end's certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, std::errc::permission_denied,
     "it refuses this end's certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, std::errc::permission_denied,
     "it refuses this end's certificate: revoked"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, std::errc::permission_denied, "it refuses this end's certificate"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, std::errc::permission_denied, "it refuses this end's handshake"},
};

// --- Files ---

std::string text_of_error(unsigned long error) {
  const char* const text = ERR_reason_error_string(error);
  return text == nullptr ? "unreadable" : text;
}

/// A PEM file, opened. `others`: which permission bits must not be set.
result<bio_ptr> open_file(const char* what, const std::string& path, mode_t others, std::string* why) {
  if (path.empty()) {
    return fail(why, "TLS needs a " + std::string{what} + ", and no file is given", status::invalid_argument);
  }
  const std::string named = std::string{what} + " " + path;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const std::error_code error{errno, std::system_category()};
    return fail(why, "cannot read the " + named + ": " + error.message(), error);
  }
  struct stat found {};
  if (::fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) {
    ::close(descriptor);
    return fail(why, "the " + named + " is no file", status::invalid_argument);
  }
  if ((found.st_mode & others) != 0) {
    ::close(descriptor);
    return fail(why, "the " + named + " may be read by others than its owner (chmod 600)",
                std::make_error_code(std::errc::permission_denied));
  }
  std::FILE* const file = ::fdopen(descriptor, "rb");
  if (file == nullptr) ::close(descriptor);
  bio_ptr bio{file == nullptr ? nullptr : BIO_new_fp(file, BIO_CLOSE)};
  if (!bio)
    return fail(why, "no memory for the " + named, std::make_error_code(std::errc::not_enough_memory));
  return result<bio_ptr>{std::move(bio)};
}

/// A password is asked of nobody: a program without a terminal would wait for ever.
int no_password(char*, int, int, void*) { return -1; }

result<void> use_certificate(SSL_CTX* context, const std::string& path, std::string* why) {
  const auto file = open_file("certificate", path, 0, why);
  if (!file) return file.error();
  const certificate_ptr own{PEM_read_bio_X509_AUX(file->get(), nullptr, no_password, nullptr)};
  if (!own) {
    return fail(why, "the certificate " + path + " holds no certificate in PEM", status::invalid_argument);
  }
  if (SSL_CTX_use_certificate(context, own.get()) != 1) {
    return fail(why, "cannot use the certificate " + path + ": " + text_of_error(ERR_peek_last_error()),
                status::invalid_argument);
  }
  while (certificate_ptr between{PEM_read_bio_X509(file->get(), nullptr, no_password, nullptr)}) {
    if (SSL_CTX_add1_chain_cert(context, between.get()) != 1) {
      return fail(why, "cannot use a certificate in " + path + ": " + text_of_error(ERR_peek_last_error()),
                  status::invalid_argument);
    }
  }
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
    return fail(why, "a certificate in " + path + " cannot be read: " + text_of_error(last),
                status::invalid_argument);
  }
  return {};
}

result<void> use_key(SSL_CTX* context, const std::string& path, std::string* why) {
  const auto file = open_file("private key", path, S_IRWXG | S_IRWXO, why);
  if (!file) return file.error();
  const key_ptr key{PEM_read_bio_PrivateKey(file->get(), nullptr, no_password, nullptr)};
  if (!key) {
    return fail(why, "the file " + path + " holds no private key in PEM, or one with a password",
                status::invalid_argument);
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return fail(why, "the private key " + path + " is not that of the certificate", status::invalid_argument);
  }
  return {};
}

result<void> use_authority(SSL_CTX* context, const std::string& path, std::string* why) {
  const auto file = open_file("authority's certificate", path, 0, why);
  if (!file) return file.error();
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  std::size_t count = 0;
  while (certificate_ptr one{PEM_read_bio_X509(file->get(), nullptr, no_password, nullptr)}) {
    if (X509_STORE_add_cert(store, one.get()) != 1) break;
    ++count;
  }
  const unsigned long last = ERR_peek_last_error();
  if (count > 0 && ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE) return {};
  return fail(why,
              count == 0 ? "the file " + path + " holds no authority's certificate in PEM"
                         : "a certificate in " + path + " cannot be used: " + text_of_error(last),
              status::invalid_argument);
}

}  // namespace

// --- The descriptor, as OpenSSL sees it ---

/// OpenSSL's own socket BIO would raise SIGPIPE, and ask a socket again that has just been emptied.
struct tls_bio {
  static tls_session& of(BIO* bio) { return *static_cast<tls_session*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    tls_session& s = of(bio);
    BIO_clear_retry_flags(bio);
    if (s.reads_left_ == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const ssize_t got = ::recv(s.descriptor_, into, static_cast<std::size_t>(size), MSG_DONTWAIT);
    // less than was asked for: there is no more now, and if there is soon, readiness tells
    s.reads_left_ = got < size ? 0 : s.reads_left_ - 1;
    s.eof_ = got == 0;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    return static_cast<int>(got);
  }

  static int write(BIO* bio, const char* octets, int size) {
    BIO_clear_retry_flags(bio);
    const ssize_t taken =
        ::send(of(bio).descriptor_, octets, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return static_cast<int>(taken);
  }

  static long control(BIO* bio, int what, long, void*) {
    switch (what) {
      case BIO_CTRL_FLUSH: return 1;
      case BIO_CTRL_EOF: return of(bio).eof_ ? 1 : 0;
      default: return 0;
    }
  }

  /// Made with the first context; null if there was no memory then.
  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {  // for good: connections may outlive what is static
      BIO_METHOD* const m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "descriptor");
      if (m != nullptr) {
        BIO_meth_set_read(m, read);
        BIO_meth_set_write(m, write);
        BIO_meth_set_ctrl(m, control);
      }
      return m;
    }();
    return made;
  }
};

// --- Certificates of the other end ---

/// What OpenSSL does not ask by itself.
struct tls_check {
  /// Of each certificate in the chain, the leaf's last.
  static int certificate(int verified, X509_STORE_CTX* chain) {
    if (verified != 1 || X509_STORE_CTX_get_error_depth(chain) != 0) return verified;
    const auto* const ssl =
        static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto* const session = static_cast<const tls_session*>(SSL_get_ex_data(ssl, session_index()));
    X509* const leaf = X509_STORE_CTX_get_current_cert(chain);
    // a certificate that does not say what it is for is for nothing: X509_verify_cert() takes it for everything
    const std::uint32_t needed = SSL_is_server(ssl) != 0 ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
    if ((X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) == 0 ||
        (X509_get_extended_key_usage(leaf) & needed) == 0) {
      X509_STORE_CTX_set_error(chain, X509_V_ERR_INVALID_PURPOSE);
      return 0;
    }
    if (session == nullptr || (!session->expected_.uri.empty() && uri_of(leaf) != session->expected_.uri)) {
      X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
      return 0;
    }
    return 1;
  }
};

// --- The context ---

result<std::shared_ptr<const tls_context>> tls_context::make(const tls_options& options, std::string* why) {
  ERR_clear_error();
  context_ptr context{SSL_CTX_new(TLS_method())};
  if (!context || tls_bio::method() == nullptr || session_index() < 0)
    return fail(why, "no TLS", std::make_error_code(std::errc::not_enough_memory));
  SSL_CTX* const c = context.get();
  SSL_CTX_set_min_proto_version(c, options.allow_tls_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
  // every connection shows its certificate anew: no state is kept for one that may come back
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                             SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_CLEANSE_PLAINTEXT);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(
      c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(c, 1);  // else each record costs two reads
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_check::certificate);
  if (SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) {
    return fail(why, "OpenSSL has no cipher for TLS 1.2", status::invalid_argument);
  }
  if (const auto used = use_certificate(c, options.certificate, why); !used) return used.error();
  ERR_clear_error();
  if (const auto used = use_key(c, options.key, why); !used) return used.error();
  ERR_clear_error();
  if (const auto used = use_authority(c, options.authority, why); !used) return used.error();
  ERR_clear_error();
  return std::shared_ptr<const tls_context>{new tls_context{context.release()}};
}

tls_context::~tls_context() { SSL_CTX_free(context_); }

std::unique_ptr<tls_session> tls_context::accept(int descriptor) const {
  SSL* const ssl = SSL_new(context_);
  if (ssl == nullptr) return nullptr;
  SSL_set_accept_state(ssl);
  return tls_session::make(ssl, descriptor, {});
}

std::unique_ptr<tls_session> tls_context::dial(int descriptor, tls_expectation expected) const {
  SSL* const ssl = SSL_new(context_);
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl);
  if (!expected.host.empty()) {
    X509_VERIFY_PARAM* const checks = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(
        checks, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const char* const host = expected.host.c_str();
    if (X509_VERIFY_PARAM_set1_ip_asc(checks, host) != 1) {
      if (X509_VERIFY_PARAM_set1_host(checks, host, 0) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1) {
        SSL_free(ssl);
        return nullptr;
      }
    }
  }
  return tls_session::make(ssl, descriptor, std::move(expected));
}

// --- A session ---

tls_session::tls_session(ssl_st* ssl, int descriptor, tls_expectation expected) noexcept
    : ssl_{ssl}, descriptor_{descriptor}, expected_{std::move(expected)} {}

std::unique_ptr<tls_session> tls_session::make(ssl_st* ssl, int descriptor, tls_expectation expected) {
  std::unique_ptr<tls_session> made{new (std::nothrow) tls_session{ssl, descriptor, std::move(expected)}};
  if (!made) {
    SSL_free(ssl);
    return nullptr;
  }
  BIO* const bio = BIO_new(tls_bio::method());
  if (bio == nullptr || SSL_set_ex_data(ssl, session_index(), made.get()) != 1) {
    BIO_free(bio);
    return nullptr;
  }
  BIO_set_data(bio, made.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  return made;
}

tls_session::~tls_session() { SSL_free(ssl_); }

io_state tls_session::handshake() {
  ERR_clear_error();
  if (const int done = SSL_do_handshake(ssl_); done != 1) {
    const io_state state = state_of(done);
    if (state != io_state::closed) return state;
    failure_ = {std::make_error_code(std::errc::connection_reset), "it closed during the handshake"};
    return io_state::failed;
  }
  greeted_ = true;
  more_ = SSL_has_pending(ssl_) != 0;
  return io_state::progress;
}

io_result tls_session::read(std::span<std::byte> into) {
  more_ = false;
  std::size_t count = 0;
  io_state state = ended_;
  while (state == io_state::progress && count < into.size()) {
    std::size_t got = 0;
    ERR_clear_error();
    if (SSL_read_ex(ssl_, into.data() + count, into.size() - count, &got) == 1) {
      count += got;
      if (SSL_has_pending(ssl_) == 0) return {io_state::progress, count};
    } else {
      state = state_of(0);
    }
  }
  if (state == io_state::closed || state == io_state::failed) ended_ = state;
  if (count == 0) return {state, 0};
  more_ = state == io_state::progress || ended_ != io_state::progress;
  return {io_state::progress, count};
}

io_result tls_session::write(std::span<const std::byte> octets) {
  std::size_t count = 0;
  while (count < octets.size()) {
    std::size_t taken = 0;
    ERR_clear_error();
    if (SSL_write_ex(ssl_, octets.data() + count, octets.size() - count, &taken) == 1) {
      count += taken;
      continue;
    }
    const io_state state = state_of(0);
    if (count > 0 && state != io_state::failed) return {io_state::progress, count};
    return {state, count};
  }
  return {io_state::progress, count};
}

void tls_session::end() noexcept {
  if (!greeted_ || std::exchange(broken_, true)) return;
  ERR_clear_error();
  static_cast<void>(SSL_shutdown(ssl_));  // the other end's own is not waited for
  ERR_clear_error();
}

io_state tls_session::state_of(int returned) {
  const int saved = errno;
  switch (SSL_get_error(ssl_, returned)) {
    case SSL_ERROR_WANT_READ: return io_state::want_read;
    case SSL_ERROR_WANT_WRITE: return io_state::want_write;
    case SSL_ERROR_ZERO_RETURN: return io_state::closed;
    case SSL_ERROR_SYSCALL:
      if (!eof_ && saved != 0) {
        const std::error_code error{saved, std::system_category()};
        failure_ = {error, error.message()};
        break;
      }
      eof_ = true;
      [[fallthrough]];
    default: note_failure();
  }
  broken_ = true;
  ERR_clear_error();
  return io_state::failed;
}

void tls_session::note_failure() {
  if (eof_) {
    // whoever cuts a connection cannot say close_notify: what is missing may have been taken away
    failure_ = {std::make_error_code(std::errc::connection_reset),
                greeted_ ? "it was cut off (no close_notify)" : "it closed during the handshake"};
    return;
  }
  const unsigned long error = ERR_peek_error();
  const int number = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && number == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    failure_ = {std::make_error_code(std::errc::permission_denied),
                words_of_certificate(SSL_get_verify_result(ssl_), SSL_is_server(ssl_) != 0)};
    return;
  }
  const auto* const known = std::find_if(std::begin(reasons), std::end(reasons),
                                         [number](const reason& r) { return r.number == number; });
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && known != std::end(reasons)) {
    failure_ = {std::make_error_code(known->error), known->words};
    return;
  }
  failure_ = {std::make_error_code(std::errc::protocol_error), "TLS: " + text_of_error(error)};
}

std::string tls_session::name() const {
  const X509* const certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return {};
  const std::string uri = uri_of(certificate);
  return issuer_of(certificate) + "#" + (uri.empty() ? "spki:" + spki_of(certificate) : uri);
}

std::string tls_session::uri() const {
  const X509* const certificate = SSL_get0_peer_certificate(ssl_);
  return certificate == nullptr ? std::string{} : uri_of(certificate);
}

}  // namespace qkd004::net
