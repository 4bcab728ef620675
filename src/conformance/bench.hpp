// bench: the place where a case works: connections to both ends of a stream, calls in the server's dialect, fresh names,
// and an end after which nothing of the case is left at the server.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conformance/byte_stream.hpp"
#include "conformance/dialect.hpp"
#include "conformance/probe.hpp"
#include "conformance/test_case.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::conformance {

enum class side : std::uint8_t { a, b };

/// What only those can do who run the servers themselves; what is empty cannot be done.
struct control {
  std::function<void()> cut_link;      ///< until mend_link(): the key managers cannot talk
  std::function<void()> mend_link;     ///< returns when they talk again
  std::function<void()> restart_peer;  ///< restarts side b's site; returns when the link is there again
};

/// Whom the cases ask, and how.
struct target {
  std::string uri_a;        ///< the server of the source's application
  std::string uri_b;        ///< of the destination's; the same as uri_a: a server that is its own peer (D17)
  std::string source;       ///< URIs that OPEN_CONNECT gets
  std::string destination;  //
  dialect spoken = dialect::forge;
  bool both_ends = true;              ///< streams can be opened at both ends
  bool greets = false;                ///< answers HELLO
  std::uint32_t features = 0;         ///< what HELLO announces
  milliseconds patience{5'000};       ///< for an answer, beyond the QoS Timeout of the call
  connector connect = connect_plain;  ///< as the source's application
  connector connect_b;                ///< as the destination's; empty: the same
  bool two_principals = false;        ///< the servers can tell one from the other
  control hooks;
  secret_arena memory{{std::size_t{32} << 20, true}};  ///< where answers are; these keys protect nothing
};

/// `status 3 (the peer application is not connected)`.
[[nodiscard]] std::string says(std::uint32_t code);

/// One connection of an application. A call whose answer does not come, or is no such answer, throws `failure`.
/// Threads: one at a time, different lines at once.
class line {
 public:
  line(bench& owner, side at, std::unique_ptr<byte_stream> stream);

  // --- Frames ---
  /// Throws failure if the server does not take it.
  void send(const octets& what);
  /// As far as the server takes it: it may have closed already.
  void try_send(const octets& what);
  void send(std::uint8_t service, const octets& payload);
  [[nodiscard]] incoming read();
  [[nodiscard]] incoming read(milliseconds within);
  void end_sending() { probe_.end_sending(); }
  /// At most one error frame, then the end. Throws failure otherwise; and, if a code is given, for another one.
  void expect_refused(std::optional<status> code = std::nullopt);

  // --- Calls: the answer of each must be read in the order of requests ---
  void send_open(const open_connect_request& r);
  [[nodiscard]] open_answer read_open();
  void send_get(const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size = 0);
  [[nodiscard]] key_answer read_get();
  void send_close(const key_stream_id& id);
  [[nodiscard]] std::uint32_t read_close();

  [[nodiscard]] open_answer open(const open_connect_request& r);
  [[nodiscard]] open_answer open2(const open_connect_request& r, std::uint32_t flags);
  [[nodiscard]] key_answer get(const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size = 0);
  [[nodiscard]] std::uint32_t close(const key_stream_id& id);
  [[nodiscard]] hello_answer hello(const octets& payload = hello_payload());
  /// Any request whose answer's service is one above it.
  [[nodiscard]] incoming ask(std::uint8_t service, const octets& payload);

  // --- Calls that must come out as said; they throw failure otherwise ---
  /// OPEN_CONNECT with status 0 or 1.
  open_answer must_open(const open_connect_request& r);
  open_answer must_open(const open_connect_request& r, status outcome);
  /// OPEN_CONNECT that opens nothing.
  open_answer must_not_open(const open_connect_request& r, status outcome);
  /// GET_KEY with a key: of that index and the stream's chunk size.
  key_answer must_get(const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size = 0);
  key_answer must_read_key(std::uint32_t index);
  key_answer must_not_get(const key_stream_id& id, std::uint32_t index, status outcome,
                          std::uint32_t metadata_size = 0);
  void must_close(const key_stream_id& id, status outcome = status::success);

  /// Throws failure unless `got` is what stands on this wire for the status.
  void expect_status(std::uint32_t got, status wanted, operation op) const;

 private:
  friend class bench;
  [[nodiscard]] incoming read_answer(std::uint8_t service);
  void opened(const open_answer& answer);

  bench& bench_;
  side at_;
  probe probe_;
  bool greeted_ = false;
  std::size_t unanswered_ = 0;
  std::vector<key_stream_id> open_;  ///< what this line opened and did not close
};

/// A stream that is open at both ends.
struct open_pair {
  line& a;
  line& b;
  key_stream_id id;
  qos quality;
};

/// Threads: connect() and the makers of names any, the rest one.
class bench {
 public:
  bench(const target& t, std::uint64_t seed);
  bench(const bench&) = delete;
  bench& operator=(const bench&) = delete;
  ~bench() = default;

  /// A new connection; it stays until the end of the case. Throws failure if there is none.
  line& connect(side at);
  /// At A, as the application of the other end: somebody else, where there are two principals.
  line& connect_stranger();
  /// Closes it; what it opened is closed at the end of the case.
  void disconnect(line& l);
  /// Closes every stream that the case left open. Never throws.
  void finish() noexcept;

  /// A request of a small stream that does not live long: Timeout 1,000 ms, TTL 5 s, 32 octets.
  [[nodiscard]] open_connect_request request(const key_stream_id& id = {}) const;
  /// The same with that Timeout.
  [[nodiscard]] open_connect_request brief(std::uint32_t timeout_ms = 250,
                                           const key_stream_id& id = {}) const;
  /// A KSID that nobody has, of version 4.
  [[nodiscard]] key_stream_id fresh_id();
  /// 16 octets, 0 to 255 each, that are not zero.
  [[nodiscard]] std::uint64_t random();

  /// Opens at A with a NULL KSID, and joins at B.
  [[nodiscard]] open_pair open_both(const open_connect_request& r);
  [[nodiscard]] open_pair open_both() { return open_both(request()); }
  /// Opens a predefined KSID, first at one end and at the other while the first waits.
  [[nodiscard]] open_pair open_predefined(const open_connect_request& r, side first);
  /// Returns when B's key manager knows the stream: A got a key of it, or that took too long.
  void let_b_know(line& a, const key_stream_id& id);
  /// Takes and returns a stream on new connections: the service goes on.
  void expect_service();
  /// How far GET_KEY at `l` gets while nobody reads at the other end; nothing if that is above `most`.
  [[nodiscard]] std::optional<std::uint32_t> run_ahead(line& l, const key_stream_id& id, std::uint32_t most,
                                                       std::vector<key_print>* prints = nullptr);

  [[nodiscard]] const target& whom() const { return target_; }
  [[nodiscard]] bool self_linked() const { return target_.uri_a == target_.uri_b; }

 private:
  friend class line;
  line& connect(side at, const connector& as);

  const target& target_;
  std::mutex mutex_;
  std::uint64_t state_;  ///< of random()
  std::vector<std::unique_ptr<line>> lines_;
  std::vector<std::pair<side, key_stream_id>> left_;  ///< opened by lines that are gone
};

/// An index that no window reaches: its key does not come.
inline constexpr std::uint32_t far_ahead = 1'000'000;

/// GET_KEY of a key that does not come ends with status 6; skips the case if the server says 2 instead of waiting.
void must_time_out(line& l, const key_stream_id& id);

/// Both ends have the same key.
void expect_same(const key_answer& a, const key_answer& b);
/// No two of them are the same.
void expect_distinct(std::vector<key_print> prints);

/// A stopwatch for what has to take its time, and no more. `slack` is what a busy machine may add.
class stopwatch {
 public:
  [[nodiscard]] milliseconds elapsed() const {
    return std::chrono::duration_cast<milliseconds>(steady::now() - began_);
  }
  void expect_between(milliseconds least, milliseconds most, std::string_view what) const;
  void expect_within(milliseconds most, std::string_view what) const {
    expect_between(milliseconds{0}, most, what);
  }
  static constexpr milliseconds slack{1'500};

 private:
  steady::time_point began_ = steady::now();
};

}  // namespace qkd004::conformance
