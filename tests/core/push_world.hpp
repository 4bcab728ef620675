// push_world: push mode whole on virtual time: two devices with a linked key source, two key managers that they push to,
// an application at each of these, and transports between them that lose, repeat and reorder. A failure is a seed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "qkd004/key_manager.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/push_device.hpp"
#include "qkd004/push_source.hpp"
#include "two_sites.hpp"

namespace testing {

struct push_world {
  struct options {
    std::uint64_t seed = 1;
    unsigned loss = 0;        ///< of 100 requests, and of 100 answers
    unsigned repetition = 0;  ///< of 100 posts
    unsigned errors = 0;      ///< of 100 posts are answered 500
    std::uint64_t first_index = 0;
    std::uint64_t keys_below = last_index + 1;
    std::size_t held = 64;     ///< keys that a key manager takes ahead
    std::size_t pool = 1'024;  ///< octets that its key manager takes ahead
    std::uint32_t ttl_s = 100'000;
  };
  using bytes = std::vector<std::byte>;

  /// A device: a key manager of its own, and what pushes.
  struct device final : site_events, push_device::events {
    device(push_world& w, std::size_t n)
        : world{w},
          number{n},
          arena{secret_options{}},
          manager{{n == 0 ? "DA" : "DB", {}, {}, false, {}}, arena, seeded_random{w.draw() | 1U}, *this},
          push{{{}, w.settings.first_index, w.settings.keys_below, 64}, manager, arena, *this} {}

    using site_events::answer;
    void answer(const caller& c, const open_connect_response& r) override { push.answer(c, r); }
    void answer(const caller& c, const close_response& r) override { push.answer(c, r); }
    void answer(const caller& c, const wait_peer_response& r) override { push.answer(c, r); }
    void answer(const caller& c, const acknowledge_response& r) override { push.answer(c, r); }
    void deliver(connection_id to, const key_stream_id& stream, const get_keys_response& r) override {
      push.deliver(to, stream, r);
    }
    void opened(std::uint64_t ticket, const open_connect_response& r) override {
      const bool good = r.outcome == status::success || r.outcome == status::peer_not_connected;
      reply(ticket, {true, good ? 201 : push_http_status(r.outcome), r.outcome, r.stream, r.quality});
    }
    void armed(std::uint64_t ticket, status s) override {
      reply(ticket, {true,
                     s == status::success            ? 205
                     : s == status::insufficient_key ? 400
                                                     : push_http_status(s),
                     s,
                     {},
                     {}});
    }
    void closed(std::uint64_t ticket, status s) override {
      reply(ticket, {true, s == status::success ? 204 : push_http_status(s), s, {}, {}});
    }
    void note(std::string_view text) override { notes.emplace_back(text); }
    void reply(std::uint64_t ticket, push_reply r) { replies[ticket] = std::move(r); }

    push_world& world;
    std::size_t number;
    secret_arena arena;
    key_manager manager;
    link_id link = 0;
    push_device push;
    std::map<std::uint64_t, push_reply> replies;
  };

  /// A key manager that is pushed to, with its application.
  struct kms {
    kms(push_world& w, std::size_t n)
        : source{options_of(w, n)},
          at{{n == 0 ? "KA" : "KB", {}, limits_of(w), false, {}},
             secret_options{},
             seeded_random{w.draw() | 1U}} {
      at.link = at.manager.add_link({"k", n == 0 ? "KB" : "KA", {}}, source).value();
      application = at.manager.connect("app");
    }
    static limits limits_of(const push_world& w) {
      limits l;
      l.pool_bytes = w.settings.pool;
      l.ring_chunks = 16;
      return l;
    }
    static push_source_options options_of(push_world& w, std::size_t n) {
      using end = push_source_options::end;
      push_source_options o{"qkd://a@DA", "qkd://b@DB", n == 0 ? end::begins : end::follows,
                            security_class::simulated_insecure};
      o.quality.ttl_s = w.settings.ttl_s;
      o.first_index = w.settings.first_index;
      o.bounds.most = w.settings.held;
      o.note = [&w, n](std::string_view text) {
        w.notes.push_back((n == 0 ? "KA: " : "KB: ") + std::string{text});
      };
      return o;
    }

    push_source source;
    site at;
    connection_id application = 0;
    // of the application
    key_stream_id stream;
    std::uint64_t epoch = 0;
    std::uint64_t next = 0;
    bool open = false;
  };

  explicit push_world(options o) : settings{o}, state{o.seed * 0x9E3779B97F4A7C15U + 1} {
    memory_source_options m;
    m.block_bytes = 512;
    auto ends = make_memory_sources(std::move(m));
    for (const std::size_t n : {0U, 1U}) {
      made_by[n] = std::move(n == 0 ? ends.first : ends.second);
      start_device(n);
      start_kms(n);
    }
    connect_devices();
    connect_kms();
  }

  std::uint64_t draw() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1DU >> 16;
  }
  bool chance(unsigned percent) { return draw() % 100 < percent; }
  double fraction() { return static_cast<double>(draw() % 1'000'000) / 1e6; }

  // --- Faults ---

  void start_device(std::size_t n) {
    devices[n] = std::make_unique<device>(*this, n);
    devices[n]->link = devices[n]->manager.add_link({"d", n == 0 ? "DB" : "DA", {}}, *made_by[n]).value();
    incarnation_of_device[n] += 1;
  }
  void start_kms(std::size_t n) {
    managers[n] = std::make_unique<kms>(*this, n);
    incarnation_of_kms[n] += 1;
  }
  void connect(site_events& a, key_manager& ma, link_id la, site_events& b, key_manager& mb, link_id lb) {
    a.outbox.clear();
    b.outbox.clear();
    ma.link_down(la, now);
    mb.link_down(lb, now);
    ma.link_up(la, now);
    mb.link_up(lb, now);
  }
  void connect_devices() {
    auto &a = *devices[0], &b = *devices[1];
    connect(a, a.manager, a.link, b, b.manager, b.link);
  }
  void connect_kms() {
    auto &a = *managers[0], &b = *managers[1];
    connect(a.at, a.at.manager, a.at.link, b.at, b.at.manager, b.at.link);
  }
  void restart_kms(std::size_t n) {
    start_kms(n);
    // what was delivered to it and not acknowledged may come again, and it may be the same
    connect_kms();
  }
  void restart_device(std::size_t n) {
    start_device(n);
    connect_devices();
  }

  // --- The transports ---

  /// A message that arrives some time, or does not.
  void later(std::function<void()> arrive) {
    const auto delay = std::chrono::microseconds{100 + draw() % 3'000};
    under_way.emplace(now + delay, std::move(arrive));
  }

  void carry_posts(std::size_t n) {
    device& d = *devices[n];
    while (auto p = d.push.next_post(now)) {
      const auto copies = chance(settings.repetition) ? 2U : 1U;
      const bytes key{p->what.key.begin(), p->what.key.end()};
      for (unsigned i = 0; i < copies; ++i) {
        const bool lost = chance(settings.loss);
        later([this, n, what = p->what, key, stream = p->stream, attempt = p->attempt, lost,
               born = incarnation_of_device[n]] {
          if (!lost) return arrive(n, what, key, stream, attempt, born);
          if (born == incarnation_of_device[n]) devices[n]->push.failed(stream, attempt, now, fraction());
        });
      }
    }
  }
  void arrive(std::size_t n, push_key_material what, const bytes& key, const key_stream_id& stream,
              std::uint64_t attempt, unsigned born) {
    unsigned code = 503;
    if (chance(settings.errors) || stalled[n]) {
      code = 500;
    } else if (managers[n]->source.stream() == stream) {
      what.key = key;
      using verdict = push_source::verdict;
      const verdict v = managers[n]->source.take(what, now);
      if (v == verdict::stored || v == verdict::repeated || v == verdict::device_speaks) code = 201;
      if (v == verdict::different) {
        code = 400;
        different += 1;
      }
      if (v == verdict::stored) stored[n][stream].insert({key, what.index});
    }
    const bool lost = chance(settings.loss);
    later([this, n, stream, attempt, born, lost, code, key] {
      if (born != incarnation_of_device[n]) return;
      push_device& push = devices[n]->push;
      if (lost) return push.failed(stream, attempt, now, fraction());
      push.answered(stream, attempt, code, now, fraction());
    });
  }

  void carry_calls(std::size_t n) {
    kms& k = *managers[n];
    const auto call = k.source.next_call(now);
    if (!call) return;
    const unsigned born = incarnation_of_kms[n];
    const bool lost = chance(settings.loss);
    later([this, n, c = *call, born, lost] {
      push_reply r;
      if (!lost) {
        device& d = *devices[n];
        const std::uint64_t ticket = ++tickets;
        switch (c.what) {
          case push_call::kind::open_connect: d.push.open_connect(ticket, "kms", c.open, now); break;
          case push_call::kind::get_key: d.push.get_key(ticket, "kms", c.get, now); break;
          case push_call::kind::close: d.push.close(ticket, "kms", c.close, now); break;
        }
        settle();
        if (const auto it = d.replies.find(ticket); it != d.replies.end()) r = it->second;
      }
      if (chance(settings.loss)) r = {};
      later([this, n, r, born] {
        if (born == incarnation_of_kms[n]) managers[n]->source.replied(r, now);
      });
    });
  }

  void settle() {
    for (bool more = true; more;) {
      more = false;
      for (const std::size_t n : {0U, 1U}) {
        more |= carry(devices[n]->outbox, devices[1 - n]->manager, devices[1 - n]->link);
        more |= carry(managers[n]->at.outbox, managers[1 - n]->at.manager, managers[1 - n]->at.link);
        devices[n]->push.pump(now);
      }
    }
  }
  bool carry(std::deque<peer::message>& box, key_manager& to, link_id link) {
    if (box.empty()) return false;
    auto m = std::move(box.front());
    box.pop_front();
    to.receive(link, std::move(m), now);
    return true;
  }

  // --- Time ---

  void step() {
    time_point next = now + 5ms;
    if (!under_way.empty()) next = std::min(next, under_way.begin()->first);
    now = std::max(now + 1us, next);
    while (!under_way.empty() && under_way.begin()->first <= now) {
      const auto arrive = std::move(under_way.begin()->second);
      under_way.erase(under_way.begin());
      arrive();
    }
    for (const std::size_t n : {0U, 1U}) {
      devices[n]->manager.advance(now);
      managers[n]->at.manager.advance(now);
    }
    settle();
    for (const std::size_t n : {0U, 1U}) {
      carry_posts(n);
      carry_calls(n);
      devices[n]->push.pump(now);
    }
    settle();
    if (reading) read();
    settle();
  }
  /// Until `done`, or so much time has passed.
  bool run_until(const std::function<bool()>& done, boot_clock::duration patience = 120s) {
    const time_point end = now + patience;
    while (!done()) {
      if (now >= end) return false;
      step();
    }
    return true;
  }
  void run_for(boot_clock::duration d) {
    const time_point end = now + d;
    while (now < end) step();
  }

  // --- The applications ---

  void open_applications() {
    kms &a = *managers[0], &b = *managers[1];
    open_connect_request r{"qkd://app@KA", "qkd://app@KB"};
    r.no_wait = true;
    const std::uint64_t t = ++tickets;
    a.at.manager.open_connect({a.application, t}, r, now);
    settle();
    if (!a.at.answers.contains(t) || !a.at.answers[t].open) return;
    const auto ra = *a.at.answers[t].open;
    if (!is_answer(ra.outcome, operation::open_connect)) return;
    r.stream = ra.stream;
    const std::uint64_t u = ++tickets;
    b.at.manager.open_connect({b.application, u}, r, now);
    settle();
    const auto rb = b.at.answers[u].open.value_or(open_connect_response{status::timeout, {}, {}, 0, 0});
    a.stream = b.stream = ra.stream;
    a.epoch = ra.epoch;
    b.epoch = rb.epoch;
    a.next = b.next = 0;
    a.open = b.open = is_answer(rb.outcome, operation::open_connect);
  }
  void read() {
    if (!managers[0]->open || !managers[1]->open) {
      if (managers[0]->at.manager.link_ready(0) && managers[1]->at.manager.link_ready(0)) open_applications();
      return;
    }
    for (const std::size_t n : {0U, 1U}) {
      kms& k = *managers[n];
      get_keys_request r;
      r.stream = k.stream;
      r.epoch = k.epoch;
      r.first = k.next;
      r.count = static_cast<std::uint16_t>(1 + draw() % 8);
      r.acknowledge_below = k.next;
      r.no_wait = true;
      const std::uint64_t t = ++tickets;
      k.at.manager.get_keys({k.application, t}, r, now);
      const answer a = k.at.answers[t];
      k.at.answers.erase(t);
      if (!a.several) continue;
      if (a.several->outcome == status::success) {
        for (const bytes& key : a.keys) deliver(n, k.stream, k.next++, key);
      } else if (a.several->outcome != status::insufficient_key) {
        managers[0]->open = managers[1]->open = false;
        return;
      }
    }
  }
  void deliver(std::size_t n, const key_stream_id& stream, std::uint64_t index, const bytes& key) {
    delivered[n] += 1;
    CHECK_MESSAGE(ever[n].insert(key).second, "the same key twice at one side");
    const auto [it, is_first] = by_place.emplace(std::pair{stream, index}, key);
    if (!is_first) {
      CHECK_MESSAGE(it->second == key, "different keys at the two sides");
      by_place.erase(it);
    }
  }

  /// What a device has settled, a key manager has had: with that key, in one life or another.
  void check_nothing_lost(std::size_t n) {
    for (const auto& s : devices[n]->push.report()) {
      std::set<std::uint32_t> had;
      for (const auto& [key, index] : stored[n][s.stream]) had.insert(index);
      std::uint64_t missing = 0;
      for (std::uint64_t i = settings.first_index; i < s.settled_below; ++i)
        missing += !had.contains(push_wire_index(i));
      CHECK(missing == s.expired);
    }
  }

  const options settings;
  std::uint64_t state;
  time_point now{1000s};
  std::unique_ptr<key_source> made_by[2];
  std::unique_ptr<device> devices[2];
  std::unique_ptr<kms> managers[2];
  unsigned incarnation_of_device[2] = {0, 0};
  unsigned incarnation_of_kms[2] = {0, 0};
  bool stalled[2] = {false, false};
  bool reading = true;
  std::multimap<time_point, std::function<void()>> under_way;
  std::uint64_t tickets = 0;
  std::uint64_t different = 0;
  std::map<key_stream_id, std::set<std::pair<bytes, std::uint32_t>>> stored[2];
  std::uint64_t delivered[2] = {0, 0};
  std::set<bytes> ever[2];
  std::map<std::pair<key_stream_id, std::uint64_t>, bytes> by_place;
  std::vector<std::string> notes;
};

}  // namespace testing
