// json_members: how this room reads members of JSON and writes them, with simdjson: what its codecs have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"
#include "wire/base64.hpp"
#include "wire/json_text.hpp"

namespace qkd004::wire {

namespace dom = simdjson::dom;

inline constexpr std::size_t deepest = 16;
inline constexpr std::size_t max_mimetype_text = 255;

// --- Writing ---

/// Takes what text_writer takes, and only counts it.
class text_counter {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void text(std::string_view piece) noexcept { size_ += piece.size(); }
  void base64(std::span<const std::byte> octets) noexcept { size_ += base64::encoded_size(octets.size()); }

 private:
  std::size_t size_ = 0;
};

class text_writer {
 public:
  explicit text_writer(std::span<std::byte> to) noexcept
      : at_{reinterpret_cast<char*>(to.data())}, end_{at_ + to.size()} {}
  ~text_writer() { assert(at_ == end_); }
  text_writer(const text_writer&) = delete;
  text_writer& operator=(const text_writer&) = delete;

  void text(std::string_view piece) noexcept {
    assert(piece.size() <= static_cast<std::size_t>(end_ - at_));
    std::memcpy(at_, piece.data(), piece.size());
    at_ += piece.size();
  }
  void base64(std::span<const std::byte> octets) noexcept {
    const std::size_t size = base64::encoded_size(octets.size());
    assert(size <= static_cast<std::size_t>(end_ - at_));
    base64::encode(octets, {at_, size});
    at_ += size;
  }

 private:
  char* at_;
  char* const end_;
};

template <class Output>
void put_number(Output& out, std::uint64_t value) noexcept {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.text({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

/// `name` with the comma or brace before it, and the colon behind it.
template <class Output>
void put_member(Output& out, std::string_view name, std::uint64_t value) noexcept {
  out.text(name);
  put_number(out, value);
}

template <class Output>
void put_qos(Output& out, const qos& q) {
  put_member(out, R"({"key_chunk_size":)", q.key_chunk_size);
  put_member(out, R"(,"max_bps":)", q.max_bps);
  put_member(out, R"(,"min_bps":)", q.min_bps);
  put_member(out, R"(,"jitter":)", q.jitter);
  put_member(out, R"(,"priority":)", q.priority);
  put_member(out, R"(,"timeout":)", q.timeout_ms);
  put_member(out, R"(,"ttl":)", q.ttl_s);
  out.text(R"(,"metadata_mimetype":)");
  out.text(json_quoted(q.metadata_mimetype));
  out.text("}");
}

/// The same as a text.
inline std::string qos_text(const qos& q) {
  text_counter count;
  put_qos(count, q);
  std::string text(count.size(), ' ');
  text_writer out{std::as_writable_bytes(std::span{text})};
  put_qos(out, q);
  return text;
}

// --- Reading ---

inline bool is_text(std::string_view text) noexcept {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

inline bool read(dom::element from, std::string& into) {
  std::string_view text;
  if (from.get(text) != simdjson::SUCCESS || !is_text(text)) return false;
  into = text;
  return true;
}

inline bool read(dom::element from, bool& into) noexcept { return from.get(into) == simdjson::SUCCESS; }

inline bool read_up_to(dom::element from, std::uint64_t most, std::uint64_t& into) noexcept {
  return from.get(into) == simdjson::SUCCESS && into <= most;
}

inline constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();
/// What every JSON reader takes for a whole number. Clause: RFC 8259, 6.
inline constexpr std::uint64_t largest_number = (std::uint64_t{1} << 53) - 1;

inline bool read(dom::element from, std::uint32_t& into) noexcept {
  std::uint64_t value = 0;
  if (!read_up_to(from, u32_max, value)) return false;
  into = static_cast<std::uint32_t>(value);
  return true;
}

inline bool read(dom::element from, key_stream_id& into) noexcept {
  std::string_view text;
  if (from.get(text) != simdjson::SUCCESS) return false;
  const auto id = key_stream_id::parse(text);
  if (id) into = *id;
  return id.has_value();
}

inline bool read_index(dom::element from, std::uint64_t& into) noexcept {
  return read_up_to(from, u32_max, into);
}

inline bool read(dom::element from, status& into) noexcept {
  std::uint32_t code = 0;
  if (!read(from, code)) return false;
  into = static_cast<status>(code);
  return code <= static_cast<std::uint32_t>(status::metadata_size_insufficient) ||
         (code >= static_cast<std::uint32_t>(status::unknown_key_stream) &&
          code <= static_cast<std::uint32_t>(status::shutting_down));
}

/// Members that are unknown: an answer may have more to say than this version knows, a request may not.
enum class unknown : std::uint8_t { refused, passed_over };

/// The members of an object, each at most once: `names` are the known ones, and `each(which, value)` reads one. Null if
/// all went well. Nothing is compared with all that was there before: of ten thousand members each costs the same.
template <unknown Unknown = unknown::refused, std::size_t N, class Each>
const char* read_members(dom::element from, const std::array<std::string_view, N>& names, const Each& each) {
  static_assert(N <= 32);
  dom::object object;
  if (from.get(object) != simdjson::SUCCESS) return "not an object";
  std::uint32_t seen = 0;
  for (const auto [name, value] : object) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      if constexpr (Unknown == unknown::passed_over) continue;
      return "a member that is unknown";
    }
    const auto which = static_cast<std::size_t>(found - names.begin());
    if ((seen >> which & 1U) != 0) return "a member that comes twice";
    seen |= 1U << which;
    if (!each(which, value)) return "a member of another type or out of range";
  }
  return nullptr;
}

inline constexpr std::array<std::string_view, 8> qos_names = {
    "key_chunk_size", "max_bps", "min_bps", "jitter", "priority", "timeout", "ttl", "metadata_mimetype"};

template <unknown Unknown = unknown::refused>
bool read_qos(dom::element from, qos& q) {
  return read_members<Unknown>(from, qos_names, [&q](std::size_t which, dom::element value) {
           if (value.is_null()) return true;  // you choose
           switch (which) {
             case 0: return read(value, q.key_chunk_size);
             case 1: return read(value, q.max_bps);
             case 2: return read(value, q.min_bps);
             case 3: return read(value, q.jitter);
             case 4: return read(value, q.priority);
             case 5: return read(value, q.timeout_ms);
             case 6: return read(value, q.ttl_s);
             default:
               return read(value, q.metadata_mimetype) && q.metadata_mimetype.size() <= max_mimetype_text;
           }
         }) == nullptr;
}

/// The last document that was read, and the memory for it.
/// Threads: one at a time.
class json_document {
 public:
  json_document() {
    // a first capacity with the depth; what is larger grows it and keeps that
    if (parser_.allocate(4096, deepest) != simdjson::SUCCESS) throw std::bad_alloc{};
  }
  ~json_document() { forget_all(); }

  json_document(const json_document&) = delete;
  json_document& operator=(const json_document&) = delete;

  /// Returns protocol_error for what is no JSON.
  [[nodiscard]] result<dom::element> parse(std::span<const std::byte> body) {
    if (input_.size() < body.size() + simdjson::SIMDJSON_PADDING) {
      forget_all();
      input_.assign(std::max<std::size_t>(body.size() + simdjson::SIMDJSON_PADDING, 4096), 0);
    }
    if (!body.empty()) std::memcpy(input_.data(), body.data(), body.size());
    used_ = body.size();
    dom::element root;
    if (parser_.parse(input_.data(), used_, false).get(root) != simdjson::SUCCESS)
      return status::protocol_error;
    return root;
  }

  /// What was read may have been key: here, and in the texts that simdjson has unescaped.
  void forget() noexcept {
    if (used_ > 0) wipe(input_.data(), used_);
    if (parser_.doc.string_buf)
      wipe(parser_.doc.string_buf.get(), std::min(used_ * 5 / 3, parser_.capacity() * 5 / 3));
  }

 private:
  void forget_all() noexcept {
    if (!input_.empty()) wipe(input_.data(), input_.size());
  }

  dom::parser parser_;
  std::vector<std::uint8_t> input_;
  std::size_t used_ = 0;
};

}  // namespace qkd004::wire
