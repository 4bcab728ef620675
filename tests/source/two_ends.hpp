// two_ends: what the tests of key sources share: sessions, blocks as text, a folder that goes away.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "qkd004/clock.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"

namespace qkd004::tests {

inline constexpr time_point at_zero{};

inline secret_arena test_arena() {
  secret_options options;
  options.bytes = std::size_t{2} << 20;
  options.allow_unlocked = true;
  return secret_arena{options};
}

/// A session of instances that are one octet, repeated.
inline key_source_session session_of(int lower, int higher, std::uint64_t first_block = 0) {
  key_source_session session;
  session.link = "link-1";
  session.lower.fill(std::byte(lower));
  session.higher.fill(std::byte(higher));
  session.first_block = first_block;
  return session;
}

inline std::string text_of(const secret_bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The octets of so many blocks, which must be there, numbered from `first` on.
inline std::string take(key_source& source, const secret_arena& arena, std::uint64_t first,
                        std::uint64_t blocks, time_point now = at_zero) {
  std::string all;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto block = source.poll(arena, now);
    REQUIRE(block);
    REQUIRE(block->has_value());
    CHECK((*block)->number == first + i);
    CHECK(!(*block)->bytes.empty());
    all += text_of((*block)->bytes);
  }
  return all;
}

struct ready_blocks {
  std::size_t count = 0;
  std::string octets;
};

/// The blocks that are there at once.
inline ready_blocks take_ready(key_source& source, const secret_arena& arena, time_point now) {
  ready_blocks ready;
  while (true) {
    const auto block = source.poll(arena, now);
    REQUIRE(block);
    if (!block->has_value()) return ready;
    ready.octets += text_of((*block)->bytes);
    REQUIRE(++ready.count < 100'000);
  }
}

inline std::size_t blocks_ready(key_source& source, const secret_arena& arena, time_point now) {
  return take_ready(source, arena, now).count;
}

inline bool none_yet(key_source& source, const secret_arena& arena, time_point now = at_zero) {
  const auto block = source.poll(arena, now);
  return block && !block->has_value();
}

inline std::error_code error_of_poll(key_source& source, const secret_arena& arena) {
  return source.poll(arena, at_zero).error();
}

/// Whether the octets are equal; a failed test does not print them.
inline bool same(const std::string& a, const std::string& b) { return a == b; }

/// Whether any 16 octets of `old`, cut every 16, stand anywhere in `fresh`.
inline bool repeats(const std::string& fresh, const std::string& old) {
  for (std::size_t at = 0; at + 16 <= old.size(); at += 16) {
    if (fresh.find(old.substr(at, 16)) != std::string::npos) return true;
  }
  return false;
}

/// A folder that is gone with the object.
class passing_folder {
 public:
  passing_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qkd004-key-source-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  passing_folder(const passing_folder&) = delete;
  passing_folder& operator=(const passing_folder&) = delete;
  ~passing_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  /// A file that only its owner may read and write.
  std::string write(const std::string& name, const std::string& text) const {
    const std::string path = *this / name;
    std::ofstream{path, std::ios::binary} << text;
    std::filesystem::permissions(path, std::filesystem::perms{0600});
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline std::string text_of_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace qkd004::tests
