// SPDX-License-Identifier: Apache-2.0
#include "conformance/dialect.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <stdexcept>

namespace qkd004::conformance {

namespace {

constexpr std::size_t mimetype_field = 256;  ///< GS QKD 004 V2.1.1, table 2
constexpr std::uint32_t metadata_too_small = 8;
constexpr std::uint32_t qos_refused = 7;

key_print print_of(std::span<const std::byte> key) {
  key_print print{};
  unsigned length = 0;
  if (EVP_Digest(key.data(), key.size(), reinterpret_cast<unsigned char*>(print.data()), &length,
                 EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error{"OpenSSL cannot compute SHA-256"};
  }
  return print;
}

void put_call(writer& out, dialect d, const open_connect_request& r) {
  const qos& q = r.quality;
  out.text0(r.source).text0(r.destination);
  out.u32(q.key_chunk_size).u32(q.max_bps).u32(q.min_bps).u32(q.jitter).u32(q.priority);
  out.u32(q.timeout_ms).u32(q.ttl_s).text(q.metadata_mimetype);
  out.zeros(d == dialect::forge ? 1 : mimetype_field - std::min(mimetype_field, q.metadata_mimetype.size()));
  out.id(r.stream);
}

/// QoS and KSID.
void take_body(reader& in, dialect d, open_answer& answer, std::string& why) {
  qos& q = answer.quality;
  q.key_chunk_size = in.u32();
  q.max_bps = in.u32();
  q.min_bps = in.u32();
  q.jitter = in.u32();
  q.priority = in.u32();
  q.timeout_ms = in.u32();
  q.ttl_s = in.u32();
  if (d == dialect::forge) {
    q.metadata_mimetype = in.text0();
    if (q.metadata_mimetype.size() >= mimetype_field) why = "a mimetype of more than 256 octets";
  } else {
    const std::string field = in.text(mimetype_field);
    const auto end = std::min(field.find('\0'), field.size());
    q.metadata_mimetype = field.substr(0, end);
    if (field.find_first_not_of('\0', end) != std::string::npos) why = "octets after the mimetype's NUL";
  }
  answer.stream = in.id();
  answer.has_body = true;
}

std::string length_is_wrong(const reader& in) {
  return in.ok() ? fmt::format("{} octets too many", in.left()) : std::string{"an answer that is too short"};
}

template <class Answer>
std::optional<Answer> finish(const reader& in, Answer&& answer, std::string& why) {
  if (why.empty() && (!in.ok() || in.left() != 0)) why = length_is_wrong(in);
  if (!why.empty()) return std::nullopt;
  return std::forward<Answer>(answer);
}

}  // namespace

std::string_view to_string(dialect d) noexcept { return d == dialect::forge ? "forge" : "qubip"; }

frame_version version_of(dialect d) noexcept {
  return d == dialect::forge ? frame_version{2, 1, 1} : frame_version{1, 0, 1};
}

octets open_connect_payload(dialect d, const open_connect_request& request) {
  writer out;
  put_call(out, d, request);
  return out.take();
}

octets open_connect2_payload(const open_connect_request& request, std::uint32_t flags) {
  writer out;
  put_call(out, dialect::forge, request);
  return out.u32(flags).take();
}

octets get_key_payload(dialect d, const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size) {
  writer out;
  out.id(id).u32(index).u32(metadata_size);
  if (d == dialect::forge) out.zeros(metadata_size);
  return out.take();
}

octets close_payload(const key_stream_id& id) { return writer{}.id(id).take(); }

octets hello_payload(std::uint32_t minor) {
  constexpr std::string_view name = "qkd004 doctor";
  return writer{}.u16(minor).u32(0).u64(0).u16(static_cast<std::uint32_t>(name.size())).text(name).take();
}

std::optional<open_answer> read_open_connect(dialect d, std::span<const std::byte> payload,
                                             std::string& why) {
  reader in{payload};
  open_answer answer;
  answer.status = in.u32();
  if (d == dialect::forge || answer.status == 0 || answer.status == qos_refused) {
    take_body(in, d, answer, why);
  }
  return finish(in, std::move(answer), why);
}

std::optional<open_answer> read_open_connect2(std::span<const std::byte> payload, std::string& why) {
  reader in{payload};
  open_answer answer;
  answer.status = in.u32();
  take_body(in, dialect::forge, answer, why);
  answer.epoch = in.number(8);
  answer.lowest_live = in.u32();
  return finish(in, std::move(answer), why);
}

std::optional<key_answer> read_get_key(dialect d, std::span<const std::byte> payload, std::string& why) {
  reader in{payload};
  key_answer answer;
  answer.status = in.u32();
  if (d == dialect::qubip && answer.status != 0) {
    if (answer.status == metadata_too_small) answer.metadata_length = in.u32();
    return finish(in, std::move(answer), why);
  }
  answer.has_body = true;
  answer.index = in.u32();
  const auto key = in.octets(in.u32());
  answer.key_length = key.size();
  answer.metadata_length = in.u32();
  const std::string metadata = in.text(answer.metadata_length);
  if (!in.ok()) why = length_is_wrong(in);
  if (answer.status == 0) {
    if (key.empty()) {
      why = "a success without a key";
    } else {
      answer.print = print_of(key);
      answer.plain =
          key.size() > 4 && std::all_of(key.begin(), key.end(), [&](auto o) { return o == key[0]; });
    }
  } else if (!key.empty()) {
    why = "a failure with a key";
  }
  answer.metadata = metadata;
  return finish(in, std::move(answer), why);
}

namespace {

std::optional<run_answer> read_run(reader& in, run_answer answer, std::string& why) {
  answer.status = in.u32();
  answer.first = in.u32();
  const auto count = static_cast<std::size_t>(in.number(2));
  answer.chunk_size = in.u32();
  for (std::size_t i = 0; i < count && in.ok(); ++i)
    answer.prints.push_back(print_of(in.octets(answer.chunk_size)));
  in.octets(count * 8);  // age and hops of each
  answer.vendor_metadata = in.text(in.u32());
  const bool keys = count > 0 && answer.chunk_size > 0;
  if (keys != (answer.status == 0)) why = "a success without a key, or a failure with one";
  return finish(in, std::move(answer), why);
}

}  // namespace

std::optional<run_answer> read_get_keys(std::span<const std::byte> payload, std::string& why) {
  reader in{payload};
  return read_run(in, {}, why);
}

std::optional<run_answer> read_delivery(std::span<const std::byte> payload, std::string& why) {
  reader in{payload};
  run_answer answer;
  answer.stream = in.id();
  return read_run(in, std::move(answer), why);
}

std::optional<std::uint32_t> read_close(std::span<const std::byte> payload, std::string& why) {
  reader in{payload};
  const std::uint32_t status = in.u32();
  return finish(in, std::uint32_t{status}, why);
}

std::optional<hello_answer> read_hello(std::span<const std::byte> payload, std::string& why) {
  reader in{payload};
  hello_answer answer;
  answer.minor = static_cast<std::uint32_t>(in.number(2));
  answer.features = in.u32();
  answer.instance = in.number(8);
  answer.name = in.text(static_cast<std::size_t>(in.number(2)));
  if (answer.minor > 1 && in.ok()) in.octets(in.left());  // a newer one may say more
  return finish(in, std::move(answer), why);
}

std::uint32_t code_of(dialect d, status s, operation op, bool greeted) noexcept {
  const auto code = static_cast<std::uint32_t>(s);
  if (d == dialect::qubip && op == operation::open_connect && s == status::peer_not_connected) return 0;
  if (greeted || code <= 8) return code;
  switch (s) {
    case status::unknown_key_stream:
    case status::not_authorized: return op == operation::open_connect ? 5 : 3;
    case status::index_not_available:
    case status::stream_exhausted: return 2;
    default: return 4;
  }
}

}  // namespace qkd004::conformance
