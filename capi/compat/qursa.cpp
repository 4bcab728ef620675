// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "process_state.hpp"
#include "qkd004-compat/qursa/etsi004/api.h"
#include "second_edition.hpp"

namespace {

using qkd004::compat::second_edition;

static_assert(sizeof(qkd004_key_stream_id) == QKD_KSID_SIZE);
static_assert(sizeof(qkd_qos_s::Metadata_mimetype) == sizeof(qkd004_qos::metadata_mimetype));

void end();
constinit qkd004::compat::process_state<second_edition> here{"libqkd004-qursa", end};
void end() { here.end(); }

/// As D7 has it for who knows 0 to 8 only. `elsewhere`: what a stream that is unknown or forbidden looks like.
uint32_t status_of(int result, uint32_t elsewhere) noexcept {
  if (result >= 0 && result <= QKD004_METADATA_SIZE_INSUFFICIENT) return static_cast<uint32_t>(result);
  switch (result) {
    case QKD004_UNKNOWN_KEY_STREAM:
    case QKD004_NOT_AUTHORIZED: return elsewhere;
    case QKD004_INDEX_NOT_AVAILABLE:
    case QKD004_STREAM_EXHAUSTED: return QKD_STATUS_INSUFFICIENT_KEY;
    default: return QKD_STATUS_NO_CONNECTION;
  }
}

/// `call` returns a result of qkd004.h.
template <class Call>
uint32_t with_state(uint32_t* status, uint32_t elsewhere, Call call) noexcept {
  return *status = status_of(here.with(call), elsewhere);
}

uint32_t refuse(uint32_t* status) noexcept {
  if (status != nullptr) *status = QKD_STATUS_NO_CONNECTION;
  return QKD_STATUS_NO_CONNECTION;
}

void copy(const qkd_qos_s& from, qkd004_qos& to) noexcept {
  to.key_chunk_size = from.Key_chunk_size;
  to.max_bps = from.Max_bps;
  to.min_bps = from.Min_bps;
  to.jitter = from.Jitter;
  to.priority = from.Priority;
  to.timeout_ms = from.Timeout;
  to.ttl_s = from.TTL;
  std::memcpy(to.metadata_mimetype, from.Metadata_mimetype, sizeof to.metadata_mimetype);
}

void copy(const qkd004_qos& from, qkd_qos_s& to) noexcept {
  to.Key_chunk_size = from.key_chunk_size;
  to.Max_bps = from.max_bps;
  to.Min_bps = from.min_bps;
  to.Jitter = from.jitter;
  to.Priority = from.priority;
  to.Timeout = from.timeout_ms;
  to.TTL = from.ttl_s;
  std::memcpy(to.Metadata_mimetype, from.metadata_mimetype, sizeof to.Metadata_mimetype);
}

uint32_t open_connect(const char* source, const char* destination, qkd_qos_s* qos,
                      unsigned char* key_stream_id, uint32_t* status) {
  if (!source || !destination || !qos || !key_stream_id || !status) return refuse(status);
  return with_state(status, QKD_STATUS_KSID_IN_USE, [&](second_edition& state) -> int {
    if (std::memchr(qos->Metadata_mimetype, '\0', sizeof qos->Metadata_mimetype) == nullptr) {
      std::memset(qos->Metadata_mimetype, 0, sizeof qos->Metadata_mimetype);
      std::strcpy(qos->Metadata_mimetype, "application/json");
      return QKD004_QOS_NOT_MET;
    }
    qkd004_qos asked = QKD004_QOS_INIT;
    copy(*qos, asked);
    qkd004_key_stream_id id;
    std::memcpy(id.octets, key_stream_id, sizeof id.octets);
    const int result = state.open_connect({source, destination}, asked, id);
    if (result == QKD004_SUCCESS || result == QKD004_PEER_NOT_CONNECTED || result == QKD004_QOS_NOT_MET) {
      copy(asked, *qos);
    }
    if (result == QKD004_SUCCESS || result == QKD004_PEER_NOT_CONNECTED) {
      std::memcpy(key_stream_id, id.octets, sizeof id.octets);
    }
    return result;
  });
}

uint32_t get_key(const unsigned char* key_stream_id, uint32_t* index, unsigned char* key_buffer,
                 qkd_metadata_s* metadata, uint32_t* status) {
  if (!key_stream_id || !index || !key_buffer || !status) return refuse(status);
  return with_state(status, QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY, [&](second_edition& state) {
    qkd004_key_stream_id id;
    std::memcpy(id.octets, key_stream_id, sizeof id.octets);
    const bool wanted = metadata != nullptr && metadata->Metadata_size != 0;
    // The text's NUL has the last octet of the room. Without a buffer there is no room, but the need is told.
    static char nowhere;
    qkd004_metadata text = QKD004_METADATA_INIT;
    text.buffer = &nowhere;
    if (wanted && metadata->Metadata_buffer != nullptr) {
      text.buffer = reinterpret_cast<char*>(metadata->Metadata_buffer);
      text.size = metadata->Metadata_size - 1;
    }
    const int result = state.get_key(id, *index, key_buffer, wanted ? &text : nullptr);
    if (wanted && result == QKD004_METADATA_SIZE_INSUFFICIENT) {
      metadata->Metadata_size = static_cast<uint32_t>(text.size + 1);
    }
    if (wanted && result == QKD004_SUCCESS) {
      metadata->Metadata_size = static_cast<uint32_t>(text.size);
      if (text.size > 0) metadata->Metadata_buffer[text.size] = '\0';
    }
    return result;
  });
}

uint32_t close(const unsigned char* key_stream_id, uint32_t* status) {
  if (!key_stream_id || !status) return refuse(status);
  return with_state(status, QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY, [&](second_edition& state) {
    qkd004_key_stream_id id;
    std::memcpy(id.octets, key_stream_id, sizeof id.octets);
    return state.close(id);
  });
}

const qkd_004_backend ours{"qkd004", open_connect, get_key, close};
// release and acquire: who registers a backend has set it up before
std::atomic<const qkd_004_backend*> active{&ours};

}  // namespace

void register_qkd_004_backend(const qkd_004_backend* backend) {
  active.store(backend, std::memory_order_release);
}

const qkd_004_backend* get_active_004_backend(void) { return active.load(std::memory_order_acquire); }

uint32_t OPEN_CONNECT(const char* source, const char* destination, qkd_qos_s* qos,
                      unsigned char* key_stream_id, uint32_t* status) {
  const qkd_004_backend* const to = get_active_004_backend();
  if (to == nullptr || to->open_connect == nullptr) return refuse(status);
  return to->open_connect(source, destination, qos, key_stream_id, status);
}

uint32_t GET_KEY(const unsigned char* key_stream_id, uint32_t* index, unsigned char* key_buffer,
                 qkd_metadata_s* metadata, uint32_t* status) {
  const qkd_004_backend* const to = get_active_004_backend();
  if (to == nullptr || to->get_key == nullptr) return refuse(status);
  return to->get_key(key_stream_id, index, key_buffer, metadata, status);
}

uint32_t CLOSE(const unsigned char* key_stream_id, uint32_t* status) {
  const qkd_004_backend* const to = get_active_004_backend();
  if (to == nullptr || to->close == nullptr) return refuse(status);
  return to->close(key_stream_id, status);
}
