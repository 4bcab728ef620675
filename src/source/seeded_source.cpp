// SPDX-License-Identifier: Apache-2.0
#include "qkd004/seeded_source.hpp"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "source/block_pace.hpp"
#include "source/private_file.hpp"
#include "source/session_octets.hpp"

namespace qkd004 {

namespace {

constexpr std::size_t largest_block = std::size_t{1} << 20;
constexpr std::size_t longest_link = 512;  // OpenSSL's HKDF takes an info of 1,024 octets

std::size_t block_bytes_of(const seeded_source_options& options) noexcept {
  if (options.block_bytes > 0) return options.block_bytes;
  if (options.rate_bps == 0) return 16 * 1024;
  const std::uint64_t twentieth = options.rate_bps / 8 / 20 / secret_arena::granule * secret_arena::granule;
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(twentieth, 256, 65'536));
}

/// Octets on the stack that are gone when the scope is.
struct passing_key {
  std::array<unsigned char, 32> octets{};
  passing_key() = default;
  passing_key(const passing_key&) = delete;
  passing_key& operator=(const passing_key&) = delete;
  ~passing_key() { OPENSSL_cleanse(octets.data(), octets.size()); }
};

/// HKDF-SHA256 (RFC 5869) without a salt.
bool derive(std::span<const std::byte> secret, std::span<unsigned char> info, std::span<unsigned char> out) {
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf{EVP_KDF_fetch(nullptr, "HKDF", nullptr),
                                                              &EVP_KDF_free};
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context{EVP_KDF_CTX_new(kdf.get()),
                                                                          &EVP_KDF_CTX_free};
  if (!context) return false;
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      // OSSL_PARAM has no const, and HKDF only reads
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::byte*>(secret.data()),
                                        secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end(),
  };
  return EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1;
}

class seeded_source final : public key_source {
 public:
  seeded_source(secret_bytes secret, std::size_t block_bytes, std::uint64_t rate_bps)
      : secret_{std::move(secret)}, block_bytes_{block_bytes}, pace_{block_bytes, rate_bps} {
    capabilities_.rate_bps = rate_bps;
  }
  seeded_source(const seeded_source&) = delete;
  seeded_source& operator=(const seeded_source&) = delete;
  ~seeded_source() override = default;

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return 0; }

  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point now) override {
    const bool again =
        session.link == session_.link && session.lower == session_.lower && session.higher == session_.higher;
    if (session.first_block != 0 || session.link.size() > longest_link || (again && next_block_ > 0)) {
      return status::invalid_argument;
    }
    stop();

    passing_key key;
    key_source_check check{};
    auto info = info_of("qkd004 seeded source key 1", session);
    if (!derive(secret_.span(), info, key.octets)) return status::resource_limit;
    info = info_of("qkd004 seeded source check 1", session);
    if (!derive(secret_.span(), info, {reinterpret_cast<unsigned char*>(check.data()), check.size()})) {
      return status::resource_limit;
    }
    // The expanded key stands in OpenSSL's heap, which is not locked in memory; EVP_CIPHER_CTX_free wipes it.
    // A key is used for one session only, so the counter may begin at 0.
    cipher_ptr cipher{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};
    const std::array<unsigned char, 16> counter{};
    if (!cipher || EVP_EncryptInit_ex2(cipher.get(), EVP_aes_256_ctr(), key.octets.data(), counter.data(),
                                       nullptr) != 1) {
      return status::resource_limit;
    }
    cipher_ = std::move(cipher);
    session_ = session;
    next_block_ = 0;
    pace_.start(now);
    return check;
  }

  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    if (!cipher_) return status::invalid_argument;
    if (arena.forked()) return status::no_qkd_connection;
    if (!pace_.ready(now)) return std::optional<key_block>{};
    auto bytes = arena.allocate(block_bytes_);
    if (!bytes) return bytes.error();
    // fresh memory of an arena is zero: encrypted in place it is the key stream
    auto* octets = reinterpret_cast<unsigned char*>(bytes->data());
    int written = 0;
    if (EVP_EncryptUpdate(cipher_.get(), octets, &written, octets, static_cast<int>(bytes->size())) != 1) {
      stop();  // where the counter stands is not known any more
      return status::resource_limit;
    }
    pace_.taken(now);
    return std::optional<key_block>{key_block{next_block_++, std::move(*bytes)}};
  }

  [[nodiscard]] time_point ready_at(time_point now) const noexcept override { return pace_.ready_at(now); }

  void stop() noexcept override { cipher_.reset(); }

 private:
  using cipher_ptr = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

  [[nodiscard]] std::vector<unsigned char> info_of(std::string_view label,
                                                   const key_source_session& session) const {
    return source::session_octets(label, session, {block_bytes_, capabilities_.rate_bps});
  }

  key_source_capabilities capabilities_{.kind = "seeded", .security = security_class::simulated_insecure};
  secret_bytes secret_;
  std::size_t block_bytes_;
  source::block_pace pace_;
  key_source_session session_;  ///< the last one, kept after stop()
  std::uint64_t next_block_ = 0;
  cipher_ptr cipher_{nullptr, &EVP_CIPHER_CTX_free};
};

/// The value of a hexadecimal digit, or 16; no branch or table depends on the digit.
unsigned digit_value(unsigned c) noexcept {
  const unsigned lower = c | 0x20U;
  const unsigned is_number = 0U - static_cast<unsigned>((c - '0') < 10U);
  const unsigned is_letter = 0U - static_cast<unsigned>((lower - 'a') < 6U);
  return (is_number & (c - '0')) | (is_letter & (lower - 'a' + 10)) | (~(is_number | is_letter) & 16U);
}

}  // namespace

result<std::unique_ptr<key_source>> make_seeded_source(secret_bytes secret, seeded_source_options options) {
  if (secret.size() != seeded_secret_bytes || options.block_bytes > largest_block)
    return status::invalid_argument;
  return std::unique_ptr<key_source>{
      std::make_unique<seeded_source>(std::move(secret), block_bytes_of(options), options.rate_bps)};
}

result<secret_bytes> read_secret_file(const std::string& path, const secret_arena& arena, std::string* why) {
  const source::complaint complain{path, why};
  constexpr std::size_t digits = 2 * seeded_secret_bytes;
  auto file = source::open_private(complain, O_RDONLY, source::others::refused);
  if (!file) return file.error();
  if (file->size != seeded_secret_bytes && (file->size < digits || file->size > digits + 2)) {
    return complain(make_error_code(status::invalid_argument),
                    "has " + std::to_string(file->size) +
                        " octets; a secret is 32 octets, or 64 hexadecimal digits and at most one line end");
  }
  auto text = arena.allocate(static_cast<std::size_t>(file->size));
  auto secret = arena.allocate(seeded_secret_bytes);
  if (!text || !secret) {
    return complain(text ? secret.error() : text.error(),
                    arena.lock_refused() ? "no memory: the system refuses to lock pages" : "no memory");
  }
  if (const auto error = source::read_at(file->descriptor.get(), text->span(), 0)) {
    return complain(error, "read: " + error.message());
  }
  if (text->size() == seeded_secret_bytes) return std::move(*text);

  const auto octet = [&text](std::size_t i) { return std::to_integer<unsigned char>(text->data()[i]); };
  const std::size_t rest = text->size() - digits;
  bool good = rest == 0 || (rest == 1 && octet(digits) == '\n') ||
              (rest == 2 && octet(digits) == '\r' && octet(digits + 1) == '\n');
  for (std::size_t i = 0; i < seeded_secret_bytes; ++i) {
    const unsigned high = digit_value(octet(2 * i));
    const unsigned low = digit_value(octet(2 * i + 1));
    good &= (high | low) < 16;
    secret->data()[i] = std::byte(high << 4 | low);
  }
  if (!good) {
    return complain(make_error_code(status::invalid_argument), "has octets that are not hexadecimal digits");
  }
  return std::move(*secret);
}

}  // namespace qkd004
