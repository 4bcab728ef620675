// SPDX-License-Identifier: Apache-2.0
#include "qkd004/exchange.hpp"

#include <errno.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "client.hpp"
#include "guard.hpp"
#include "nouns.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {
namespace {

std::uint32_t milliseconds_until(time_point deadline) noexcept {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - boot_clock::now()).count();
  constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 0, most));
}

/// The request in C. Lifetime: as long as the call.
qkd004_request request_of(const call& c) {
  qkd004_request to{};
  to.struct_size = sizeof to;
  to.qos = QKD004_QOS_INIT;
  to.timeout_ms = milliseconds_until(c.deadline);
  if (const auto* open = std::get_if<open_connect_request>(&c.request)) {
    to.operation = QKD004_OPEN_CONNECT;
    to.source = open->source.c_str();
    to.destination = open->destination.c_str();
    to.qos = qos_of(open->quality);
    write_id(to.id, open->stream);
    to.flags = (open->no_wait ? QKD004_NO_WAIT : 0U) | (open->strict_once ? QKD004_STRICT_ONCE : 0U);
  } else if (const auto* get = std::get_if<get_key_request>(&c.request)) {
    to.operation = QKD004_GET_KEY;
    write_id(to.id, get->stream);
    to.index = get->index;
    to.metadata_size = get->metadata_size;
    to.flags = get->no_wait ? QKD004_NO_WAIT : 0U;
  } else {
    to.operation = QKD004_CLOSE;
    write_id(to.id, std::get<close_request>(c.request).stream);
  }
  return to;
}

open_connect_response opened(const open_connect_request& asked, const qkd004_response& r) {
  open_connect_response to;
  to.outcome = static_cast<status>(r.status);
  to.quality = qos_of(r.qos);
  const auto as_asked = [](auto& field, auto otherwise) {
    if (field == 0) field = otherwise;
  };
  as_asked(to.quality.key_chunk_size, asked.quality.key_chunk_size);
  as_asked(to.quality.max_bps, asked.quality.max_bps);
  as_asked(to.quality.min_bps, asked.quality.min_bps);
  as_asked(to.quality.jitter, asked.quality.jitter);
  as_asked(to.quality.priority, asked.quality.priority);
  as_asked(to.quality.timeout_ms, asked.quality.timeout_ms);
  as_asked(to.quality.ttl_s, asked.quality.ttl_s);
  // what nobody has said
  as_asked(to.quality.key_chunk_size, qos_defaults::key_chunk_size);
  as_asked(to.quality.timeout_ms, qos_defaults::timeout_ms);
  to.stream = id_of(r.id);
  if (to.stream.is_null()) to.stream = asked.stream;
  to.lowest_live_index = r.index;
  return to;
}

get_key_response got(const get_key_request& asked, const qkd004_response& r, std::span<std::byte> key) {
  get_key_response to;
  to.outcome = static_cast<status>(r.status);
  to.index = r.index;
  to.metadata_needed = r.metadata_size;
  if (to.outcome != status::success) return to;
  to.index = asked.index;
  to.key = key;
  to.has_metadata = asked.metadata_size != 0;
  to.metadata = {r.age_ms, r.hops};
  return to;
}

/// Asks in the thread that waits.
class ops_exchange final : public exchange {
 public:
  ops_exchange(const qkd004_exchange_ops& ops, void* context) : ops_{ops}, context_{context} {}
  ops_exchange(const ops_exchange&) = delete;
  ops_exchange& operator=(const ops_exchange&) = delete;
  ~ops_exchange() override {
    if (!owns_ || ops_.destroy == nullptr) return;
    called_back([this] { return ops_.destroy(context_), 0; }, 0);
  }

  /// From now on the context is ours to destroy.
  void own() noexcept { owns_ = true; }

  void start(std::span<call* const> calls) override {
    const std::lock_guard lock{mutex_};
    started_.reserve(started_.size() + calls.size());
    for (call* const c : calls) started_.push_back({c, nullptr, false});
  }

  void wait(call& c) override {
    qkd004_request request;
    {
      const std::lock_guard lock{mutex_};
      const auto it = find(c);
      if (it == started_.end()) return;  // done, or cancelled
      request = asks(c) ? request_of(c) : qkd004_request{};
      it->request = &request;
    }
    if (asks(c)) {
      ask(c, request);
    } else {
      c.error = std::make_error_code(std::errc::operation_not_supported);
    }
    {
      const std::lock_guard lock{mutex_};
      const auto it = find(c);
      if (it->cancelled && c.error) c.error = std::make_error_code(std::errc::operation_canceled);
      started_.erase(it);
    }
    c.complete();
  }

  void cancel(call& c) noexcept override {
    const qkd004_request* request = nullptr;
    {
      const std::lock_guard lock{mutex_};
      const auto it = find(c);
      if (it == started_.end()) return;
      request = it->request;
      it->cancelled = true;
      if (request == nullptr) {  // nobody waits for it yet
        started_.erase(it);
        c.error = std::make_error_code(std::errc::operation_canceled);
        c.complete();
        return;
      }
    }
    if (ops_.cancel != nullptr) called_back([&] { return ops_.cancel(context_, request), 0; }, 0);
  }

 private:
  struct started {
    call* asked;
    const qkd004_request* request;  ///< null: exchange() does not have it yet
    bool cancelled;
  };

  static bool asks(const call& c) noexcept {
    return std::holds_alternative<open_connect_request>(c.request) ||
           std::holds_alternative<get_key_request>(c.request) ||
           std::holds_alternative<close_request>(c.request);
  }
  std::vector<started>::iterator find(const call& c) noexcept {
    return std::find_if(started_.begin(), started_.end(), [&c](const started& s) { return s.asked == &c; });
  }

  void ask(call& c, const qkd004_request& request) noexcept {
    qkd004_response r{};
    r.struct_size = sizeof r;
    r.qos = QKD004_QOS_INIT;
    r.key = reinterpret_cast<std::uint8_t*>(c.key_buffer.data());
    r.key_size = c.key_buffer.size();
    const int failed = called_back([&] { return ops_.exchange(context_, &request, &r); }, -EIO);
    if (failed != 0) {
      c.error = error_of(failed);
      return;
    }
    // text that is none
    c.error = called_back([&] { return take(c, r); }, make_error_code(status::protocol_error));
  }

  static std::error_code take(call& c, const qkd004_response& r) {
    if (r.status < 0) return status::protocol_error;
    if (const auto* open = std::get_if<open_connect_request>(&c.request)) {
      c.response = opened(*open, r);
    } else if (const auto* get = std::get_if<get_key_request>(&c.request)) {
      const bool is_key = r.status == QKD004_SUCCESS;
      if (is_key && r.key_size != c.key_buffer.size()) return status::protocol_error;
      c.response = got(*get, r, c.key_buffer);
    } else {
      c.response = close_response{static_cast<status>(r.status)};
    }
    return {};
  }

  const qkd004_exchange_ops ops_;
  void* const context_;
  bool owns_ = false;
  std::mutex mutex_;
  std::vector<started> started_;
};

answer from_ops(const qkd004_exchange_ops* ops, void* context, qkd004_client** client) {
  qkd004_client*& out = needed(client);
  const qkd004_exchange_ops o = read(needed(ops));
  if (o.exchange == nullptr) return {status::invalid_argument, "exchange is needed"};
  const auto way = std::make_shared<ops_exchange>(o, context);
  give(way, secret_arena{}, nullptr, out);
  way->own();
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

int qkd004_client_from_ops(const qkd004_exchange_ops* ops, void* context, qkd004_client** client) {
  return qkd004::capi::guarded("qkd004_client_from_ops",
                               [&] { return qkd004::capi::from_ops(ops, context, client); });
}
