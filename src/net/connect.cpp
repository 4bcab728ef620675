// SPDX-License-Identifier: Apache-2.0
#include "qkd004/net/connect.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "net/address.hpp"
#include "net/http/exchange.hpp"
#include "net/lane.hpp"
#include "net/polled_exchange.hpp"
#include "wire/extension.hpp"

namespace qkd004::net::inline QKD004_ASIO_VERSION {

namespace {

class tcp_exchange final : public polled_exchange,
                           public std::enable_shared_from_this<tcp_exchange>,
                           private lane::owner {
 public:
  tcp_exchange(address to, std::shared_ptr<const tls_context> tls, secret_arena arena,
               const connect_options& options)
      : polled_exchange{std::move(to), std::move(tls), std::move(arena), options},
        plain_{options.plain || options.per_call} {}
  ~tcp_exchange() override {
    const std::lock_guard lock{mutex_};
    for (const auto& l : lanes_) l->end(std::make_error_code(std::errc::operation_canceled));
  }

  /// The first connection, up to the answer to HELLO.
  [[nodiscard]] result<void> open(std::string* why);

  [[nodiscard]] extensions supports() const override;
  [[nodiscard]] result<std::unique_ptr<key_flow>> subscribe(const open_connect_response& stream,
                                                            std::uint64_t first, std::uint32_t credit,
                                                            const secret_arena& arena) override;

 private:
  class flow;
  using lane_ptr = std::shared_ptr<lane>;

  // polled_exchange
  void ask(std::span<call* const> calls) override;
  void connections(std::vector<socket_ptr>& to) override;
  void forget(call& c, std::error_code why) override;
  time_point expire(time_point now) override;

  // lane::owner
  void on_done(call& c) override { done(c, c.error); }
  void on_greeted(const extensions& served) override;
  void on_delivery(const wire::extension::delivery& d) override;
  void on_over() override;

  const lane_ptr& add_lane();
  [[nodiscard]] lane_ptr usable_lane();
  void tidy();

  extensions served_;  ///< as HELLO has told last
  std::vector<flow*> flows_;
  std::multiset<key_stream_id> suspended_;  ///< of this connection, and not confirmed
  bool plain_;                              ///< asked for, or the server did not understand HELLO
  bool greeted_ = false;                    ///< it did understand one, and does not unlearn it
  std::vector<lane_ptr> lanes_;             ///< one; with per_call one for each call in flight
};

/// A subscription and the keys that came of it, in a ring of this end. What was taken is acknowledged, and its credit
/// given again, half a ring at a time.
/// Threads: take() and the destructor any; the rest in the mutex of the exchange.
class tcp_exchange::flow final : public key_flow {
 public:
  flow(std::shared_ptr<tcp_exchange> owner, const open_connect_response& stream, std::uint64_t first,
       std::uint32_t credit, secret_bytes memory)
      : owner_{std::move(owner)},
        stream_{stream.stream},
        epoch_{stream.epoch},
        chunk_{stream.quality.key_chunk_size},
        capacity_{credit},
        memory_{std::move(memory)},
        metadata_(credit),
        indices_(credit),
        next_{first},
        had_below_{first} {
    const std::lock_guard lock{owner_->mutex_};
    owner_->flows_.push_back(this);
  }

  ~flow() override { stop(); }

  taken take(std::span<std::byte> out, std::span<key_metadata> metadata) override {
    std::unique_lock lock{owner_->mutex_};
    if (out.size() < chunk_) return {make_error_code(status::invalid_argument)};
    for (bool polled = false;;) {
      if (owner_->arena_.forked()) return {std::make_error_code(std::errc::operation_not_permitted)};
      if (stopped_) return {std::make_error_code(std::errc::operation_canceled)};
      if (count_ > 0) return hand_out(out, metadata);
      if (is_fenced()) return {failed_};  // for good: what comes for this stream is for who resumed it
      if (failed_) {
        const auto error = std::exchange(failed_, {});
        if (const auto ended = via_.lock(); ended && !ended->is_over()) {
          acknowledge(*ended);  // it may be the end of the stream, and nothing follows
          ended->flush();
        }
        via_.reset();  // asked for anew by the next one
        return {error};
      }
      const auto l = owner_->usable_lane();
      if (via_.lock() != l) {
        // R4: what was lost with a connection is sent again; once, and then its user hears of it
        if (broken_ && std::exchange(begun_again_, true)) {
          begun_again_ = false;
          return {l->is_over() ? l->error() : broken_};
        }
        begin(l);
      }
      if (l->is_over()) return {l->error()};
      if (polled || owner_->is_driven()) {
        owner_->changed();
        return {make_error_code(status::insufficient_key)};
      }
      polled = true;  // what has come is looked at once, also by whoever does not wait
      owner_->poll_once(lock, boot_clock::now());
      owner_->hand_over();
    }
  }

  void await(call& c) override {
    const std::lock_guard lock{owner_->mutex_};
    renew();  // the key manager may have no room left but what is not acknowledged
    const auto l = via_.lock();
    if (count_ > 0 || failed_ || stopped_ || !l || l->is_over() || owner_->arena_.forked()) {
      return owner_->on_done(c);
    }
    waiters_.push_back(&c);
  }

  void stop() override {
    const std::lock_guard lock{owner_->mutex_};
    if (std::exchange(stopped_, true)) return;
    std::erase(owner_->flows_, this);
    wake();
    if (const auto l = via_.lock(); l && !l->is_over() && !is_fenced() && !owner_->arena_.forked()) {
      acknowledge(*l);
      l->subscribe({stream_, epoch_, next_, 0});
      l->flush();
      owner_->suspended_.insert(stream_);
    }
  }

  [[nodiscard]] std::uint64_t position() override {
    const std::lock_guard lock{owner_->mutex_};
    return count_ > 0 ? indices_[head_] : next_;
  }

  [[nodiscard]] const key_stream_id& stream() const noexcept { return stream_; }

  void deliver(const wire::extension::get_keys_reply& reply) {
    if (reply.outcome == status::insufficient_key) return;  // confirms what a flow before this one ended with
    if (reply.outcome != status::success) {
      failed_ = reply.outcome;
    } else if (reply.chunk_size != chunk_ || reply.count > capacity_ - count_) {
      failed_ = status::protocol_error;
    } else if (reply.first >= next_) {  // what is below came twice: of a connection before this one
      for (std::size_t i = 0; i < reply.count; ++i) {
        const std::size_t slot = (head_ + count_) % capacity_;
        std::memcpy(memory_.data() + slot * chunk_, reply.key(i).data(), chunk_);
        metadata_[slot] = reply.metadata(i);
        indices_[slot] = reply.first + i;
        ++count_;
      }
      next_ = reply.first + reply.count;
    }
    wake();
  }

  void wake() {
    for (call* const c : std::exchange(waiters_, {})) owner_->on_done(*c);
  }

  /// Ends the waiting of those whose deadline has passed. Returns the next.
  time_point expire(time_point now) {
    time_point next = time_point::max();
    for (std::size_t i = 0; i < waiters_.size();) {
      call& c = *waiters_[i];
      if (c.deadline > now) {
        next = std::min(next, c.deadline);
        ++i;
        continue;
      }
      std::erase(waiters_, &c);
      c.error = status::timeout;
      owner_->on_done(c);
    }
    return next;
  }
  /// Returns whether it waited here.
  bool forget(const call& c) noexcept { return std::erase(waiters_, &c) != 0; }

  /// A connection has ended.
  void on_over() {
    if (const auto l = via_.lock(); l && l->is_over()) {
      broken_ = l->error();
      wake();
    }
  }

 private:
  /// R3: another OPEN_CONNECT has resumed the stream.
  [[nodiscard]] bool is_fenced() const noexcept {
    return failed_ && to_status(failed_) == status::not_authorized;
  }

  void begin(const lane_ptr& l) {
    via_ = l;
    owed_ = 0;
    l->subscribe({stream_, epoch_, next_, static_cast<std::uint32_t>(capacity_ - count_)});
    l->flush();
  }

  void acknowledge(lane& l) {
    if (had_below_ == told_) return;
    told_ = had_below_;
    l.acknowledge({stream_, epoch_, had_below_});
  }

  taken hand_out(std::span<std::byte> out, std::span<key_metadata> metadata) {
    broken_ = {};
    begun_again_ = false;
    taken t{{}, indices_[head_], 0};
    while (count_ > 0 && out.size() >= (t.count + std::size_t{1}) * chunk_ &&
           indices_[head_] == t.first + t.count) {
      std::byte* const key = memory_.data() + head_ * chunk_;
      std::memcpy(out.data() + std::size_t{t.count} * chunk_, key, chunk_);
      wipe(key, chunk_);
      if (t.count < metadata.size()) metadata[t.count] = metadata_[head_];
      head_ = (head_ + 1) % capacity_;
      --count_;
      ++t.count;
    }
    had_below_ = t.first + t.count;
    owed_ += t.count;
    if (owed_ >= (capacity_ + 1) / 2) renew();
    return t;
  }

  /// Acknowledges what was taken, and gives its credit again.
  void renew() {
    const auto l = via_.lock();
    if (owed_ == 0 || !l || l->is_over() || is_fenced()) return;
    acknowledge(*l);
    l->subscribe({stream_, epoch_, next_, std::exchange(owed_, 0)});
    l->flush();
  }

  const std::shared_ptr<tcp_exchange> owner_;
  const key_stream_id stream_;
  const std::uint64_t epoch_;
  const std::size_t chunk_;
  const std::size_t capacity_;
  secret_bytes memory_;
  std::vector<key_metadata> metadata_;
  std::vector<std::uint64_t> indices_;
  std::size_t head_ = 0;
  std::size_t count_ = 0;
  std::uint64_t next_;       ///< none below comes any more
  std::uint64_t had_below_;  ///< returned to whoever takes
  std::uint64_t told_ = 0;   ///< acknowledged below
  std::uint32_t owed_ = 0;   ///< credit that was used up and not given again
  std::weak_ptr<lane> via_;  ///< the connection of this subscription
  std::error_code broken_;   ///< it broke, and nothing came since
  bool begun_again_ = false;
  bool stopped_ = false;
  std::error_code failed_;
  std::vector<call*> waiters_;
};

result<void> tcp_exchange::open(std::string* why) {
  unique_lock lock{mutex_};
  if (const auto ready = prepare(why); !ready) return ready.error();
  if (options_.per_call) return {};

  const time_point deadline = boot_clock::now() + options_.connect_timeout;
  for (;;) {
    const lane_ptr l = add_lane();
    const auto settled = [&] { return l->is_over() || (plain_ ? l->is_connected() : l->is_greeted()); };
    if (!open_until(lock, deadline, settled)) {
      return fail(why, "interrupted", std::make_error_code(std::errc::operation_canceled));
    }
    const bool is_settled = settled();
    if (l->is_refused_greeting() && !std::exchange(plain_, true)) {
      lanes_.clear();
      continue;
    }
    if (is_settled && !l->is_over()) return {};
    const bool silent = l->is_connected();
    const auto error = l->is_over() ? l->error() : std::make_error_code(std::errc::timed_out);
    l->end(error);
    lanes_.clear();
    return cannot_connect(why,
                          silent ? "no answer to HELLO (set `plain` for a server that speaks 004 only)"
                          : l->words().empty() ? error.message()
                                               : l->words(),
                          error);
  }
}

void tcp_exchange::ask(std::span<call* const> calls) {
  const lane::dialect dialect = plain_ ? lane::dialect{} : lane::dialect{true, served_};
  lane_ptr l;
  for (call* const c : calls) {
    if (!l || options_.per_call) l = usable_lane();
    l->ask(*c, dialect);
    if (options_.per_call) l->flush();
  }
  if (l && !options_.per_call) l->flush();
}

void tcp_exchange::connections(std::vector<socket_ptr>& to) {
  for (const auto& l : lanes_) {
    if (!l->is_over()) to.push_back(l);
  }
}

void tcp_exchange::forget(call& c, std::error_code why) {
  bool found = false;
  for (std::size_t i = 0; i < lanes_.size() && !found; ++i) {
    found = lanes_[i]->forget(c);
    if (found && options_.per_call) lanes_[i]->end(why);
  }
  for (std::size_t i = 0; i < flows_.size() && !found; ++i) found = flows_[i]->forget(c);
}

time_point tcp_exchange::expire(time_point now) {
  tidy();
  time_point next = time_point::max();
  for (const auto& l : lanes_) next = std::min(next, l->expire(now));
  for (flow* const f : flows_) next = std::min(next, f->expire(now));
  return next;
}

void tcp_exchange::on_greeted(const extensions& served) {
  served_ = served;
  greeted_ = true;
}

void tcp_exchange::on_delivery(const wire::extension::delivery& d) {
  // until a suspension is confirmed, what comes is of the flow that is gone
  if (const auto it = suspended_.find(d.stream); it != suspended_.end()) {
    if (d.reply.outcome != status::success) suspended_.erase(it);
    return;
  }
  // of several the last: those before it were fenced off, when their stream was opened anew over this exchange
  for (auto f = flows_.rbegin(); f != flows_.rend(); ++f) {
    if ((*f)->stream() == d.stream) return (*f)->deliver(d.reply);
  }
}

void tcp_exchange::on_over() {
  suspended_.clear();
  for (flow* const f : flows_) f->on_over();
}

extensions tcp_exchange::supports() const {
  const std::lock_guard lock{mutex_};
  return plain_ ? extensions{} : served_;
}

result<std::unique_ptr<key_flow>> tcp_exchange::subscribe(const open_connect_response& stream,
                                                          std::uint64_t first, std::uint32_t credit,
                                                          const secret_arena& arena) {
  if (!supports().subscribe) return std::make_error_code(std::errc::operation_not_supported);
  if (credit == 0 || stream.quality.key_chunk_size == 0) return status::invalid_argument;
  auto memory = arena.allocate(std::size_t{credit} * stream.quality.key_chunk_size);
  if (!memory) return memory.error();
  return std::unique_ptr<key_flow>{
      std::make_unique<flow>(shared_from_this(), stream, first, credit, std::move(*memory))};
}

const tcp_exchange::lane_ptr& tcp_exchange::add_lane() {
  lane::owner& me = *this;
  const lane_ptr& l =
      lanes_.emplace_back(std::make_shared<lane>(me, arena_, options_.max_reply, next_target()));
  if (!plain_) l->greet();
  l->begin();
  return l;
}

/// The connection for the next requests: the one there is, or a new one.
tcp_exchange::lane_ptr tcp_exchange::usable_lane() {
  tidy();
  if (!options_.per_call && !lanes_.empty()) {
    // a server that has gone meanwhile is noticed here rather than by the loss of a request
    const bool rested = has_rested();
    // what a subscription brings comes unasked
    if (!rested || !flows_.empty() || !lanes_.back()->is_idle() || !lanes_.back()->is_stale())
      return lanes_.back();
    lanes_.back()->end(std::make_error_code(std::errc::connection_reset));
    tidy();
  }
  return add_lane();
}

/// Drops connections that are over, and with per_call those that have done their work.
void tcp_exchange::tidy() {
  std::erase_if(lanes_, [this](const lane_ptr& l) {
    if (l->is_over()) {
      connection_failed();
      // one that was greeted before and closes now is going, or is a proxy's that reaches nobody
      plain_ = plain_ || (!greeted_ && l->is_refused_greeting());
    }
    return l->is_over() || (options_.per_call && l->is_idle());
  });
}

}  // namespace

result<std::shared_ptr<exchange>> connect(std::string_view uri, const secret_arena& arena,
                                          const connect_options& options, std::string* why) {
  const auto address = parse_address(uri, why);
  if (!address) return address.error();
  std::shared_ptr<const tls_context> tls;
  if (address->kind == scheme::tls) {
    if (!options.tls) {
      return fail(why, std::string{uri} + " needs a certificate, and none is given",
                  status::invalid_argument);
    }
    auto read = tls_context::make(*options.tls, why);
    if (!read) return read.error();
    tls = std::move(*read);
  } else if (!options.server.empty()) {
    return fail(why, "only a server at qkd004s:// or https:// can show that it is " + options.server,
                status::invalid_argument);
  }
  if (address->spoken == protocol::http) return http::connect(*address, std::move(tls), arena, options, why);
  auto made = std::make_shared<tcp_exchange>(*address, std::move(tls), arena, options);
  if (const auto opened = made->open(why); !opened) return opened.error();
  return std::shared_ptr<exchange>{std::move(made)};
}

}  // namespace qkd004::net::inline QKD004_ASIO_VERSION
