// SPDX-License-Identifier: Apache-2.0
#include "wire/calls.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

namespace qkd004::wire {

namespace {

/// Whether `text` can be ended by a NUL, and has at most `most` octets without it.
bool fits(std::string_view text, std::size_t most) noexcept {
  return text.size() <= most && text.find('\0') == std::string_view::npos;
}

qos read_qos(octet_reader& in, mimetype_form form) {
  qos q = read_qos_numbers(in);
  q.metadata_mimetype = form == mimetype_form::text0 ? in.until_nul(max_mimetype) : in.padded(max_mimetype);
  return q;
}

/// to_json() without an allocation.
class json_text {
 public:
  explicit json_text(const key_metadata& metadata) noexcept {
    add("{\"age\":");
    add(metadata.age_ms);
    add(",\"hops\":");
    add(metadata.hops);
    add("}");
  }

  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  void add(std::string_view piece) noexcept {
    std::copy(piece.begin(), piece.end(), text_.data() + size_);
    size_ += piece.size();
  }
  void add(std::uint32_t number) noexcept {
    const auto written = std::to_chars(text_.data() + size_, text_.data() + text_.size(), number);
    size_ = static_cast<std::size_t>(written.ptr - text_.data());
  }

  std::array<char, metadata_json_size> text_;
  std::size_t size_ = 0;
};

/// The inverse of to_json(). Returns whether `text` has that form; else `metadata` stays as it was.
bool read_json(std::string_view text, key_metadata& metadata) noexcept {
  const auto take = [&text](std::string_view piece) noexcept {
    if (!text.starts_with(piece)) return false;
    text.remove_prefix(piece.size());
    return true;
  };
  const auto number = [&text](std::uint32_t& value) noexcept {
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    return true;
  };
  key_metadata read;
  const bool matched = take("{\"age\":") && number(read.age_ms) && take(",\"hops\":") && number(read.hops) &&
                       take("}") && text.empty();
  if (matched) metadata = read;
  return matched;
}

}  // namespace

bool sendable(const qos& q) noexcept { return fits(q.metadata_mimetype, max_mimetype - 1); }

bool sendable(const open_connect_request& request) noexcept {
  constexpr std::size_t any = std::numeric_limits<std::size_t>::max();  // the receiver has the bound
  return fits(request.source, any) && fits(request.destination, any) && sendable(request.quality);
}

result<open_connect_request> read_open_connect(octet_reader& in, const limits& bounds, mimetype_form form) {
  const std::string_view source = in.until_nul(in.left());
  const std::string_view destination = in.until_nul(in.left());
  qos quality = read_qos(in, form);
  const key_stream_id stream = in.stream();
  if (!in.ok()) return status::protocol_error;
  if (source.size() > bounds.max_uri || destination.size() > bounds.max_uri) return status::invalid_argument;
  return open_connect_request{std::string{source}, std::string{destination}, std::move(quality), stream};
}

void read_open_connect(octet_reader& in, open_connect_response& response, mimetype_form form) {
  response.quality = read_qos(in, form);
  response.stream = in.stream();
}

result<void> append_key(out_buffer& out, const get_key_response& response, std::uint32_t metadata_size,
                        frame_version version) {
  if (response.key.empty() || response.key.size() > std::numeric_limits<std::uint32_t>::max() ||
      response.index > last_index) {
    return status::invalid_argument;
  }
  const auto append = [&](std::string_view metadata) {
    const auto put = [&](auto& to) {
      to.u32(static_cast<std::uint32_t>(status::success));
      to.u32(static_cast<std::uint32_t>(response.index));
      to.u32(static_cast<std::uint32_t>(response.key.size()));
      to.octets(response.key);
      to.u32(static_cast<std::uint32_t>(metadata.size()));
      to.text(metadata);
    };
    return append_frame(out, service::get_key_response, put, version);
  };
  if (!response.has_metadata || metadata_size == 0) return append({});
  const json_text json{response.metadata};
  return append(json.view().size() <= metadata_size ? json.view() : std::string_view{});
}

bool read_key(octet_reader& in, forge::get_key_reply& reply) noexcept {
  get_key_response& response = reply.response;
  response.index = in.u32();
  response.key = in.octets(in.u32());
  reply.metadata = in.octets(in.u32());
  if (!in.at_end() || response.key.empty() || response.index > last_index) return false;
  const std::string_view text{reinterpret_cast<const char*>(reply.metadata.data()), reply.metadata.size()};
  response.has_metadata = read_json(text, response.metadata);
  return true;
}

}  // namespace qkd004::wire
