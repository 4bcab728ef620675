// v1: the calls of GS QKD 004 V1.1.1 as requests of V2.1.1, and handles as hashes.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/v1.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <limits>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/message.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/routing.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"

namespace qkd004::v1 {

namespace {

using namespace std::chrono_literals;

/// What a transport may take beyond the time a call has.
constexpr std::chrono::milliseconds grace = 2s;

/// The digest of a label and what follows it, as much of it as fits.
template <std::size_t Size>
std::array<std::byte, Size> digest_of(const EVP_MD* hash, std::string_view label,
                                      std::span<const std::byte> octets) {
  std::vector<std::byte> text(label.size() + octets.size());
  std::memcpy(text.data(), label.data(), label.size());
  std::memcpy(text.data() + label.size(), octets.data(), octets.size());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &length, hash, nullptr) != 1 || length < Size) {
    throw std::runtime_error{"OpenSSL cannot compute the hash of a key handle"};
  }
  std::array<std::byte, Size> first{};
  std::memcpy(first.data(), digest, Size);
  return first;
}

/// The code of the first edition for one of the second.
status translate(qkd004::status s) noexcept {
  switch (s) {
    case qkd004::status::success:
    case qkd004::status::peer_not_connected: return status::success;
    case qkd004::status::insufficient_key:
    case qkd004::status::get_key_peer_not_connected:  // it has closed, and all is read
    case qkd004::status::index_not_available:
    case qkd004::status::stream_exhausted: return status::insufficient_key;
    case qkd004::status::ksid_in_use: return status::key_handle_in_use;
    case qkd004::status::timeout: return status::timeout;
    case qkd004::status::qos_not_met:  // of what V1 can ask for, the length alone may be refused
    case qkd004::status::metadata_size_insufficient:
    case qkd004::status::invalid_argument: return status::invalid_argument;
    case qkd004::status::not_authorized: return status::not_authorized;
    case qkd004::status::resource_limit: return status::resource_limit;
    case qkd004::status::no_qkd_connection:
    case qkd004::status::unknown_key_stream:
    case qkd004::status::protocol_error:  // an error of the transport reads as this, too
    case qkd004::status::shutting_down: break;
  }
  return status::no_qkd_connection;
}

std::string uri_of(std::string_view node) { return "qkd004-v1://v1@" + std::string{node}; }

}  // namespace

std::string_view to_string(status s) noexcept {
  switch (s) {
    case status::success: return "success";
    case status::insufficient_key: return "insufficient key: the stream has ended";
    case status::no_qkd_connection: return "no QKD connection";
    case status::key_handle_in_use: return "the key handle is in use or was closed";
    case status::timeout: return "timed out";
    case status::invalid_argument: return "invalid argument";
    case status::not_authorized: return "not authorized";
    case status::resource_limit: return "a resource limit was reached";
  }
  return "unknown status";
}

key_handle handle_of(const key_stream_id& id) {
  constexpr std::size_t hashed = key_handle::size - key_stream_id::size;
  const auto rest = digest_of<hashed>(EVP_sha512(), "qkd004 v1 handle", id.octets());
  key_handle h;
  std::copy(id.octets().begin(), id.octets().end(), h.octets.begin());
  std::copy(rest.begin(), rest.end(), h.octets.begin() + key_stream_id::size);
  return h;
}

key_stream_id stream_of(const key_handle& handle) {
  if (handle.is_null()) return {};
  const key_stream_id made{std::span{handle.octets}.first<key_stream_id::size>()};
  // NULL is no stream, whatever stands behind it
  if (!made.is_null() && handle_of(made) == handle) return made;
  auto id = digest_of<key_stream_id::size>(EVP_sha256(), "qkd004 v1 predefined", handle.octets);
  id[6] = (id[6] & std::byte{0x0f}) | std::byte{0x80};  // version 8 and the variant of RFC 4122
  id[8] = (id[8] & std::byte{0x3f}) | std::byte{0x80};
  return key_stream_id{id};
}

struct session::stream {
  explicit stream(open_connect_request request) : opened_with{std::move(request)} {}

  [[nodiscard]] const key_stream_id& id() const noexcept { return opened_with.stream; }
  void learn(const qkd004::qos& quality) noexcept {
    // relaxed, here and where they are read: each of the three stands alone
    length.store(quality.key_chunk_size, std::memory_order_relaxed);
    timeout_ms.store(quality.timeout_ms, std::memory_order_relaxed);
  }

  open_connect_request opened_with;
  std::atomic<std::uint32_t> length{0};
  std::atomic<std::uint32_t> timeout_ms{0};
  std::atomic<bool> met{false};  ///< the peer has opened the stream

  std::mutex turn;         ///< of get_key()
  std::uint64_t next = 0;  ///< a stream begins with its first key or gives none
  bool ended = false;
};

session::session(std::shared_ptr<exchange> via, options o) : via_{std::move(via)}, options_{std::move(o)} {}

session::~session() {
  try {
    std::deque<call> calls;
    std::vector<call*> started;
    for (const auto& [handle, s] : streams_) {
      call& c = calls.emplace_back();
      c.request = close_request{s->id()};
      c.deadline = boot_clock::now() + grace;
      started.push_back(&c);
    }
    if (!started.empty()) via_->start(started);
    for (call* const c : started) via_->wait(*c);
  } catch (...) {  // the key manager destroys the keys at their TTL
  }
}

std::shared_ptr<session::stream> session::find(const key_handle& handle) const {
  const std::lock_guard lock{mutex_};
  const auto it = streams_.find(handle);
  return it == streams_.end() ? nullptr : it->second;
}

std::error_code session::ask(call& c, std::uint32_t time_ms) {
  c.deadline = boot_clock::now() + std::chrono::milliseconds{time_ms} + grace;
  call* const one = &c;
  via_->start(std::span{&one, 1});
  via_->wait(c);
  return c.error;
}

status session::open(std::string_view destination, const qos& wanted, key_handle& handle) {
  std::string_view to = options_.default_destination;
  if (!destination.empty()) {
    const auto known = options_.destinations.find(destination);
    if (known == options_.destinations.end()) return status::no_qkd_connection;
    to = known->second;
  }
  if (to.empty()) return status::no_qkd_connection;
  if (handle.is_null()) return ask_open(to, wanted, handle);

  {  // to the key manager a second QKD_OPEN would be one that takes the stream over
    const std::lock_guard lock{mutex_};
    if (!streams_.try_emplace(handle, nullptr).second) return status::key_handle_in_use;
  }
  const auto forget = [&] {
    const std::lock_guard lock{mutex_};
    streams_.erase(handle);
  };
  try {
    const status outcome = ask_open(to, wanted, handle);
    if (outcome != status::success) forget();
    return outcome;
  } catch (...) {
    forget();
    throw;
  }
}

status session::ask_open(std::string_view remote, const qos& wanted, key_handle& handle) {
  const std::string_view nodes[] = {node_of(options_.application), node_of(remote)};
  if (nodes[0].empty() || nodes[1].empty()) return status::invalid_argument;
  open_connect_request request;
  request.source = uri_of(std::min(nodes[0], nodes[1]));
  request.destination = uri_of(std::max(nodes[0], nodes[1]));
  request.quality.key_chunk_size =
      wanted.requested_length == 0 ? qos_defaults::key_chunk_size : wanted.requested_length;
  request.quality.max_bps = wanted.max_bps;
  request.quality.priority = wanted.priority;
  request.quality.timeout_ms = wanted.timeout_ms;
  request.stream = stream_of(handle);
  request.no_wait = true;
  request.strict_once = true;

  call c;
  c.request = request;
  const auto failed = ask(c, 0);
  if (failed) return translate(to_status(failed));
  const auto& opened = std::get<open_connect_response>(c.response);
  const status outcome = translate(opened.outcome);
  if (outcome != status::success) return outcome;

  request.stream = opened.stream;
  request.quality.key_chunk_size = wanted.requested_length;  // 0: whatever it turns out to be
  auto s = std::make_shared<stream>(std::move(request));
  s->learn(opened.quality);
  s->met.store(opened.outcome == qkd004::status::success, std::memory_order_relaxed);
  if (handle.is_null()) handle = handle_of(opened.stream);
  const std::lock_guard lock{mutex_};
  streams_.insert_or_assign(handle, std::move(s));
  return status::success;
}

status session::connect_nonblock(const key_handle& handle) {
  return meet(handle, 1) == status::success ? status::success : status::no_qkd_connection;
}

status session::connect_blocking(const key_handle& handle, std::chrono::milliseconds time) {
  constexpr std::chrono::milliseconds::rep most = std::numeric_limits<std::uint32_t>::max();
  return meet(handle, static_cast<std::uint32_t>(std::clamp(time.count(), decltype(most){0}, most)));
}

status session::meet(const key_handle& handle, std::uint32_t time_ms) {
  const auto s = find(handle);
  if (!s) return status::no_qkd_connection;
  if (s->met.load(std::memory_order_relaxed)) return status::success;
  call waiting;
  waiting.request = wait_peer_request{s->id(), time_ms};
  const auto failed = ask(waiting, time_ms == 0 ? s->timeout_ms.load(std::memory_order_relaxed) : time_ms);
  if (failed) return translate(to_status(failed));
  const auto outcome = std::get<wait_peer_response>(waiting.response).outcome;
  // one that has closed again was there, and what it has left is to be read
  const bool met =
      outcome == qkd004::status::success || outcome == qkd004::status::get_key_peer_not_connected;
  if (!met) return translate(outcome);

  // QKD_OPENs of both ends may have crossed: then the peer's QoS may hold, and who asked for nothing learns it here
  if (s->opened_with.quality.key_chunk_size == 0) {
    call again;
    again.request = s->opened_with;
    if (!ask(again, 0)) {
      const auto& opened = std::get<open_connect_response>(again.response);
      if (translate(opened.outcome) == status::success) s->learn(opened.quality);
    }
  }
  s->met.store(true, std::memory_order_relaxed);
  return status::success;
}

status session::get_key(const key_handle& handle, std::span<std::byte> key_buffer) {
  const auto s = find(handle);
  if (!s) return status::no_qkd_connection;
  const std::lock_guard turn{s->turn};
  if (s->ended) return status::insufficient_key;
  if (key_buffer.size() != s->length.load(std::memory_order_relaxed)) return status::invalid_argument;

  get_key_request request;
  request.stream = s->id();
  request.index = s->next;
  std::error_code failed;
  qkd004::status outcome{};
  std::size_t length = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    call c;
    c.request = request;
    c.key_buffer = key_buffer;
    failed = ask(c, s->timeout_ms.load(std::memory_order_relaxed));
    if (!failed) {
      const auto& r = std::get<get_key_response>(c.response);
      outcome = r.outcome;
      length = r.key.size();
    }
    // a connection that broke may have lost the key with the reply: the key manager knows
    if (failed != std::errc::connection_reset && failed != std::errc::broken_pipe &&
        failed != std::errc::connection_aborted) {
      break;
    }
  }
  // the ends have asked for different lengths, and this is the other's
  const bool misfit = failed == qkd004::status::invalid_argument ||
                      (!failed && outcome == qkd004::status::success && length != key_buffer.size());
  if (!failed && outcome == qkd004::status::success && !misfit) {
    s->next += 1;
    return status::success;
  }
  if (misfit || (!failed && outcome == qkd004::status::index_not_available)) {
    // The key is lost at this end. Without an index the two could only drift apart: the peer is told by CLOSE.
    wipe(key_buffer.data(), key_buffer.size());
    s->ended = true;
    call c;
    c.request = close_request{s->id()};
    static_cast<void>(ask(c, 0));
    return status::insufficient_key;
  }
  return translate(failed ? to_status(failed) : outcome);
}

status session::close(const key_handle& handle) {
  const auto s = find(handle);
  if (!s) return status::no_qkd_connection;
  call c;
  c.request = close_request{s->id()};
  const auto failed = ask(c, 0);
  if (failed) return translate(to_status(failed));
  {
    const std::lock_guard lock{mutex_};
    streams_.erase(handle);
  }
  const auto outcome = std::get<close_response>(c.response).outcome;
  // one that the key manager has lost already is closed as well
  return outcome == qkd004::status::unknown_key_stream ? status::success : translate(outcome);
}

std::size_t session::key_length(const key_handle& handle) const {
  const auto s = find(handle);
  return s ? s->length.load(std::memory_order_relaxed) : 0;
}

}  // namespace qkd004::v1
