// SPDX-License-Identifier: Apache-2.0
#include "nouns.hpp"

#include <algorithm>
#include <string>

#include "error.hpp"
#include "guard.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {

qos qos_of(const qkd004_qos& q) {
  qos to;
  to.key_chunk_size = q.key_chunk_size;
  to.max_bps = q.max_bps;
  to.min_bps = q.min_bps;
  to.jitter = q.jitter;
  to.priority = q.priority;
  to.timeout_ms = q.timeout_ms;
  to.ttl_s = q.ttl_s;
  to.metadata_mimetype = text_in(q.metadata_mimetype, sizeof q.metadata_mimetype);
  return to;
}

qkd004_qos qos_of(const qos& q) noexcept {
  qkd004_qos to = QKD004_QOS_INIT;
  to.key_chunk_size = q.key_chunk_size;
  to.max_bps = q.max_bps;
  to.min_bps = q.min_bps;
  to.jitter = q.jitter;
  to.priority = q.priority;
  to.timeout_ms = q.timeout_ms;
  to.ttl_s = q.ttl_s;
  // at most 255 octets: qos says so
  const std::size_t size = std::min(q.metadata_mimetype.size(), sizeof to.metadata_mimetype - 1);
  std::copy_n(q.metadata_mimetype.data(), size, to.metadata_mimetype);
  return to;
}

security_class security_of(std::int32_t s) {
  switch (s) {
    case QKD004_SIMULATED_INSECURE: return security_class::simulated_insecure;
    case QKD004_SIMULATED_OVER_TLS: return security_class::simulated_over_tls;
    case QKD004_HARDWARE: return security_class::hardware;
  }
  throw refusal{QKD004_INVALID_ARGUMENT, "security is none of qkd004_security"};
}

}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_key_stream_id_format(const qkd004_key_stream_id* id, char text[QKD004_KEY_STREAM_ID_TEXT]) {
  return guarded("qkd004_key_stream_id_format", [&]() -> answer {
    char* const out = &needed(text);
    const std::string formatted = id_of(needed(id)).to_string();
    out[formatted.copy(out, QKD004_KEY_STREAM_ID_TEXT - 1)] = '\0';
    return 0;
  });
}

int qkd004_key_stream_id_parse(const char* text, qkd004_key_stream_id* id) {
  return guarded("qkd004_key_stream_id_parse", [&]() -> answer {
    qkd004_key_stream_id& out = needed(id);
    const auto parsed = qkd004::key_stream_id::parse(qkd004::capi::text(text));
    if (!parsed) return qkd004::status::invalid_argument;
    write_id(out, *parsed);
    return 0;
  });
}
