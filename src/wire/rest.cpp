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
#include "wire/json_text.hpp"

namespace qkd004::wire::rest {

namespace dom = simdjson::dom;

namespace {

constexpr std::size_t deepest = 16;
constexpr std::size_t max_mimetype_text = 255;

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

// --- Reading ---

bool is_text(std::string_view text) noexcept {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool read(dom::element from, std::string& into) {
  std::string_view text;
  if (from.get(text) != simdjson::SUCCESS || !is_text(text)) return false;
  into = text;
  return true;
}

bool read(dom::element from, bool& into) noexcept { return from.get(into) == simdjson::SUCCESS; }

bool read_up_to(dom::element from, std::uint64_t most, std::uint64_t& into) noexcept {
  return from.get(into) == simdjson::SUCCESS && into <= most;
}

constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();
/// What every JSON reader takes for a whole number. Clause: RFC 8259, 6.
constexpr std::uint64_t largest_number = (std::uint64_t{1} << 53) - 1;

bool read(dom::element from, std::uint32_t& into) noexcept {
  std::uint64_t value = 0;
  if (!read_up_to(from, u32_max, value)) return false;
  into = static_cast<std::uint32_t>(value);
  return true;
}

bool read(dom::element from, key_stream_id& into) noexcept {
  std::string_view text;
  if (from.get(text) != simdjson::SUCCESS) return false;
  const auto id = key_stream_id::parse(text);
  if (id) into = *id;
  return id.has_value();
}

bool read_index(dom::element from, std::uint64_t& into) noexcept { return read_up_to(from, u32_max, into); }

bool read(dom::element from, status& into) noexcept {
  std::uint32_t code = 0;
  if (!read(from, code)) return false;
  into = static_cast<status>(code);
  return code <= static_cast<std::uint32_t>(status::metadata_size_insufficient) ||
         (code >= static_cast<std::uint32_t>(status::unknown_key_stream) &&
          code <= static_cast<std::uint32_t>(status::shutting_down));
}

/// The members of an object, each at most once: `names` are the known ones, and `each(which, value)` reads one. Null if
/// all went well. Nothing is compared with all that was there before: who sends ten thousand members is through at the
/// first that is unknown.
template <std::size_t N, class Each>
const char* read_members(dom::element from, const std::array<std::string_view, N>& names, const Each& each) {
  static_assert(N <= 32);
  dom::object object;
  if (from.get(object) != simdjson::SUCCESS) return "not an object";
  std::uint32_t seen = 0;
  for (const auto [name, value] : object) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return "a member that is unknown";
    const auto which = static_cast<std::size_t>(found - names.begin());
    if ((seen >> which & 1U) != 0) return "a member that comes twice";
    seen |= 1U << which;
    if (!each(which, value)) return "a member of another type or out of range";
  }
  return nullptr;
}

constexpr std::array<std::string_view, 8> qos_names = {
    "key_chunk_size", "max_bps", "min_bps", "jitter", "priority", "timeout", "ttl", "metadata_mimetype"};

bool read_qos(dom::element from, qos& q) {
  return read_members(from, qos_names, [&q](std::size_t which, dom::element value) {
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
  const std::string quoted = json_quoted(text);
  return is_text(text) && quoted.find("\\u00") == std::string::npos;
}

struct saying {
  result<said> operator()(const open_connect_request& r) const {
    const qos& q = r.quality;
    if (!is_sayable(r.source) || !is_sayable(r.destination) || !is_sayable(q.metadata_mimetype)) {
      return status::invalid_argument;
    }
    std::string body = fmt::format(
        R"({{"source":{},"destination":{},"qos":{{"key_chunk_size":{},"max_bps":{},"min_bps":{},"jitter":{},)"
        R"("priority":{},"timeout":{},"ttl":{},"metadata_mimetype":{}}})",
        json_quoted(r.source), json_quoted(r.destination), q.key_chunk_size, q.max_bps, q.min_bps, q.jitter,
        q.priority, q.timeout_ms, q.ttl_s, json_quoted(q.metadata_mimetype));
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

struct reader::state {
  state() {
    // a first capacity with the depth; what is larger grows it and keeps that
    if (parser.allocate(4096, deepest) != simdjson::SUCCESS) throw std::bad_alloc{};
  }
  ~state() { forget_all(); }

  result<dom::element> parse(std::span<const std::byte> body) {
    if (input.size() < body.size() + simdjson::SIMDJSON_PADDING) {
      forget_all();
      input.assign(std::max<std::size_t>(body.size() + simdjson::SIMDJSON_PADDING, 4096), 0);
    }
    if (!body.empty()) std::memcpy(input.data(), body.data(), body.size());
    used = body.size();
    dom::element root;
    if (parser.parse(input.data(), used, false).get(root) != simdjson::SUCCESS) return status::protocol_error;
    return root;
  }

  /// What was read may have been key: here, and in the texts that simdjson has unescaped.
  void forget() noexcept {
    if (used > 0) wipe(input.data(), used);
    if (parser.doc.string_buf)
      wipe(parser.doc.string_buf.get(), std::min(used * 5 / 3, parser.capacity() * 5 / 3));
  }

  void forget_all() noexcept {
    if (!input.empty()) wipe(input.data(), input.size());
  }

  dom::parser parser;
  std::vector<std::uint8_t> input;
  std::size_t used = 0;
};

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
        !read_qos(quality, r.quality) || from["epoch"].get(epoch) != simdjson::SUCCESS ||
        !read_up_to(epoch, largest_number, r.epoch) || !has_index("lowest_live_index", r.lowest_live_index)) {
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
