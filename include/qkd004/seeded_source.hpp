// seeded_source: a key source without a QKD module, for tests and load: both sites draw the same octets from
// a secret they share. Its key is as safe as that secret and no more.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "qkd004/key_source.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// Must be equal at both sites: the check value of start() differs otherwise.
struct seeded_source_options {
  std::uint64_t rate_bps = 0;   ///< bit/s the link pretends to distil; 0: as fast as asked
  std::size_t block_bytes = 0;  ///< octets of one block, up to 1 MiB; 0: about 20 blocks a second (see below)
};

/// Octets of the shared secret.
inline constexpr std::size_t seeded_secret_bytes = 32;

/// A key source that is AES-256-CTR under a key of HKDF-SHA256(secret; link, both instances, block size,
/// rate): a restart of either site is another instance, so no octet comes twice.
///
/// Blocks of size 0 in the options: 16 KiB without a rate; with one a twentieth of a second's worth, in whole
/// 64 octets, from 256 to 65,536. At a rate, block n is there n intervals after start(); of a pause of poll()
/// at most one second is made up for.
///
/// Returns invalid_argument when the secret is not 32 octets or block_bytes is above 1 MiB.
///
/// start() returns invalid_argument for a first_block other than 0, for a link name above 512 octets, and for
/// the instances of the last session if that gave a block: the octets would be the same again. It returns
/// resource_limit when OpenSSL fails. poll() returns invalid_argument outside a session, resource_limit when
/// the arena is full (no block is lost by it), and no_qkd_connection in a child of fork().
/// Lifetime: keeps the memory `secret` came from alive.
[[nodiscard]] result<std::unique_ptr<key_source>> make_seeded_source(secret_bytes secret,
                                                                     seeded_source_options options = {});

/// The shared secret of a file: 32 octets, or 64 hexadecimal digits and at most one line end. Only the owner
/// may have access to the file.
///
///     std::string why;
///     auto secret = read_secret_file("/etc/qkd004/link.secret", arena, &why);
///     if (!secret) return fail(why);  // "/etc/qkd004/link.secret: group or others have access (mode 0644), ..."
///
/// Returns permission_denied (std::errc) when group or others have access, invalid_argument for another size
/// or something that is not a file, what `arena` returns, and errno of the failed call. `why` says which,
/// without an octet of the file.
[[nodiscard]] result<secret_bytes> read_secret_file(const std::string& path, const secret_arena& arena,
                                                    std::string* why = nullptr);

}  // namespace qkd004
