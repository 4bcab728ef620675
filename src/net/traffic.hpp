// traffic: counts what a site answers, and how long that took, with the clock readings that its turns have anyway and
// one more at the end of a turn that has answered GET_KEY.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "qkd004/clock.hpp"
#include "qkd004/message.hpp"
#include "qkd004/net/site_report.hpp"

namespace qkd004::net {

/// Threads: inside the turns of its site.
class traffic {
 public:
  /// \name An answer goes out. `waited`: from the turn of the call to this one
  ///@{
  void note(const open_connect_response& r) noexcept { answers_.add(call_kind::open_connect, r.outcome); }
  void note(const close_response& r) noexcept { answers_.add(call_kind::close, r.outcome); }
  void note(const wait_peer_response& r) noexcept { answers_.add(call_kind::wait_peer, r.outcome); }
  void note(const acknowledge_response& r) noexcept { answers_.add(call_kind::acknowledge, r.outcome); }
  void note(const get_key_response& r, boot_clock::duration waited) noexcept {
    answers_.add(call_kind::get_key, r.outcome);
    took(get_key_, at_once_, waited);
    if (r.outcome == status::success) add_age(r.metadata);
  }
  void note(const get_keys_response& r, boot_clock::duration waited) noexcept {
    answers_.add(call_kind::get_keys, r.outcome);
    took(get_keys_, several_at_once_, waited);
    for (const served_key& k : r.keys) add_age(k.metadata);
  }
  ///@}
  /// Keys of a subscription go out, or its end.
  void note_delivery(const get_keys_response& r) noexcept {
    answers_.add(call_kind::subscription, r.outcome);
    for (const served_key& k : r.keys) add_age(k.metadata);
  }

  /// The turn that began then has sent its answers.
  void end_turn(time_point began) noexcept {
    if (at_once_ == 0 && several_at_once_ == 0) return;
    const auto took = boot_clock::now() - began;
    if (at_once_ != 0) get_key_.add(took, at_once_);
    if (several_at_once_ != 0) get_keys_.add(took, several_at_once_);
    at_once_ = several_at_once_ = 0;
  }

  void tell(site_report& to) const {
    to.answers = answers_;
    to.get_key = get_key_;
    to.get_keys = get_keys_;
    to.key_age = key_age_;
  }

 private:
  static void took(duration_histogram& h, std::uint64_t& at_once, boot_clock::duration waited) noexcept {
    if (waited == boot_clock::duration::zero()) {
      ++at_once;  // what the rest of the turn takes is known at its end
    } else {
      h.add(waited);
    }
  }
  void add_age(const key_metadata& m) noexcept { key_age_.add(std::chrono::milliseconds{m.age_ms}); }

  call_counts answers_;
  duration_histogram get_key_{detail::latency_bounds};
  duration_histogram get_keys_{detail::latency_bounds};
  duration_histogram key_age_{detail::age_bounds};
  std::uint64_t at_once_ = 0;          ///< GET_KEYs that this turn has read and answered
  std::uint64_t several_at_once_ = 0;  ///< the same of GET_KEYS
};

}  // namespace qkd004::net
