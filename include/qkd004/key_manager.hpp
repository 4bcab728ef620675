// key_manager: the whole of GS QKD 004 at one site as a state machine that does no I/O: requests, peer messages and
// the time go in, answers and peer messages come out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_pool.hpp"
#include "qkd004/key_provenance.hpp"
#include "qkd004/key_ring.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "qkd004/peer_message.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/rate.hpp"
#include "qkd004/result.hpp"
#include "qkd004/routing.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"
#include "qkd004/vendor_metadata.hpp"

namespace qkd004 {

using link_id = std::uint32_t;  ///< of a link to a peer site

/// The streams of one site. Two key managers whose links share a pair of key sources are peers: the one with the
/// lower node id decides which octets of the link's key become which chunk of which stream (R1), and no chunk is
/// delivered anywhere before both hold it (D10).
/// Order of calls: `add_link* (connect (open_connect get_key* close)* disconnect)* shutdown`, with link_up, receive,
/// link_down and advance in between.
/// Threads: one at a time. The rings it hands out are for any thread.
class key_manager final : public key_service {
 public:
  /// Fills octets with unpredictable ones.
  using random_function = std::function<void(std::span<std::byte>)>;

  /// What a key manager has to say, from inside its functions. An implementation must not call it back from here.
  class events {
   public:
    virtual void answer(const caller&, const open_connect_response&) = 0;
    /// Lifetime: the key is there during this call only.
    virtual void answer(const caller&, const get_key_response&) = 0;
    virtual void answer(const caller&, const close_response&) = 0;
    /// Lifetime: the keys are there during this call only.
    virtual void answer(const caller&, const get_keys_response&) = 0;
    virtual void answer(const caller&, const wait_peer_response&) = 0;
    virtual void answer(const caller&, const acknowledge_response&) = 0;
    /// Of a subscription. Lifetime: the keys are there during this call only.
    virtual void deliver(connection_id, const key_stream_id&, const get_keys_response&) = 0;
    /// To the peer of that link; messages arrive in order or not at all.
    virtual void send(link_id, peer::message&&) = 0;
    /// The connection to that peer is of no more use.
    virtual void link_failed(link_id, const std::string& why) = 0;
    /// Something an operator wants to know; never an octet of key.
    virtual void note(std::string_view) {}

   protected:
    events() = default;
    events(const events&) = default;
    events& operator=(const events&) = default;
    ~events() = default;
  };

  /// What a key manager is told of its site.
  struct options {
    std::string node;  ///< this site's id, unlike any peer's
    std::vector<std::string>
        local_uris;  ///< further URIs that are this site's; `x*` stands for all that begin so
    qkd004::limits limits;
    bool insist_on_peer = false;  ///< GET_KEY gives 3 until the peer application has opened (D10)
    /// Whether a principal may open a stream between a URI of this site and one of another; empty: everyone
    /// may (D9).
    std::function<bool(std::string_view principal, std::string_view local, std::string_view remote)> may_open;
  };

  /// What a key manager is told of a link.
  struct link_options {
    std::string name;                       ///< equal at both sites
    std::string peer;                       ///< node id of the other site
    std::vector<std::string> destinations;  ///< further nodes or URIs this link leads to; `x*` as above
  };

  /// Chunks of a stream at this side: bound = acknowledged + expired + discarded + live, at all times. Clause: R7.
  using balance = key_ring::balance;

  /// `random` feeds KSIDs and this instance's id, and must be the system's generator outside of tests.
  key_manager(options o, secret_arena arena, random_function random, events& out)
      : options_{std::move(o)}, arena_{std::move(arena)}, random_{std::move(random)}, out_{out} {
    random_(std::as_writable_bytes(std::span{instance_}));
  }
  key_manager(const key_manager&) = delete;
  key_manager& operator=(const key_manager&) = delete;

  /// Adds a peer. The source stays the caller's and outlives the manager.
  /// Returns invalid_argument: the peer's node id is empty, this site's own, or taken by another link.
  [[nodiscard]] result<link_id> add_link(link_options o, key_source& source);

  /// \name Applications
  ///@{
  [[nodiscard]] connection_id connect(std::string principal) override;
  void disconnect(connection_id id, time_point now) override;
  void open_connect(caller who, const open_connect_request& request, time_point now) override;
  void get_key(caller who, const get_key_request& request, time_point now) override;
  void close(caller who, const close_request& request, time_point now) override;
  void get_keys(caller who, const get_keys_request& request, time_point now) override;
  void wait_peer(caller who, const wait_peer_request& request, time_point now) override;
  void acknowledge(caller who, const acknowledge_request& request, time_point now) override;
  void subscribe(caller who, const subscribe_request& request, time_point now) override;
  [[nodiscard]] stream_reports report(connection_id who, const key_stream_id& stream,
                                      time_point now) override;
  [[nodiscard]] std::vector<link_report> links(time_point now) override;
  [[nodiscard]] stream_reports report_all(time_point now) override;

  /// The ring of a stream that this connection may read, for callers in this process; nullptr if it may not, or if
  /// the peer has not accepted the stream yet.
  [[nodiscard]] std::shared_ptr<key_ring> ring(connection_id who, const key_stream_id& id);

  /// For callers in this process: a call that was not answered yet will not be, and consumes no key.
  void cancel(caller who);
  ///@}

  /// \name Peers
  ///@{
  void link_up(link_id id, time_point now);
  void link_down(link_id id, time_point now);
  void receive(link_id id, peer::message&& message, time_point now);
  [[nodiscard]] bool link_ready(link_id id) const { return links_.at(id)->at == stage::ready; }
  /// Whether it is worth making the connection anew at once: false for a link whose sessions begin again and again
  /// without a block of key in between.
  [[nodiscard]] bool link_promising(link_id id) const { return links_.at(id)->fruitless <= 1; }
  ///@}

  /// Somebody waits on a ring that was handed out: the next advance() looks at all of those.
  void look_at_rings() noexcept {
    if (!attached_.empty()) next_look_ = time_point{};
  }
  void advance(time_point now) override;
  [[nodiscard]] time_point next_deadline(time_point now) const override;
  void shutdown(time_point now) override;

  [[nodiscard]] std::optional<balance> stream_balance(const key_stream_id& id) const {
    const stream* s = find(id);
    return s == nullptr || !s->ring ? std::nullopt : std::optional{s->ring->tally()};
  }
  [[nodiscard]] counters totals() const override {
    counters c = totals_;
    c.streams = streams_.size();
    c.waiting = waiting_.size() + asking_.size();
    return c;
  }
  [[nodiscard]] const std::string& node() const noexcept override { return options_.node; }
  [[nodiscard]] const instance_id& instance() const noexcept override { return instance_; }
  [[nodiscard]] const qkd004::limits& bounds() const noexcept { return options_.limits; }

 private:
  using principal_id = std::uint32_t;
  static constexpr principal_id anonymous = 0;

  using stage = link_report::stage;

  struct stream;
  struct known_principal {
    std::string_view name;
    std::map<std::uint64_t, stream*> open;  ///< its streams, by serial
  };

  struct connection {
    principal_id principal = anonymous;
    std::vector<key_stream_id> used;  ///< streams that name this connection among their users
    std::size_t waiting = 0;
  };

  /// An OPEN_CONNECT of a stream that is registered, which waits for the peer application.
  struct opening {};
  /// A call that was not answered yet.
  struct waiting_call {
    caller who;
    key_stream_id stream;
    std::variant<opening, wait_peer_request, get_key_request, get_keys_request> what;

    [[nodiscard]] bool wants_key() const noexcept { return what.index() >= 2; }
  };
  using waiting_map = std::multimap<time_point, waiting_call>;

  /// An OPEN_CONNECT that waits until the peer has lent what it promises, or has not. Clause: D6.
  struct asking_call {
    caller who;
    open_connect_request request;
    link_id via;
    time_point deadline;
    std::uint64_t serial = 0;  ///< of the borrow that asks for it; 0: none yet
  };

  struct user {
    connection_id connection;
    std::uint64_t epoch;
  };

  struct subscription {
    connection_id connection = 0;  ///< 0: nobody has subscribed
    std::uint64_t next = 0;
    std::uint32_t credit = 0;
  };

  /// Indices of one stream, up to but not `end`, from where the one before ends or a later one, and how their key came
  /// to be.
  struct described_run {
    std::uint64_t first;
    std::uint64_t end;
    std::shared_ptr<const key_provenance> how;
  };

  struct stream {
    key_stream_id id;
    std::uint64_t serial = 0;
    link_id via = 0;
    std::string source;
    std::string destination;
    qos quality;
    bool strict_once = false;

    bool registered_here = false;  ///< the first OPEN_CONNECT was at this side, which promised its Min_bps
    bool promises = false;         ///< its Min_bps counts among the promises of that side
    bool settled = false;          ///< both key managers know the stream and agree on it
    bool open = false;             ///< an application of this side has opened it
    bool peer_open = false;
    bool peer_closed = false;
    principal_id owner = anonymous;
    std::uint64_t epoch = 0;
    std::vector<user> users;
    std::vector<waiting_map::iterator> waiting;
    subscription subscribed;
    bool acknowledges = false;           ///< its reader says what it has: a CLOSE says nothing more (R5)
    std::set<std::uint64_t> handed_out;  ///< strict once: indices in the window that were served

    std::shared_ptr<key_ring> ring;
    /// How what is in the ring came to be; in order, each at least a chunk. A deque would take 640 octets while it is empty.
    std::vector<described_run> described;
    std::uint32_t window = 0;     ///< chunks between the lowest that a side holds and the highest allocated
    std::uint64_t allocated = 0;  ///< allocator: next index to bind
    std::uint64_t last_bound =
        0;  ///< the other, once the peer has closed: end of the last binding there can be
    std::uint64_t peer_low = 0;    ///< allocator: lowest index the peer holds
    std::uint64_t marked_low = 0;  ///< the other: lowest_held() last told to the allocator
    time_point marked_at{};
    bool peer_waits = false;  ///< allocator: the peer told that a caller waits, and was bound nothing since
    bool throttled = false;   ///< stands in the link's throttled
    bool wanted = false;      ///< the other: told the allocator that a caller waits
    bool attached = false;    ///< its ring was handed out: takers are not seen
    time_point asked{};       ///< last sign of a reader at either side (D15)
    time_point ends = time_point::max();  ///< closed by the peer, never opened here: when it goes (D16)
    time_point announce_again = time_point::max();

    std::uint64_t turn = 0;  ///< position in the link's schedule: octets over weight
    bool hungry = false;     ///< stands in the link's schedule
    double tokens = 0;       ///< octets that Max_bps still allows
    double owed = 0;         ///< octets that Min_bps has promised by now
    time_point tokens_at{};
    time_point owed_at{};
    second_meter meter;
  };

  struct binding {
    peer::bind bind;
    bool stored = false;
  };

  struct link {
    link_options options;
    key_source* source = nullptr;
    classical_channel* channel = nullptr;  ///< of the source; null: it needs none
    link_id id = 0;
    instance_id instance{};  ///< this site's to that peer: a session that is given up takes it along
    bool allocates = false;  ///< this site has the lower node id (R1)

    stage at = stage::down;
    bool channel_up = false;
    bool has_session = false;
    bool confirmed = false;              ///< the peer had this session as well
    bool broken = false;                 ///< the peer broke its protocol: this session is not taken up again
    std::uint64_t greeted_position = 0;  ///< of the source, as it stood in the hello that was sent
    instance_id peer_instance{};
    instance_id former_instance{};  ///< of the peer, before that one
    std::uint32_t fruitless = 0;    ///< sessions begun since the source gave its last block
    key_source_check check{};
    bool source_ended = false;
    bool cramped = false;  ///< there was no memory for its next block

    key_pool pool;
    std::uint64_t ring_octets = 0;    ///< of the arena, in its streams' rings
    std::uint64_t bound = 0;          ///< position of the first octet that no stream has
    std::deque<binding> outstanding;  ///< allocator: sent and not confirmed
    std::deque<peer::bind> deferred;  ///< the other: received before its blocks
    std::deque<binding> recent;       ///< the other: confirmed, kept to compare with repetitions

    std::set<std::pair<std::uint64_t, std::uint64_t>> schedule;  ///< (turn, serial) of hungry streams
    std::uint64_t turn = 0;                                      ///< of the stream that was served last
    std::set<std::uint64_t> promised_to;                         ///< serials of hungry streams with a Min_bps
    std::multimap<time_point, key_stream_id> throttled;          ///< hungry once their Max_bps allows
    std::uint64_t promised_bps = 0;                              ///< sum of Min_bps given from this side
    std::uint64_t promised_there_bps = 0;                        ///< and from the other
    link_rate rate;
    std::uint64_t largest_block = 0;                 ///< octets, of those the source has given
    std::uint16_t version = peer::protocol_version;  ///< of the protocol, common to both
    std::uint64_t lent_bps = 0;                      ///< of this site's half, to the peer
    std::uint64_t borrowed_bps = 0;                  ///< of the peer's half
    std::uint64_t asked_bps = 0;                     ///< what was last asked for in all
    std::uint64_t borrow_serial = 0;                 ///< of the last that was asked for
    bool asking = false;                             ///< and its answer has not come
    std::set<key_stream_id> closing;                 ///< closed here, and the peer has not said that it knows
    link_report counted;  ///< what is counted as it happens, and of streams that have ended
  };

  struct route {
    link* via = nullptr;
    std::string_view local;
    std::string_view remote;
  };

  // What one allocation takes at most, so that streams of equal weight alternate.
  static constexpr std::uint32_t quantum_chunks = 32;
  static constexpr std::size_t max_deferred = 4'096;
  static constexpr std::size_t max_outstanding = 1'024;
  static constexpr std::size_t max_asking = 1'024;
  static constexpr auto mark_delay = std::chrono::milliseconds{20};
  static constexpr auto source_retry = std::chrono::milliseconds{1};
  static constexpr auto cramped_retry = std::chrono::milliseconds{20};
  static constexpr auto sweep_interval = std::chrono::milliseconds{250};
  static constexpr auto announce_retry = std::chrono::seconds{1};

  /// Octets that one binding may have: no ring holds more.
  [[nodiscard]] std::uint64_t most_bound() const noexcept {
    return std::max<std::uint64_t>(options_.limits.ring_bytes, 2ULL * options_.limits.max_chunk);
  }
  /// Whether a peer's QoS is one that negotiate() can have granted.
  [[nodiscard]] static bool is_granted(const qos& q) noexcept {
    return q.key_chunk_size != 0 && q.max_bps != 0 && q.timeout_ms != 0 && q.ttl_s != 0;
  }

  // look-up
  [[nodiscard]] known_principal& principal_of(connection_id id) {
    return principals_[connections_[id].principal];
  }
  [[nodiscard]] stream* find(const key_stream_id& id) {
    const auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
  }
  [[nodiscard]] const stream* find(const key_stream_id& id) const {
    return const_cast<key_manager*>(this)->find(id);
  }
  [[nodiscard]] link& link_of(const stream& s) { return *links_[s.via]; }
  [[nodiscard]] bool is_local(std::string_view uri) const {
    return node_of(uri) == options_.node || matches_any(options_.local_uris, uri);
  }
  [[nodiscard]] link* leads_to(std::string_view uri);
  [[nodiscard]] result<route> find_route(std::string_view source, std::string_view destination);
  [[nodiscard]] static bool same_ends(const stream& s, std::string_view source,
                                      std::string_view destination) {
    return (s.source == source && s.destination == destination) ||
           (s.source == destination && s.destination == source);
  }

  // OPEN_CONNECT
  [[nodiscard]] qos_offer offer_of(const link& l) const;
  [[nodiscard]] static std::uint64_t half_of(const link& l) noexcept { return l.rate.bps() / 2; }
  /// What of so many bit/s of a link is left after what the peer has been lent.
  [[nodiscard]] static std::uint64_t less_lent(const link& l, std::uint64_t bps) noexcept {
    return bps > l.lent_bps ? bps - l.lent_bps : 0;
  }
  /// What this site may promise of a link, in bit/s.
  [[nodiscard]] static std::uint64_t share_of(const link& l) noexcept {
    return less_lent(l, half_of(l) + l.borrowed_bps);
  }
  void ask_peer(link& l);
  void answer_asking(link& l, std::uint64_t serial, time_point now);
  void give_back(link& l);
  void promise(stream& s, bool here);
  void release_promise(stream& s);
  [[nodiscard]] key_ring::options ring_shape(const qos& q) const;
  [[nodiscard]] std::uint64_t kept_from(const link& mine) const;
  [[nodiscard]] result<void> make_ring(stream& s);
  [[nodiscard]] stream& add_stream(const key_stream_id& id, link& l, time_point now);
  void resume(stream& s, caller who, const open_connect_request& request, time_point now);
  /// `due`: of an OPEN_CONNECT that has waited for what the peer lends, and may not once more.
  using due_at = std::optional<time_point>;
  void open_connect(caller who, const open_connect_request& request, time_point now, due_at due);
  void register_first(const route& r, caller who, const open_connect_request& request, time_point now,
                      due_at due);
  void answer_open(caller who, const stream& s, status outcome);
  void refuse_open(caller who, const open_connect_request& request, status outcome) {
    open_connect_response r;
    r.outcome = outcome;
    r.quality = request.quality;
    r.stream = request.stream;
    out_.answer(who, r);
  }
  void give_to(stream& s, caller who);
  void note_user(stream& s, caller who);
  void peer_opened(stream& s);

  // GET_KEY
  [[nodiscard]] bool insists(const stream& s) const noexcept {
    return options_.insist_on_peer && !s.peer_open && !s.peer_closed;
  }
  [[nodiscard]] status admit(stream* s, caller who);
  [[nodiscard]] bool try_get(stream& s, caller who, const get_key_request& request, time_point now);
  [[nodiscard]] bool try_get(stream& s, caller who, const get_keys_request& request, time_point now);
  template <class Request>
  void get_or_wait(stream& s, caller who, const Request& request, time_point now);
  /// One key of the stream: its octets stay until the next one of a strict-once stream, else until they are
  /// acknowledged.
  struct one_key {
    status outcome;
    served_key key;
  };
  [[nodiscard]] one_key serve_one(stream& s, std::uint64_t index, time_point now);
  [[nodiscard]] status serve_run(stream& s, std::uint64_t first, std::uint64_t most, time_point now);
  [[nodiscard]] get_keys_response response_of(const stream& s, std::uint64_t first) const;
  void after_run(stream& s, std::uint64_t first);
  void count_delivered(const stream& s, std::uint64_t keys);
  [[nodiscard]] std::string vendor_metadata_of(const stream& s, std::uint64_t first) const;
  static void forget_descriptions(stream& s);
  [[nodiscard]] std::uint32_t most_in_answer(const stream& s, std::size_t vendor) const noexcept;
  void deliver_subscribed(stream& s, time_point now);
  void end_subscription(stream& s, status why);
  [[nodiscard]] static bool is_awaited(const stream& s) noexcept {
    return !s.waiting.empty() || (s.subscribed.connection != 0 && s.subscribed.credit != 0);
  }
  void answer_get_key(caller who, const stream& s, status outcome) {
    get_key_response r;
    r.outcome = outcome;
    r.index = s.ring ? s.ring->lowest_live() : 0;
    if (outcome == status::metadata_size_insufficient) r.metadata_needed = metadata_json_size;
    out_.answer(who, r);
  }
  void fail_get(caller who, const stream* s, const get_key_request&, status outcome) {
    if (s != nullptr) return answer_get_key(who, *s, outcome);
    get_key_response r;
    r.outcome = outcome;
    out_.answer(who, r);
  }
  void fail_get(caller who, const stream* s, const get_keys_request&, status outcome) {
    get_keys_response r;
    r.outcome = outcome;
    r.first = s != nullptr && s->ring ? s->ring->lowest_live() : 0;
    out_.answer(who, r);
  }
  void serve_waiting(stream& s, time_point now);
  [[nodiscard]] stream_report report_of(stream& s, time_point now);

  // waiting calls
  void wait(stream& s, waiting_call c, time_point deadline);
  void forget(waiting_map::iterator it);
  void answer_waiting(stream& s, status outcome);
  void answer_timed_out(const waiting_call& c);
  void fail_waiting(const waiting_call& c, const stream& s, status outcome, status of_open);

  // ends of streams
  /// closed: here, the peer must learn of it; ended: the peer closed long ago; lost: with the peer's old instance;
  /// withdrawn: the peer never took it.
  enum class ending : std::uint8_t { closed, ended, lost, withdrawn };
  void remove(stream& s, ending how, status tell);
  void end_peer(stream& s, time_point now);
  void finish_if_drained(stream& s, time_point now);

  // links
  void send(link& l, peer::message&& m) { out_.send(l.id, std::move(m)); }
  /// Nothing more comes or goes over this connection.
  void leave(link& l) {
    l.at = stage::down;
    l.deferred.clear();  // the allocator sends them again
    if (std::exchange(l.channel_up, false)) l.channel->down();
  }
  void fail(link& l, const std::string& why) {
    leave(l);
    out_.link_failed(l.id, why);
  }
  void break_off(link& l, const std::string& why) {
    l.broken = true;
    fail(l, why + "; one of the two sites must be restarted");
  }
  void give_up_session(link& l, const std::string& why);
  void speak(link& l);
  void announce(const stream& s);
  void reset_session(link& l, const instance_id& peer_instance);
  void become_ready(link& l, time_point now);
  void on(link& l, peer::hello&& m, time_point now);
  void on(link& l, const peer::start& m, time_point now);
  void on(link& l, const peer::announce& m, time_point now);
  void on(link& l, const peer::accept& m, time_point now);
  void on(link& l, const peer::refuse& m, time_point now);
  void on(link& l, const peer::bind& m, time_point now);
  void on(link& l, const peer::confirm& m, time_point now);
  void on(link& l, const peer::mark& m, time_point now);
  void on(link& l, const peer::close& m, time_point now);
  void on(link& l, const peer::closed& m, time_point now);
  void on(link& l, const peer::borrow& m, time_point now);
  void on(link& l, const peer::lend& m, time_point now);
  void on(link& l, const peer::classical& m, time_point now);
  void on(link& l, const peer::fault& m, time_point now);
  [[nodiscard]] bool adopt(stream& s, const qos& quality, bool strict_once, bool here);
  void settle(stream& s, std::uint32_t peer_window, time_point now);

  // key
  void refill(link& l, std::uint64_t want, time_point now);
  void ask_for_more(stream& s, time_point now);
  void released(stream& s, time_point now);
  void enqueue(link& l, stream& s);
  void allocate(link& l, time_point now);
  [[nodiscard]] stream& next_in_turn(link& l, time_point now);
  [[nodiscard]] std::uint32_t window_room(const stream& s) const;
  [[nodiscard]] std::uint32_t bucket_room(stream& s, std::uint32_t most, time_point now);
  /// bit/s, the most a stream gets: its Max_bps, and with a Jitter no more than that above its Min_bps. Clause: D6.
  [[nodiscard]] static std::uint32_t ceiling_of(const qos& q) noexcept {
    if (q.jitter == 0 || q.min_bps == 0) return q.max_bps;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(q.max_bps, std::uint64_t{q.min_bps} + q.jitter));
  }
  [[nodiscard]] bool is_throttled(const stream& s) const {
    const std::uint64_t rate = links_[s.via]->source->capabilities().rate_bps;
    const std::uint32_t most = ceiling_of(s.quality);
    return most != 0xffff'ffffU && (rate == 0 || most < rate);
  }
  void publish(stream& s, link& l, const peer::bind& b, time_point now);
  void apply_deferred(link& l, time_point now);

  options options_;
  secret_arena arena_;
  random_function random_;
  events& out_;
  instance_id instance_{};

  std::vector<std::unique_ptr<link>> links_;
  std::unordered_map<key_stream_id, std::unique_ptr<stream>> streams_;
  std::map<std::uint64_t, stream*> by_serial_;               ///< in order of registration
  std::unordered_map<key_stream_id, principal_id> retired_;  ///< closed, and by whom: a repeated CLOSE gets 0
  std::vector<connection> connections_{1};
  std::vector<connection_id> free_connections_;
  std::map<std::string, principal_id, std::less<>> principal_ids_{
      {std::string{anonymous_principal}, anonymous}};
  std::vector<known_principal> principals_{{anonymous_principal, {}}};  ///< by id
  waiting_map waiting_;
  std::list<asking_call> asking_;
  std::set<key_stream_id> attached_;  ///< streams whose rings were handed out
  std::set<key_stream_id> unmarked_;  ///< streams whose allocator was not told of the latest lowest_held()
  secret_bytes scratch_;
  std::vector<served_key> run_;  ///< of one answer
  std::uint64_t next_serial_ = 1;
  time_point next_sweep_{};
  time_point next_look_ = time_point::max();  ///< at streams that are attached or unmarked
  counters totals_;
  bool down_ = false;
};

}  // namespace qkd004

#include "qkd004/key_manager_open.ipp"

#include "qkd004/key_manager_read.ipp"

#include "qkd004/key_manager_peer.ipp"

#include "qkd004/key_manager_bind.ipp"
