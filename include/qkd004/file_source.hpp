// file_source: a key source that reads a file of key that both sites hold, each block once; a second file
// keeps how far it came.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "qkd004/key_source.hpp"
#include "qkd004/result.hpp"

namespace qkd004 {

/// Key file, block_bytes and rate_bps must be equal at both sites: the check value of start() differs
/// otherwise.
struct file_source_options {
  /// How far the key is to be trusted depends on who made the file, so it has to be said.
  file_source_options(std::string key_path, security_class of_key)
      : path{std::move(key_path)}, security{of_key} {}

  std::string path;         ///< the key file; its last octets that fill no block are not used
  std::string offset_path;  ///< where the offset is kept; empty: `path` + ".offset"
  security_class security;
  std::size_t block_bytes = 4096;   ///< octets of one block, from 32 to 1 MiB
  std::uint64_t rate_bps = 0;       ///< bit/s; 0: as fast as asked
  std::size_t reserve_blocks = 64;  ///< blocks that one write to the disk marks as used; above 0
  bool allow_readable = false;      ///< go on when group or others have access to the key file
  bool erase = false;               ///< overwrite used key with zeros; copies may survive (see below)
};

/// Opens a key file. The blocks are numbered by their place in the file. Before a block is handed out it is
/// marked as used in the offset file, on the disk: after a crash some blocks are skipped, none comes twice.
/// stop() marks exactly. A session spends its first block on the check value, so that files which are not the
/// same, or not at the same place, are found out; files which differ only further on are not.
///
/// The offset file holds two equal records, each with a checksum, bound to the size of the key file and to
/// block_bytes. It is made at the first use, with the offset 0: who deletes it starts over, and then only the
/// peer's position() keeps old key from coming again. Both files are locked (flock) for as long as the key
/// source lives; so the sites of a link need a copy of the file each even on one machine.
///
/// With `erase`, used blocks are overwritten each time the offset file is written. Flash memory, snapshots,
/// journals and backups may keep copies all the same: only an encrypted or destroyed medium is sure.
///
/// Returns permission_denied (std::errc) when group or others have access to the key file,
/// device_or_resource_busy (std::errc) when another key source has one of the files, invalid_argument for
/// options out of range, a key file below two blocks, and an offset file that is damaged or belongs to
/// another key file or block size, and errno of the failed call. `why` says which.
///
/// start() gives up every block below first_block for good, and returns invalid_argument for a first_block
/// below position(), insufficient_key when no block is left or this one was erased, resource_limit when
/// OpenSSL fails, no_qkd_connection in a child of fork(), and errno of a failed call. poll() returns
/// invalid_argument outside a session, insufficient_key at the end of the file or where it was erased,
/// resource_limit when the arena is full (no block is lost by it), no_qkd_connection in a child of fork(),
/// and errno of a failed call, after which the session is over. Both wait for the disk, poll() once in
/// `reserve_blocks`.
[[nodiscard]] result<std::unique_ptr<key_source>> make_file_source(const file_source_options& options,
                                                                   std::string* why = nullptr);

}  // namespace qkd004
