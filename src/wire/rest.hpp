// rest: the calls as JSON, as the HTTP binding of 004 says them: bodies of requests and of answers, both ways; no HTTP.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "qkd004/exchange.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "qkd004/result.hpp"

/// Members have the standard's names in snake_case, key is base64, a Key_stream_ID is a UUID as text.
namespace qkd004::wire::rest {

/// GET_KEY, or the several keys at once that `count` and its kin turn it into.
struct get_key_question {
  bool several = false;
  get_key_request one;
  get_keys_request many;     ///< with `several`
  bool names_epoch = false;  ///< else it is the one that holds
};

/// How a caller's streams stand, or what a server can do.
struct capabilities {
  std::string node;
  extensions served;
};

// --- What is written: measured first, as its length goes before it ---

[[nodiscard]] std::size_t size_of(const open_connect_response& r);
[[nodiscard]] std::size_t size_of(const get_key_response& r, std::uint32_t metadata_size);
[[nodiscard]] std::size_t size_of(const get_keys_response& r);
/// Requires: `to` has the size that was measured. Key goes straight from its place to `to`.
void write(std::span<std::byte> to, const open_connect_response& r);
void write(std::span<std::byte> to, const get_key_response& r, std::uint32_t metadata_size);
void write(std::span<std::byte> to, const get_keys_response& r);
/// `{"status":0}`
[[nodiscard]] std::string status_text(status s);
[[nodiscard]] std::string capabilities_text(std::string_view node, std::string_view instance,
                                            const limits& bounds);

/// A request as a client says it.
struct said {
  bool is_get = false;
  std::string path;
  std::string body;  ///< no key
};
/// Returns invalid_argument for what JSON cannot say: a text that is no UTF-8, an index past 2^32 - 1.
[[nodiscard]] result<said> say(const any_request& request);
inline constexpr std::string_view capabilities_path = "/qkd004/v2/capabilities";

/// Reads bodies. Refused are: what is no JSON in UTF-8, objects deeper than 16, members that are unknown or come twice,
/// values of another type or out of range, control characters in a text, base64 that is not the one text of its octets.
/// Threads: one at a time. What it has read of a key is wiped before it returns.
class reader {
 public:
  reader();
  ~reader();
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// Requests return protocol_error for what is malformed, and invalid_argument for a value that no request may have;
  /// why() tells.
  [[nodiscard]] result<open_connect_request> open_connect(std::span<const std::byte> body,
                                                          const limits& bounds);
  [[nodiscard]] result<get_key_question> get_key(std::span<const std::byte> body);
  [[nodiscard]] result<close_request> close(std::span<const std::byte> body);
  [[nodiscard]] result<wait_peer_request> wait_peer(std::span<const std::byte> body);
  [[nodiscard]] result<acknowledge_request> acknowledge(std::span<const std::byte> body);
  /// Of the last refusal, in words; nothing of the body.
  [[nodiscard]] const char* why() const noexcept { return why_; }

  /// Fills the call's response, its key buffer and metadata. Members that are unknown are passed over.
  /// Returns protocol_error for what is no answer to that call, and invalid_argument if the key does not fit.
  [[nodiscard]] std::error_code answer(std::span<const std::byte> body, call& c);
  /// Only whether it is one.
  [[nodiscard]] std::optional<capabilities> read_capabilities(std::span<const std::byte> body);
  /// The member `code` of problem details.
  [[nodiscard]] std::optional<status> code_of_problem(std::span<const std::byte> body);

 private:
  struct state;
  std::unique_ptr<state> state_;
  const char* why_ = "";
};

}  // namespace qkd004::wire::rest
