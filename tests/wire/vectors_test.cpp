// SPDX-License-Identifier: Apache-2.0
//
// The files below vectors/ are frames written by hand from src/wire/README.md, one field a line. Each is what our
// encoder writes, octet for octet, and decodes to what was encoded.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using test::encoded;
using test::exact;
using test::hex;
using test::octets;
using test::to_hex;

namespace {

namespace fs = std::filesystem;

const fs::path folder = QKD004_WIRE_VECTORS;

fs::path path_of(const std::string& name) { return folder / (name + ".hex"); }

/// The octets of a file: hexadecimal digits; blanks, and what follows a # in its line, do not count.
octets read_vector(const fs::path& path) {
  std::ifstream file{path};
  REQUIRE_MESSAGE(file.good(), "cannot read " << path);
  std::string digits;
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.size(), line.find('#')));
    for (const char c : line) {
      if (c == ' ') continue;
      REQUIRE_MESSAGE(std::string_view{"0123456789abcdef"}.find(c) != std::string_view::npos,
                      "no digit: " << c << " in " << path);
      digits += c;
    }
  }
  REQUIRE_MESSAGE(digits.size() % 2 == 0, "half an octet in " << path);
  return hex(digits);
}

// --- Every field of a message in words, so that two of them can be compared ---

class words {
 public:
  template <class Value>
  words& operator()(const char* name, const Value& value) {
    text_ << name << ' ' << value << '\n';
    return *this;
  }
  words& operator()(const char* name, status s) { return (*this)(name, to_string(s)); }
  words& operator()(const char* name, const key_stream_id& id) { return (*this)(name, id.to_string()); }
  words& operator()(const char* name, std::span<const std::byte> o) { return (*this)(name, to_hex(o)); }
  words& operator()(const char* name, const key_metadata& m) { return (*this)(name, to_json(m)); }
  words& operator()(const char* name, const qos& q) {
    text_ << name << ' ' << q.key_chunk_size << ' ' << q.max_bps << ' ' << q.min_bps << ' ' << q.jitter << ' '
          << q.priority << ' ' << q.timeout_ms << ' ' << q.ttl_s << ' ' << q.metadata_mimetype << '\n';
    return *this;
  }
  operator std::string() const { return text_.str(); }

 private:
  std::ostringstream text_;
};

std::string in_words(const open_connect_request& r) {
  return words{}("source", r.source)("destination", r.destination)("qos", r.quality)("stream", r.stream)(
      "no_wait", r.no_wait)("strict_once", r.strict_once);
}
std::string in_words(const open_connect_response& r) {
  return words{}("outcome", r.outcome)("qos", r.quality)("stream", r.stream)("epoch", r.epoch)(
      "lowest_live_index", r.lowest_live_index);
}
std::string in_words(const get_key_request& r) {
  return words{}("stream", r.stream)("index", r.index)("metadata_size", r.metadata_size)("no_wait",
                                                                                         r.no_wait);
}
std::string in_words(const forge::get_key_reply& r) {
  return words{}("outcome", r.response.outcome)("index", r.response.index)("key", r.response.key)(
      "has_metadata", r.response.has_metadata)("metadata", r.response.metadata)(
      "metadata_needed", r.response.metadata_needed)("octets", r.metadata);
}
std::string in_words(const close_request& r) { return words{}("stream", r.stream); }
std::string in_words(const close_response& r) { return words{}("outcome", r.outcome); }
std::string in_words(const forge::error_message& e) { return words{}("code", e.code)("text", e.text); }
std::string in_words(const forge::hello& h) {
  return words{}("minor", h.minor)("features", h.features)("instance", h.instance)("name", h.name);
}
std::string in_words(const wait_peer_request& r) {
  return words{}("stream", r.stream)("timeout_ms", r.timeout_ms);
}
std::string in_words(const wait_peer_response& r) { return words{}("outcome", r.outcome); }
std::string in_words(const get_keys_request& r) {
  return words{}("stream", r.stream)("epoch", r.epoch)("first", r.first)("count", r.count)(
      "acknowledge_below", r.acknowledge_below)("no_wait", r.no_wait)("vendor_metadata", r.vendor_metadata);
}
std::string in_words(const extension::get_keys_reply& r) {
  words w;
  w("outcome", r.outcome)("first", r.first)("count", r.count)("chunk_size", r.chunk_size);
  w("vendor_metadata", r.vendor_metadata);
  for (std::size_t i = 0; i < r.count; ++i) w("key", r.key(i))("metadata", r.metadata(i));
  return w;
}
std::string in_words(const extension::delivery& d) {
  return words{}("stream", d.stream)("reply", in_words(d.reply));
}
std::string in_words(const acknowledge_request& r) {
  return words{}("stream", r.stream)("epoch", r.epoch)("below", r.below);
}
std::string in_words(const acknowledge_response& r) { return words{}("outcome", r.outcome); }
std::string in_words(const subscribe_request& r) {
  return words{}("stream", r.stream)("epoch", r.epoch)("first", r.first)("credit", r.credit);
}
std::string in_words(const report_request& r) { return words{}("stream", r.stream); }
std::string in_words(const report_response& r) { return words{}("outcome", r.outcome)("json", r.json); }

// --- What each file says ---

/// A message, how it becomes the frame in a file, and how that is read.
struct meaning {
  std::function<octets()> encode;
  std::string message;                                            ///< in words
  std::function<std::string(std::span<const std::byte>)> decode;  ///< from a payload, in words
};

using meanings = std::map<std::string, meaning>;

/// `read`: what a receiver learns of `sent`.
template <class Sent, class Read, class Encode, class Decode>
void add(meanings& to, const char* name, Sent sent, const Read& read, Encode encode, Decode decode) {
  meaning m;
  m.encode = [sent, encode] { return encoded([&](out_buffer& out) { return encode(out, sent); }); };
  m.message = in_words(read);
  m.decode = [decode](std::span<const std::byte> payload) {
    const auto decoded = decode(payload);
    return decoded ? in_words(*decoded) : "refused: " + decoded.error().message();
  };
  const bool added = to.emplace(name, std::move(m)).second;
  REQUIRE_MESSAGE(added, "named twice: " << name);
}

template <class Message, class Encode, class Decode>
void add(meanings& to, const char* name, const Message& message, Encode encode, Decode decode) {
  add(to, name, message, message, encode, decode);
}

const key_stream_id stream = *key_stream_id::parse("00112233-4455-4677-8899-aabbccddeeff");
const octets key = hex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf d0d1d2d3d4d5d6d7d8d9dadbdcdddedf");
const octets json = hex("7b22616765223a3132332c22686f7073223a307d");

qos quality(std::uint32_t key_chunk_size = 32) {
  qos q;
  q.key_chunk_size = key_chunk_size;
  q.max_bps = 40'000;
  q.min_bps = 5'000;
  q.jitter = 10;
  q.priority = 1;
  q.timeout_ms = 3'000;
  q.ttl_s = 3'600;
  q.metadata_mimetype = "application/json";
  return q;
}

open_connect_request open(const qos& q = quality(), const key_stream_id& id = stream) {
  return {"qkd://alice@a", "qkd://bob@b", q, id};
}

open_connect_response opened(status outcome, const qos& q = quality(), const key_stream_id& id = stream) {
  open_connect_response r;
  r.outcome = outcome;
  r.quality = q;
  r.stream = id;
  return r;
}

get_key_request get(std::uint32_t metadata_size) {
  get_key_request r;
  r.stream = stream;
  r.index = 7;
  r.metadata_size = metadata_size;
  return r;
}

forge::get_key_reply got(bool with_metadata) {
  forge::get_key_reply r;
  r.response.index = 7;
  r.response.key = key;
  if (with_metadata) {
    r.response.has_metadata = true;
    r.response.metadata = {123, 0};
    r.metadata = json;
  }
  return r;
}

forge::get_key_reply got_none(status outcome, std::uint64_t lowest_live, std::uint32_t needed = 0) {
  forge::get_key_reply r;
  r.response.outcome = outcome;
  r.response.index = lowest_live;
  r.response.metadata_needed = needed;
  return r;
}

const auto decode_error = [](auto payload) { return forge::decode_error(payload); };

void add_forge(meanings& m) {
  using namespace forge;
  const auto decode_request = [](auto payload) { return decode_open_connect_request(payload); };
  add(m, "forge/open_connect_request", open(), encode_open_connect_request, decode_request);
  add(m, "forge/open_connect_request_null", open({}, {}), encode_open_connect_request, decode_request);

  const auto encode_opened = [](out_buffer& out, const open_connect_response& r) {
    return encode_open_connect_response(out, r, statuses::standard);
  };
  add(m, "forge/open_connect_response_0", opened(status::success), encode_opened,
      decode_open_connect_response);
  add(m, "forge/open_connect_response_1", opened(status::peer_not_connected), encode_opened,
      decode_open_connect_response);
  add(m, "forge/open_connect_response_5", opened(status::ksid_in_use, {}), encode_opened,
      decode_open_connect_response);
  add(m, "forge/open_connect_response_7", opened(status::qos_not_met, quality(65'536), {}), encode_opened,
      decode_open_connect_response);

  add(m, "forge/get_key_request", get(0), encode_get_key_request, decode_get_key_request);
  add(m, "forge/get_key_request_metadata", get(36), encode_get_key_request, decode_get_key_request);

  const auto encode_got = [](out_buffer& out, const get_key_reply& r) {
    return encode_get_key_response(out, r.response, 36, statuses::standard);
  };
  add(m, "forge/get_key_response_0", got(false), encode_got, decode_get_key_response);
  add(m, "forge/get_key_response_0_metadata", got(true), encode_got, decode_get_key_response);
  add(m, "forge/get_key_response_2", got_none(status::insufficient_key, 5), encode_got,
      decode_get_key_response);
  add(m, "forge/get_key_response_8", got_none(status::metadata_size_insufficient, 5, 36), encode_got,
      decode_get_key_response);

  add(m, "forge/close_request", close_request{stream}, encode_close_request, decode_close_request);
  const auto encode_closed = [](out_buffer& out, const close_response& r) {
    return encode_close_response(out, r, statuses::standard);
  };
  add(m, "forge/close_response_0", close_response{}, encode_closed, decode_close_response);
  add(m, "forge/close_response_3", close_response{status::unknown_key_stream},
      close_response{status::get_key_peer_not_connected}, encode_closed, decode_close_response);
  add(
      m, "forge/error", error_message{status::protocol_error, "unknown service"},
      [](out_buffer& out, const error_message& e) { return encode_error(out, e); }, decode_error);
}

void add_qubip(meanings& m) {
  using namespace qubip;
  const auto decode_request = [](auto payload) { return decode_open_connect_request(payload); };
  add(m, "qubip/open_connect_request", open(), encode_open_connect_request, decode_request);
  add(m, "qubip/open_connect_request_null", open({}, {}), encode_open_connect_request, decode_request);

  add(m, "qubip/open_connect_response_0", opened(status::success), encode_open_connect_response,
      decode_open_connect_response);
  add(m, "qubip/open_connect_response_1", opened(status::peer_not_connected), opened(status::success),
      encode_open_connect_response, decode_open_connect_response);
  add(m, "qubip/open_connect_response_5", opened(status::ksid_in_use), opened(status::ksid_in_use, {}, {}),
      encode_open_connect_response, decode_open_connect_response);
  add(m, "qubip/open_connect_response_7", opened(status::qos_not_met, quality(65'536), {}),
      encode_open_connect_response, decode_open_connect_response);

  add(m, "qubip/get_key_request", get(1'024), encode_get_key_request, decode_get_key_request);
  const auto encode_got = [](out_buffer& out, const get_key_reply& r) {
    return encode_get_key_response(out, r.response, 36);
  };
  add(m, "qubip/get_key_response_0", got(false), encode_got, decode_get_key_response);
  add(m, "qubip/get_key_response_0_metadata", got(true), encode_got, decode_get_key_response);
  add(m, "qubip/get_key_response_2", got_none(status::index_not_available, 5),
      got_none(status::insufficient_key, 0), encode_got, decode_get_key_response);
  add(m, "qubip/get_key_response_8", got_none(status::metadata_size_insufficient, 5, 36),
      got_none(status::metadata_size_insufficient, 0, 36), encode_got, decode_get_key_response);

  add(m, "qubip/close_request", close_request{stream}, encode_close_request, decode_close_request);
  add(m, "qubip/close_response_0", close_response{}, encode_close_response, decode_close_response);
  add(m, "qubip/close_response_3", close_response{status::unknown_key_stream},
      close_response{status::get_key_peer_not_connected}, encode_close_response, decode_close_response);
  add(
      m, "qubip/error", forge::error_message{status::protocol_error, "unknown service"},
      [](out_buffer& out, const forge::error_message& e) {
        return forge::encode_error(out, e, qubip_version);
      },
      decode_error);
}

extension::get_keys_reply run_of(std::uint16_t count, std::string_view vendor = {}) {
  static const octets metadata = hex("00000078 00000000 0000003c 00000001");
  extension::get_keys_reply r;
  r.first = 9;
  r.count = count;
  r.chunk_size = 16;
  r.keys = std::span{key}.first(count * 16U);
  r.metadata_octets = std::span{metadata}.first(count * 8U);
  r.vendor_metadata = vendor;
  return r;
}

extension::get_keys_reply no_run(status outcome) {
  extension::get_keys_reply r;
  r.outcome = outcome;
  r.first = 10;
  return r;
}

void add_greetings(meanings& m) {
  using namespace forge;
  hello ours;
  ours.instance = 0x1122334455667788;
  ours.name = "qkd004";
  add(m, "extension/hello_request", ours, encode_hello_request, decode_hello);
  hello theirs;
  theirs.features =
      feature::wait_peer | feature::get_keys | feature::acknowledge | feature::subscribe | feature::status;
  theirs.instance = 0x0102030405060708;
  theirs.name = "a";
  add(m, "extension/hello_response", theirs, encode_hello_response, decode_hello);
  const auto decode_request = [](auto payload) { return decode_open_connect2_request(payload); };
  open_connect_request request = open();
  request.no_wait = true;
  add(m, "extension/open_connect2_request", request, encode_open_connect2_request, decode_request);
  request.no_wait = false;
  request.strict_once = true;
  add(m, "extension/open_connect2_request_strict_once", request, encode_open_connect2_request,
      decode_request);
  open_connect_response resumed = opened(status::success);
  resumed.epoch = 2;
  resumed.lowest_live_index = 7;
  add(m, "extension/open_connect2_response_0", resumed, encode_open_connect2_response,
      decode_open_connect2_response);
  add(m, "extension/open_connect2_response_1026", opened(status::not_authorized, {}),
      encode_open_connect2_response, decode_open_connect2_response);

  add(
      m, "extension/get_key_response_1029", got_none(status::index_not_available, 9),
      [](out_buffer& out, const get_key_reply& r) {
        return encode_get_key_response(out, r.response, 36, statuses::all);
      },
      decode_get_key_response);
  add(
      m, "extension/close_response_1024", close_response{status::unknown_key_stream},
      [](out_buffer& out, const close_response& r) { return encode_close_response(out, r, statuses::all); },
      decode_close_response);
}

void add_extension(meanings& m) {
  using namespace extension;
  add(m, "extension/wait_peer_request", wait_peer_request{stream, 2'000}, encode_wait_peer_request,
      decode_wait_peer_request);
  add(m, "extension/wait_peer_response_0", wait_peer_response{}, encode_wait_peer_response,
      decode_wait_peer_response);
  add(m, "extension/wait_peer_response_6", wait_peer_response{status::timeout}, encode_wait_peer_response,
      decode_wait_peer_response);

  get_keys_request want;
  want.stream = stream;
  want.epoch = 2;
  want.first = 9;
  want.count = 16;
  want.acknowledge_below = 8;
  want.vendor_metadata = true;
  add(m, "extension/get_keys_request", want, encode_get_keys_request, decode_get_keys_request);
  want.count = 1;
  want.acknowledge_below = 0;
  want.vendor_metadata = false;
  want.no_wait = true;
  add(m, "extension/get_keys_request_no_wait", want, encode_get_keys_request, decode_get_keys_request);

  const auto encode_run = [](out_buffer& out, const get_keys_reply& r) {
    return encode_get_keys_response(out, test::run{r}.response);
  };
  add(m, "extension/get_keys_response_0", run_of(2), encode_run, decode_get_keys_response);
  add(m, "extension/get_keys_response_0_vendor", run_of(1, "{\"x_rate\":5}"), encode_run,
      decode_get_keys_response);
  add(m, "extension/get_keys_response_2", no_run(status::insufficient_key), encode_run,
      decode_get_keys_response);

  add(m, "extension/acknowledge_request", acknowledge_request{stream, 2, 11}, encode_acknowledge_request,
      decode_acknowledge_request);
  add(m, "extension/acknowledge_response_0", acknowledge_response{}, encode_acknowledge_response,
      decode_acknowledge_response);
  add(m, "extension/acknowledge_response_1026", acknowledge_response{status::not_authorized},
      encode_acknowledge_response, decode_acknowledge_response);

  add(m, "extension/subscribe_request", subscribe_request{stream, 2, 9, 64}, encode_subscribe_request,
      decode_subscribe_request);
  add(m, "extension/subscribe_request_suspend", subscribe_request{stream, 2, 0, 0}, encode_subscribe_request,
      decode_subscribe_request);
  const auto encode_delivered = [](out_buffer& out, const delivery& d) {
    return encode_delivery(out, d.stream, test::run{d.reply}.response);
  };
  add(m, "extension/delivery_0", delivery{stream, run_of(2)}, encode_delivered, decode_delivery);
  add(m, "extension/delivery_1026", delivery{stream, no_run(status::not_authorized)}, encode_delivered,
      decode_delivery);

  add(m, "extension/report_request", report_request{stream}, encode_report_request, decode_report_request);
  add(m, "extension/report_request_all", report_request{}, encode_report_request, decode_report_request);
  add(m, "extension/report_response_0", report_response{status::success, "{\"streams\":[]}"},
      encode_report_response, decode_report_response);
  add(m, "extension/report_response_1024", report_response{status::unknown_key_stream, ""},
      encode_report_response, decode_report_response);
}

meanings all_meanings() {
  meanings m;
  add_forge(m);
  add_qubip(m);
  add_greetings(m);
  add_extension(m);
  return m;
}

}  // namespace

TEST_CASE("vectors: every file is known here, and every known one is there") {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator{folder}) {
    if (entry.is_directory()) continue;
    CHECK_MESSAGE(entry.path().extension() == ".hex", "no vector: " << entry.path());
    files.insert(fs::relative(entry.path(), folder).replace_extension().generic_string());
  }
  const auto known = all_meanings();
  for (const auto& file : files) CHECK_MESSAGE(known.count(file) == 1, "nothing reads " << file);
  for (const auto& entry : known) {
    CHECK_MESSAGE(files.count(entry.first) == 1, "there is no " << entry.first);
  }
}

TEST_CASE("vectors: are what our encoders write") {
  for (const auto& entry : all_meanings()) {
    CAPTURE(entry.first);
    CHECK(to_hex(entry.second.encode()) == to_hex(read_vector(path_of(entry.first))));
  }
}

TEST_CASE("vectors: are frames that decode to what was encoded") {
  for (const auto& entry : all_meanings()) {
    CAPTURE(entry.first);
    exact frame{read_vector(path_of(entry.first))};
    const auto reading = read_frame(frame.span());
    REQUIRE(reading.state == frame_state::complete);
    REQUIRE(reading.size == frame.span().size());
    CHECK(entry.second.decode(reading.payload) == entry.second.message);
  }
}
