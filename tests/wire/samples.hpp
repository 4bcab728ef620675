// samples: what the tests of the wire room share: octets from hex, a seed, and one of every message.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qkd004/message.hpp"
#include "qkd004/peer_message.hpp"
#include "qkd004/secret.hpp"
#include "wire/extension.hpp"
#include "wire/forge.hpp"
#include "wire/frame.hpp"
#include "wire/out_buffer.hpp"
#include "wire/peer.hpp"
#include "wire/qubip.hpp"

namespace qkd004::wire::test {

using octets = std::vector<std::byte>;

/// The octets of hexadecimal digits; blanks do not count.
inline octets hex(std::string_view text) {
  octets out;
  std::string digits;
  for (const char c : text) {
    if (c != ' ') digits += c;
  }
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    out.push_back(static_cast<std::byte>(std::strtoul(digits.substr(i, 2).c_str(), nullptr, 16)));
  }
  return out;
}

inline std::string to_hex(std::span<const std::byte> from) {
  std::string text;
  for (const std::byte b : from) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

/// A copy in memory of exactly its size, so that a sanitizer sees a read past the end.
class exact {
 public:
  explicit exact(std::span<const std::byte> from) : memory_{new std::byte[from.size()]}, size_{from.size()} {
    if (!from.empty()) std::memcpy(memory_.get(), from.data(), size_);
  }
  [[nodiscard]] std::span<std::byte> span() noexcept { return {memory_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::size_t size_;
};

inline secret_arena arena() { return secret_arena{secret_options{std::size_t{8} << 20, true}}; }

/// QKD004_SEED, else always the same.
inline std::uint64_t seed() {
  const char* given = std::getenv("QKD004_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : 20'240'229;
}

/// What `encode`, called with an out_buffer, appends to it; empty if it fails.
template <class Encode>
octets encoded(const Encode& encode) {
  static out_buffer out{arena(), std::size_t{1} << 20};
  out.clear();
  const result<void> done = encode(out);
  if (!done) CHECK(out.empty());
  return {out.pending().begin(), out.pending().end()};
}

inline octets payload_of(const octets& frame) {
  const auto read = read_frame(frame);
  REQUIRE(read.state == frame_state::complete);
  REQUIRE(read.size == frame.size());
  return {read.payload.begin(), read.payload.end()};
}

/// What a decoder came to, in a form that fits all: its error, or the frame that encodes what it found.
struct outcome {
  std::error_code error;
  octets again;
};

struct sample {
  std::string name;
  octets frame;
  std::function<outcome(std::span<const std::byte>)> decode;  ///< takes a payload
  bool canonical = true;  ///< every accepted payload is what the encoder writes; else some octets are ignored
};

/// A sample of one message: how to encode it, and how to decode it.
template <class Encode, class Decode, class Message>
sample make_sample(std::string name, const Message& message, Encode encode, Decode decode) {
  sample s;
  s.name = std::move(name);
  s.frame = encoded([&](out_buffer& out) { return encode(out, message); });
  s.decode = [encode, decode](std::span<const std::byte> payload) {
    outcome came_to;
    const auto read = decode(payload);
    came_to.error = read.error();
    if (read) came_to.again = encoded([&](out_buffer& out) { return encode(out, *read); });
    return came_to;
  };
  return s;
}

inline key_stream_id stream(std::string_view text = "00112233-4455-6677-8899-aabbccddeeff") {
  return key_stream_id::parse(text).value();
}

inline qos quality(std::string mimetype = "application/json") {
  qos q;
  q.key_chunk_size = 0x01020304;
  q.max_bps = 0x11121314;
  q.min_bps = 0x21222324;
  q.jitter = 0x31323334;
  q.priority = 0x41424344;
  q.timeout_ms = 0x51525354;
  q.ttl_s = 0x61626364;
  q.metadata_mimetype = std::move(mimetype);
  return q;
}

inline open_connect_response open_connect_answer(status outcome) {
  open_connect_response r;
  r.outcome = outcome;
  r.quality = quality();
  r.stream = stream();
  r.epoch = 0x0102030405060708;
  r.lowest_live_index = 0x0a0b0c0d;
  return r;
}

inline std::vector<sample> forge_samples() {
  using namespace forge;
  constexpr auto all = statuses::all;
  std::vector<sample> samples;

  const open_connect_request open{"qkd://alice@a", "qkd://bob@b", quality(), stream()};
  open_connect_request open2 = open;
  open2.no_wait = open2.strict_once = true;
  samples.push_back(make_sample("OPEN_CONNECT request", open, encode_open_connect_request,
                                [](auto payload) { return decode_open_connect_request(payload); }));
  samples.push_back(make_sample("OPEN_CONNECT2 request", open2, encode_open_connect2_request,
                                [](auto payload) { return decode_open_connect2_request(payload); }));

  for (const std::uint32_t metadata_size : {0U, 2U, 36U}) {
    get_key_request get;
    get.stream = stream();
    get.index = 7;
    get.metadata_size = metadata_size;
    samples.push_back(make_sample("GET_KEY request", get, encode_get_key_request, decode_get_key_request));
    samples.back().canonical = metadata_size == 0;  // else octets inside are ignored
  }
  samples.push_back(
      make_sample("CLOSE request", close_request{stream()}, encode_close_request, decode_close_request));

  for (const status s :
       {status::success, status::peer_not_connected, status::qos_not_met, status::not_authorized}) {
    samples.push_back(make_sample(
        "OPEN_CONNECT response", open_connect_answer(s),
        [](out_buffer& out, const open_connect_response& r) {
          return encode_open_connect_response(out, r, all);
        },
        decode_open_connect_response));
    samples.push_back(make_sample("OPEN_CONNECT2 response", open_connect_answer(s),
                                  encode_open_connect2_response, decode_open_connect2_response));
  }

  static const octets key = hex("000102030405060708090a0b0c0d0e0f");
  const auto encode_reply = [](out_buffer& out, const get_key_reply& reply) {
    return encode_get_key_response(out, reply.response, static_cast<std::uint32_t>(reply.metadata.size()),
                                   all);
  };
  for (const status s : {status::success, status::timeout, status::metadata_size_insufficient}) {
    get_key_reply reply;
    reply.response.outcome = s;
    reply.response.index = 9;
    if (s == status::success) reply.response.key = key;
    if (s == status::metadata_size_insufficient) reply.response.metadata_needed = 36;
    samples.push_back(make_sample("GET_KEY response", reply, encode_reply, decode_get_key_response));
    samples.back().canonical = s != status::metadata_size_insufficient;  // its zeros are ignored
  }
  get_key_reply with_metadata;
  with_metadata.response.key = key;
  with_metadata.response.has_metadata = true;
  with_metadata.response.metadata = {1234, 2};
  with_metadata.metadata = key;  // any 16 octets or more: there is room for the JSON
  samples.push_back(make_sample(
      "GET_KEY response with metadata", with_metadata,
      [](out_buffer& out, const get_key_reply& reply) {
        return encode_get_key_response(out, reply.response, 36, all);
      },
      decode_get_key_response));
  samples.back().canonical = false;  // the JSON may have another form

  samples.push_back(make_sample(
      "CLOSE response", close_response{status::timeout},
      [](out_buffer& out, const close_response& r) { return encode_close_response(out, r, all); },
      decode_close_response));
  samples.push_back(make_sample(
      "error", error_message{status::protocol_error, "unknown service"},
      [](out_buffer& out, const error_message& e) { return encode_error(out, e); }, decode_error));

  hello h;
  h.features = 0x80000001;
  h.instance = 0x1122334455667788;
  h.name = "kme-a";
  samples.push_back(make_sample("HELLO request", h, encode_hello_request, decode_hello));
  samples.push_back(make_sample("HELLO response", h, encode_hello_response, decode_hello));
  for (std::size_t i = samples.size() - 2; i < samples.size(); ++i)
    samples[i].canonical = false;  // it may grow
  return samples;
}

/// What was received, to be sent again.
struct run {
  explicit run(const extension::get_keys_reply& reply) {
    for (std::size_t i = 0; i < reply.count; ++i) keys.push_back({reply.key(i), reply.metadata(i)});
    response.outcome = reply.outcome;
    response.first = reply.first;
    response.chunk_size = reply.chunk_size;
    response.keys = keys;
    response.vendor_metadata = reply.vendor_metadata;
  }
  run(const run&) = delete;
  run& operator=(const run&) = delete;

  std::vector<served_key> keys;
  get_keys_response response;
};

/// Three keys of four octets, one of three hundred, and none.
inline std::vector<extension::get_keys_reply> runs() {
  static const octets small = hex("a0a1a2a3 b0b1b2b3 c0c1c2c3");
  static const octets large(300, std::byte{0xc5});
  static const octets metadata = hex("00000001 00000000 00000002 00000001 ffffffff ffffffff");
  extension::get_keys_reply three;
  three.first = 7;
  three.count = 3;
  three.chunk_size = 4;
  three.keys = small;
  three.metadata_octets = metadata;
  extension::get_keys_reply one = three;
  one.first = last_index;
  one.count = 1;
  one.chunk_size = 300;
  one.keys = large;
  one.metadata_octets = std::span{metadata}.first(8);
  one.vendor_metadata = "{\"x_rate\":1}";
  extension::get_keys_reply none;
  none.outcome = status::timeout;
  none.first = 9;
  return {three, one, none};
}

inline std::vector<sample> extension_samples() {
  using namespace extension;
  std::vector<sample> samples;
  samples.push_back(make_sample("WAIT_PEER request", wait_peer_request{stream(), 0x01020304},
                                encode_wait_peer_request, decode_wait_peer_request));
  samples.push_back(make_sample("WAIT_PEER response", wait_peer_response{status::timeout},
                                encode_wait_peer_response, decode_wait_peer_response));
  get_keys_request get;
  get.stream = stream();
  get.epoch = 0x0102030405060708;
  get.first = 9;
  get.count = 0x0102;
  get.acknowledge_below = 7;
  get.no_wait = true;
  samples.push_back(make_sample("GET_KEYS request", get, encode_get_keys_request, decode_get_keys_request));
  for (const get_keys_reply& r : runs()) {
    samples.push_back(make_sample(
        "GET_KEYS response", r,
        [](out_buffer& out, const get_keys_reply& reply) {
          return encode_get_keys_response(out, run{reply}.response);
        },
        decode_get_keys_response));
    samples.push_back(make_sample(
        "delivery", delivery{stream(), r},
        [](out_buffer& out, const delivery& d) {
          return encode_delivery(out, d.stream, run{d.reply}.response);
        },
        decode_delivery));
  }
  samples.push_back(make_sample("ACK request", acknowledge_request{stream(), 2, 7},
                                encode_acknowledge_request, decode_acknowledge_request));
  samples.push_back(make_sample("ACK response", acknowledge_response{status::not_authorized},
                                encode_acknowledge_response, decode_acknowledge_response));
  samples.push_back(make_sample("SUBSCRIBE request", subscribe_request{stream(), 2, 7, 64},
                                encode_subscribe_request, decode_subscribe_request));
  samples.push_back(
      make_sample("STATUS request", report_request{stream()}, encode_report_request, decode_report_request));
  samples.push_back(make_sample("STATUS response", report_response{status::success, "{\"streams\":[]}"},
                                encode_report_response, decode_report_response));
  return samples;
}

inline std::vector<sample> qubip_samples() {
  using namespace qubip;
  std::vector<sample> samples;
  const open_connect_request open{"qkd://alice@a", "qkd://bob@b", quality(), stream()};
  samples.push_back(make_sample("QUBIP OPEN_CONNECT request", open, encode_open_connect_request,
                                [](auto payload) { return decode_open_connect_request(payload); }));
  samples.back().canonical = false;  // what comes behind the mimetype's NUL is ignored
  get_key_request get;
  get.stream = stream();
  get.index = 7;
  get.metadata_size = 1024;
  samples.push_back(
      make_sample("QUBIP GET_KEY request", get, encode_get_key_request, decode_get_key_request));
  samples.push_back(make_sample("QUBIP CLOSE request", close_request{stream()}, encode_close_request,
                                decode_close_request));

  for (const status s : {status::success, status::qos_not_met, status::ksid_in_use}) {
    samples.push_back(make_sample("QUBIP OPEN_CONNECT response", open_connect_answer(s),
                                  encode_open_connect_response, decode_open_connect_response));
    samples.back().canonical = false;  // as in the request
  }

  static const octets key = hex("000102030405060708090a0b0c0d0e0f");
  const auto encode_reply = [](out_buffer& out, const get_key_reply& reply) {
    return encode_get_key_response(out, reply.response, static_cast<std::uint32_t>(reply.metadata.size()));
  };
  for (const status s : {status::success, status::timeout, status::metadata_size_insufficient}) {
    get_key_reply reply;
    reply.response.outcome = s;
    if (s == status::success) {
      reply.response.index = 9;
      reply.response.key = key;
    }
    if (s == status::metadata_size_insufficient) reply.response.metadata_needed = 36;
    samples.push_back(make_sample("QUBIP GET_KEY response", reply, encode_reply, decode_get_key_response));
  }
  samples.push_back(make_sample("QUBIP CLOSE response", close_response{status::timeout},
                                encode_close_response, decode_close_response));
  samples.back().canonical = false;  // 9 is read as 3
  return samples;
}

/// One of every peer::message.
inline std::vector<peer::message> peer_messages() {
  peer::hello hello;
  hello.node = "a";
  hello.link = "a-b";
  for (std::size_t i = 0; i < hello.instance.size(); ++i)
    hello.instance[i] = static_cast<std::byte>(0x10 + i);
  for (std::size_t i = 0; i < hello.remembers.size(); ++i)
    hello.remembers[i] = static_cast<std::byte>(0x20 + i);
  hello.source_kind = "file";
  hello.position = 0x0102030405060708;
  peer::start start;
  for (std::size_t i = 0; i < start.check.size(); ++i) start.check[i] = static_cast<std::byte>(0x40 + i);
  peer::announce announce;
  announce.stream = stream();
  announce.serial = 0x0807060504030201;
  announce.source = "qkd://alice@a";
  announce.destination = "qkd://bob@b";
  announce.quality = quality();
  announce.window = 128;
  announce.opened = true;
  peer::accept accept;
  accept.stream = stream();
  accept.quality = quality("");
  accept.window = 64;
  accept.strict_once = true;
  peer::bind bind;
  bind.stream = stream();
  bind.first = 256;
  bind.count = 16;
  bind.position = 0x010000;
  bind.length = 512;
  bind.settled_below = 0x00ffff;
  return {hello,
          start,
          announce,
          accept,
          peer::refuse{stream(), 0x0807060504030201, status::ksid_in_use},
          bind,
          peer::confirm{0x0102030405060708, true},
          peer::mark{stream(), 0xffff'ffff, true},
          peer::close{stream()},
          peer::closed{stream()},
          peer::borrow{0x0102030405060708, 0x1112131415161718},
          peer::lend{0x2122232425262728, 0x3132333435363738},
          peer::classical{{std::byte{0xa0}, std::byte{0xa1}, std::byte{0xa2}}},
          peer::fault{status::shutting_down, "going down"}};
}

inline std::vector<sample> peer_samples() {
  std::vector<sample> samples;
  for (const peer::message& m : peer_messages()) {
    const octets frame = encoded([&](out_buffer& out) { return encode_peer(out, m); });
    REQUIRE(frame.size() >= frame_header::size);
    const auto s = static_cast<service>(frame[3]);
    samples.push_back(make_sample("peer message " + to_hex({&frame[3], 1}), m, encode_peer,
                                  [s](std::span<const std::byte> payload) -> result<peer::message> {
                                    auto read = decode_peer(s, payload);
                                    if (!read) return read.error();
                                    REQUIRE(read->has_value());
                                    return std::move(**read);
                                  }));
    samples.back().canonical = s != service::peer_hello;  // it may grow
  }
  return samples;
}

inline std::vector<sample> samples() {
  auto all = forge_samples();
  for (auto& s : extension_samples()) all.push_back(std::move(s));
  for (auto& s : qubip_samples()) all.push_back(std::move(s));
  for (auto& s : peer_samples()) all.push_back(std::move(s));
  return all;
}

}  // namespace qkd004::wire::test
