// push_body: the bodies of push mode as JSON, both ways; no HTTP.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "qkd004/message.hpp"
#include "qkd004/push_message.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

/// Members have the names of the specification; key is base64. Members that are unknown are passed over: others add
/// theirs. Clause: push mode 1.0.1.
namespace qkd004::wire::push {

// --- What is written ---

/// A NULL id is written as null.
[[nodiscard]] std::string open_connect_text(const open_connect_request& r);
[[nodiscard]] std::string get_key_text(const push_get_key& r);
[[nodiscard]] std::string close_text(const close_request& r);
/// With source and destination, which the published schema asks for in answers as well.
[[nodiscard]] std::string opened_text(const open_connect_response& r, const open_connect_request& asked);
/// `{"status":7,"qos":{...}}`
[[nodiscard]] std::string counter_text(const open_connect_response& r);
/// `{"status":0}`
[[nodiscard]] std::string status_text(status s);

[[nodiscard]] std::size_t size_of(const push_key_material& m);
/// Requires: `to` has the size that was measured. Key goes straight from its place to `to`.
void write(std::span<std::byte> to, const push_key_material& m);

// --- What is read ---

/// An answer of a device.
struct device_answer {
  status outcome = status::success;
  key_stream_id stream;  ///< NULL: it says none
  qos quality;           ///< 0 and empty: it does not say
};

/// Refuses what is no JSON in UTF-8, objects deeper than 16, members that are known and come twice, values of another
/// type or out of range, base64 that is not the one text of its octets, and requests without a member that they need.
/// Threads: one at a time. What it has read of a key is wiped before it returns.
class reader {
 public:
  /// Keys are decoded into memory of `arena`.
  explicit reader(secret_arena arena);
  ~reader();
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  [[nodiscard]] std::optional<open_connect_request> open_connect(std::span<const std::byte> body);
  [[nodiscard]] std::optional<push_get_key> get_key(std::span<const std::byte> body);
  [[nodiscard]] std::optional<close_request> close(std::span<const std::byte> body);
  /// Lifetime: the key is there until the next one is read.
  /// Returns protocol_error for what is malformed, and resource_limit.
  [[nodiscard]] result<push_key_material> key_material(std::span<const std::byte> body);
  /// Wipes it before that.
  void forget_key() noexcept;

  /// An empty body is status 0.
  [[nodiscard]] std::optional<device_answer> answer(std::span<const std::byte> body);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace qkd004::wire::push
