// SPDX-License-Identifier: Apache-2.0
#include "wire/rest.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/secret.hpp"
#include "wire/base64.hpp"
#include "wire/fields.hpp"
#include "wire/json_members.hpp"
#include "wire/json_text.hpp"

namespace qkd004::wire::rest {

namespace dom = simdjson::dom;

namespace {

// --- Writing ---

template <class Output>
void put(Output& out, const open_connect_response& r) {
  put_member(out, R"({"status":)", static_cast<std::uint32_t>(r.outcome));
  out.text(R"(,"key_stream_id":")");
  out.text(r.stream.to_string());
  out.text(R"(","qos":)");
  put_qos(out, r.quality);
  put_member(out, R"(,"epoch":)", r.epoch);
  put_member(out, R"(,"lowest_live_index":)", saturated(r.lowest_live_index));
  out.text("}");
}

template <class Output>
void put_metadata(Output& out, const key_metadata& m) noexcept {
  put_member(out, R"(,"metadata":{"age":)", m.age_ms);
  put_member(out, R"(,"hops":)", m.hops);
  out.text("}");
}

template <class Output>
void put(Output& out, const get_key_response& r, std::uint32_t metadata_size) noexcept {
  put_member(out, R"({"status":)", static_cast<std::uint32_t>(r.outcome));
  put_member(out, R"(,"index":)", saturated(r.index));
  if (r.outcome == status::success) {
    out.text(R"(,"key_buffer":")");
    out.base64(r.key);
    out.text("\"");
    if (r.has_metadata && metadata_size >= metadata_json_size) put_metadata(out, r.metadata);
  } else if (r.outcome == status::metadata_size_insufficient) {
    put_member(out, R"(,"metadata_size":)", r.metadata_needed);
  }
  out.text("}");
}

template <class Output>
void put(Output& out, const get_keys_response& r) noexcept {
  put_member(out, R"({"status":)", static_cast<std::uint32_t>(r.outcome));
  put_member(out, R"(,"index":)", saturated(r.first));
  if (r.outcome == status::success) {
    out.text(R"(,"keys":[)");
    std::string_view before = R"({"key_buffer":")";
    for (const served_key& k : r.keys) {
      out.text(std::exchange(before, R"(,{"key_buffer":")"));
      out.base64(k.key);
      out.text("\"");
      put_metadata(out, k.metadata);
      out.text("}");
    }
    out.text("]");
    if (!r.vendor_metadata.empty()) {
      out.text(R"(,"vendor_metadata":)");
      out.text(r.vendor_metadata);
    }
  }
  out.text("}");
}

}  // namespace

// --- Writing ---

namespace {

template <class... Said>
std::size_t measure(const Said&... what) {
  text_counter count;
  put(count, what...);
  return count.size();
}

template <class... Said>
void write_all(std::span<std::byte> to, const Said&... what) {
  text_writer out{to};
  put(out, what...);
}

}  // namespace

std::size_t size_of(const open_connect_response& r) { return measure(r); }
std::size_t size_of(const get_key_response& r, std::uint32_t metadata_size) {
  return measure(r, metadata_size);
}
std::size_t size_of(const get_keys_response& r) { return measure(r); }
void write(std::span<std::byte> to, const open_connect_response& r) { write_all(to, r); }
void write(std::span<std::byte> to, const get_key_response& r, std::uint32_t metadata_size) {
  write_all(to, r, metadata_size);
}
void write(std::span<std::byte> to, const get_keys_response& r) { write_all(to, r); }

std::string status_text(status s) { return fmt::format(R"({{"status":{}}})", static_cast<std::uint32_t>(s)); }

std::string capabilities_text(std::string_view node, std::string_view instance, const limits& bounds) {
  return fmt::format(
      R"({{"node":{},"instance":"{}","standard":"ETSI GS QKD 004 V2.1.1",)"
      R"("extensions":["get_keys","wait_peer","acknowledge","report","no_wait","strict_once"],)"
      R"("max_key_chunk_size":{},"max_uri":{},"max_body":65536}})",
      json_quoted(node), instance, bounds.max_chunk, bounds.max_uri);
}

// --- Requests of a client ---

namespace {

/// Whether a JSON text can say it so that it is the same at the other end.
bool is_sayable(std::string_view text) {
  return is_text(text) && simdjson::validate_utf8(text.data(), text.size());
}

struct saying {
  result<said> operator()(const open_connect_request& r) const {
    const qos& q = r.quality;
    if (!is_sayable(r.source) || !is_sayable(r.destination) || !is_sayable(q.metadata_mimetype)) {
      return status::invalid_argument;
    }
    std::string body = fmt::format(R"({{"source":{},"destination":{},"qos":{})", json_quoted(r.source),
                                   json_quoted(r.destination), qos_text(q));
    if (!r.stream.is_null()) body += R"(,"key_stream_id":")" + r.stream.to_string() + '"';
    if (r.no_wait) body += R"(,"no_wait":true)";
    if (r.strict_once) body += R"(,"strict_once":true)";
    return said{false, "/qkd004/v2/open_connect", body + '}'};
  }
  result<said> operator()(const get_key_request& r) const {
    if (r.index > u32_max) return status::invalid_argument;
    std::string body = fmt::format(R"({{"key_stream_id":"{}","index":{})", r.stream.to_string(), r.index);
    if (r.metadata_size != 0) body += fmt::format(R"(,"metadata_size":{})", r.metadata_size);
    if (r.no_wait) body += R"(,"no_wait":true)";
    return said{false, "/qkd004/v2/get_key", body + '}'};
  }
  result<said> operator()(const close_request& r) const {
    return said{false, "/qkd004/v2/close", fmt::format(R"({{"key_stream_id":"{}"}})", r.stream.to_string())};
  }
  result<said> operator()(const get_keys_request& r) const {
    if (r.first > u32_max || r.count == 0 || r.epoch > largest_number) return status::invalid_argument;
    std::string body =
        fmt::format(R"({{"key_stream_id":"{}","index":{},"count":{},"epoch":{},"acknowledge_below":{})",
                    r.stream.to_string(), r.first, r.count, r.epoch, saturated(r.acknowledge_below));
    if (r.no_wait) body += R"(,"no_wait":true)";
    if (r.vendor_metadata) body += R"(,"vendor_metadata":true)";
    return said{false, "/qkd004/v2/get_key", body + '}'};
  }
  result<said> operator()(const wait_peer_request& r) const {
    return said{false, "/qkd004/v2/wait_peer",
                fmt::format(R"({{"key_stream_id":"{}","timeout":{}}})", r.stream.to_string(), r.timeout_ms)};
  }
  result<said> operator()(const acknowledge_request& r) const {
    if (r.epoch > largest_number) return status::invalid_argument;
    return said{false, "/qkd004/v2/acknowledge",
                fmt::format(R"({{"key_stream_id":"{}","epoch":{},"below":{}}})", r.stream.to_string(),
                            r.epoch, saturated(r.below))};
  }
  result<said> operator()(const report_request& r) const {
    std::string path = "/qkd004/v2/streams";
    if (!r.stream.is_null()) path += "?key_stream_id=" + r.stream.to_string();
    return said{true, path, {}};
  }
};

}  // namespace

result<said> say(const any_request& request) { return std::visit(saying{}, request); }

// --- reader ---

struct reader::state final : json_document {};

reader::reader() : state_{std::make_unique<state>()} {}
reader::~reader() = default;

namespace {

constexpr std::array<std::string_view, 6> open_names = {"source",        "destination", "qos",
                                                        "key_stream_id", "no_wait",     "strict_once"};
constexpr std::array<std::string_view, 8> get_names = {
    "key_stream_id", "index",   "metadata_size",     "count",
    "epoch",         "no_wait", "acknowledge_below", "vendor_metadata"};
constexpr std::array<std::string_view, 1> close_names = {"key_stream_id"};
constexpr std::array<std::string_view, 2> wait_names = {"key_stream_id", "timeout"};
constexpr std::array<std::string_view, 3> acknowledge_names = {"key_stream_id", "epoch", "below"};

}  // namespace

result<open_connect_request> reader::open_connect(std::span<const std::byte> body, const limits& bounds) {
  open_connect_request r;
  std::array<bool, 2> has{};
  const auto root = state_->parse(body);
  why_ = !root ? "not JSON" : read_members(*root, open_names, [&](std::size_t which, dom::element value) {
    switch (which) {
      case 0: return has[0] = read(value, r.source);
      case 1: return has[1] = read(value, r.destination);
      case 2: return value.is_null() || read_qos(value, r.quality);
      case 3: return value.is_null() || read(value, r.stream);
      case 4: return read(value, r.no_wait);
      default: return read(value, r.strict_once);
    }
  });
  if (why_ == nullptr && !(has[0] && has[1])) why_ = "no source or no destination";
  if (why_ != nullptr) return status::protocol_error;
  if (r.source.size() > bounds.max_uri || r.destination.size() > bounds.max_uri) {
    why_ = "a URI that is too long";
    return status::invalid_argument;
  }
  return r;
}

result<get_key_question> reader::get_key(std::span<const std::byte> body) {
  get_key_question q;
  bool has_stream = false;
  bool has_index = false;
  std::uint64_t count = 1;
  const auto root = state_->parse(body);
  why_ = !root ? "not JSON" : read_members(*root, get_names, [&](std::size_t which, dom::element value) {
    switch (which) {
      case 0: return has_stream = read(value, q.one.stream);
      case 1: return has_index = read_index(value, q.one.index);
      case 2: return read(value, q.one.metadata_size);
      case 3: q.several = true; return read_up_to(value, 0xffff, count) && count > 0;
      case 4: q.several = q.names_epoch = true; return read_up_to(value, largest_number, q.many.epoch);
      case 5: return read(value, q.one.no_wait);
      case 6: q.several = true; return read_index(value, q.many.acknowledge_below);
      default: q.several = true; return read(value, q.many.vendor_metadata);
    }
  });
  if (why_ == nullptr && !(has_stream && has_index)) why_ = "no key_stream_id or no index";
  if (why_ != nullptr) return status::protocol_error;
  q.many.stream = q.one.stream;
  q.many.first = q.one.index;
  q.many.count = static_cast<std::uint16_t>(count);
  q.many.no_wait = q.one.no_wait;
  return q;
}

result<close_request> reader::close(std::span<const std::byte> body) {
  close_request r;
  bool has_stream = false;
  const auto root = state_->parse(body);
  why_ = !root ? "not JSON" : read_members(*root, close_names, [&](std::size_t, dom::element value) {
    return has_stream = read(value, r.stream);
  });
  if (why_ == nullptr && !has_stream) why_ = "no key_stream_id";
  if (why_ != nullptr) return status::protocol_error;
  return r;
}

result<wait_peer_request> reader::wait_peer(std::span<const std::byte> body) {
  wait_peer_request r;
  bool has_stream = false;
  const auto root = state_->parse(body);
  why_ = !root ? "not JSON" : read_members(*root, wait_names, [&](std::size_t which, dom::element value) {
    if (which == 0) return has_stream = read(value, r.stream);
    return read(value, r.timeout_ms);
  });
  if (why_ == nullptr && !has_stream) why_ = "no key_stream_id";
  if (why_ != nullptr) return status::protocol_error;
  return r;
}

result<acknowledge_request> reader::acknowledge(std::span<const std::byte> body) {
  acknowledge_request r;
  std::array<bool, 3> has{};
  const auto root = state_->parse(body);
  why_ =
      !root ? "not JSON" : read_members(*root, acknowledge_names, [&](std::size_t which, dom::element value) {
        has[which] = true;
        switch (which) {
          case 0: return read(value, r.stream);
          case 1: return read_up_to(value, largest_number, r.epoch);
          default: return read_index(value, r.below);
        }
      });
  if (why_ == nullptr && !(has[0] && has[1] && has[2])) why_ = "no key_stream_id, epoch or below";
  if (why_ != nullptr) return status::protocol_error;
  return r;
}

// --- Answers ---

namespace {

bool read_metadata(dom::element from, key_metadata& m) {
  dom::object object;
  if (from.get(object) != simdjson::SUCCESS) return false;
  dom::element age;
  dom::element hops;
  return object["age"].get(age) == simdjson::SUCCESS && object["hops"].get(hops) == simdjson::SUCCESS &&
         read(age, m.age_ms) && read(hops, m.hops);
}

enum class fit : std::uint8_t { well, no_base64, too_long };

/// Into the front of `room`; `size` tells how much.
fit read_key(dom::element from, std::span<std::byte> room, std::size_t& size) {
  std::string_view text;
  if (from.get(text) != simdjson::SUCCESS) return fit::no_base64;
  const auto octets = base64::decoded_size(text);
  if (!octets || *octets == 0) return fit::no_base64;
  if (*octets > room.size()) return fit::too_long;
  size = *octets;
  if (base64::decode(text, room.first(size))) return fit::well;
  wipe(room.data(), size);
  return fit::no_base64;
}

std::error_code error_of(fit f) noexcept {
  if (f == fit::well) return {};
  return make_error_code(f == fit::too_long ? status::invalid_argument : status::protocol_error);
}

struct answering {
  dom::object from;
  call& c;

  template <class T>
  [[nodiscard]] bool has(std::string_view name, T& into) const {
    dom::element value;
    return from[name].get(value) == simdjson::SUCCESS && read(value, into);
  }
  [[nodiscard]] bool has_index(std::string_view name, std::uint64_t& into) const {
    dom::element value;
    return from[name].get(value) == simdjson::SUCCESS && read_index(value, into);
  }

  std::error_code operator()(const open_connect_request&) const {
    open_connect_response r;
    dom::element quality;
    dom::element epoch;
    if (!has("status", r.outcome)) return status::protocol_error;
    if (!has("key_stream_id", r.stream) || from["qos"].get(quality) != simdjson::SUCCESS ||
        !read_qos<unknown::passed_over>(quality, r.quality) ||
        from["epoch"].get(epoch) != simdjson::SUCCESS || !read_up_to(epoch, largest_number, r.epoch) ||
        !has_index("lowest_live_index", r.lowest_live_index)) {
      return status::protocol_error;
    }
    c.response = std::move(r);
    return {};
  }
  std::error_code operator()(const get_key_request&) const {
    get_key_response r;
    if (!has("status", r.outcome) || !has_index("index", r.index)) return status::protocol_error;
    if (r.outcome == status::success) {
      dom::element key;
      if (from["key_buffer"].get(key) != simdjson::SUCCESS) return status::protocol_error;
      std::size_t size = 0;
      if (const fit f = read_key(key, c.key_buffer, size); f != fit::well) return error_of(f);
      r.key = c.key_buffer.first(size);
      dom::element metadata;
      if (from["metadata"].get(metadata) == simdjson::SUCCESS) {
        if (!read_metadata(metadata, r.metadata)) return status::protocol_error;
        r.has_metadata = true;
      }
    } else if (r.outcome == status::metadata_size_insufficient && !has("metadata_size", r.metadata_needed)) {
      return status::protocol_error;
    }
    c.response = r;
    return {};
  }
  std::error_code operator()(const get_keys_request& asked) const {
    get_keys_response r;
    if (!has("status", r.outcome) || !has_index("index", r.first)) return status::protocol_error;
    std::uint32_t count = 0;
    std::size_t used = 0;
    if (r.outcome == status::success) {
      dom::array keys;
      if (from["keys"].get(keys) != simdjson::SUCCESS) return status::protocol_error;
      for (const dom::element one : keys) {
        dom::element key;
        dom::element metadata;
        std::size_t size = 0;
        if (count == asked.count || one["key_buffer"].get(key) != simdjson::SUCCESS)
          return status::protocol_error;
        if (const fit f = read_key(key, c.key_buffer.subspan(used), size); f != fit::well) return error_of(f);
        if (count > 0 && size != r.chunk_size) return status::protocol_error;
        r.chunk_size = static_cast<std::uint32_t>(size);
        used += size;
        key_metadata m;
        if (one["metadata"].get(metadata) != simdjson::SUCCESS || !read_metadata(metadata, m)) {
          return status::protocol_error;
        }
        if (count < c.metadata_buffer.size()) c.metadata_buffer[count] = m;
        ++count;
      }
      if (count == 0) return status::protocol_error;
      dom::element vendor;
      if (from["vendor_metadata"].get(vendor) == simdjson::SUCCESS)
        c.vendor_metadata = simdjson::minify(vendor);
    }
    c.keys = count;
    c.response = r;
    return {};
  }
  std::error_code operator()(const report_request&) const {
    report_response r;
    if (!has("status", r.outcome)) return status::protocol_error;
    if (r.outcome == status::success) r.json = simdjson::minify(from);
    c.response = std::move(r);
    return {};
  }
  std::error_code operator()(const close_request&) const { return only_status<close_response>(); }
  std::error_code operator()(const wait_peer_request&) const { return only_status<wait_peer_response>(); }
  std::error_code operator()(const acknowledge_request&) const { return only_status<acknowledge_response>(); }

  template <class Response>
  std::error_code only_status() const {
    Response r;
    if (!has("status", r.outcome)) return status::protocol_error;
    c.response = r;
    return {};
  }
};

}  // namespace

std::error_code reader::answer(std::span<const std::byte> body, call& c) {
  const auto root = state_->parse(body);
  dom::object object;
  std::error_code error = status::protocol_error;
  if (root && root->get(object) == simdjson::SUCCESS) error = std::visit(answering{object, c}, c.request);
  state_->forget();
  return error;
}

std::optional<capabilities> reader::read_capabilities(std::span<const std::byte> body) {
  const auto root = state_->parse(body);
  dom::object object;
  dom::element node;
  dom::array list;
  capabilities found;
  if (!root || root->get(object) != simdjson::SUCCESS || object["node"].get(node) != simdjson::SUCCESS ||
      !read(node, found.node) || object["extensions"].get(list) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  for (const dom::element one : list) {
    std::string_view name;
    if (one.get(name) != simdjson::SUCCESS) return std::nullopt;
    if (name == "get_keys") found.served.get_keys = true;
    if (name == "wait_peer") found.served.wait_peer = true;
    if (name == "acknowledge") found.served.acknowledge = true;
    if (name == "report") found.served.report = true;
  }
  return found;
}

std::optional<status> reader::code_of_problem(std::span<const std::byte> body) {
  const auto root = state_->parse(body);
  dom::object object;
  dom::element code;
  status s{};
  if (!root || root->get(object) != simdjson::SUCCESS || object["code"].get(code) != simdjson::SUCCESS ||
      !read(code, s)) {
    return std::nullopt;
  }
  return s;
}

}  // namespace qkd004::wire::rest
