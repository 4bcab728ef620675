// async_client: client and key_stream for event loops: nothing blocks, and completions are called from drive().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qkd004/client_steps.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/key_chunk.hpp"
#include "qkd004/key_ring.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

/// Names a call that was started, for cancel(). Not used again. 0: none was, because the async_client is going.
using async_call_id = std::uint64_t;

/// Several keys in one piece of memory.
struct key_batch {
  std::uint64_t first = 0;     ///< index of the first; the others follow without a gap
  std::size_t count = 0;       ///< at least 1
  std::size_t chunk_size = 0;  ///< octets of a key
  secret_bytes memory;

  /// Key number `i` of them.
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t i) const noexcept {
    return memory.span().subspan(i * chunk_size, chunk_size);
  }
};

/// Calls that were started and have not completed: what async_client and its streams share.
class async_calls final : private client_steps::watcher {
 public:
  /// One call, from its start to its completion.
  class pending {
   public:
    explicit pending(const void* whom) : whom_{whom} {}
    pending(const pending&) = delete;
    pending& operator=(const pending&) = delete;
    virtual ~pending() = default;
    /// What the call does now; nullptr: it looks again later, without a call.
    [[nodiscard]] virtual client_steps* steps() = 0;
    /// Goes on. Returns whether it is finished.
    [[nodiscard]] virtual bool go_on(time_point now) = 0;
    /// Is given up: finishes as cancelled unless it has something.
    virtual void stop(std::error_code why) = 0;
    /// Whether it is begun even if it was cancelled before.
    [[nodiscard]] virtual bool insists() const noexcept { return false; }
    /// Once it is finished; `this` is not used any more.
    virtual void complete() = 0;

   private:
    friend class async_calls;
    const void* const whom_;
    bool in_flight_ = false;
    bool cancelled_ = false;
  };

  explicit async_calls(std::shared_ptr<exchange> via) : via_{std::move(via)} {}
  async_calls(const async_calls&) = delete;
  async_calls& operator=(const async_calls&) = delete;
  ~async_calls() { end(); }

  /// Returns 0, and makes no call, once all this ends.
  async_call_id start(std::unique_ptr<pending> p) {
    async_call_id id = 0;
    {
      const std::lock_guard lock{mutex_};
      if (ended_) return 0;
      id = add(std::move(p));
    }
    via_->wake();
    return id;
  }
  /// Of a stream that goes: also while all this ends. Requires: its completion starts nothing.
  void start_last(std::unique_ptr<pending> p) {
    {
      const std::lock_guard lock{mutex_};
      add(std::move(p));
    }
    via_->wake();
  }

  void cancel(async_call_id id) {
    {
      const std::lock_guard lock{mutex_};
      if (!all_.contains(id)) return;
      cancelled_.push_back(id);
    }
    via_->wake();
  }
  /// Those of `whom`; nullptr: all.
  void cancel(const void* whom) {
    {
      const std::lock_guard lock{mutex_};
      for (const auto& [id, p] : all_) {
        if (whom == nullptr || p->whom_ == whom) cancelled_.push_back(id);
      }
    }
    via_->wake();
  }

  [[nodiscard]] time_point drive() {
    for (;;) {
      time_point due = via_->drive(boot_clock::now());
      if (run()) continue;  // what it started has deadlines of its own
      const time_point now = boot_clock::now();
      bool waits = false;
      bool looks = false;
      {
        const std::lock_guard lock{mutex_};
        waits = !all_.empty();
        looks = waits && (!parked_.empty() || via_->descriptor() < 0);
      }
      if (!waits) return via_->descriptor() < 0 ? time_point::max() : due;
      due = std::max(due, now + least_pause);
      return looks ? std::min(due, now + most_pause) : due;
    }
  }

  /// Completes everything that is left as cancelled. From now on nothing is started.
  void end() {
    for (;;) {
      {
        const std::lock_guard lock{mutex_};
        ended_ = true;
        if (all_.empty()) return;
      }
      cancel(nullptr);
      (void)run();
    }
  }

  [[nodiscard]] exchange& via() noexcept { return *via_; }

 private:
  static constexpr boot_clock::duration least_pause = std::chrono::milliseconds{1};
  static constexpr boot_clock::duration most_pause =
      std::chrono::milliseconds{5};  ///< as a blocking caller's

  /// In the mutex.
  async_call_id add(std::unique_ptr<pending> p) {
    const async_call_id id = next_id_++;
    fresh_.push_back(id);
    all_.emplace(id, std::move(p));
    return id;
  }

  void on_calls_done(client_steps& s) noexcept override {
    {
      const std::lock_guard lock{done_mutex_};
      done_.push_back(&s);  // room was made for it when it was started
    }
    via_->wake();
  }

  /// Goes on with whatever can. Returns whether there was anything. What a completion throws leaves the rest for the
  /// next time.
  bool run() {
    {
      const std::lock_guard lock{mutex_};
      for (const auto id : std::exchange(cancelled_, {})) {
        const auto it = all_.find(id);
        if (it == all_.end()) continue;
        it->second->cancelled_ = true;
        (it->second->in_flight_ ? to_cancel_ : ready_).push_back(id);
      }
      ready_.insert(ready_.end(), fresh_.begin(), fresh_.end());
      fresh_.clear();
    }
    for (const auto id : std::exchange(to_cancel_, {})) cancel_calls(id);
    {
      const std::lock_guard lock{done_mutex_};
      landed_.insert(landed_.end(), done_.begin(), done_.end());
      done_.clear();
    }
    for (; !landed_.empty(); landed_.pop_front()) land(*landed_.front());
    ready_.insert(ready_.end(), parked_.begin(), parked_.end());
    bool ran = false;
    while (!ready_.empty()) {
      const auto id = ready_.front();
      ready_.pop_front();
      ran = go_on(id) || ran;
    }
    return ran;
  }

  void land(client_steps& s) {
    for (call* const c : s.calls()) {
      while (!c->done()) std::this_thread::yield();  // whoever completes it is about to say so
    }
    const auto it = flying_.find(&s);
    find(it->second)->in_flight_ = false;
    ready_.push_back(it->second);
    flying_.erase(it);
  }

  pending* find(async_call_id id) {
    const std::lock_guard lock{mutex_};
    const auto it = all_.find(id);
    return it == all_.end() ? nullptr : it->second.get();
  }

  void cancel_calls(async_call_id id) {
    pending* const p = find(id);
    if (p == nullptr || !p->in_flight_ || p->steps() == nullptr) return;
    for (call* const c : p->steps()->calls()) via_->cancel(*c);
  }

  /// Returns whether it did anything but look.
  bool go_on(async_call_id id) {
    pending* const p = find(id);
    if (p == nullptr || p->in_flight_) return false;
    const bool was_parked = std::erase(parked_, id) != 0;
    if (!p->go_on(boot_clock::now())) {
      if (p->cancelled_ && !p->insists()) {
        p->stop(std::make_error_code(std::errc::operation_canceled));
      } else if (client_steps* const s = p->steps(); s != nullptr) {
        p->in_flight_ = true;
        flying_.emplace(s, id);
        {
          const std::lock_guard lock{done_mutex_};
          done_.reserve(flying_.size());
        }
        s->start(this);
        return true;
      } else {
        parked_.push_back(id);
        return !was_parked;
      }
    }
    std::unique_ptr<pending> finished;
    {
      const std::lock_guard lock{mutex_};
      const auto it = all_.find(id);
      finished = std::move(it->second);
      all_.erase(it);
    }
    finished->complete();
    return true;
  }

  const std::shared_ptr<exchange> via_;
  std::mutex mutex_;
  bool ended_ = false;
  async_call_id next_id_ = 1;
  std::unordered_map<async_call_id, std::unique_ptr<pending>> all_;
  std::vector<async_call_id> fresh_;
  std::vector<async_call_id> cancelled_;
  std::mutex done_mutex_;  ///< a transport may hold locks of its own when it takes this one
  std::vector<client_steps*> done_;
  // of the thread that drives
  std::vector<async_call_id> parked_;
  std::deque<async_call_id> to_cancel_;
  std::deque<client_steps*> landed_;
  std::deque<async_call_id> ready_;
  std::unordered_map<client_steps*, async_call_id> flying_;
};

/// A key stream, for event loops. As key_stream in what it means: D13, R4, R8, and calls that are started while others
/// wait each get a key of their own.
/// Each call takes a completion, callable once with the result that is named, by value. It is called from
/// async_client::drive(), exactly once, never from inside the call that starts it; with
/// std::errc::operation_canceled when it was cancelled before it had something. What a completion throws leaves drive().
/// When this goes, what waits is cancelled, and the stream is closed without waiting for the answer, unless close() or
/// detach() did it.
/// Threads: any number may start and cancel. Lifetime: the client outlives it.
class async_key_stream {
 public:
  async_key_stream(async_key_stream&&) noexcept = default;
  async_key_stream& operator=(async_key_stream&& other) noexcept {
    if (this != &other) {
      leave();
      calls_ = std::move(other.calls_);
      end_ = std::move(other.end_);
    }
    return *this;
  }
  ~async_key_stream() { leave(); }

  [[nodiscard]] status outcome() const noexcept { return end_->opened.outcome; }
  [[nodiscard]] const qos& quality() const noexcept { return end_->opened.quality; }
  [[nodiscard]] const key_stream_id& id() const noexcept { return end_->opened.stream; }

  /// See key_stream::next_key(). Completion: result<key_chunk>.
  template <class Completion>
  async_call_id next_key(Completion&& done) {
    return start_key(std::nullopt, key_patience::timeout, std::forward<Completion>(done));
  }
  /// See key_stream::try_next_key(). Completion: result<key_chunk>.
  template <class Completion>
  async_call_id try_next_key(Completion&& done) {
    return start_key(std::nullopt, key_patience::none, std::forward<Completion>(done));
  }
  /// See key_stream::get_key(). Completion: result<key_chunk>.
  template <class Completion>
  async_call_id get_key(std::uint64_t index, Completion&& done) {
    return start_key(index, key_patience::timeout, std::forward<Completion>(done));
  }
  /// Up to `most` keys, at least 1; see key_stream::next_keys_into(). Over plain 004 it is one. Completion: result<key_batch>.
  template <class Completion>
  async_call_id next_keys(std::size_t most, Completion&& done) {
    return calls_->start(
        std::make_unique<batch_call<std::decay_t<Completion>>>(end_, most, std::forward<Completion>(done)));
  }
  /// See key_stream::wait_for_peer(). Completion: result<void>.
  template <class Completion>
  async_call_id wait_for_peer(std::chrono::milliseconds timeout, Completion&& done) {
    return calls_->start(
        std::make_unique<peer_call<std::decay_t<Completion>>>(end_, timeout, std::forward<Completion>(done)));
  }
  /// See key_stream::close(). Calls that wait are cancelled. Completion: result<void>.
  template <class Completion>
  async_call_id close(Completion&& done) {
    calls_->cancel(end_.get());
    return calls_->start(std::make_unique<close_call<std::decay_t<Completion>>>(
        end_, end_->timeout(), std::forward<Completion>(done)));
  }

  /// See key_stream::prefetch(); does not wait.
  [[nodiscard]] result<void> prefetch(std::uint32_t keys) { return end_->prefetch(keys); }
  /// See key_stream::want_vendor_metadata().
  void want_vendor_metadata() noexcept { end_->wants_vendor_metadata.store(true, std::memory_order_relaxed); }
  void detach() noexcept { end_->left = true; }

  /// One call, by what its start returned; nothing if it is complete. What has its answer completes with that.
  void cancel(async_call_id id) { calls_->cancel(id); }
  /// All calls of this stream that are not complete.
  void cancel() { calls_->cancel(end_.get()); }

 private:
  friend class async_client;
  using end_ptr = std::shared_ptr<stream_end>;

  async_key_stream(std::shared_ptr<async_calls> calls, end_ptr end)
      : calls_{std::move(calls)}, end_{std::move(end)} {}

  /// Of keys: through the ring in this process, else by key_steps.
  class taking : public async_calls::pending {
   public:
    taking(end_ptr end, std::optional<std::uint64_t> index, key_patience p, std::size_t most)
        : pending{end.get()}, end_{std::move(end)}, index_{index}, patience_{p}, most_{most} {}

    [[nodiscard]] client_steps* steps() override { return steps_ ? &*steps_ : nullptr; }
    [[nodiscard]] bool go_on(time_point now) override {
      if (steps_) return from_wire(now);
      if (memory_.empty()) {
        if (end_->opened.outcome == status::qos_not_met) return fail(status::qos_not_met);
        if (most_ == 0) return fail(status::invalid_argument);
        if (most_ > std::numeric_limits<std::size_t>::max() / end_->chunk_size()) {
          return fail(status::resource_limit);
        }
        auto memory = end_->arena.allocate(most_ * end_->chunk_size());
        if (!memory) return fail(memory.error());
        memory_ = std::move(*memory);
        deadline_ = now + (patience_ == key_patience::none ? std::chrono::milliseconds{0} : end_->timeout());
        if (end_->find_ring() == nullptr || (end_->describes() && most_ == 1)) {
          steps_.emplace(
              *end_, key_wish{index_, memory_.span(),
                              most_ == 1 ? std::span<key_metadata>{&metadata_, 1} : std::span<key_metadata>{},
                              patience_});
          return from_wire(now);
        }
      }
      return from_ring(now);
    }
    void stop(std::error_code why) override {
      error_ = why;
      steps_.reset();  // gives back what it has claimed, before anybody hears of it
    }

   protected:
    std::error_code error_;
    key_run got_;
    secret_bytes memory_;
    key_metadata metadata_;
    end_ptr end_;
    std::optional<key_steps> steps_;

   private:
    bool fail(std::error_code why) {
      error_ = why;
      return true;
    }
    bool from_wire(time_point now) {
      if (steps_->go_on(now) == client_steps::next::calls) return false;
      error_ = steps_->error();
      got_ = steps_->got();
      return true;
    }
    bool from_ring(time_point now) {
      key_ring& ring = *end_->find_ring();
      if (ring.epoch() != end_->opened.epoch) return fail(status::not_authorized);  // R3
      status outcome{};
      time_point since;
      if (most_ == 1) {
        const auto t = index_ ? ring.take(*index_, memory_.span(), now) : ring.take_next(memory_.span(), now);
        outcome = t.outcome;
        since = t.since;
        got_ = {t.index, 1};
      } else {
        const auto r = ring.take_run(memory_.span(), now);
        outcome = r.outcome;
        since = r.since;
        got_ = {r.first, r.count};
      }
      if (outcome == status::insufficient_key && patience_ == key_patience::timeout) {
        return now >= deadline_ && fail(status::timeout);
      }
      if (outcome != status::success) return fail(outcome);
      metadata_.age_ms = age_of(since, now);
      return true;
    }

    const std::optional<std::uint64_t> index_;
    const key_patience patience_;
    const std::size_t most_;
    time_point deadline_{};
  };

  template <class Completion>
  class key_call final : public taking {
   public:
    key_call(end_ptr end, std::optional<std::uint64_t> index, key_patience p, Completion done)
        : taking{std::move(end), index, p, 1}, done_{std::move(done)} {}
    void complete() override {
      if (error_) return done_(result<key_chunk>{error_});
      key_chunk c;
      c.index = got_.first;
      c.metadata = metadata_;
      c.key = std::move(memory_);
      if (steps_) c.vendor_metadata = std::move(steps_->vendor_metadata());
      done_(result<key_chunk>{std::move(c)});
    }

   private:
    Completion done_;
  };

  template <class Completion>
  class batch_call final : public taking {
   public:
    batch_call(end_ptr end, std::size_t most, Completion done)
        : taking{std::move(end), std::nullopt, key_patience::timeout, most}, done_{std::move(done)} {}
    void complete() override {
      if (error_) return done_(result<key_batch>{error_});
      done_(result<key_batch>{key_batch{got_.first, got_.count, end_->chunk_size(), std::move(memory_)}});
    }

   private:
    Completion done_;
  };

  template <class Completion>
  class peer_call final : public async_calls::pending {
   public:
    peer_call(end_ptr end, std::chrono::milliseconds timeout, Completion done)
        : pending{end.get()},
          end_{std::move(end)},
          steps_{peer_step(*end_, timeout)},
          done_{std::move(done)} {}
    [[nodiscard]] client_steps* steps() override { return &steps_; }
    [[nodiscard]] bool go_on(time_point now) override {
      if (end_->opened.outcome != status::qos_not_met) {
        if (steps_.go_on(now) == client_steps::next::calls) return false;
        error_ = steps_.error() ? steps_.error() : make_error_code(steps_.answer().outcome);
      } else {
        error_ = status::qos_not_met;
      }
      return true;
    }
    void stop(std::error_code why) override { error_ = why; }
    void complete() override { done_(error_ ? result<void>{error_} : result<void>{}); }

   private:
    const end_ptr end_;
    one_step<wait_peer_response> steps_;
    std::error_code error_;
    Completion done_;
  };

  template <class Completion>
  class close_call final : public async_calls::pending {
   public:
    close_call(end_ptr end, std::chrono::milliseconds timeout, Completion done)
        : pending{nullptr}, end_{std::move(end)}, steps_{*end_, timeout}, done_{std::move(done)} {}
    [[nodiscard]] client_steps* steps() override { return &steps_; }
    [[nodiscard]] bool go_on(time_point now) override {
      if (!asked_ && end_->left) return true;
      asked_ = true;
      end_->left = true;
      if (steps_.go_on(now) == client_steps::next::calls) return false;
      end_->left = steps_.is_answered();  // else it may be asked for again
      error_ = steps_.error();
      return true;
    }
    void stop(std::error_code) override {}
    [[nodiscard]] bool insists() const noexcept override { return true; }
    void complete() override { done_(error_ ? result<void>{error_} : result<void>{}); }

   private:
    const end_ptr end_;
    close_steps steps_;
    bool asked_ = false;
    std::error_code error_;
    Completion done_;
  };

  template <class Completion>
  async_call_id start_key(std::optional<std::uint64_t> index, key_patience p, Completion&& done) {
    return calls_->start(
        std::make_unique<key_call<std::decay_t<Completion>>>(end_, index, p, std::forward<Completion>(done)));
  }

  void leave() noexcept {
    if (!end_) return;
    try {
      calls_->cancel(end_.get());
      if (!end_->left) {
        const auto nobody = [](const result<void>&) {};
        calls_->start_last(std::make_unique<close_call<std::decay_t<decltype(nobody)>>>(
            end_, std::chrono::milliseconds{0}, nobody));
      }
    } catch (...) {  // the key manager destroys the keys at their TTL
    }
    end_.reset();
  }

  std::shared_ptr<async_calls> calls_;
  end_ptr end_;
};

/// An application's way to one key manager, for event loops.
///
///     qkd004::async_client c{via, arena};
///     // watch c.descriptor() for input (-1: there is none), and look after c.drive() again when it says so
///     c.open_connect(request, [&](qkd004::result<qkd004::async_key_stream> s) { begin(s); });
///     for (;;) { wait(c.descriptor(), until); until = c.drive(); }
///
/// After something was started or cancelled, drive() is due: descriptor() shows input then; without a descriptor, call it.
/// Completions: see async_key_stream.
/// Threads: any number may start and cancel; drive() one at a time, and not from inside a completion. When this goes,
/// what waits is completed as cancelled, from the destructor, and CLOSEs that are on their way are not waited for. Such a
/// completion starts nothing any more: that returns 0, and its completion goes without being called. What it throws ends
/// the program, as from any destructor.
class async_client {
 public:
  /// `arena` is where keys will live.
  async_client(std::shared_ptr<exchange> via, secret_arena arena)
      : via_{std::move(via)}, arena_{std::move(arena)}, calls_{std::make_shared<async_calls>(via_)} {}
  async_client(const async_client&) = delete;
  async_client& operator=(const async_client&) = delete;
  ~async_client() { calls_->end(); }

  /// See client::open_connect(). Completion: result<async_key_stream>.
  template <class Completion>
  async_call_id open_connect(const open_connect_request& request, Completion&& done) {
    return calls_->start(std::make_unique<open_call<std::decay_t<Completion>>>(
        *this, request, std::forward<Completion>(done)));
  }

  /// A descriptor to watch for input, the same for as long as this lives; -1: there is none.
  [[nodiscard]] int descriptor() { return via_->descriptor(); }
  /// Does what is ready, without blocking, and calls completions. Returns when it is due again, if nothing happens before.
  [[nodiscard]] time_point drive() { return calls_->drive(); }

  void cancel(async_call_id id) { calls_->cancel(id); }
  /// All calls that are not complete, those of streams as well.
  void cancel() { calls_->cancel(nullptr); }

 private:
  template <class Completion>
  class open_call final : public async_calls::pending {
   public:
    open_call(async_client& owner, const open_connect_request& request, Completion done)
        : pending{&owner},
          owner_{owner},
          strict_{request.strict_once},
          steps_{open_step(*owner.via_, request)},
          done_{std::move(done)} {}
    [[nodiscard]] client_steps* steps() override { return &steps_; }
    [[nodiscard]] bool go_on(time_point now) override {
      if (steps_.go_on(now) == client_steps::next::calls) return false;
      error_ = steps_.error();
      return true;
    }
    void stop(std::error_code why) override { error_ = why; }
    void complete() override {
      if (error_) return done_(result<async_key_stream>{error_});
      auto& r = steps_.answer();
      if (const auto taken = take_opened(r); !taken) return done_(result<async_key_stream>{taken.error()});
      async_key_stream opened{
          owner_.calls_, std::make_shared<stream_end>(owner_.via_, owner_.arena_, std::move(r), strict_)};
      done_(result<async_key_stream>{std::move(opened)});
    }

   private:
    async_client& owner_;
    const bool strict_;
    one_step<open_connect_response> steps_;
    std::error_code error_;
    Completion done_;
  };

  const std::shared_ptr<exchange> via_;
  const secret_arena arena_;
  const std::shared_ptr<async_calls> calls_;
};

}  // namespace qkd004
