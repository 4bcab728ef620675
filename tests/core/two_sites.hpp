// two_sites: two key managers on virtual time, with a wire between them that a test can hold, cut and mend.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/key_manager.hpp"
#include "qkd004/memory_source.hpp"

namespace testing {

using namespace qkd004;  // NOLINT: tests only
using namespace std::chrono_literals;

/// What came back for one ticket, keys copied.
struct answer {
  std::optional<open_connect_response> open;
  std::optional<get_key_response> get;
  std::optional<close_response> closed;
  std::optional<get_keys_response> several;
  std::optional<wait_peer_response> waited;
  std::optional<acknowledge_response> acknowledged;
  std::vector<std::byte> key;
  std::vector<std::vector<std::byte>> keys;
};

/// What came for a subscription, keys copied.
struct delivery {
  connection_id to = 0;
  key_stream_id stream;
  status outcome = status::success;
  std::uint64_t first = 0;
  std::vector<std::vector<std::byte>> keys;
};

inline std::vector<std::vector<std::byte>> copies(const get_keys_response& r) {
  std::vector<std::vector<std::byte>> all;
  for (const auto& k : r.keys) all.emplace_back(k.key.begin(), k.key.end());
  return all;
}

/// xorshift64*: octets of a test's own making.
struct seeded_random {
  std::uint64_t state = 88172645463325252U;
  void operator()(std::span<std::byte> out) {
    for (auto& o : out) {
      state ^= state >> 12;
      state ^= state << 25;
      state ^= state >> 27;
      o = static_cast<std::byte>((state * 0x2545F4914F6CDD1DU) >> 56);
    }
  }
};

/// Keeps all that a key manager says.
struct site_events : key_manager::events {
  virtual ~site_events() = default;

  void answer(const caller& c, const open_connect_response& r) override { answers[c.ticket].open = r; }
  void answer(const caller& c, const get_key_response& r) override {
    auto& a = answers[c.ticket];
    a.get = r;
    a.key.assign(r.key.begin(), r.key.end());
    a.get->key = {};
  }
  void answer(const caller& c, const close_response& r) override { answers[c.ticket].closed = r; }
  void answer(const caller& c, const get_keys_response& r) override {
    auto& a = answers[c.ticket];
    a.keys = copies(r);
    a.several = r;
    a.several->keys = {};
    a.several->vendor_metadata = {};
    vendor = r.vendor_metadata;
  }
  void answer(const caller& c, const wait_peer_response& r) override { answers[c.ticket].waited = r; }
  void answer(const caller& c, const acknowledge_response& r) override { answers[c.ticket].acknowledged = r; }
  void deliver(connection_id to, const key_stream_id& id, const get_keys_response& r) override {
    deliveries.push_back({to, id, r.outcome, r.first, copies(r)});
  }
  void send(link_id, peer::message&& m) override { outbox.push_back(std::move(m)); }
  void link_failed(link_id, const std::string& why) override { failures.push_back(why); }
  void note(std::string_view text) override { notes.emplace_back(text); }

  std::map<std::uint64_t, testing::answer> answers;
  std::deque<peer::message> outbox;
  std::vector<delivery> deliveries;
  std::string vendor;  ///< metadata of the last answer with several keys
  std::vector<std::string> failures;
  std::vector<std::string> notes;
};

struct site : site_events {
  site(key_manager::options o, secret_options memory, seeded_random random)
      : arena{memory}, manager{std::move(o), arena, random, *this} {}

  secret_arena arena;
  key_manager manager;
  link_id link = 0;
};

/// Sites "A" (the allocator) and "B", linked, at virtual time `now`.
struct two_sites {
  struct options {
    key_manager::options a{"A", {}, {}, false, {}};
    key_manager::options b{"B", {}, {}, false, {}};
    memory_source_options source{};
    secret_options memory{};
    bool up = true;
  };

  two_sites() : two_sites(options{}) {}
  explicit two_sites(options o) : settings{std::move(o)} {
    auto ends = make_memory_sources(settings.source);
    source_a = std::move(ends.first);
    source_b = std::move(ends.second);
    a = make(settings.a, "B", *source_a, 1);
    b = make(settings.b, "A", *source_b, 2);
    conn_a = a->manager.connect("alice");
    conn_b = b->manager.connect("bob");
    if (settings.up) connect();
  }

  std::unique_ptr<site> make(const key_manager::options& o, std::string peer, key_source& s,
                             std::uint64_t seed) {
    auto made = std::make_unique<site>(o, settings.memory, seeded_random{seed * 7919 + births++});
    made->link = made->manager.add_link({"ab", std::move(peer), {}}, s).value();
    return made;
  }

  void connect() {
    a->outbox.clear();
    b->outbox.clear();
    up = true;
    a->manager.link_up(a->link, now);
    b->manager.link_up(b->link, now);
    settle();
  }
  /// Cuts the connection; what was under way is lost.
  void cut() {
    up = false;
    a->outbox.clear();
    b->outbox.clear();
    a->manager.link_down(a->link, now);
    b->manager.link_down(b->link, now);
  }
  /// Site B dies and comes back as another instance.
  void restart_b() {
    cut();
    b = make(settings.b, "A", *source_b, 2);
    conn_b = b->manager.connect("bob");
  }

  /// Carries one message from a site to the other; false if there was none.
  bool carry(site& from, site& to) {
    if (from.outbox.empty() || !up) return false;
    auto m = std::move(from.outbox.front());
    from.outbox.pop_front();
    to.manager.receive(to.link, std::move(m), now);
    return true;
  }
  void settle() {
    if (!up) {
      a->outbox.clear();
      b->outbox.clear();
    }
    while (carry(*a, *b) || carry(*b, *a)) {}
  }
  /// Lets time pass in steps of what either manager asked for.
  void pass(boot_clock::duration d) {
    const auto until = now + d;
    for (;;) {
      const auto next = std::min(a->manager.next_deadline(now), b->manager.next_deadline(now));
      now = std::min<time_point>(std::max<time_point>(next, now + 1us), until);
      a->manager.advance(now);
      b->manager.advance(now);
      settle();
      if (now >= until) return;
    }
  }

  std::uint64_t open(site& at, connection_id who, const open_connect_request& r) {
    at.manager.open_connect({who, ++tickets}, r, now);
    settle();
    return tickets;
  }
  /// At both ends before either hears of the other: ticket 1 at A, 2 at B.
  void open_crossing(const open_connect_request& at_a, const open_connect_request& at_b) {
    a->manager.open_connect({conn_a, 1}, at_a, now);
    b->manager.open_connect({conn_b, 2}, at_b, now);
    settle();
  }
  std::uint64_t get(site& at, connection_id who, const get_key_request& r) {
    at.manager.get_key({who, ++tickets}, r, now);
    settle();
    return tickets;
  }
  std::uint64_t get(site& at, connection_id who, const key_stream_id& id, std::uint64_t index) {
    get_key_request r;
    r.stream = id;
    r.index = index;
    return get(at, who, r);
  }
  status close(site& at, connection_id who, const key_stream_id& id) {
    at.manager.close({who, ++tickets}, {id}, now);
    settle();
    return at.answers[tickets].closed->outcome;
  }

  /// A stream open at both ends; `request.stream` is set.
  key_stream_id open_both(open_connect_request request = {"qkd://alice@A", "qkd://bob@B"}) {
    const auto first = open(*a, conn_a, request);
    request.stream = a->answers[first].open->stream;
    open(*b, conn_b, request);
    return request.stream;
  }
  /// Answered status of a GET_KEY, or none while it waits.
  std::optional<status> outcome(site& at, std::uint64_t ticket) const {
    const auto it = at.answers.find(ticket);
    if (it == at.answers.end() || !it->second.get) return std::nullopt;
    return it->second.get->outcome;
  }

  options settings;
  std::uint64_t births = 0;
  time_point now{std::chrono::hours{1}};
  std::unique_ptr<key_source> source_a;
  std::unique_ptr<key_source> source_b;
  std::unique_ptr<site> a;
  std::unique_ptr<site> b;
  connection_id conn_a = 0;
  connection_id conn_b = 0;
  std::uint64_t tickets = 0;
  bool up = false;
};

inline key_stream_id predefined(std::uint8_t tag) {
  std::array<std::byte, 16> octets{};
  octets[15] = std::byte{tag};
  return key_stream_id{octets};
}

inline const open_connect_request a_to_b{"qkd://alice@A", "qkd://bob@B"};

/// With a KSID that both ends know.
inline open_connect_request named(std::uint8_t tag) {
  auto r = a_to_b;
  r.stream = predefined(tag);
  return r;
}

/// Two for the same KSID that differ in their Key_chunk_size, octets.
inline std::pair<open_connect_request, open_connect_request> of_sizes(std::uint32_t at_a,
                                                                      std::uint32_t at_b) {
  std::pair requests{named(5), named(5)};
  requests.first.quality.key_chunk_size = at_a;
  requests.second.quality.key_chunk_size = at_b;
  return requests;
}

}  // namespace testing
