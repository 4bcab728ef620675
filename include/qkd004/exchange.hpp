// exchange: the seam to a transport: a request goes in, a response or an error comes out, once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "qkd004/clock.hpp"
#include "qkd004/message.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

class key_ring;

using any_request = std::variant<open_connect_request, get_key_request, close_request, get_keys_request,
                                 wait_peer_request, acknowledge_request, report_request>;
using any_response = std::variant<open_connect_response, get_key_response, close_response, get_keys_response,
                                  wait_peer_response, acknowledge_response, report_response>;

/// What a transport and the key manager behind it can say beyond the standard's three calls.
struct extensions {
  bool get_keys = false;
  bool wait_peer = false;
  bool acknowledge = false;
  bool subscribe = false;
  bool report = false;

  friend bool operator==(const extensions&, const extensions&) = default;
};

/// One request in flight. Its owner fills the first group and starts it; the transport completes it exactly once.
/// Lifetime: stays where it is, with its key buffer, from start() until done().
class call {
 public:
  call() = default;
  call(const call&) = delete;
  call& operator=(const call&) = delete;
  virtual ~call() = default;

  /// \name Before start()
  any_request request;
  time_point deadline =
      time_point::max();  ///< the transport completes the call by then, with status::timeout
  std::span<std::byte>
      key_buffer;  ///< where the key goes, or several one after another; what does not fit is
                   ///< invalid_argument
  std::span<key_metadata> metadata_buffer;  ///< several keys: where their metadata go, as many as fit
  /// Who gets an answer that comes after this call was cancelled or has timed out, with a key buffer of its own; nullptr:
  /// it is dropped. A transport that does not know heirs drops it as well. Lifetime: as a call, from inherit() on.
  call* heir = nullptr;

  /// \name After done()
  any_response response;        ///< of the request's kind; get_key_response::key lies in key_buffer;
                                ///< get_keys_response::keys is empty
  std::uint32_t keys = 0;       ///< of get_keys_response, in key_buffer
  std::string vendor_metadata;  ///< of get_keys_response, if it was asked for and there is any
  std::error_code error;        ///< the transport failed: `response` says nothing

  [[nodiscard]] bool done() const noexcept {
    return done_.load(std::memory_order_acquire);  // pairs with the release in complete()
  }

  /// For the transport: the results are in place. Nothing touches the call after this returns.
  void complete() noexcept {
    on_complete();
    done_.store(true, std::memory_order_release);  // pairs with the acquire in done()
  }

  /// For the transport: gives up on this call, which it completes next. Returns who waits in its place, or nullptr.
  [[nodiscard]] call* inherit() noexcept {
    if (heir != nullptr) heir->inherits_ = true;
    return std::exchange(heir, nullptr);
  }
  /// For the owner, once the call whose heir this is was done: whether this one is in flight, or was.
  [[nodiscard]] bool inherits() const noexcept { return inherits_; }

  /// For the owner, before it starts the same call again.
  void rearm() noexcept {
    error.clear();
    keys = 0;
    vendor_metadata.clear();
    heir = nullptr;
    inherits_ = false;
    done_.store(false, std::memory_order_relaxed);
  }

 protected:
  /// Runs on whichever thread completes the call, before done() turns true. Must not block.
  virtual void on_complete() noexcept {}

 private:
  bool inherits_ = false;
  std::atomic<bool> done_{false};
};

/// Keys that come by themselves over a wire: a subscription of one stream, and the keys that have arrived and were
/// not taken yet.
/// Threads: any number may take.
class key_flow {
 public:
  key_flow() = default;
  key_flow(const key_flow&) = delete;
  key_flow& operator=(const key_flow&) = delete;
  virtual ~key_flow() = default;

  /// What take() came to: keys, or an error.
  struct taken {
    std::error_code error;
    std::uint64_t first = 0;
    std::uint32_t count = 0;  ///< keys in `out`, one after another
  };
  /// The next keys, as many as have arrived, follow one another and fit; does not wait.
  /// Returns insufficient_key when none has arrived; operation_canceled after stop().
  [[nodiscard]] virtual taken take(std::span<std::byte> out, std::span<key_metadata> metadata) = 0;
  /// Completes `c` when take() may have something to say. exchange::wait() and cancel() are for it as for others.
  virtual void await(call& c) = 0;
  /// Acknowledges what was taken, and has no more keys sent. What has arrived and was not taken can be read again.
  virtual void stop() = 0;
  /// Index of the next key that take() would give, as far as that is known.
  [[nodiscard]] virtual std::uint64_t position() = 0;
};

/// A way to one key manager. Implement the first three to write a transport.
/// Threads: any number may call.
class exchange {
 public:
  exchange() = default;
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;
  virtual ~exchange() = default;

  /// Sends all of them, in this order, in one go where the transport can. Does not wait for answers: a stream's other
  /// callers may be waiting for this to return, so that their requests follow in order.
  virtual void start(std::span<call* const> calls) = 0;

  /// Returns when `c` is done, which is not later than shortly after its deadline. A transport without a thread of
  /// its own does its work here.
  virtual void wait(call& c) = 0;

  /// As wait(), but returns at `until` as well, or earlier, with `c` as it is: for callers who want to look up meanwhile.
  /// A transport that leaves this as it is cannot be interrupted.
  virtual void wait_until(call& c, time_point until) {
    (void)until;
    wait(c);
  }

  /// Completes `c` with std::errc::operation_canceled if it is not done; its answer is its heir's, or dropped when it
  /// comes. Another thread that completes it at this moment may need a moment more: wait(c) returns soon.
  virtual void cancel(call& c) noexcept = 0;

  /// What may be asked besides OPEN_CONNECT, GET_KEY and CLOSE; the rest completes with
  /// std::errc::operation_not_supported.
  [[nodiscard]] virtual extensions supports() const { return {}; }

  /// Has the keys of a stream sent from index `first` on, at most `credit` of them ahead of who takes them, into
  /// memory of `arena`. Requires: supports().subscribe. Returns resource_limit when the arena has no room.
  [[nodiscard]] virtual result<std::unique_ptr<key_flow>> subscribe(const open_connect_response& stream,
                                                                    std::uint64_t first, std::uint32_t credit,
                                                                    const secret_arena& arena) {
    (void)stream, (void)first, (void)credit, (void)arena;
    return std::make_error_code(std::errc::operation_not_supported);
  }

  /// Transports within this process: the ring of a stream this caller has opened, whose keys may be taken without
  /// a call; else nullptr.
  [[nodiscard]] virtual std::shared_ptr<key_ring> ring(const key_stream_id&) { return nullptr; }

  /// Does what is ready, without blocking: completes calls, and those whose deadline has passed; within this process
  /// it refills, expires and confirms what is due. Returns when it wants to be called again, while somebody waits.
  virtual time_point drive(time_point now) { return now; }

  /// A descriptor that an event loop may watch for input: drive() is due when there is some, besides the time that it
  /// returned. The same for as long as the exchange lives, whatever becomes of its connections. -1: there is none, and
  /// drive() is to be called by time alone.
  [[nodiscard]] virtual int descriptor() { return -1; }
  /// Has descriptor() show input until drive() is called next. From any thread.
  virtual void wake() noexcept {}
};

}  // namespace qkd004
