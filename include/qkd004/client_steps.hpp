// client_steps: what an application asks of its key manager, as steps between which somebody waits or does not: what
// client and async_client have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/index_ledger.hpp"
#include "qkd004/key_ring.hpp"
#include "qkd004/message.hpp"
#include "qkd004/metadata.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"
#include "qkd004/waiting.hpp"

namespace qkd004 {

/// One call of an application. It goes on when all calls() of its last step are done.
/// Threads: one at a time. Lifetime: none of calls() is in flight when it goes.
class client_steps {
 public:
  /// What a wire may take beyond the time that was asked for before a call fails here.
  static constexpr std::chrono::milliseconds grace{2'000};

  enum class next : std::uint8_t { finished, calls };

  /// Hears that all calls() are complete but for call::done(), on whichever thread completes the last.
  class watcher {
   public:
    virtual void on_calls_done(client_steps& s) noexcept = 0;

   protected:
    watcher() = default;
    watcher(const watcher&) = default;
    watcher& operator=(const watcher&) = default;
    ~watcher() = default;
  };

  explicit client_steps(exchange& via) : via_{via} {}
  client_steps(const client_steps&) = delete;
  client_steps& operator=(const client_steps&) = delete;
  virtual ~client_steps() = default;

  [[nodiscard]] virtual next go_on(time_point now) = 0;
  [[nodiscard]] std::span<call* const> calls() const noexcept { return calls_; }
  void start(watcher* who = nullptr) {
    const auto turn = std::move(turn_);  // the next may go when these are on their way
    watcher_ = who;
    open_.store(calls_.size(), std::memory_order_relaxed);  // the transport's own locks hand it on
    start_calls();
  }
  /// Once it is finished.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  /// Does all of it, and waits; `whom` is who is cancelled by that name.
  void run(waiting_room& room, const void* whom) {
    if (go_on(boot_clock::now()) == next::finished) return;
    waiting_room::waiter w{room, whom, via_};
    do {
      w.ask(calls(), [this] { start(); });
    } while (go_on(boot_clock::now()) == next::calls);
    if (error_ == std::errc::operation_canceled && w.cancelled()) error_ = w.cancelled();
  }

 protected:
  /// One call of a step.
  class part final : public call {
   public:
    explicit part(client_steps& of) noexcept : of_{of} {}

   private:
    void on_complete() noexcept override { of_.part_done(); }
    client_steps& of_;
  };

  virtual void start_calls() { via_.start(calls_); }

  [[nodiscard]] next finish(std::error_code error = {}) noexcept {
    error_ = error;
    return next::finished;
  }
  [[nodiscard]] next ask(call& c, time_point deadline) {
    c.deadline = deadline;
    calls_.assign(1, &c);
    return next::calls;
  }

  exchange& via_;
  std::vector<call*> calls_;
  /// Of who claims indices, from then until start() or until they are given back.
  std::unique_lock<std::mutex> turn_;

 private:
  void part_done() noexcept {
    // acq_rel: whoever completes the last part comes after those who completed the others
    if (watcher_ != nullptr && open_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      watcher_->on_calls_done(*this);
    }
  }

  std::error_code error_;
  watcher* watcher_ = nullptr;
  std::atomic<std::size_t> open_{0};
};

/// One request and its answer, which says how it went in a member `outcome`.
/// Response: what belongs to the request.
template <class Response>
class one_step final : public client_steps {
 public:
  one_step(exchange& via, any_request request, std::chrono::milliseconds timeout)
      : client_steps{via}, timeout_{timeout}, call_{*this} {
    call_.request = std::move(request);
  }

  next go_on(time_point now) override {
    if (!std::exchange(asked_, true)) return ask(call_, now + timeout_);
    return finish(call_.error);
  }
  /// Requires: no error().
  [[nodiscard]] Response& answer() { return std::get<Response>(call_.response); }

 private:
  const std::chrono::milliseconds timeout_;
  part call_;
  bool asked_ = false;
};

/// An application's end of a key stream: what key_stream and async_key_stream know of theirs.
/// Threads: any number.
struct stream_end {
  /// The request of a call that was given up, still in flight, or its answer: the next call for its index takes it over.
  /// Its `request` is the one that is in flight.
  /// So requests that nobody waits for do not pile up at the key manager, strict once burns nothing (R8), and in plain
  /// 004, where asking for later keys acknowledges earlier ones (R5), nothing is lost.
  struct kept_answer final : call {
    std::uint64_t count = 1;   ///< keys that were asked for
    bool describes = false;    ///< with vendor metadata
    std::uint64_t number = 0;  ///< counts requests
    secret_bytes memory;
    key_metadata metadata;  ///< of the first key
    time_point came{};

    /// Requires: done().
    [[nodiscard]] bool has_key() const noexcept {
      const auto* one = std::get_if<get_key_response>(&response);
      return !error && (one != nullptr ? one->outcome == status::success : keys > 0);
    }

   private:
    void on_complete() noexcept override { came = boot_clock::now(); }
  };

  stream_end(std::shared_ptr<exchange> to, secret_arena memory, open_connect_response answer, bool strict)
      : via{std::move(to)},
        arena{std::move(memory)},
        opened{std::move(answer)},
        strict_once{strict},
        spoken{via->supports()},
        left{opened.outcome == status::qos_not_met},
        ledger{opened.lowest_live_index} {}
  stream_end(const stream_end&) = delete;
  stream_end& operator=(const stream_end&) = delete;
  ~stream_end() {
    for (auto& [index, answer] : kept) give_up(*answer);
  }

  [[nodiscard]] std::chrono::milliseconds timeout() const noexcept {
    return std::chrono::milliseconds{opened.quality.timeout_ms};
  }
  [[nodiscard]] std::size_t chunk_size() const noexcept { return opened.quality.key_chunk_size; }

  [[nodiscard]] bool describes() const noexcept {
    // relaxed: nothing else depends on it
    return spoken.get_keys && wants_vendor_metadata.load(std::memory_order_relaxed);
  }

  /// In this process: the ring of the stream; else nullptr.
  key_ring* find_ring() {
    // pairs with the release below
    if (key_ring* known = fast.load(std::memory_order_acquire)) return known;
    const std::lock_guard lock{mutex};
    if (!ring) ring = via->ring(opened.stream);
    fast.store(ring.get(), std::memory_order_release);  // pairs with the acquire above
    return ring.get();
  }

  /// What is next: null, and a run of indices that is claimed; or the keys that are sent ahead, and none is. One lock over
  /// both: between them another might begin a flow at what is claimed here.
  std::shared_ptr<key_flow> flow_or_claim(std::uint64_t most, index_ledger::run& claimed) {
    const std::lock_guard lock{mutex};
    if (auto begun = flow_or_begin(); begun && *begun != nullptr) return std::move(*begun);
    claimed = ledger.claim(most);
    return nullptr;
  }
  /// What has arrived and was not taken is served again.
  void end_flow() {
    std::shared_ptr<key_flow> ends;  // goes outside the lock
    const std::lock_guard lock{mutex};
    const std::uint32_t sent = std::exchange(ahead, 0);
    ends = std::exchange(flow, nullptr);
    if (!ends) return;
    ends->stop();
    ledger = index_ledger{ends->position(), ends->position() + sent};
  }
  result<void> prefetch(std::uint32_t keys) {
    if (opened.outcome == status::qos_not_met) return status::qos_not_met;
    if (!spoken.subscribe || find_ring() != nullptr) return {};
    end_flow();
    const std::lock_guard lock{mutex};
    ahead = keys;
    const auto begun = flow_or_begin();
    if (!begun) return begun.error();
    return {};
  }

  index_ledger::run claim(std::uint64_t most) {
    const std::lock_guard lock{mutex};
    return ledger.claim(most);
  }
  void settle(const index_ledger::run& r, std::uint64_t had) {
    const std::lock_guard lock{mutex};
    ledger.settle(r, had);
    drop_kept([&r, had](std::uint64_t index) { return r.first <= index && index < r.first + had; });
  }
  /// `index` is gone for good, and nothing below `lowest` is live.
  void skip(std::uint64_t index, std::uint64_t lowest) {
    const std::lock_guard lock{mutex};
    ledger.give_up(index);
    ledger.skip_to(lowest);
    drop_kept();
  }
  std::uint64_t had_below() {
    const std::lock_guard lock{mutex};
    return ledger.had_below();
  }
  void told(std::uint64_t below) {
    const std::lock_guard lock{mutex};
    ledger.told(below);
  }
  bool owes_acknowledgement() {
    const std::lock_guard lock{mutex};
    return spoken.acknowledge && ledger.owes_acknowledgement();
  }
  acknowledge_request acknowledgement() {
    acknowledge_request r;
    r.stream = opened.stream;
    r.epoch = opened.epoch;
    r.below = had_below();
    return r;
  }

  /// Of a call that is done: its heir, if that is in flight or was.
  void keep(std::uint64_t index, std::unique_ptr<kept_answer>& heir) noexcept {
    if (!heir || !heir->inherits()) return;
    try {
      const std::lock_guard lock{mutex};
      if (is_worthless(index, *heir)) return give_up(*heir);
      auto& place = kept[index];
      if (place && comes_before(*place, *heir)) return give_up(*heir);
      if (place) give_up(*place);
      place = std::move(heir);
    } catch (...) {  // no memory: nobody waits for it then
      give_up(*heir);
    }
  }
  /// For the call that asks for these; nullptr when there is no memory for it.
  std::unique_ptr<kept_answer> make_heir(std::uint64_t count) {
    std::unique_ptr<kept_answer> heir;
    std::uint64_t number = 0;
    const std::size_t size = count * chunk_size();
    {
      const std::lock_guard lock{mutex};
      heir = std::move(spare);
      number = ++requests;
    }
    if (!heir) heir = std::make_unique<kept_answer>();
    heir->rearm();
    heir->number = number;
    if (heir->memory.size() < size) {
      heir->memory = {};
      auto memory = count == 1 || size <= most_kept ? arena.allocate(size) : status::resource_limit;
      if (!memory) return nullptr;
      heir->memory = std::move(*memory);
    }
    heir->count = count;
    heir->key_buffer = heir->memory.span().first(size);
    heir->metadata_buffer = {&heir->metadata, 1};
    return heir;
  }
  /// Of a call that had its answer itself.
  void put_back(std::unique_ptr<kept_answer> heir) {
    const std::lock_guard lock{mutex};
    if (heir && !heir->inherits()) spare = std::move(heir);
  }
  bool keeps(std::uint64_t index) {
    const std::lock_guard lock{mutex};
    return kept.contains(index);
  }
  std::unique_ptr<kept_answer> take_kept(std::uint64_t index) {
    const std::lock_guard lock{mutex};
    const auto it = kept.find(index);
    if (it == kept.end()) return nullptr;
    auto answer = std::move(it->second);
    kept.erase(it);
    return answer;
  }
  void give_up(call& c) {
    if (c.done()) return;
    via->cancel(c);
    via->wait(c);
  }

  static constexpr std::size_t most_kept = 64 * 1024;  ///< octets of one answer with several keys

  const std::shared_ptr<exchange> via;
  const secret_arena arena;
  const open_connect_response opened;
  const bool strict_once;
  const extensions spoken;  ///< wire
  tick_clock clock;
  std::atomic<key_ring*> fast{nullptr};
  std::atomic<bool> wants_vendor_metadata{false};
  std::atomic<bool> left;  ///< there is nothing to close any more

  /// Wire: requests for what is next leave in the order of their indices. Answers come in the order of requests: one
  /// that left late would stand behind others that wait until it was read.
  std::mutex turn;
  std::mutex mutex;  ///< of what follows; taken inside `turn`, and the exchange's own locks inside it
  std::shared_ptr<key_ring> ring;  ///< set by the first that finds it
  index_ledger ledger;             ///< wire
  std::shared_ptr<key_flow> flow;  ///< wire: keys that are sent ahead
  std::uint32_t ahead = 0;         ///< so many keys of it may have come and not been taken
  std::map<std::uint64_t, std::unique_ptr<kept_answer>> kept;  ///< wire, by index
  std::unique_ptr<kept_answer> spare;                          ///< wire
  std::uint64_t requests = 0;                                  ///< for keys

 private:
  // in `mutex`

  /// Keys that are sent ahead: null while that is not wanted, or something below is still to be read: what a flow
  /// brings is acknowledged up to its end.
  result<std::shared_ptr<key_flow>> flow_or_begin() {
    if (flow || ahead == 0 || !ledger.is_whole()) return flow;
    drop_kept();
    if (kept.lower_bound(ledger.had_below()) != kept.end()) return flow;
    auto made = via->subscribe(opened, ledger.had_below(), ahead, arena);
    if (!made) {
      ahead = 0;
      return made.error();
    }
    flow = std::move(*made);
    return flow;
  }

  /// No later call has a use for it. Strict once an answer is the only one, whatever became of its index here.
  bool is_worthless(std::uint64_t index, const kept_answer& k) const noexcept {
    if (k.done() && !k.has_key()) return true;
    return !strict_once && index < ledger.had_below();
  }
  /// Of two for one index, `b` not worthless: whether `a` is the one that has the key, or will. The server answers in the
  /// order of requests.
  static bool comes_before(const kept_answer& a, const kept_answer& b) noexcept {
    if (a.done()) return a.has_key();
    return !b.done() && a.number < b.number;
  }
  /// What is worthless, and what was had.
  template <class WasHad>
  void drop_kept(WasHad was_had) {
    for (auto it = kept.begin(); it != kept.end();) {
      if (was_had(it->first) || is_worthless(it->first, *it->second)) {
        give_up(*it->second);
        it = kept.erase(it);
      } else {
        ++it;
      }
    }
  }
  void drop_kept() {
    drop_kept([](std::uint64_t) { return false; });
  }
};

[[nodiscard]] inline std::uint32_t age_of(time_point since, time_point now) noexcept {
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - since).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(age, 0, 0xffff'ffff));
}

/// A run of keys, one after another in the caller's memory.
struct key_run {
  std::uint64_t first = 0;  ///< index of the first; the others follow without a gap
  std::size_t count = 0;    ///< at least 1
};

enum class key_patience : std::uint8_t { none, timeout };

/// What a caller wants of a stream, and where it goes.
struct key_wish {
  std::optional<std::uint64_t> index;  ///< none: what is next
  std::span<std::byte> out;            ///< room for at least one key; with an index for one
  std::span<key_metadata> metadata;    ///< as many as there is room for
  key_patience patience = key_patience::timeout;
};

/// Keys over a wire: one, or as many as can be asked for in one call. What fails leaves every key where it was.
class key_steps final : public client_steps {
 public:
  key_steps(stream_end& end, const key_wish& wish)
      : client_steps{*end.via}, end_{end}, wish_{wish}, call_{*this} {}
  ~key_steps() override {
    if (is_unread_ && call_.done()) leave_to_heir();
    end_.keep(asked_.first, heir_);  // before who asks next looks for it
    settle(0);
  }

  next go_on(time_point now) override {
    switch (stage_) {
      case stage::fresh: return begin(now);
      case stage::flowing: return from_flow(now);
      case stage::asked: return answered(now);
    }
    return finish();
  }

  /// Requires: no error().
  [[nodiscard]] key_run got() const noexcept { return got_; }
  [[nodiscard]] std::string& vendor_metadata() noexcept { return call_.vendor_metadata; }

 private:
  enum class stage : std::uint8_t { fresh, flowing, asked };

  [[nodiscard]] bool waits() const noexcept { return wish_.patience == key_patience::timeout; }
  [[nodiscard]] std::chrono::milliseconds patience() const noexcept {
    return waits() ? end_.timeout() : std::chrono::milliseconds{0};
  }
  /// A connection that broke may have lost the reply only: the same index again is a retransmission (D13).
  [[nodiscard]] static bool may_repeat(std::error_code e) noexcept {
    return e == std::errc::connection_reset || e == std::errc::broken_pipe ||
           e == std::errc::connection_aborted;
  }

  [[nodiscard]] next begin(time_point now) {
    deadline_ = now + patience();
    describes_ = end_.describes() && !wish_.metadata.empty();
    if (!wish_.index) return ask_for_next(now);
    stage_ = stage::asked;
    asked_ = {*wish_.index, 1};
    return ask_for_claimed(now);
  }

  [[nodiscard]] next ask_for_next(time_point now) {
    const std::size_t fit = std::min<std::size_t>(wish_.out.size() / end_.chunk_size(), 0xffff);
    turn_ = std::unique_lock{end_.turn};
    flow_ = end_.flow_or_claim(end_.spoken.get_keys && !end_.strict_once ? fit : 1, asked_);
    if (flow_ != nullptr) {
      turn_ = {};
      stage_ = stage::flowing;
      return from_flow(now);
    }
    stage_ = stage::asked;
    is_claimed_ = true;
    repeated_ = false;
    return ask_for_claimed(now);
  }

  [[nodiscard]] next from_flow(time_point now) {
    const auto t = flow_->take(wish_.out, wish_.metadata);
    if (!t.error) {
      got_ = {t.first, t.count};
      return finish();
    }
    if (to_status(t.error) != status::insufficient_key) return finish(t.error);
    if (call_.error && to_status(call_.error) != status::timeout) return finish(call_.error);
    if (!waits()) return finish(t.error);
    if (now >= deadline_) return finish(status::timeout);
    call_.rearm();
    return ask(call_, deadline_);
  }

  void settle(std::uint64_t had) {
    if (std::exchange(is_claimed_, false)) end_.settle(asked_, had);
    turn_ = {};  // of a request that was not made
  }

  [[nodiscard]] any_request request() {
    if (end_.spoken.get_keys && (!wish_.index || describes_)) {
      get_keys_request r;
      r.stream = end_.opened.stream;
      r.epoch = end_.opened.epoch;
      r.first = asked_.first;
      r.count = static_cast<std::uint16_t>(asked_.count);
      r.acknowledge_below = told_ = end_.had_below();
      r.no_wait = !waits();
      r.vendor_metadata = describes_;
      return r;
    }
    get_key_request r;
    r.stream = end_.opened.stream;
    r.index = asked_.first;
    r.metadata_size = end_.opened.quality.metadata_mimetype.empty() ? 0 : metadata_json_size;
    r.no_wait = !waits();
    return r;
  }

  [[nodiscard]] next ask_for_claimed(time_point now) {
    call_.rearm();
    call_.key_buffer = wish_.out;
    call_.metadata_buffer = wish_.metadata;
    end_.put_back(std::move(heir_));
    heir_ = end_.make_heir(asked_.count);
    // what is handed out is erased there: it must not be lost here
    if (!heir_ && end_.strict_once) return fail(status::resource_limit, asked_.first, now);
    call_.heir = heir_.get();
    asks(request(), describes_);
    is_unread_ = true;
    return ask(call_, now + patience() + grace);
  }

  /// What is asked, as whoever reads the answer has to know.
  void asks(any_request r, bool describes) {
    if (heir_) {
      heir_->request = r;
      heir_->describes = describes;
    }
    call_.request = std::move(r);
  }

  void start_calls() override {
    if (stage_ == stage::flowing) return flow_->await(call_);
    if (!adopt()) client_steps::start_calls();
  }

  /// Takes the place of a call for the same index that was given up, or its answer. Returns whether there was one.
  [[nodiscard]] bool adopt() {
    auto kept = end_.take_kept(asked_.first);
    if (!kept) return false;
    // whoever never waits would not read, and nobody else may
    if (!waits() && !kept->done()) static_cast<void>(via_.drive(boot_clock::now()));
    if (!waits() && !kept->done()) {
      end_.keep(asked_.first, kept);
      call_.error = status::insufficient_key;
      call_.complete();
      return true;
    }
    any_request mine = call_.request;
    if (end_.strict_once || (kept->count <= asked_.count && kept->describes == describes_)) {
      kept->heir = &call_;
      asks(kept->request, kept->describes);  // it is in flight, and may be GET_KEY where this is GET_KEYS
      if (heir_) std::swap(heir_->number, kept->number);
    }
    end_.give_up(*kept);
    const std::uint64_t would_tell = std::exchange(told_, 0);  // in a request that is not made
    if (call_.inherits()) return true;
    asks(std::move(mine), describes_);
    if (heir_ && kept->heir != nullptr) std::swap(heir_->number, kept->number);
    if (take_answer(*kept)) return true;
    told_ = would_tell;
    return false;
  }

  [[nodiscard]] bool take_answer(stream_end::kept_answer& kept) {
    if (kept.memory.empty() || (describes_ && !kept.describes && !end_.strict_once)) return false;
    const auto* one = std::get_if<get_key_response>(&kept.response);
    const auto* several = std::get_if<get_keys_response>(&kept.response);
    if (!kept.has_key() || (several != nullptr && several->first != asked_.first)) return false;
    const auto age = boot_clock::now() - kept.came +
                     std::chrono::milliseconds{one != nullptr ? one->metadata.age_ms : kept.metadata.age_ms};
    const std::chrono::seconds ttl{end_.opened.quality.ttl_s};
    if (ttl.count() != 0 && age >= ttl) return false;  // D15
    const std::uint64_t count =
        std::min<std::uint64_t>({asked_.count, kept.count, one != nullptr ? 1U : kept.keys});
    std::memcpy(call_.key_buffer.data(), kept.memory.data(), count * end_.chunk_size());
    if (!call_.metadata_buffer.empty()) call_.metadata_buffer.front() = kept.metadata;
    call_.response = kept.response;
    call_.keys = static_cast<std::uint32_t>(count);
    call_.vendor_metadata = std::move(kept.vendor_metadata);
    call_.complete();
    return true;
  }

  /// An exception has come between an answer and who asked for it: it is the next call's, as that of a cancelled one.
  void leave_to_heir() noexcept {
    const auto* one = std::get_if<get_key_response>(&call_.response);
    const std::uint64_t came = one == nullptr ? call_.keys : one->outcome == status::success ? 1U : 0U;
    const std::size_t size = std::min(came, asked_.count) * end_.chunk_size();
    if (call_.error || size == 0 || call_.inherit() == nullptr) return;
    heir_->keys = call_.keys;
    heir_->response = std::move(call_.response);
    heir_->vendor_metadata = std::move(call_.vendor_metadata);
    if (!wish_.metadata.empty()) heir_->metadata = wish_.metadata.front();
    std::memcpy(heir_->memory.data(), wish_.out.data(), size);
    wipe(wish_.out.data(), size);
    heir_->complete();
  }

  [[nodiscard]] next answered(time_point now) {
    is_unread_ = false;
    if (call_.error) {
      end_.keep(asked_.first, heir_);
      if (may_repeat(call_.error) && !std::exchange(repeated_, true)) return ask_for_claimed(now);
      return fail(call_.error, asked_.first, now);
    }
    status outcome{};
    std::uint64_t lowest = 0;
    std::size_t count = 0;
    if (const auto* one = std::get_if<get_key_response>(&call_.response)) {
      outcome = one->outcome;
      lowest = one->index;
      count = 1;
      if (outcome == status::success && !wish_.metadata.empty()) wish_.metadata.front() = one->metadata;
    } else {
      const auto& several = std::get<get_keys_response>(call_.response);
      end_.told(told_);
      outcome = several.outcome;
      lowest = several.first;
      count = call_.keys;
      const bool odd = lowest != asked_.first || count == 0 || count > asked_.count;
      if (outcome == status::success && odd) return fail(status::protocol_error, asked_.first, now);
    }
    // what was taken over may have had less patience than this, or the end of it
    const bool not_yet = outcome == status::timeout ||
                         (waits() && outcome == status::insufficient_key && lowest <= asked_.first);
    if (not_yet && call_.inherits() && now < deadline_) return ask_for_claimed(now);
    if (outcome != status::success) return fail(outcome, lowest, now);
    settle(count);
    got_ = {asked_.first, count};
    end_.put_back(std::move(heir_));
    return finish();
  }

  [[nodiscard]] next fail(std::error_code why, std::uint64_t lowest, time_point now) {
    const std::uint64_t index = asked_.first;
    settle(0);
    const status s = to_status(why);
    const bool gone = s == status::index_not_available || s == status::insufficient_key;
    if (wish_.index || !gone || lowest <= index) return finish(why);
    end_.skip(index, lowest);  // gone for good: the key manager named the lowest that is not
    return ask_for_next(now);
  }

  stream_end& end_;
  const key_wish wish_;
  stage stage_ = stage::fresh;
  time_point deadline_{};
  bool describes_ = false;  ///< asks for vendor metadata
  std::shared_ptr<key_flow> flow_;
  index_ledger::run asked_;
  bool is_claimed_ = false;
  bool repeated_ = false;
  bool is_unread_ = false;  ///< call_ was asked, and its answer not looked at
  std::uint64_t told_ = 0;
  std::unique_ptr<stream_end::kept_answer> heir_;
  part call_;
  key_run got_;
};

/// Keys over plain 004: one request a key, all in one write; the first gap ends the run.
class batch_steps final : public client_steps {
 public:
  /// Calls and octets asked for at once, within the acknowledgement window of a default key manager.
  static constexpr std::size_t most_in_flight = 32;
  static constexpr std::size_t most_octets_in_flight = 128 * 1024;

  batch_steps(stream_end& end, std::span<std::byte> out) : client_steps{*end.via}, end_{end}, out_{out} {}
  ~batch_steps() override {
    for (std::size_t i = 0; i < heirs_.size(); ++i) end_.keep(asked_.first + i, heirs_[i]);
    settle(0);
  }

  next go_on(time_point now) override {
    if (is_claimed_) return answered();
    const std::size_t size = end_.chunk_size();
    const std::size_t most = std::min(
        {out_.size() / size, most_in_flight, std::max(most_octets_in_flight / size, std::size_t{1})});
    calls_.reserve(most);
    while (parts_.size() < most) parts_.push_back(std::make_unique<part>(*this));
    while (heirs_.size() < most) heirs_.push_back(end_.make_heir(1));
    turn_ = std::unique_lock{end_.turn};
    asked_ = end_.claim(most);
    is_claimed_ = true;
    if (end_.keeps(asked_.first)) {  // asked for already
      settle(0);
      return finish(status::insufficient_key);
    }
    for (std::size_t i = 0; i < asked_.count; ++i) {
      get_key_request r;
      r.stream = end_.opened.stream;
      r.index = asked_.first + i;
      r.metadata_size = end_.opened.quality.metadata_mimetype.empty() ? 0 : metadata_json_size;
      parts_[i]->request = r;
      parts_[i]->key_buffer = out_.subspan(i * size, size);
      parts_[i]->deadline = now + end_.timeout() + grace;
      parts_[i]->heir = heirs_[i].get();
      if (heirs_[i]) heirs_[i]->request = r;
      calls_.push_back(parts_[i].get());
    }
    return next::calls;
  }

  [[nodiscard]] key_run got() const noexcept { return got_; }
  /// Failed where key_steps, which knows how to skip and how to try again, may not.
  [[nodiscard]] bool is_worth_another() const noexcept {
    return error() && to_status(error()) != status::timeout && error() != std::errc::operation_canceled &&
           to_status(error()) != status::unknown_key_stream;
  }

 private:
  void settle(std::uint64_t had) {
    if (std::exchange(is_claimed_, false)) end_.settle(asked_, had);
    turn_ = {};  // of a request that was not made
  }
  [[nodiscard]] next answered() {
    got_.first = asked_.first;
    std::error_code failed;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      std::error_code error = calls_[i]->error;
      if (!error) error = std::get<get_key_response>(calls_[i]->response).outcome;
      if (!error && got_.count == i) got_.count += 1;
      if (i == 0) failed = error;
      end_.keep(asked_.first + i, heirs_[i]);
    }
    settle(got_.count);
    return finish(got_.count > 0 ? std::error_code{} : failed);
  }

  stream_end& end_;
  const std::span<std::byte> out_;
  std::vector<std::unique_ptr<part>> parts_;
  std::vector<std::unique_ptr<stream_end::kept_answer>> heirs_;
  index_ledger::run asked_;
  bool is_claimed_ = false;
  key_run got_;
};

/// CLOSE, and before it on the same connection what this side has (R5).
class close_steps final : public client_steps {
 public:
  close_steps(stream_end& end, std::chrono::milliseconds timeout)
      : client_steps{*end.via}, end_{end}, timeout_{timeout}, had_{*this}, close_{*this} {}

  next go_on(time_point now) override {
    if (!calls_.empty()) {
      return finish(close_.error ? close_.error
                                 : make_error_code(std::get<close_response>(close_.response).outcome));
    }
    end_.end_flow();  // acknowledges what was taken, which CLOSE does not
    had_.request = end_.acknowledgement();
    close_.request = close_request{end_.opened.stream};
    had_.deadline = close_.deadline = now + timeout_ + grace;
    calls_ = {&had_, &close_};
    if (!end_.owes_acknowledgement()) calls_.erase(calls_.begin());
    return next::calls;
  }
  /// Whether the key manager has answered, whatever that was: CLOSE may not be asked for again.
  [[nodiscard]] bool is_answered() const noexcept { return !close_.error; }

 private:
  stream_end& end_;
  const std::chrono::milliseconds timeout_;
  part had_;
  part close_;
};

/// What wait_for_peer() asks; 0 ms: up to QoS Timeout.
[[nodiscard]] inline one_step<wait_peer_response> peer_step(stream_end& end,
                                                            std::chrono::milliseconds timeout) {
  const auto most = std::chrono::milliseconds{std::numeric_limits<std::uint32_t>::max()};
  const auto asked = std::clamp(timeout, std::chrono::milliseconds{0}, most);
  const auto patient = asked.count() == 0 ? end.timeout() : asked;
  return {*end.via, wait_peer_request{end.opened.stream, static_cast<std::uint32_t>(asked.count())},
          patient + client_steps::grace};
}
[[nodiscard]] inline one_step<open_connect_response> open_step(exchange& via,
                                                               const open_connect_request& request) {
  const std::uint32_t timeout =
      request.quality.timeout_ms == 0 ? qos_defaults::timeout_ms : request.quality.timeout_ms;
  return {via, request, std::chrono::milliseconds{timeout} + client_steps::grace};
}
/// Makes of an answer to OPEN_CONNECT what a stream can work with: servers of others may leave Timeout at 0.
/// Returns its outcome if it is none of the answers, and protocol_error for keys of no octets.
[[nodiscard]] inline result<void> take_opened(open_connect_response& r) {
  if (!is_answer(r.outcome, operation::open_connect)) return r.outcome;
  if (r.outcome == status::qos_not_met)
    return {};  // there is no stream, and the counter-proposal stays as it is
  if (r.quality.key_chunk_size == 0) return status::protocol_error;
  if (r.quality.timeout_ms == 0) r.quality.timeout_ms = qos_defaults::timeout_ms;
  return {};
}

}  // namespace qkd004
