// SPDX-License-Identifier: Apache-2.0
#include "stream.hpp"

#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <system_error>

#include "buffer.hpp"
#include "client.hpp"
#include "guard.hpp"
#include "nouns.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "qkd004/message.hpp"
#include "qkd004/metadata.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {
namespace {

constexpr std::uint32_t known_flags = QKD004_NO_WAIT | QKD004_STRICT_ONCE | QKD004_VENDOR_METADATA;

open_connect_request request_of(const char* source, const char* destination, const qkd004_key_stream_id* id,
                                std::uint32_t flags) {
  if ((flags & ~known_flags) != 0) throw refusal{QKD004_INVALID_ARGUMENT, "flags are unknown"};
  open_connect_request r{text(source), text(destination), {}, id == nullptr ? key_stream_id{} : id_of(*id)};
  r.no_wait = (flags & QKD004_NO_WAIT) != 0;
  r.strict_once = (flags & QKD004_STRICT_ONCE) != 0;
  return r;
}

/// What OPEN_CONNECT is asked with, and where its answer goes.
struct opening {
  const char* source;
  const char* destination;
  qkd004_qos* quality;
  qkd004_key_stream_id* id;
  std::uint32_t flags;
};

answer open_connect(qkd004_client* client, const opening& o, qkd004_stream** stream) {
  qkd004_stream*& out = needed(stream);
  const auto c = use(client);
  open_connect_request request = request_of(o.source, o.destination, o.id, o.flags);
  if (o.quality != nullptr) request.quality = qos_of(read(*o.quality));

  // all that can fail for want of memory comes before there is a stream
  new_handle<qkd004_stream> handle;
  auto made = std::make_shared<stream_object>(c->calls.managers());
  made->vendor_metadata = (o.flags & QKD004_VENDOR_METADATA) != 0;
  c->opened(made);
  client_object::asking ask{*c};
  auto opened = ask->open_connect(request);
  if (!opened) return opened.error();
  if (o.quality != nullptr) write(*o.quality, qos_of(opened->quality()));
  if (opened->outcome() == status::qos_not_met) return status::qos_not_met;
  if (o.id != nullptr) write_id(*o.id, opened->id());
  const status outcome = opened->outcome();
  made->stream.emplace(*std::move(opened));
  if (made->vendor_metadata) made->stream->want_vendor_metadata();
  made->is_open.store(
      true, std::memory_order_release);  // pairs with the acquire in client_object::cancel_streams()
  out = handle.publish(std::move(made));
  return outcome;
}

/// A call on a stream that may wait.
class stream_call {
 public:
  explicit stream_call(qkd004_stream* stream)
      : object_{use(stream)}, nested_{frame::inside(&object_->calls)}, visit_{object_->calls} {
    if (nested_) return;  // the call around it has the lock
    const std::lock_guard queue{object_->to_read};
    reads_ = std::shared_lock{object_->reading};
  }

  key_stream* operator->() noexcept { return &*object_->stream; }
  [[nodiscard]] std::size_t chunk() const noexcept { return object_->stream->quality().key_chunk_size; }
  [[nodiscard]] const stream_object& object() const noexcept { return *object_; }

 private:
  const std::shared_ptr<stream_object> object_;
  const bool nested_;  ///< in a callback of another call of the same stream
  const gate::visit visit_;
  std::shared_lock<std::shared_mutex> reads_;
};

/// Where the metadata of a key go. What can be wrong with it is found before a key is taken.
class metadata_room {
 public:
  /// Throws refusal: invalid_argument, metadata_size_insufficient.
  metadata_room(qkd004_metadata* to, const stream_call& call) : to_{to} {
    if (to_ == nullptr) return;
    static_cast<void>(read(*to_));
    json_ = to_->buffer != nullptr && !call.object().stream->quality().metadata_mimetype.empty();
    if (!json_ || to_->size >= needed_size(call)) return;
    to_->size = needed_size(call);
    throw refusal{QKD004_METADATA_SIZE_INSUFFICIENT, ""};
  }

  /// `vendor`: a JSON object, or nothing.
  void put(const key_metadata& m, std::string_view vendor) noexcept {
    if (to_ == nullptr) return;
    const std::size_t room = to_->size;
    to_->age_ms = m.age_ms;
    to_->hops = m.hops;
    to_->size = 0;
    if (!json_) return;
    // to_json() would allocate, and a key that was taken must not be lost to that
    std::array<char, metadata_json_size + 1> plain{};
    const int size = std::snprintf(plain.data(), plain.size(), "{\"age\":%" PRIu32 ",\"hops\":%" PRIu32 "}",
                                   m.age_ms, m.hops);
    append(std::string_view{plain.data(), static_cast<std::size_t>(size)});
    // one that is larger than any of ours comes from a server that is not: it is left out
    if (vendor.size() <= 2 || to_->size + vendor.size() - 1 > room) return;
    to_->buffer[to_->size - 1] = ',';  // one object of both
    append(vendor.substr(1));
  }

 private:
  void append(std::string_view text) noexcept {
    std::memcpy(to_->buffer + to_->size, text.data(), text.size());
    to_->size += text.size();
  }
  static std::size_t needed_size(const stream_call& call) noexcept {
    return call.object().vendor_metadata ? QKD004_METADATA_VENDOR_SIZE : QKD004_METADATA_SIZE;
  }

  qkd004_metadata* to_;
  bool json_ = false;
};

/// Which key of a stream, and where it goes.
struct key_call {
  enum class which : std::uint8_t { at_index, next, next_if_there };

  which key;
  std::uint64_t index;      ///< at_index
  std::uint64_t* index_to;  ///< may be null
  qkd004_metadata* metadata;
};

/// All of `described` but the key.
result<std::uint64_t> take_into(stream_call& s, const key_call& k, std::span<std::byte> out,
                                key_chunk& described) {
  switch (k.key) {
    case key_call::which::at_index: return s->key_into(out, described, k.index);
    case key_call::which::next:
      return k.metadata == nullptr ? s->next_key_into(out) : s->key_into(out, described);
    case key_call::which::next_if_there: break;
  }
  return s->try_key_into(out, described);
}

answer take(qkd004_stream* stream, buffer<std::uint8_t> key, const key_call& k) {
  stream_call s{stream};
  key.need(s.chunk());
  metadata_room room{k.metadata, s};
  key_chunk described;
  const auto taken = take_into(s, k, key.first(s.chunk()), described);
  if (!taken) return taken.error();
  room.put(described.metadata, described.vendor_metadata);
  key.filled(s.chunk());
  if (k.index_to != nullptr) *k.index_to = *taken;
  return 0;
}

/// The way of nearly every key in one process.
[[gnu::always_inline]] inline bool take_ready(qkd004_stream* stream, std::uint8_t* key, std::size_t* size,
                                              std::uint64_t* index) noexcept {
  if (key == nullptr || size == nullptr || kind_of(number_of(stream)) != kind::stream) [[unlikely]]
    return false;
  const short_use used{number_of(stream)};
  auto* const s = static_cast<stream_object*>(used.get());
  if (s == nullptr) [[unlikely]]
    return false;
  const auto taken = s->stream->ready_key_into({reinterpret_cast<std::byte*>(key), *size});
  if (!taken) [[unlikely]]
    return false;
  *size = s->stream->quality().key_chunk_size;
  if (index != nullptr) *index = *taken;
  return true;
}

// Not inlined, and with the arguments as they came: in registers they are passed on by a jump, so that the short way needs
// nothing of what these do.

[[gnu::noinline]] int next_key(qkd004_stream* stream, std::uint8_t* key, std::size_t* size,
                               std::uint64_t* index, qkd004_metadata* metadata) {
  return guarded("qkd004_next_key", [&] {
    return take(stream, {key, size}, {key_call::which::next, 0, index, metadata});
  });
}

[[gnu::noinline]] int try_next_key(qkd004_stream* stream, std::uint8_t* key, std::size_t* size,
                                   std::uint64_t* index, qkd004_metadata* metadata) {
  return guarded("qkd004_try_next_key", [&] {
    return take(stream, {key, size}, {key_call::which::next_if_there, 0, index, metadata});
  });
}

answer get_keys(qkd004_stream* stream, buffer<std::uint8_t> keys, std::uint64_t* first, std::size_t* count) {
  stream_call s{stream};
  keys.need(s.chunk());
  const auto run = s->next_keys_into(keys.first(keys.room()));
  if (!run) return run.error();
  keys.filled(run->count * s.chunk());
  if (first != nullptr) *first = run->first;
  if (count != nullptr) *count = run->count;
  return 0;
}

answer prefetch(qkd004_stream* stream, std::uint32_t keys) {
  const auto s = use(stream);
  if (frame::inside(&s->calls)) throw refusal{-EDEADLK, "from a callback of a call of the stream"};
  const gate::visit visit{s->calls};
  const std::lock_guard queue{s->to_read};
  const std::lock_guard alone{s->reading};
  const auto done = s->stream->prefetch(keys);
  if (!done) return done.error();
  return 0;
}

answer acknowledge(qkd004_stream* stream) {
  stream_call s{stream};
  const auto done = s->acknowledge();
  if (!done) return done.error();
  return 0;
}

answer wait_for_peer(qkd004_stream* stream, std::uint32_t timeout_ms) {
  stream_call s{stream};
  const auto done = s->wait_for_peer(std::chrono::milliseconds{timeout_ms});
  if (!done) return done.error();
  return 0;
}

answer describe(qkd004_stream* stream, qkd004_key_stream_id* id, qkd004_qos* qos) {
  const auto s = use(stream);
  if (qos != nullptr) {
    static_cast<void>(read(*qos));
    write(*qos, qos_of(s->stream->quality()));
  }
  if (id != nullptr) write_id(*id, s->stream->id());
  return 0;
}

answer close(qkd004_stream* stream) {
  const auto s = use(stream);
  auto shut = s->calls.shut([&] { s->stream->cancel(); });
  const auto closed = s->stream->close();
  if (!s->stream->has_left()) return closed.error();
  end(stream);
  shut.keep();
  if (!closed) return closed.error();
  return 0;
}

answer detach(qkd004_stream* stream) {
  const auto s = use(stream);
  auto shut = s->calls.shut([&] { s->stream->cancel(); });
  end(stream);
  shut.keep();
  s->stream->detach();
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_open_connect(qkd004_client* client, const char* source, const char* destination, qkd004_qos* qos,
                        qkd004_key_stream_id* id, uint32_t flags, qkd004_stream** stream) {
  bool opened = false;
  const int result = guarded("qkd004_open_connect", [&]() -> answer {
    answer a = open_connect(client, {source, destination, qos, id, flags}, stream);
    opened = a.result == QKD004_PEER_NOT_CONNECTED;
    return opened ? answer{0} : a;
  });
  return opened ? QKD004_PEER_NOT_CONNECTED : result;
}

int qkd004_get_key(qkd004_stream* stream, uint64_t index, uint8_t* key, size_t* size,
                   qkd004_metadata* metadata) {
  return guarded("qkd004_get_key", [&] {
    return take(stream, {key, size}, {key_call::which::at_index, index, nullptr, metadata});
  });
}

// flatten: all of the short way is one function

[[gnu::flatten]] int qkd004_next_key(qkd004_stream* stream, uint8_t* key, size_t* size, uint64_t* index,
                                     qkd004_metadata* metadata) {
  if (metadata == nullptr && take_ready(stream, key, size, index)) [[likely]]
    return 0;
  return next_key(stream, key, size, index, metadata);
}

[[gnu::flatten]] int qkd004_try_next_key(qkd004_stream* stream, uint8_t* key, size_t* size, uint64_t* index,
                                         qkd004_metadata* metadata) {
  if (metadata == nullptr && take_ready(stream, key, size, index)) [[likely]]
    return 0;
  return try_next_key(stream, key, size, index, metadata);
}

int qkd004_get_keys(qkd004_stream* stream, uint8_t* keys, size_t* size, uint64_t* first, size_t* count) {
  return guarded("qkd004_get_keys", [&] { return get_keys(stream, {keys, size}, first, count); });
}

int qkd004_prefetch(qkd004_stream* stream, uint32_t keys) {
  return guarded("qkd004_prefetch", [&] { return prefetch(stream, keys); });
}

int qkd004_acknowledge(qkd004_stream* stream) {
  return guarded("qkd004_acknowledge", [&] { return acknowledge(stream); });
}

int qkd004_wait_for_peer(qkd004_stream* stream, uint32_t timeout_ms) {
  return guarded("qkd004_wait_for_peer", [&] { return wait_for_peer(stream, timeout_ms); });
}

int qkd004_stream_describe(qkd004_stream* stream, qkd004_key_stream_id* id, qkd004_qos* qos) {
  return guarded("qkd004_stream_describe", [&] { return describe(stream, id, qos); });
}

int qkd004_stream_cancel(qkd004_stream* stream) {
  return guarded("qkd004_stream_cancel", [&]() -> answer {
    use(stream)->stream->cancel();
    return 0;
  });
}

int qkd004_close(qkd004_stream* stream) {
  return guarded("qkd004_close", [&] { return close(stream); });
}

int qkd004_detach(qkd004_stream* stream) {
  return guarded("qkd004_detach", [&] { return detach(stream); });
}
