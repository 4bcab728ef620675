// evidence: the parts of the program that runs the software link for long and looks at the key that comes out. Of a key
// it shows counts and digests, and only `key` its octets, into a pipe.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include <openssl/evp.h>

#include "qkd004/software_link.hpp"

namespace qkd004::evidence {

struct arguments {
  std::uint64_t bits = 1'000'000'000;
  std::uint64_t octets = std::uint64_t{8} << 20;
  std::uint64_t count = 3'000;
  std::uint64_t seed = 1;
  std::uint64_t largest_mib = 256;  ///< resident memory of a site
  bool flip = false;                ///< plants what must be found
  software_link_options link;
};

/// Each prints what it saw and returns the status of the program: 0 if all was as it must be.
int identity(const arguments& a);
int key(const arguments& a);
int memory(const arguments& a);
int forgeries(const arguments& a);

/// A link for large numbers: weak pulses over no distance, of which nearly everything that is detected is a single
/// photon, so that three quarters of the sifted bits are secret. One in a hundred is wrong, and corrected.
inline software_link_options much_key() {
  software_link_options o;
  o.sampling = photon_sampling::blocks;
  o.block_bits = 1'048'576;
  o.system.km = 0;
  o.system.efficiency = 1;
  o.system.dark_count = 1e-8;
  o.system.afterpulse = 0;
  o.system.misalignment = 0.01;
  o.system.x_basis = 0.6;
  o.system.intensities = {{{0.05, 0.2}, {0.02, 0.4}, {2e-4, 0.4}}};
  return o;
}

/// Of this process, all threads, user and system.
inline double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// SHA-256, many times.
class sha256 {
 public:
  using digest = std::array<std::byte, 32>;

  sha256() : kind_{EVP_MD_fetch(nullptr, "SHA256", nullptr)}, context_{EVP_MD_CTX_new()} {
    if (!kind_ || !context_) throw std::bad_alloc{};
    begin();
  }
  void add(std::span<const std::byte> octets) {
    if (EVP_DigestUpdate(context_.get(), octets.data(), octets.size()) != 1) throw std::bad_alloc{};
  }
  /// Of what was added, and begins anew.
  [[nodiscard]] digest finish() {
    digest d{};
    if (EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(d.data()), nullptr) != 1) {
      throw std::bad_alloc{};
    }
    begin();
    return d;
  }
  [[nodiscard]] digest of(std::span<const std::byte> octets) {
    add(octets);
    return finish();
  }

 private:
  void begin() {
    if (EVP_DigestInit_ex2(context_.get(), kind_.get(), nullptr) != 1) throw std::bad_alloc{};
  }

  struct deleter {
    void operator()(EVP_MD* kind) const { EVP_MD_free(kind); }
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD, deleter> kind_;
  std::unique_ptr<EVP_MD_CTX, deleter> context_;
};

}  // namespace qkd004::evidence
