// SPDX-License-Identifier: Apache-2.0
#include "wire/push_body.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

#include "wire/base64.hpp"
#include "wire/json_members.hpp"
#include "wire/json_text.hpp"

namespace qkd004::wire::push {

namespace {

constexpr std::size_t max_uri = 2'000;
constexpr std::size_t max_metadata = 4'096;

template <class Output>
void put(Output& out, const push_key_material& m) {
  put_member(out, R"({"status":)", static_cast<std::uint32_t>(m.outcome));
  put_member(out, R"(,"index":)", m.index);
  out.text(R"(,"key_buffer":")");
  out.base64(m.key);
  out.text("\"");
  if (m.has_metadata) {
    // the size is that of the buffer's text
    const std::string id = m.stream.to_string();
    constexpr std::string_view before = R"({"key_stream_id":")";
    constexpr std::string_view behind = R"("})";
    put_member(out, R"(,"metadata":{"size":)", before.size() + id.size() + behind.size());
    out.text(R"(,"buffer":)");
    out.text(before);
    out.text(id);
    out.text(behind);
    out.text("}");
  }
  out.text("}");
}

std::string text_of(const key_stream_id& id) { return id.is_null() ? "null" : '"' + id.to_string() + '"'; }

/// Whether the object has these members, and others perhaps.
template <std::size_t N, class Each>
bool has_members(dom::element from, const std::array<std::string_view, N>& names, const Each& each) {
  return read_members<unknown::passed_over>(from, names, each) == nullptr;
}

constexpr std::array<std::string_view, 4> open_names = {"source", "destination", "qos", "key_stream_id"};
constexpr std::array<std::string_view, 3> get_names = {"key_stream_id", "index", "metadata"};
constexpr std::array<std::string_view, 1> close_names = {"key_stream_id"};
constexpr std::array<std::string_view, 4> key_names = {"status", "index", "key_buffer", "metadata"};
constexpr std::array<std::string_view, 2> metadata_names = {"size", "buffer"};
constexpr std::array<std::string_view, 3> answer_names = {"status", "key_stream_id", "qos"};

/// A status as it travels: 0 to 8.
bool read_status(dom::element from, status& into) {
  std::uint32_t code = 0;
  if (!read(from, code) || code > static_cast<std::uint32_t>(status::metadata_size_insufficient))
    return false;
  into = static_cast<status>(code);
  return true;
}

/// The stream that metadata name: their only use here.
bool read_metadata(dom::element from, push_key_material& m) {
  bool has_stream = false;
  const bool good = has_members(from, metadata_names, [&](std::size_t which, dom::element value) {
    std::uint32_t size = 0;
    if (which == 0) return read(value, size);
    return has_members(value, close_names, [&](std::size_t, dom::element id) {
      has_stream = read(id, m.stream);
      return has_stream;
    });
  });
  m.has_metadata = true;
  return good && has_stream && !m.stream.is_null();
}

}  // namespace

// --- Writing ---

std::string open_connect_text(const open_connect_request& r) {
  return fmt::format(R"({{"source":{},"destination":{},"key_stream_id":{},"qos":{}}})", json_quoted(r.source),
                     json_quoted(r.destination), text_of(r.stream), qos_text(r.quality));
}

std::string get_key_text(const push_get_key& r) {
  std::string text = fmt::format(R"({{"key_stream_id":{})", text_of(r.stream));
  if (r.index) text += fmt::format(R"(,"index":{})", *r.index);
  if (!r.metadata.empty()) text += R"(,"metadata":)" + json_quoted(r.metadata);
  return text + '}';
}

std::string close_text(const close_request& r) {
  return fmt::format(R"({{"key_stream_id":{}}})", text_of(r.stream));
}

std::string opened_text(const open_connect_response& r, const open_connect_request& asked) {
  return fmt::format(R"({{"key_stream_id":{},"qos":{},"status":{},"source":{},"destination":{}}})",
                     text_of(r.stream), qos_text(r.quality), static_cast<std::uint32_t>(r.outcome),
                     json_quoted(asked.source), json_quoted(asked.destination));
}

std::string counter_text(const open_connect_response& r) {
  return fmt::format(R"({{"status":{},"qos":{}}})", static_cast<std::uint32_t>(r.outcome),
                     qos_text(r.quality));
}

std::string status_text(status s) { return fmt::format(R"({{"status":{}}})", static_cast<std::uint32_t>(s)); }

std::size_t size_of(const push_key_material& m) {
  text_counter count;
  put(count, m);
  return count.size();
}

void write(std::span<std::byte> to, const push_key_material& m) {
  text_writer out{to};
  put(out, m);
}

// --- Reading ---

struct reader::state {
  explicit state(secret_arena a) : arena{std::move(a)} {}

  json_document document;
  secret_arena arena;
  secret_bytes key;      ///< room for the largest that was read
  std::size_t used = 0;  ///< of it
};

reader::reader(secret_arena arena) : state_{std::make_unique<state>(std::move(arena))} {}
reader::~reader() = default;

std::optional<open_connect_request> reader::open_connect(std::span<const std::byte> body) {
  open_connect_request r;
  bool has_qos = false;
  const auto root = state_->document.parse(body);
  const bool good = root && has_members(*root, open_names, [&](std::size_t which, dom::element value) {
                      switch (which) {
                        case 0: return read(value, r.source);
                        case 1: return read(value, r.destination);
                        case 2:
                          has_qos = true;
                          return value.is_null() || read_qos<unknown::passed_over>(value, r.quality);
                        default: return value.is_null() || read(value, r.stream);
                      }
                    });
  if (!good || !has_qos || r.source.empty() || r.destination.empty()) return std::nullopt;
  if (r.source.size() > max_uri || r.destination.size() > max_uri) return std::nullopt;
  return r;
}

std::optional<push_get_key> reader::get_key(std::span<const std::byte> body) {
  push_get_key r;
  const auto root = state_->document.parse(body);
  const bool good = root && has_members(*root, get_names, [&r](std::size_t which, dom::element value) {
                      if (which == 0) return read(value, r.stream);
                      if (value.is_null()) return true;
                      if (which == 2) return read(value, r.metadata) && r.metadata.size() <= max_metadata;
                      std::uint32_t index = 0;
                      if (!read(value, index)) return false;
                      r.index = index;
                      return true;
                    });
  if (!good || r.stream.is_null()) return std::nullopt;
  return r;
}

std::optional<close_request> reader::close(std::span<const std::byte> body) {
  close_request r;
  const auto root = state_->document.parse(body);
  const bool good = root && has_members(*root, close_names, [&r](std::size_t, dom::element value) {
                      return read(value, r.stream);
                    });
  if (!good || r.stream.is_null()) return std::nullopt;
  return r;
}

result<push_key_material> reader::key_material(std::span<const std::byte> body) {
  forget_key();
  state& s = *state_;
  push_key_material m;
  bool has_status = false;
  bool has_index = false;
  bool has_key = false;
  bool has_memory = true;
  const auto read_key = [&](dom::element value) {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) return false;
    const auto size = base64::decoded_size(text);
    if (!size) return false;
    if (*size > s.key.size()) {
      auto larger = s.arena.allocate(*size);
      has_memory = larger.has_value();
      if (!larger) return false;
      s.key = std::move(*larger);
    }
    s.used = *size;
    m.key = std::as_const(s.key).span().first(*size);
    return base64::decode(text, s.key.span().first(*size));
  };
  const auto root = s.document.parse(body);
  const bool good = root && has_members(*root, key_names, [&](std::size_t which, dom::element value) {
                      switch (which) {
                        case 0: has_status = true; return read_status(value, m.outcome);
                        case 1: has_index = true; return read(value, m.index);
                        case 2: has_key = true; return value.is_null() || read_key(value);
                        default: return value.is_null() || read_metadata(value, m);
                      }
                    });
  s.document.forget();
  if (!has_memory) return status::resource_limit;
  if (!good || !has_status || !has_index || !has_key) return status::protocol_error;
  return m;
}

void reader::forget_key() noexcept {
  if (state_->used > 0) wipe(state_->key.data(), state_->used);
  state_->used = 0;
}

std::optional<device_answer> reader::answer(std::span<const std::byte> body) {
  device_answer a;
  if (body.empty()) return a;
  const auto root = state_->document.parse(body);
  const bool good = root && has_members(*root, answer_names, [&a](std::size_t which, dom::element value) {
                      if (value.is_null()) return true;
                      switch (which) {
                        case 0: return read_status(value, a.outcome);
                        case 1: return read(value, a.stream);
                        default: return read_qos<unknown::passed_over>(value, a.quality);
                      }
                    });
  return good ? std::optional{a} : std::nullopt;
}

}  // namespace qkd004::wire::push
