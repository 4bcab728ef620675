// push_source: a key source whose key a QKD device pushes: this end of two, each at its key manager with its own device.
// Does no I/O: what a device posted and answered goes in, what to ask of it comes out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/message.hpp"
#include "qkd004/push_keys.hpp"
#include "qkd004/push_message.hpp"
#include "qkd004/push_standing.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// Which end this is, and what it asks of its device.
struct push_source_options {
  /// One of the two opens the stream with a NULL id, and tells the other which id it got.
  enum class end : std::uint8_t { begins, follows };

  push_source_options(std::string from, std::string to, end mine, security_class trust)
      : source{std::move(from)}, destination{std::move(to)}, which{mine}, security{trust} {}

  std::string source;       ///< URI of the stream's OPEN_CONNECT, the same at both ends
  std::string destination;  ///< URI, the same at both ends
  end which;
  security_class security;        ///< of what the devices make
  qos quality;                    ///< 0 and empty: the devices choose
  std::uint64_t first_index = 0;  ///< of a stream's keys; the devices' option of the same name
  push_keys::bounds bounds;
  secret_options memory{std::size_t{4} << 20};     ///< for keys that were not handed on yet
  std::chrono::milliseconds gap_patience{1'000};   ///< until a device is asked about an index that is missing
  std::chrono::milliseconds arm_again{5'000};      ///< and about the next one, when nothing comes
  std::chrono::milliseconds longest_pause{5'000};  ///< between calls that failed; the first is 100 ms
  /// What an operator wants to know; never an octet of key. Called on any thread, must not call the source.
  std::function<void(std::string_view)> note;
};

/// What is to be asked of the device next.
struct push_call {
  enum class kind : std::uint8_t { open_connect, get_key, close };
  kind what = kind::open_connect;
  open_connect_request open;
  push_get_key get;
  close_request close;
};

/// What came of it.
struct push_reply {
  bool answered = false;  ///< false: no answer, and the rest means nothing
  unsigned code = 0;      ///< of HTTP
  status outcome = status::success;
  key_stream_id stream;  ///< of an OPEN_CONNECT that succeeded
  qos quality;           ///< the same
};

/// How it stands, for reports.
struct push_source_report {
  key_stream_id stream;  ///< NULL: none is open
  bool armed = false;
  std::uint64_t next_index = 0;  ///< the lowest that was not handed on
  std::uint64_t held = 0;        ///< keys received and not handed on
  std::uint64_t received = 0;
  std::uint64_t repeated = 0;
  std::uint64_t different = 0;
  std::uint64_t refused = 0;  ///< for want of room
  std::uint64_t handed_on = 0;
  std::uint64_t lost_here = 0;  ///< received and dropped: the other end does not have them, or began anew
  std::uint64_t given_up = 0;   ///< indices of keys that never came
  std::uint64_t late = 0;       ///< came after they had been given up
  std::uint64_t streams = 0;    ///< opened
};

/// Both ends hand on the same keys in the same order: those that both hold, and a key only once the other end has said
/// that it is there. Which ones that are, and of which stream, they tell each other over the key managers' connection.
/// A restart of either end, of its key manager's session or of a device goes on with what both still have.
/// Threads: any.
class push_source final : public key_source, private classical_channel {
 public:
  explicit push_source(push_source_options o)
      : options_{std::move(o)},
        arena_{options_.memory},
        keys_{options_.bounds, options_.first_index},
        first_{options_.first_index} {
    capabilities_.kind = "push";
    capabilities_.security = options_.security;
  }
  push_source(const push_source&) = delete;
  push_source& operator=(const push_source&) = delete;

  /// \name From and to the device
  ///@{

  /// What a key that was posted came to. R5: whoever answers `stored` or `repeated` with success takes it over.
  enum class verdict : std::uint8_t {
    stored,
    repeated,
    different,       ///< this index had other octets, or keys of this stream have another size
    no_room,         ///< not now
    unknown_stream,  ///< not this source's
    device_speaks,   ///< a status in place of a key; was noted
  };
  /// `m.stream` has to be this source's stream: see stream().
  [[nodiscard]] verdict take(const push_key_material& m, time_point now) {
    verdict v{};
    bool asks = false;
    {
      const std::lock_guard lock{mutex_};
      const time_point probed = probe_at();
      const bool had_room = is_roomy();
      v = take_locked(m, now);
      asks = probe_at() < probed || (!had_room && is_roomy());
    }
    if (asks) {
      call_wakes();
    } else if (v == verdict::stored) {
      const std::lock_guard lock{wake_mutex_};
      if (ready_wake_) ready_wake_();
    }
    return v;
  }

  /// The stream whose keys it takes; NULL: none now.
  [[nodiscard]] key_stream_id stream() const {
    const std::lock_guard lock{mutex_};
    return ended_ ? key_stream_id{} : stream_;
  }
  /// Whether a key that was answered no_room may be taken now.
  [[nodiscard]] bool has_room() const {
    const std::lock_guard lock{mutex_};
    return is_roomy();
  }

  /// What is to be asked now, if anything is; the next comes after replied().
  [[nodiscard]] std::optional<push_call> next_call(time_point now) {
    const std::lock_guard lock{mutex_};
    if (asked_ || now < call_not_before_) return std::nullopt;
    auto call = call_now(now);
    if (call) asked_ = {call->what, stream_, call->get.index.has_value(), keys_.resolved()};
    return call;
  }
  void replied(const push_reply& r, time_point now) {
    {
      const std::lock_guard lock{mutex_};
      on_reply(r, now);
    }
    call_wakes();
  }
  /// When next_call() may have something that it has not now, if nothing else happens.
  [[nodiscard]] time_point next_deadline() const {
    const std::lock_guard lock{mutex_};
    if (asked_) return time_point::max();
    if (wants_call()) return call_not_before_;
    return armed_ && !stopped_ ? std::max(call_not_before_, probe_at()) : time_point::max();
  }
  /// Calls `wake` whenever next_call(), next_deadline() or has_room() may say something else. Empty: nobody listens any
  /// more; when it returns no call is under way. Threads: `wake` is called from any.
  void on_call(std::function<void()> wake) {
    const std::lock_guard lock{wake_mutex_};
    call_wake_ = std::move(wake);
  }
  /// Asks for nothing more but the stream's CLOSE.
  void finish() {
    {
      const std::lock_guard lock{mutex_};
      stopped_ = true;
      if (opened_) to_close_.push_back(stream_);
      opened_ = armed_ = false;
      call_not_before_ = {};
    }
    call_wakes();
  }

  [[nodiscard]] push_source_report report() const {
    const std::lock_guard lock{mutex_};
    push_source_report r = counted_;
    r.stream = stream_;
    r.armed = armed_;
    r.next_index = keys_.base();
    r.held = keys_.held() + carried_.size();
    r.given_up += keys_.given_up();
    r.late += keys_.late();
    return r;
  }
  ///@}

  /// \name key_source
  ///@{
  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  /// 0: where a session goes on both ends settle by themselves, in indices of the stream.
  [[nodiscard]] std::uint64_t position() const noexcept override { return 0; }

  /// Equal checks say that both ends were given the same source, destination and first index; nothing of the key.
  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point) override {
    const std::lock_guard lock{mutex_};
    generation_ = 0;
    counted_.lost_here += carried_.size();  // agreed on in the session that is over, and not taken in it
    carried_.clear();
    full_ = false;
    if (ended_) forget_stream();
    first_ = keys_.base();
    begin_standing();
    number_ = session.first_block;
    started_ = true;
    broken_ = false;
    return check_of(session);
  }
  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point) override {
    bool frees = false;
    auto out = [&]() -> result<std::optional<key_block>> {
      const std::lock_guard lock{mutex_};
      if (broken_) return status::invalid_argument;
      if (!started_) return std::optional<key_block>{};
      if (arena.forked()) return status::no_qkd_connection;
      const bool had_room = is_roomy();
      auto block = poll_locked(arena);
      frees = !had_room && is_roomy();
      return block;
    }();
    if (frees) call_wake();
    return out;
  }
  /// It tells when it has something.
  [[nodiscard]] time_point ready_at(time_point now) const noexcept override {
    return now + std::chrono::hours{1};
  }
  void stop() noexcept override {
    const std::lock_guard lock{mutex_};
    started_ = false;
    up_ = false;
  }
  [[nodiscard]] classical_channel* channel() noexcept override { return this; }
  ///@}

 private:
  struct asked_call {
    push_call::kind what;
    key_stream_id stream;
    bool with_index;
    std::uint64_t resolved;
  };

  // --- classical_channel ---

  void up() override {
    const std::lock_guard lock{mutex_};
    up_ = true;
    must_say_ = true;  // what was said last may be lost
  }
  void down() noexcept override {
    const std::lock_guard lock{mutex_};
    up_ = false;
  }
  [[nodiscard]] bool next(std::vector<std::byte>& message) override {
    const std::lock_guard lock{mutex_};
    if (!up_ || !has_news()) return false;
    encode(standing(), message);
    return true;
  }
  [[nodiscard]] result<void> receive(std::span<const std::byte> message) override {
    auto said = decode_push_standing(message);
    if (!said) return status::protocol_error;
    {
      const std::lock_guard lock{mutex_};
      if (!up_) return {};
      if (!hear(std::move(*said))) return status::protocol_error;
    }
    call_wakes();
    return {};
  }
  void on_ready(std::function<void()> wake) override {
    const std::lock_guard lock{wake_mutex_};
    ready_wake_ = std::move(wake);
  }

  void call_wakes() {
    const std::lock_guard lock{wake_mutex_};
    if (ready_wake_) ready_wake_();
    if (call_wake_) call_wake_();
  }
  void call_wake() {
    const std::lock_guard lock{wake_mutex_};
    if (call_wake_) call_wake_();
  }
  void note(const std::string& text) const {
    if (options_.note) options_.note(text);
  }

  // --- keys from the device ---

  [[nodiscard]] bool is_roomy() const {
    return chunk_ != 0 && !full_ && keys_.has_room() && carried_.size() < options_.bounds.most;
  }

  verdict take_locked(const push_key_material& m, time_point now) {
    if (stream_.is_null() || ended_ || (m.has_metadata && m.stream != stream_))
      return verdict::unknown_stream;
    if (m.outcome != status::success) {
      note("the device says of key stream " + stream_.to_string() + ": status " +
           std::to_string(static_cast<std::uint32_t>(m.outcome)) + ", " + std::string{to_string(m.outcome)});
      if (armed_) heard_at_ = now - options_.arm_again;  // does it still have the stream?
      return verdict::device_speaks;
    }
    if (chunk_ == 0) return verdict::no_room;  // the answer that says how large keys are has not come yet
    if (m.key.size() != chunk_) {
      counted_.different += 1;
      return verdict::different;
    }
    if (carried_.size() >= options_.bounds.most) {
      counted_.refused += 1;
      return verdict::no_room;
    }
    switch (keys_.take(push_unwrap(m.index, keys_.resolved()), m.key, arena_)) {
      case push_keys::verdict::stored:
        counted_.received += 1;
        full_ = false;
        heard_at_ = now;
        if (!keys_.has_gap())
          gap_since_ = time_point::max();
        else if (gap_since_ == time_point::max())
          gap_since_ = now;
        return verdict::stored;
      case push_keys::verdict::repeated: counted_.repeated += 1; return verdict::repeated;
      case push_keys::verdict::different: counted_.different += 1; return verdict::different;
      case push_keys::verdict::no_room: break;
    }
    counted_.refused += 1;
    full_ = true;
    return verdict::no_room;
  }

  // --- calls to the device ---

  /// Whether a stream with a new id is to be opened from here: the other end was heard, and has none either.
  [[nodiscard]] bool wants_new() const noexcept {
    return options_.which == push_source_options::end::begins && stream_.is_null() && started_ && peer_heard_;
  }
  [[nodiscard]] bool wants_call() const noexcept {
    if (!to_close_.empty()) return true;
    if (stopped_ || ended_) return false;
    return wants_new() || (!stream_.is_null() && !armed_);
  }
  [[nodiscard]] time_point probe_at() const {
    if (!is_roomy()) return time_point::max();
    const time_point idle = heard_at_ + options_.arm_again;
    return gap_since_ == time_point::max() ? idle : std::min(idle, gap_since_ + options_.gap_patience);
  }

  std::optional<push_call> call_now(time_point now) {
    push_call c;
    if (!to_close_.empty()) {
      c.what = push_call::kind::close;
      c.close.stream = to_close_.front();
      return c;
    }
    if (stopped_ || ended_) return std::nullopt;
    if (wants_new() || (!stream_.is_null() && !opened_)) {
      c.what = push_call::kind::open_connect;
      c.open = {options_.source, options_.destination, options_.quality, stream_};
      return c;
    }
    if (stream_.is_null() || (armed_ && now < probe_at())) return std::nullopt;
    c.what = push_call::kind::get_key;
    c.get.stream = stream_;
    if (!without_index_) c.get.index = push_wire_index(keys_.resolved());
    return c;
  }

  void on_reply(const push_reply& r, time_point now) {
    if (!asked_) return;
    const asked_call asked = *std::exchange(asked_, std::nullopt);
    // a stream without a name can neither be armed nor closed
    const bool nameless =
        asked.what == push_call::kind::open_connect && asked.stream.is_null() && r.stream.is_null();
    const bool good = r.answered && r.code >= 200 && r.code < 300 && !nameless;
    if (asked.what == push_call::kind::close) {
      // one attempt: who cannot be reached has lost the stream, or will
      if (!to_close_.empty()) to_close_.pop_front();
      return;
    }
    if (good) {
      pause_ = std::chrono::milliseconds{0};
      call_not_before_ = {};
    } else {
      pause_ = std::clamp<std::chrono::milliseconds>(pause_ * 2, std::chrono::milliseconds{100},
                                                     options_.longest_pause);
      call_not_before_ = now + pause_;
    }
    if (asked.what == push_call::kind::open_connect) return on_opened(asked, r, good);
    if (asked.stream != stream_ || ended_) return;
    on_armed(asked, r, now);
  }

  void on_opened(const asked_call& asked, const push_reply& r, bool good) {
    if (asked.stream != stream_ || ended_ || stopped_) {
      // another stream has taken its place meanwhile, or nobody wants one any more
      const key_stream_id gone = asked.stream.is_null() ? r.stream : asked.stream;
      if (good && (stopped_ || ended_ || gone != stream_)) to_close_.push_back(gone);
      return;
    }
    if (!good) {
      if (!r.answered) return;
      note("the device answers OPEN_CONNECT with " + std::to_string(r.code) + ", status " +
           std::to_string(static_cast<std::uint32_t>(r.outcome)) + (r.code < 300 ? ", and no id" : ""));
      if (!stream_.is_null() && r.outcome == status::ksid_in_use) end_stream();
      return;
    }
    if (stream_.is_null()) stream_ = r.stream;
    counted_.streams += 1;
    chunk_ = r.quality.key_chunk_size != 0 ? r.quality.key_chunk_size : options_.quality.key_chunk_size;
    if (chunk_ == 0) chunk_ = qos_defaults::key_chunk_size;  // a device that says nothing does what D3 says
    opened_ = true;
    armed_ = false;
    without_index_ = false;
    must_say_ = true;
    compare_chunks();
  }

  void on_armed(const asked_call& asked, const push_reply& r, time_point now) {
    if (!r.answered) {
      armed_ = false;  // the device may be another when it is back
      return;
    }
    if (r.code >= 200 && r.code < 300) {
      if (!armed_) note("key stream " + stream_.to_string() + " is armed");
      armed_ = true;
      without_index_ = false;
      heard_at_ = now;
      if (gap_since_ != time_point::max()) gap_since_ = now;
      return;
    }
    if (r.code == 400 && r.outcome == status::insufficient_key && asked.with_index) {
      // the first that is missing here was acknowledged, or its life is over: it never comes
      if (keys_.resolved() == asked.resolved) keys_.give_up(asked.resolved);
      if (!keys_.has_gap()) gap_since_ = time_point::max();
      heard_at_ = now;
      without_index_ = !armed_;
      pause_ = std::chrono::milliseconds{0};
      call_not_before_ = {};
      return;
    }
    note("the device answers GET_KEY with " + std::to_string(r.code) + ", status " +
         std::to_string(static_cast<std::uint32_t>(r.outcome)));
    armed_ = false;
    if (r.code == 400 && r.outcome == status::get_key_peer_not_connected)
      end_stream();  // it knows it no more
  }

  // --- agreement with the other end ---

  void begin_standing() {
    peer_heard_ = false;
    peer_.reset();
    peer_lost_.clear();
    must_say_ = true;
    said_resolved_ = said_heard_ = first_;
  }
  void forget_stream() {
    stream_ = {};
    counted_.lost_here += keys_.held();
    counted_.given_up += keys_.given_up();
    counted_.late += keys_.late();
    keys_ = push_keys{options_.bounds, options_.first_index};
    first_ = options_.first_index;
    chunk_ = 0;
    full_ = false;
    opened_ = armed_ = ended_ = without_index_ = false;
    gap_since_ = time_point::max();
  }
  /// Nothing more of it is taken here. What both ends have of it is still handed on.
  void end_stream() {
    if (ended_ || stream_.is_null()) return;
    ended_ = true;
    note("key stream " + stream_.to_string() + " has ended");
    if (opened_) to_close_.push_back(stream_);
    opened_ = armed_ = false;
    must_say_ = true;
    advance();
  }

  /// Between two runs of what it lost the other end holds a key, and it holds no more than this one may, give or take
  /// its own configuration.
  [[nodiscard]] std::size_t most_peer_ranges() const noexcept {
    return 65'536 + 2 * (options_.bounds.most + static_cast<std::size_t>(options_.bounds.window));
  }
  [[nodiscard]] std::uint64_t peer_resolved() const noexcept { return peer_ ? peer_->resolved : first_; }
  [[nodiscard]] std::uint64_t peer_heard() const noexcept { return peer_ ? peer_->heard : first_; }
  /// Indices below are the same at both ends: held by both, or of no use to either.
  [[nodiscard]] std::uint64_t agreed() const noexcept {
    return peer_ ? std::min(keys_.resolved(), peer_->resolved) : keys_.base();
  }

  [[nodiscard]] bool has_news() const noexcept {
    if (!started_) return false;
    if (must_say_ || peer_resolved() != said_heard_) return true;
    // one at a time: what resolves until the answer comes goes together
    return keys_.resolved() != said_resolved_ && (peer_ ? peer_->heard >= said_resolved_ : false);
  }

  push_standing standing() {
    push_standing s;
    s.generation = generation_;
    s.stream = stream_;
    s.first = first_;
    s.resolved = keys_.resolved();
    s.heard = peer_resolved();
    s.chunk = chunk_;
    s.ended = ended_;
    s.heard_ended = peer_ && peer_->ended;
    s.lost = keys_.lost().from(std::max(peer_heard(), first_));
    if (s.lost.size() > push_standing::most_ranges) {
      s.resolved = s.lost[push_standing::most_ranges].first;
      s.lost.resize(push_standing::most_ranges);
      s.ended = false;
    }
    must_say_ = ended_ && !s.ended;
    said_resolved_ = s.resolved;
    said_heard_ = s.heard;
    return s;
  }

  /// False: that cannot be from the other end.
  [[nodiscard]] bool hear(push_standing s) {
    if (!started_ || s.generation < generation_) return true;
    if (s.generation > generation_) {
      // it goes on to the next stream because it knows that this one has ended here
      if (s.generation != generation_ + 1 || !ended_ || !peer_ || !peer_->ended) return false;
      next_generation();
    }
    peer_heard_ = true;
    if (s.stream.is_null()) return true;
    if (s.stream != stream_) {
      if (!stream_.is_null()) {
        // each has one from before the session: that of the end that begins goes on
        if (options_.which == push_source_options::end::begins) return true;
        if (opened_) to_close_.push_back(stream_);
        forget_stream();
      }
      adopt(s);
    }
    if (peer_ && s.resolved < peer_->resolved) return false;
    if (s.heard > std::max(keys_.resolved(), s.first)) return false;
    if (peer_lost_.size() + s.lost.size() > most_peer_ranges()) return false;
    if (s.first > keys_.base()) counted_.lost_here += dropped(keys_.drop_below(s.first));
    for (const push_range& r : s.lost) peer_lost_.add(r);
    peer_ = std::move(s);
    keys_.forget_lost_below(std::min(peer_->heard, keys_.base()));
    if (peer_->ended) {
      must_say_ = true;
      end_stream();
    }
    compare_chunks();
    advance();
    return true;
  }

  void adopt(const push_standing& s) {
    stream_ = s.stream;
    keys_ = push_keys{options_.bounds, s.first};
    first_ = s.first;
    begin_standing();
    peer_heard_ = true;
  }

  void compare_chunks() {
    if (chunk_ == 0 || !peer_ || peer_->chunk == 0 || peer_->chunk == chunk_ || broken_) return;
    note("the devices of key stream " + stream_.to_string() + " give keys of different sizes");
    broken_ = true;
  }

  /// Goes on to the next stream, once both ends know of each other that this one has ended.
  void advance() {
    if (ended_ && peer_ && peer_->ended && peer_->heard_ended) next_generation();
  }
  void next_generation() {
    const std::uint64_t cut = agreed();
    for (auto k = keys_.front(cut); k; k = keys_.front(cut)) {
      const bool both = !peer_lost_.contains(k->index);
      auto key = keys_.pop_front();
      if (both) {
        carried_.push_back(std::move(key));
      } else {
        counted_.lost_here += 1;
      }
    }
    forget_stream();
    generation_ += 1;
    begin_standing();
  }

  // --- to the key manager ---

  result<std::optional<key_block>> poll_locked(const secret_arena& arena) {
    const auto copy = [&](std::span<const std::byte> octets) -> result<std::optional<key_block>> {
      auto out = arena.allocate(octets.size());
      if (!out) return out.error();
      std::memcpy(out->data(), octets.data(), octets.size());
      counted_.handed_on += 1;
      return std::optional<key_block>{key_block{number_++, std::move(*out)}};
    };
    if (!carried_.empty()) {
      auto block = copy(carried_.front().span());
      if (block) {
        carried_.pop_front();
        full_ = false;
      }
      return block;
    }
    const std::uint64_t end = agreed();
    for (auto k = keys_.front(end); k; k = keys_.front(end)) {
      if (!peer_lost_.contains(k->index)) {
        auto block = copy(k->octets);
        if (block) passed(k->index + 1);
        return block;
      }
      counted_.lost_here += 1;
      passed(k->index + 1);
    }
    passed(end);
    return std::optional<key_block>{};
  }
  /// So many keys have left their memory.
  std::size_t dropped(std::size_t count) noexcept {
    if (count > 0) full_ = false;
    return count;
  }
  void passed(std::uint64_t index) {
    dropped(keys_.drop_below(index));
    peer_lost_.drop_below(index);
    keys_.forget_lost_below(std::min(peer_heard(), index));
  }

  /// FNV-1a over what both ends have to have alike: it finds a mistake in a configuration, and keeps nothing secret.
  [[nodiscard]] key_source_check check_of(const key_source_session& session) const {
    std::uint64_t h = 0xcbf29ce484222325U;
    const auto add = [&h](std::string_view text) {
      for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
      h = (h ^ 0xffU) * 0x100000001b3U;
    };
    add(session.link);
    add(options_.source);
    add(options_.destination);
    add(std::to_string(options_.first_index));
    key_source_check check{};
    std::memcpy(check.data(), &h, sizeof h);
    std::memcpy(check.data() + sizeof h, session.lower.data(), 12);
    std::memcpy(check.data() + sizeof h + 12, session.higher.data(), 12);
    return check;
  }

  const push_source_options options_;
  key_source_capabilities capabilities_{};
  const secret_arena arena_;  ///< of keys that were not handed on
  mutable std::mutex mutex_;
  std::mutex wake_mutex_;  ///< held during a call of the two below
  std::function<void()> ready_wake_;
  std::function<void()> call_wake_;

  // the stream
  key_stream_id stream_;
  push_keys keys_;
  std::uint32_t chunk_ = 0;  ///< octets of a key, as the device has granted; 0: it has not yet
  bool ended_ = false;
  bool full_ = false;  ///< there was no room for a key, and nothing has left since
  // and the device
  bool opened_ =
      false;  ///< by this object: never twice, as a device that has lost a stream must not begin it anew
  bool armed_ = false;
  bool without_index_ = false;  ///< the first that is missing is gone: the next one, then
  bool stopped_ = false;
  std::deque<key_stream_id> to_close_;
  std::optional<asked_call> asked_;
  time_point call_not_before_{};
  std::chrono::milliseconds pause_{0};
  time_point heard_at_{};                     ///< of the device, last
  time_point gap_since_ = time_point::max();  ///< something stands behind what is missing; max: nothing does
  // and the other end
  bool started_ = false;
  bool up_ = false;
  bool broken_ = false;
  bool peer_heard_ = false;  ///< in this generation
  std::uint32_t generation_ = 0;
  std::uint64_t first_;
  std::optional<push_standing> peer_;  ///< of the same stream
  push_ranges peer_lost_;
  bool must_say_ = true;
  std::uint64_t said_resolved_ = 0;
  std::uint64_t said_heard_ = 0;
  // and the key manager
  std::deque<secret_bytes> carried_;  ///< of earlier streams, agreed on and not taken yet
  std::uint64_t number_ = 0;
  push_source_report counted_;
};

}  // namespace qkd004
