// in_process: two sites inside one process, linked by a pair of key sources, each with an application's client; no
// thread, no socket.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/client.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/key_manager.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/random.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// The two sites of pair(): ids, memory, and where their key comes from.
struct pair_options {
  std::string first_node = "A";  ///< node ids: `qkd://app@A` is an application of the first site
  std::string second_node = "B";
  secret_options memory;  ///< of each site
  qkd004::limits limits;
  memory_source_options source;  ///< where the key comes from, if the next two are empty
  std::shared_ptr<key_source> first_source;
  std::shared_ptr<key_source> second_source;
};

/// Two key managers and what lies between them. Messages cross in order, when somebody drives it.
/// Threads: any number; the key managers run under one lock, GET_KEY on a filled ring runs under none.
class in_process_link {
 public:
  static constexpr std::size_t sites = 2;

  explicit in_process_link(pair_options o)
      : arenas_{secret_arena{o.memory}, secret_arena{o.memory}},
        first_{*this, 0, {o.first_node, {}, o.limits, false, {}}},
        second_{*this, 1, {o.second_node, {}, o.limits, false, {}}} {
    if (!o.first_source || !o.second_source) {
      auto ends = make_memory_sources(o.source);
      o.first_source = std::move(ends.first);
      o.second_source = std::move(ends.second);
    }
    first_.source = std::move(o.first_source);
    second_.source = std::move(o.second_source);
    const std::lock_guard lock{mutex_};
    const auto now = boot_clock::now();
    first_.link = first_.manager.add_link({"in-process", o.second_node, {}}, *first_.source).value();
    second_.link = second_.manager.add_link({"in-process", o.first_node, {}}, *second_.source).value();
    first_.manager.link_up(first_.link, now);
    second_.manager.link_up(second_.link, now);
    pump(now);
    for (const std::size_t i : {0U, 1U}) {
      classical_channel* const c = at(i).source->channel();
      if (c != nullptr) c->on_ready([this] { wake(); });
    }
  }
  in_process_link(const in_process_link&) = delete;
  in_process_link& operator=(const in_process_link&) = delete;

  /// Whoever held it is gone, and with them all calls.
  ~in_process_link() {
    if (arenas_[0].forked() || arenas_[1].forked()) return;  // the sources are the parent's
    for (const std::size_t i : {0U, 1U}) {
      classical_channel* const c = at(i).source->channel();
      if (c == nullptr) continue;
      c->on_ready({});
      at(i).manager.shutdown(boot_clock::now());  // the source's session ends before the source may
    }
  }

  [[nodiscard]] const secret_arena& arena(std::size_t site) const noexcept { return arenas_[site]; }

  /// For tests and instruments: the key manager of a site, while `use` runs.
  template <class Use>
  auto with_manager(std::size_t site, Use&& use) {
    const std::lock_guard lock{mutex_};
    return use(at(site).manager);
  }

  [[nodiscard]] connection_id connect(std::size_t site, std::string principal) {
    const std::lock_guard lock{mutex_};
    return at(site).manager.connect(std::move(principal));
  }
  void disconnect(std::size_t site, connection_id who) {
    std::vector<call*> done;
    {
      const std::lock_guard lock{mutex_};
      at(site).manager.disconnect(who, boot_clock::now());
      done.swap(done_);
    }
    complete(done);
  }

  void start(std::size_t site, connection_id who, std::span<call* const> calls) {
    std::vector<call*> done;
    {
      const std::lock_guard lock{mutex_};
      const auto now = boot_clock::now();
      key_manager& manager = at(site).manager;
      for (call* c : calls) {
        const caller asks{who, next_ticket_++};
        active_.emplace(asks.ticket, active_call{c, site, who});
        if (const auto* open = std::get_if<open_connect_request>(&c->request)) {
          manager.open_connect(asks, *open, now);
        } else if (const auto* get = std::get_if<get_key_request>(&c->request)) {
          manager.get_key(asks, *get, now);
        } else if (const auto* close = std::get_if<close_request>(&c->request)) {
          manager.close(asks, *close, now);
        } else if (const auto* several = std::get_if<get_keys_request>(&c->request)) {
          manager.get_keys(asks, *several, now);
        } else if (const auto* peer = std::get_if<wait_peer_request>(&c->request)) {
          manager.wait_peer(asks, *peer, now);
        } else if (const auto* had = std::get_if<acknowledge_request>(&c->request)) {
          manager.acknowledge(asks, *had, now);
        } else {
          active_.erase(asks.ticket);
          c->error = std::make_error_code(std::errc::operation_not_supported);
          done_.push_back(c);
        }
      }
      pump(now);
      done.swap(done_);
    }
    complete(done);
  }

  /// Until `c` is done, or `until`.
  void wait(call& c, time_point until = time_point::max()) {
    while (!c.done()) {
      const auto now = boot_clock::now();
      if (now >= until) return;
      if (now >= c.deadline) {
        give_up(c, status::timeout);
        while (!c.done()) std::this_thread::yield();  // answered at this moment, by another thread
        return;
      }
      const auto next = std::min({drive(now), c.deadline, until, now + std::chrono::milliseconds{5}});
      std::unique_lock lock{sleeping_};
      changed_.wait_for(
          lock, std::max(next - boot_clock::now(), boot_clock::duration{std::chrono::microseconds{100}}),
          [&] { return c.done() || called_; });
    }
  }

  /// Completes a call that the key manager has not answered; its answer, if it comes, is dropped.
  void give_up(call& c, std::error_code why) {
    {
      const std::lock_guard lock{mutex_};
      const auto it =
          std::find_if(active_.begin(), active_.end(), [&c](const auto& a) { return a.second.asks == &c; });
      if (it == active_.end()) return;  // answered: whoever took it from done_ completes it
      at(it->second.site).manager.cancel({it->second.who, it->first});
      active_.erase(it);
      c.error = why;
    }
    c.complete();
    const std::lock_guard lock{sleeping_};
    changed_.notify_all();
  }

  [[nodiscard]] std::shared_ptr<key_ring> ring(std::size_t site, connection_id who, const key_stream_id& id) {
    const std::lock_guard lock{mutex_};
    return at(site).manager.ring(who, id);
  }

  time_point drive(time_point now) {
    std::vector<call*> done;
    time_point next;
    {
      const std::lock_guard lock{mutex_};
      if (arenas_[0].forked() || arenas_[1].forked()) return time_point::max();
      now = boot_clock::now();  // under the lock: time must not go back
      {
        const std::lock_guard still{sleeping_};
        called_ = false;
      }
      if (broken_ && again_at_ <= now) reconnect(now);
      first_.manager.look_at_rings();
      second_.manager.look_at_rings();
      first_.manager.advance(now);
      second_.manager.advance(now);
      pump(now);
      next = std::min(first_.manager.next_deadline(now), second_.manager.next_deadline(now));
      if (broken_) next = std::min(next, again_at_);
      done.swap(done_);
    }
    complete(done);
    return next;
  }

 private:
  struct local_site final : key_manager::events {
    local_site(in_process_link& l, std::size_t i, key_manager::options o)
        : owner{l}, index{i}, manager{std::move(o), l.arenas_[i], system_random, *this} {}

    void answer(const caller& who, const open_connect_response& r) override { owner.answered(who, r); }
    void answer(const caller& who, const get_key_response& r) override { owner.answered(who, r); }
    void answer(const caller& who, const close_response& r) override { owner.answered(who, r); }
    void answer(const caller& who, const get_keys_response& r) override { owner.answered(who, r); }
    void answer(const caller& who, const wait_peer_response& r) override { owner.answered(who, r); }
    void answer(const caller& who, const acknowledge_response& r) override { owner.answered(who, r); }
    void deliver(connection_id, const key_stream_id&, const get_keys_response&) override {}
    void send(link_id, peer::message&& m) override { owner.crossing_.emplace_back(1 - index, std::move(m)); }
    void link_failed(link_id, const std::string&) override { owner.break_link(); }

    in_process_link& owner;
    std::size_t index;
    std::shared_ptr<key_source> source;
    key_manager manager;
    link_id link = 0;
  };

  [[nodiscard]] local_site& at(std::size_t index) noexcept { return index == 0 ? first_ : second_; }

  /// Carries messages across until none is left.
  void pump(time_point now) {
    while (!crossing_.empty()) {
      auto [to, message] = std::move(crossing_.front());
      crossing_.pop_front();
      at(to).manager.receive(at(to).link, std::move(message), now);
    }
  }

  /// A key source has given its session up. Not at once again: the next may come to nothing as well.
  void break_link() {
    if (!std::exchange(broken_, true)) again_at_ = boot_clock::now() + pause_;
  }
  void reconnect(time_point now) {
    broken_ = false;
    crossing_.clear();
    const bool promising =
        first_.manager.link_promising(first_.link) && second_.manager.link_promising(second_.link);
    pause_ = promising ? least_pause : std::min(2 * pause_, most_pause);
    for (const std::size_t i : {0U, 1U}) at(i).manager.link_down(at(i).link, now);
    for (const std::size_t i : {0U, 1U}) at(i).manager.link_up(at(i).link, now);
    pump(now);
  }

  /// From any thread, also from inside a source's calls: takes no lock under which a source is called.
  void wake() {
    const std::lock_guard lock{sleeping_};
    called_ = true;
    changed_.notify_all();
  }

  template <class Response>
  void answered(const caller& who, const Response& r) {
    const auto it = active_.find(who.ticket);
    if (it == active_.end()) return;
    call& c = *it->second.asks;
    active_.erase(it);
    c.response = r;
    if constexpr (std::is_same_v<Response, get_key_response>) {
      auto& mine = std::get<get_key_response>(c.response);
      if (r.key.size() > c.key_buffer.size()) {
        c.error = status::invalid_argument;
      } else {
        if (!r.key.empty()) std::memcpy(c.key_buffer.data(), r.key.data(), r.key.size());
        mine.key = c.key_buffer.first(r.key.size());
      }
    }
    if constexpr (std::is_same_v<Response, get_keys_response>) {
      std::get<get_keys_response>(c.response).keys = {};
      std::get<get_keys_response>(c.response).vendor_metadata = {};
      c.vendor_metadata = r.vendor_metadata;
      if (r.keys.size() * r.chunk_size > c.key_buffer.size()) {
        c.error = status::invalid_argument;
      } else {
        for (const served_key& k : r.keys) {
          std::memcpy(c.key_buffer.data() + std::size_t{c.keys} * r.chunk_size, k.key.data(), r.chunk_size);
          if (c.keys < c.metadata_buffer.size()) c.metadata_buffer[c.keys] = k.metadata;
          c.keys += 1;
        }
      }
    }
    done_.push_back(&c);
  }

  void complete(const std::vector<call*>& done) {
    if (done.empty()) return;
    for (call* c : done) c->complete();
    const std::lock_guard lock{sleeping_};
    changed_.notify_all();
  }

  static constexpr boot_clock::duration least_pause = std::chrono::milliseconds{50};
  static constexpr boot_clock::duration most_pause = std::chrono::seconds{2};

  std::mutex mutex_;
  std::mutex sleeping_;  ///< of those who wait; inside mutex_, if both
  std::condition_variable changed_;
  bool called_ = false;  ///< a source has something; guarded by sleeping_
  bool broken_ = false;  ///< the link is down
  time_point again_at_{};
  boot_clock::duration pause_ = least_pause;
  struct active_call {
    call* asks;
    std::size_t site;
    connection_id who;
  };
  std::unordered_map<std::uint64_t, active_call> active_;  ///< by ticket
  std::vector<call*> done_;                                ///< answered; completed once the lock is released
  std::deque<std::pair<std::size_t, peer::message>> crossing_;
  std::uint64_t next_ticket_ = 1;
  secret_arena arenas_[sites];
  local_site first_;
  local_site second_;
};

/// The way of one application to its site.
class in_process_exchange final : public exchange {
 public:
  in_process_exchange(std::shared_ptr<in_process_link> link, std::size_t site, std::string principal)
      : link_{std::move(link)}, site_{site}, who_{link_->connect(site, std::move(principal))} {}
  ~in_process_exchange() override { link_->disconnect(site_, who_); }

  void start(std::span<call* const> calls) override { link_->start(site_, who_, calls); }
  void wait(call& c) override { link_->wait(c); }
  void wait_until(call& c, time_point until) override { link_->wait(c, until); }
  void cancel(call& c) noexcept override {
    link_->give_up(c, std::make_error_code(std::errc::operation_canceled));
  }
  [[nodiscard]] extensions supports() const override { return {true, true, true, false, false}; }
  [[nodiscard]] std::shared_ptr<key_ring> ring(const key_stream_id& id) override {
    return link_->ring(site_, who_, id);
  }
  time_point drive(time_point now) override { return link_->drive(now); }

 private:
  std::shared_ptr<in_process_link> link_;
  std::size_t site_;
  connection_id who_;
};

/// A client of site 0 or 1, as the named principal.
[[nodiscard]] inline client connect(std::shared_ptr<in_process_link> link, std::size_t site,
                                    std::string_view principal = anonymous_principal) {
  const secret_arena arena = link->arena(site);
  return client{std::make_shared<in_process_exchange>(std::move(link), site, std::string{principal}), arena};
}

/// Two linked sites, "A" and "B", and an application's client at each. Everything stays in this process: the key is
/// random, and as secret as the process.
///
///     auto [a, b] = qkd004::pair();
///     auto at_a = a.open_connect({"qkd://alice@A", "qkd://bob@B"});
///
/// Throws std::system_error if the system refuses the first pages or random octets.
[[nodiscard]] inline std::pair<client, client> pair(pair_options options = {}) {
  const auto link = std::make_shared<in_process_link>(std::move(options));
  return {connect(link, 0), connect(link, 1)};
}

}  // namespace qkd004
