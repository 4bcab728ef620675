// SPDX-License-Identifier: Apache-2.0
#include "conformance/rest_stream.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "conformance/dialect.hpp"
#include "conformance/octets.hpp"
#include "conformance/probe.hpp"
#include "conformance/test_case.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::conformance {

namespace {

namespace dom = simdjson::dom;

constexpr char no_frames[] = "HTTP carries no frames: such octets cannot be sent";
constexpr char no_text[] = "JSON cannot say such a text";
constexpr std::size_t header_size = 8;
constexpr std::uint32_t not_authorized = 1026;
constexpr std::uint32_t protocol_error = 1028;
constexpr std::uint32_t metadata_too_small = 8;
constexpr std::size_t most = 512 * 1024;

/// A JSON string of a text that is printable ASCII.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c < 0x20 || c == 0x7f) throw skipped{no_text};
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::uint64_t number_of(const dom::object& from, std::string_view name) {
  std::uint64_t value = 0;
  if (from[name].get(value) != simdjson::SUCCESS) throw failure{fmt::format("a number {}", name), "none"};
  return value;
}

std::string text_of(const dom::object& from, std::string_view name) {
  std::string_view value;
  if (from[name].get(value) != simdjson::SUCCESS) throw failure{fmt::format("a text {}", name), "none"};
  return std::string{value};
}

key_stream_id id_of(const dom::object& from) {
  const auto id = key_stream_id::parse(text_of(from, "key_stream_id"));
  if (!id) throw failure{"a UUID for key_stream_id", "something else"};
  return *id;
}

octets key_of(const dom::object& from) {
  const std::string text = text_of(from, "key_buffer");
  octets key(text.size() / 4 * 3 + 3);
  const int size = EVP_DecodeBlock(key.data(), reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0 || text.size() % 4 != 0) throw failure{"base64 in key_buffer", "something else"};
  const auto padding = static_cast<std::size_t>(std::count(text.begin(), text.end(), '='));
  key.resize(static_cast<std::size_t>(size) - padding);
  return key;
}

class rest_stream final : public byte_stream {
 public:
  rest_stream(std::unique_ptr<byte_stream> carrier, std::string host)
      : carrier_{std::move(carrier)}, host_{std::move(host)} {}
  ~rest_stream() override {
    wipe(in_.data(), in_.size());
    if (!ready_.empty()) wipe(ready_.data(), ready_.size());
  }

  bool send(std::span<const std::uint8_t> octets, steady::time_point until) override {
    said_.insert(said_.end(), octets.begin(), octets.end());
    std::string requests;
    while (said_.size() >= header_size) {
      reader header{std::as_bytes(std::span{said_}).first(header_size)};
      const bool forge = header.number(3) == 0x02'01'01;
      const auto service = static_cast<std::uint8_t>(header.number(1));
      const std::size_t size = header.u32();
      if (!forge || size > most) throw skipped{no_frames};
      if (said_.size() < header_size + size) break;
      reader payload{std::as_bytes(std::span{said_}).subspan(header_size, size)};
      requests += request_of(service, payload);
      said_.erase(said_.begin(), said_.begin() + static_cast<std::ptrdiff_t>(header_size + size));
      expected_.push_back(service);
    }
    return carrier_->send({reinterpret_cast<const std::uint8_t*>(requests.data()), requests.size()}, until);
  }

  std::optional<std::size_t> receive(std::span<std::byte> room, steady::time_point until) override {
    if (!said_.empty()) throw skipped{no_frames};
    while (ready_.empty()) {
      if (take_answer()) continue;
      if (ended_) return 0;
      std::array<std::byte, 16 * 1024> piece;
      const auto got = carrier_->receive(piece, until);
      if (!got) return std::nullopt;
      if (*got == 0) return 0;
      in_.append(reinterpret_cast<const char*>(piece.data()), *got);
      wipe(piece.data(), *got);
    }
    const std::size_t count = std::min(room.size(), ready_.size());
    std::memcpy(room.data(), ready_.data(), count);
    wipe(ready_.data(), count);
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }

  void end_sending() override {
    if (!said_.empty()) throw skipped{no_frames};
    carrier_->end_sending();
  }
  std::string refusal() const override { return carrier_->refusal(); }

 private:
  [[nodiscard]] std::string post(std::string_view call, const std::string& body) const {
    return fmt::format(
        "POST /qkd004/v2/{} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: "
        "{}\r\n\r\n{}",
        call, host_, body.size(), body);
  }
  [[nodiscard]] std::string get(std::string_view call) const {
    return fmt::format("GET /qkd004/v2/{} HTTP/1.1\r\nHost: {}\r\n\r\n", call, host_);
  }

  /// A request of the frame's service, or an exception.
  std::string request_of(std::uint8_t service, reader& in) {
    const auto checked = [&in](std::string request) {
      if (!in.ok() || in.left() != 0) throw skipped{no_frames};
      return request;
    };
    switch (service) {
      case service::hello: greeted_ = true; return get("capabilities");
      case service::open_connect:
      case service::open_connect2: {
        if (service == service::open_connect2 && !greeted_) throw skipped{no_frames};
        const std::string source = in.text0();
        const std::string destination = in.text0();
        std::array<std::uint32_t, 7> numbers{};
        for (std::uint32_t& n : numbers) n = in.u32();
        const std::string mimetype = in.text0();
        const auto id = in.id();
        const std::uint32_t flags = service == service::open_connect2 ? in.u32() : 0;
        if ((flags & ~3U) != 0) throw skipped{no_frames};
        if (!in.ok()) throw skipped{no_frames};
        std::string body = fmt::format(
            R"({{"source":{},"destination":{},"qos":{{"key_chunk_size":{},"max_bps":{},"min_bps":{},"jitter":{},)"
            R"("priority":{},"timeout":{},"ttl":{},"metadata_mimetype":{}}},"no_wait":{},"strict_once":{})",
            quoted(source), quoted(destination), numbers[0], numbers[1], numbers[2], numbers[3], numbers[4],
            numbers[5], numbers[6], quoted(mimetype), (flags & 1) != 0, (flags & 2) != 0);
        if (!id.is_null()) body += fmt::format(R"(,"key_stream_id":"{}")", id.to_string());
        return checked(post("open_connect", body + '}'));
      }
      case service::get_key: {
        const auto id = in.id();
        const std::uint32_t index = in.u32();
        const std::uint32_t metadata_size = in.u32();
        if (metadata_size == 2 && in.number(1) != 0) throw skipped{"HTTP has no type of a key to ask for"};
        in.octets(in.left());
        return checked(
            post("get_key", fmt::format(R"({{"key_stream_id":"{}","index":{},"metadata_size":{}}})",
                                        id.to_string(), index, metadata_size)));
      }
      case service::close: {
        const auto id = in.id();
        return checked(post("close", fmt::format(R"({{"key_stream_id":"{}"}})", id.to_string())));
      }
      case service::wait_peer: {
        const auto id = in.id();
        const std::uint32_t time = in.u32();
        return checked(
            post("wait_peer", fmt::format(R"({{"key_stream_id":"{}","timeout":{}}})", id.to_string(), time)));
      }
      case service::acknowledge: {
        const auto id = in.id();
        const std::uint64_t epoch = in.number(8);
        const std::uint32_t below = in.u32();
        return checked(post("acknowledge", fmt::format(R"({{"key_stream_id":"{}","epoch":{},"below":{}}})",
                                                       id.to_string(), epoch, below)));
      }
      case service::get_keys: {
        const auto id = in.id();
        const std::uint64_t epoch = in.number(8);
        const std::uint32_t first = in.u32();
        const auto count = in.number(2);
        const std::uint32_t flags = in.u32();
        const std::uint32_t below = in.u32();
        if ((flags & ~3U) != 0 || count == 0) throw skipped{no_frames};
        return checked(post(
            "get_key",
            fmt::format(R"({{"key_stream_id":"{}","index":{},"count":{},"epoch":{},"acknowledge_below":{},)"
                        R"("no_wait":{},"vendor_metadata":{}}})",
                        id.to_string(), first, count, epoch, below, (flags & 1) != 0, (flags & 2) != 0)));
      }
      case service::report: {
        const auto id = in.id();
        return checked(get(id.is_null() ? "streams" : "streams?key_stream_id=" + id.to_string()));
      }
      default: throw skipped{no_frames};
    }
  }

  /// One answer that is whole becomes a frame. False: there is none yet.
  bool take_answer() {
    const std::size_t end = in_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (in_.size() > most) throw failure{"an answer of HTTP", "a head without an end"};
      return false;
    }
    std::string head = in_.substr(0, end + 2);
    std::transform(head.begin(), head.end(), head.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::size_t field = head.find("\r\ncontent-length:");
    if (!head.starts_with("http/1.1 ") || field == std::string::npos) {
      throw failure{"an answer of HTTP/1.1 with its length", "something else"};
    }
    const auto size = static_cast<std::size_t>(std::stoul(head.substr(field + 17)));
    const std::size_t begin = end + 4;
    if (size > most) throw failure{"an answer", "one that is too large"};
    if (in_.size() < begin + size) return false;
    const auto code = static_cast<unsigned>(std::stoul(head.substr(9, 3)));
    if (expected_.empty()) throw failure{"no answer to no request", fmt::format("one with status {}", code)};
    const std::uint8_t service = expected_.front();
    expected_.pop_front();
    translate(service, code, std::string_view{in_}.substr(begin, size));
    wipe(in_.data(), begin + size);
    in_.erase(0, begin + size);
    return true;
  }

  void give(std::uint8_t service, octets payload) {
    const octets frame = frame_of(version_of(dialect::forge), service, payload);
    ready_.insert(ready_.end(), frame.begin(), frame.end());
    if (!payload.empty()) wipe(payload.data(), payload.size());
  }

  /// What a connection without HELLO may hear of a status (D7).
  [[nodiscard]] std::uint32_t heard(std::uint64_t code, operation op) const {
    return code_of(dialect::forge, static_cast<status>(code), op, greeted_);
  }

  void translate(std::uint8_t service, unsigned code, std::string_view body) {
    const simdjson::padded_string padded{body};
    dom::element root;
    dom::object from;
    if (parser_.parse(padded).get(root) != simdjson::SUCCESS || root.get(from) != simdjson::SUCCESS) {
      throw failure{"a JSON object", fmt::format("something else, with status {}", code)};
    }
    if (code == 400 || code == 503 || code == 413) {
      ended_ = code != 400;
      constexpr std::string_view words = "refused over HTTP";
      give(service::error, writer{}
                               .u32(code == 400 ? protocol_error : 1027)
                               .u16(static_cast<std::uint32_t>(words.size()))
                               .text(words)
                               .take());
      return;
    }
    if (code != 200 && code != 403) throw failure{"HTTP status 200, 400 or 403", fmt::format("{}", code)};
    if (service == service::hello) return give_hello(from);
    // RFC 9457: there `status` is HTTP's
    const std::uint64_t said = number_of(from, code == 403 ? "code" : "status");
    if (code == 403) expect(said == not_authorized, "code 1026 of a 403", fmt::format("{}", said));
    const std::uint8_t answer = service::answer_to(service);
    switch (service) {
      case service::open_connect:
      case service::open_connect2: return give_open(answer, said, code == 200, from);
      case service::get_key: return give_key(answer, said, code == 200, from);
      case service::get_keys: return give_keys(answer, said, code == 200, from);
      case service::report: {
        const std::string text = said == 0 ? simdjson::minify(from) : std::string{};
        return give(answer, writer{}
                                .u32(static_cast<std::uint32_t>(said))
                                .u32(static_cast<std::uint32_t>(text.size()))
                                .text(text)
                                .take());
      }
      default: return give(answer, writer{}.u32(heard(said, operation::close)).take());
    }
  }

  void give_hello(const dom::object& from) {
    const std::string node = text_of(from, "node");
    const std::string instance = text_of(from, "instance");
    dom::array list;
    if (from["extensions"].get(list) != simdjson::SUCCESS) throw failure{"a list of extensions", "none"};
    std::uint32_t features = 0;
    for (const dom::element one : list) {
      std::string_view name;
      if (one.get(name) != simdjson::SUCCESS) throw failure{"extensions by name", "something else"};
      if (name == "wait_peer") features |= 1;
      if (name == "get_keys") features |= 2;
      if (name == "acknowledge") features |= 4;
      if (name == "report") features |= 16;
    }
    give(service::answer_to(service::hello), writer{}
                                                 .u16(2)
                                                 .u32(features)
                                                 .u64(std::stoull(instance.substr(0, 16), nullptr, 16))
                                                 .u16(static_cast<std::uint32_t>(node.size()))
                                                 .text(node)
                                                 .take());
  }

  void give_open(std::uint8_t answer, std::uint64_t said, bool has_body, const dom::object& from) {
    writer out;
    out.u32(heard(said, operation::open_connect));
    dom::object q;
    if (has_body && from["qos"].get(q) != simdjson::SUCCESS) throw failure{"a qos", "none"};
    for (const std::string_view name :
         {"key_chunk_size", "max_bps", "min_bps", "jitter", "priority", "timeout", "ttl"}) {
      out.u32(has_body ? static_cast<std::uint32_t>(number_of(q, name)) : 0);
    }
    out.text0(has_body ? text_of(q, "metadata_mimetype") : std::string{});
    out.id(has_body ? id_of(from) : key_stream_id{});
    if (answer == service::answer_to(service::open_connect2)) {
      out.u64(has_body ? number_of(from, "epoch") : 0);
      out.u32(has_body ? static_cast<std::uint32_t>(number_of(from, "lowest_live_index")) : 0);
    }
    give(answer, out.take());
  }

  void give_key(std::uint8_t answer, std::uint64_t said, bool has_body, const dom::object& from) {
    writer out;
    out.u32(heard(said, operation::get_key));
    out.u32(has_body ? static_cast<std::uint32_t>(number_of(from, "index")) : 0);
    if (said == 0) {
      octets key = key_of(from);
      out.u32(static_cast<std::uint32_t>(key.size())).all(key);
      wipe(key.data(), key.size());
      dom::object metadata;
      std::string text;
      if (from["metadata"].get(metadata) == simdjson::SUCCESS) text = simdjson::minify(metadata);
      out.u32(static_cast<std::uint32_t>(text.size())).text(text);
    } else {
      const bool small = said == metadata_too_small;
      const auto needed = small ? static_cast<std::uint32_t>(number_of(from, "metadata_size")) : 0;
      if (needed > most) throw failure{"a metadata_size", "one that is too large"};
      out.u32(0).u32(needed).zeros(needed);
    }
    give(answer, out.take());
  }

  void give_keys(std::uint8_t answer, std::uint64_t said, bool has_body, const dom::object& from) {
    writer out;
    out.u32(static_cast<std::uint32_t>(said));
    out.u32(has_body ? static_cast<std::uint32_t>(number_of(from, "index")) : 0);
    if (said != 0) return give(answer, out.u16(0).u32(0).u32(0).take());
    dom::array keys;
    if (from["keys"].get(keys) != simdjson::SUCCESS) throw failure{"a list of keys", "none"};
    writer octets_of_keys;
    writer metadata;
    std::size_t size = 0;
    for (const dom::element one : keys) {
      dom::object key;
      dom::object said_of_it;
      if (one.get(key) != simdjson::SUCCESS || key["metadata"].get(said_of_it) != simdjson::SUCCESS) {
        throw failure{"keys with metadata", "something else"};
      }
      const octets piece = key_of(key);
      expect(size == 0 || piece.size() == size, "keys of one size", "several sizes");
      size = piece.size();
      octets_of_keys.all(piece);
      metadata.u32(static_cast<std::uint32_t>(number_of(said_of_it, "age")));
      metadata.u32(static_cast<std::uint32_t>(number_of(said_of_it, "hops")));
    }
    dom::object vendor;
    std::string text;
    if (from["vendor_metadata"].get(vendor) == simdjson::SUCCESS) text = simdjson::minify(vendor);
    out.u16(static_cast<std::uint32_t>(keys.size())).u32(static_cast<std::uint32_t>(size));
    out.all(octets_of_keys.take()).all(metadata.take());
    give(answer, out.u32(static_cast<std::uint32_t>(text.size())).text(text).take());
  }

  std::unique_ptr<byte_stream> carrier_;
  std::string host_;
  octets said_;                        ///< of a frame that is not all there
  std::deque<std::uint8_t> expected_;  ///< services of requests without an answer
  std::string in_;
  octets ready_;  ///< frames for who reads
  bool greeted_ = false;
  bool ended_ = false;
  dom::parser parser_;
};

}  // namespace

std::unique_ptr<byte_stream> over_rest(std::unique_ptr<byte_stream> carrier, std::string host) {
  return std::make_unique<rest_stream>(std::move(carrier), std::move(host));
}

}  // namespace qkd004::conformance
