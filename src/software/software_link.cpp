// SPDX-License-Identifier: Apache-2.0
#include "qkd004/software_link.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "qkd004/random.hpp"
#include "software/block_content.hpp"
#include "software/distiller.hpp"
#include "software/entropy_health.hpp"
#include "software/link_channel.hpp"
#include "software/options_text.hpp"

namespace qkd004 {

namespace {

using namespace software;

/// Octets that poll() hands over at a time: small enough for the pool of any key manager.
constexpr std::size_t piece = 16'384;

constexpr std::size_t arena_bytes = std::size_t{256} << 10;  ///< for pads

/// What wakes the thread that distils.
class doorbell {
 public:
  void ring() {
    {
      const std::lock_guard lock{mutex_};
      rung_ = true;
    }
    changed_.notify_one();
  }
  void close() {
    {
      const std::lock_guard lock{mutex_};
      closed_ = true;
    }
    changed_.notify_one();
  }
  [[nodiscard]] bool is_closed() {
    const std::lock_guard lock{mutex_};
    return closed_;
  }
  /// False: closed.
  bool wait(time_point until, time_point now) {
    std::unique_lock lock{mutex_};
    const auto something = [this] { return rung_ || closed_; };
    if (until == time_point::max()) {
      changed_.wait(lock, something);
    } else if (until > now) {
      changed_.wait_for(lock, until - now, something);
    }
    rung_ = false;
    return !closed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
  bool closed_ = false;
};

/// One end: the distiller, and what has come of it for the key manager.
/// Threads: step() the distilling one, the rest the key manager's; report() and deliver() any.
class end_state {
 public:
  end_state(distiller::options o, auth_pool pool, doorbell& bell)
      : bell_{bell}, distiller_{std::move(o), std::move(pool)} {}

  std::uint64_t position() const {
    const std::lock_guard lock{work_};
    return distiller_.position();
  }

  result<key_source_check> start(const key_source_session& session) {
    const std::lock_guard lock{work_};
    leave();
    auto check = distiller_.start(session);
    if (!check) return check;
    const std::lock_guard front{front_};
    session_ = session;
    number_ = session.first_block;
    bell_.ring();
    return check;
  }

  void stop() noexcept {
    const std::lock_guard lock{work_};
    leave();
  }

  result<std::optional<key_block>> poll(const secret_arena& arena) {
    if (arena.forked()) return status::no_qkd_connection;
    const std::lock_guard lock{front_};
    if (!session_) return status::invalid_argument;
    if (current_.key.empty()) {
      if (ready_.empty()) {
        if (failure_) return failure_;
        return std::optional<key_block>{};
      }
      current_ = std::move(ready_.front());
      ready_.pop_front();
      provenance_ = std::make_shared<const key_provenance>(current_.provenance);
      given_ = 0;
      bell_.ring();  // there is room for another
    }
    const std::size_t size = std::min(piece, current_.key.size() / 8 - given_);
    auto bytes = arena.allocate(size);
    if (!bytes) return bytes.error();
    const auto octets = std::as_writable_bytes(current_.key.words()).subspan(given_, size);
    std::memcpy(bytes->data(), octets.data(), size);
    wipe(octets.data(), size);
    given_ += size;
    if (given_ == current_.key.size() / 8) current_.key = bits{};
    return std::optional<key_block>{key_block{number_++, std::move(*bytes), provenance_}};
  }

  [[nodiscard]] software_link_report report() const {
    const std::lock_guard lock{front_};
    return report_;
  }

  /// From an end in this process. False: it is in another session, and the message is left to who has it.
  bool deliver(const key_source_session& from, octet_run& message) {
    const std::lock_guard lock{front_};
    if (!session_ || session_->lower != from.lower || session_->higher != from.higher) return false;
    inbox_.push_back(std::move(message));
    return true;
  }

  struct progress {
    bool worked = false;    ///< it may have more to do
    bool has_news = false;  ///< poll() has something that it had not
  };

  /// Takes in what arrived and does one piece of work. `take` adds what came from elsewhere, false if that cannot be;
  /// `send` gets each message and its session, and says whether it took it.
  template <class Take, class Send>
  progress step(std::size_t unsent, const Take& take, const Send& send) {
    const std::lock_guard lock{work_};
    std::deque<octet_run> arrived;
    {
      const std::lock_guard front{front_};
      if (!session_) return {};
      arrived.swap(inbox_);
    }
    const bool possible = take(arrived);
    progress made{!arrived.empty(), false};
    for (const octet_run& message : arrived) distiller_.receive(message);
    if (!possible) distiller_.receive({});
    made.worked |= distiller_.work(unsent);
    // session_ changes under work_ only
    auto& messages = distiller_.messages();
    for (; !messages.empty() && send(*session_, messages.front()); messages.pop_front()) made.worked = true;
    made.has_news = publish();
    return made;
  }

  [[nodiscard]] time_point work_at() const {
    const std::lock_guard lock{work_};
    return distiller_.work_at();
  }

  /// Whether this and `other` have begun the same session.
  [[nodiscard]] bool meets(const end_state& other) const {
    const std::scoped_lock lock{front_, other.front_};
    return session_ && other.session_ && session_->lower == other.session_->lower &&
           session_->higher == other.session_->higher;
  }

 private:
  void leave() noexcept {
    distiller_.stop();
    const std::lock_guard lock{front_};
    session_.reset();
    inbox_.clear();
    ready_.clear();
    current_.key = bits{};
    failure_ = {};
  }

  bool publish() {
    auto report = distiller_.report();
    const auto failure = distiller_.failure();
    const std::lock_guard lock{front_};
    bool news = failure && !failure_;
    // what does not fit here stays with the distiller, which then begins no more
    while (ready_.size() < 2) {
      auto made = distiller_.take();
      if (!made) break;
      made->provenance.created_ms = milliseconds_since_1970();
      ready_.push_back(std::move(*made));
      news = true;
    }
    failure_ = failure;
    report_ = std::move(report);
    return news;
  }

  static std::int64_t milliseconds_since_1970() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  }

  doorbell& bell_;
  mutable std::mutex work_;  ///< held while there is distilling; before front_
  distiller distiller_;

  mutable std::mutex front_;
  std::optional<key_source_session> session_;  ///< changes with both held
  std::deque<octet_run> inbox_;
  std::deque<secret_block> ready_;
  secret_block current_;
  std::shared_ptr<const key_provenance> provenance_;
  std::size_t given_ = 0;  ///< octets of current_
  std::uint64_t number_ = 0;
  std::error_code failure_;
  software_link_report report_;
};

/// What an end is for the key manager, wherever the other is.
class software_end_base : public software_link_end {
 public:
  explicit software_end_base(key_source_capabilities c) : capabilities_{std::move(c)} {}

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return state().position(); }
  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point) override {
    return state().start(session);
  }
  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point) override {
    return state().poll(arena);
  }
  [[nodiscard]] time_point ready_at(time_point now) const noexcept override { return now + look_again_; }
  void stop() noexcept override { state().stop(); }
  [[nodiscard]] software_link_report report() const override { return state().report(); }

 protected:
  [[nodiscard]] virtual end_state& state() const noexcept = 0;
  std::chrono::milliseconds look_again_{1};

 private:
  const key_source_capabilities capabilities_;
};

/// An end whose other is at another site.
class remote_end final : public software_end_base {
 public:
  remote_end(key_source_capabilities c, distiller::options o, auth_pool pool)
      : software_end_base{std::move(c)},
        state_{std::move(o), std::move(pool), bell_},
        channel_{[this] { bell_.ring(); }},
        thread_{[this] { distil(); }} {
    look_again_ = std::chrono::milliseconds{100};  // its channel says when there is something
  }
  ~remote_end() override {
    bell_.close();
    thread_.join();
  }

  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point now) override {
    state_.stop();
    channel_.reset();
    return software_end_base::start(session, now);
  }
  [[nodiscard]] classical_channel* channel() noexcept override { return &channel_; }

 private:
  [[nodiscard]] end_state& state() const noexcept override { return state_; }

  void distil() {
    while (!bell_.is_closed()) {
      bool has_spoken = false;
      const auto made = state_.step(
          channel_.unsent(), [this](std::deque<octet_run>& to) { return channel_.take(to).has_value(); },
          [&](const key_source_session&, const octet_run& message) {
            channel_.send(message);
            return has_spoken = true;
          });
      if (has_spoken || made.has_news) channel_.wake();
      if (!made.worked) bell_.wait(state_.work_at(), boot_clock::now());
    }
  }

  doorbell bell_;
  mutable end_state state_;
  link_channel channel_;
  std::thread thread_;
};

/// Two ends and the thread that distils for both.
class local_link {
 public:
  local_link(distiller::options a, auth_pool pool_a, distiller::options b, auth_pool pool_b)
      : alice_{std::move(a), std::move(pool_a), bell_},
        bob_{std::move(b), std::move(pool_b), bell_},
        thread_{[this] { distil(); }} {}
  local_link(const local_link&) = delete;
  local_link& operator=(const local_link&) = delete;
  ~local_link() {
    bell_.close();
    thread_.join();
  }

  [[nodiscard]] end_state& at(side which) noexcept { return which == side::alice ? alice_ : bob_; }

 private:
  void distil() {
    while (!bell_.is_closed()) {
      bool worked = false;
      if (alice_.meets(bob_)) worked = step(alice_, bob_) | step(bob_, alice_);
      if (!worked) bell_.wait(std::min(alice_.work_at(), bob_.work_at()), boot_clock::now());
    }
  }
  static bool step(end_state& one, end_state& other) {
    return one
        .step(
            0, [](std::deque<octet_run>&) { return true; },
            [&other](const key_source_session& s, octet_run& message) { return other.deliver(s, message); })
        .worked;
  }

  doorbell bell_;
  end_state alice_;
  end_state bob_;
  std::thread thread_;
};

class local_end final : public software_end_base {
 public:
  local_end(key_source_capabilities c, std::shared_ptr<local_link> link, side which)
      : software_end_base{std::move(c)}, link_{std::move(link)}, which_{which} {}
  ~local_end() override { state().stop(); }

 private:
  [[nodiscard]] end_state& state() const noexcept override { return link_->at(which_); }

  const std::shared_ptr<local_link> link_;
  const side which_;
};

key_source_capabilities capabilities_of(const software_link_options& o, security_class security) {
  key_source_capabilities c{.kind = "software-bb84", .security = security};
  c.rate_bps = static_cast<std::uint64_t>(expected_rate(o));
  return c;
}

/// The system's generator under test; each end has a test of its own, they may be at two sites.
/// Returns resource_limit: it fails already.
result<random_source> sound_random(std::string* why) {
  try {
    return tested(system_random);
  } catch (const entropy_failure& failure) {
    if (why != nullptr) *why = failure.what();
    return status::resource_limit;
  }
}

distiller::options distiller_options(const software_link_options& o, side which, random_source random) {
  return {o, which, std::move(random), [] { return boot_clock::now(); }};
}

template <class T>
result<T> refuse(std::string* why, std::string text) {
  if (why != nullptr) *why = std::move(text);
  return status::invalid_argument;
}

}  // namespace

result<std::pair<std::shared_ptr<software_link_end>, std::shared_ptr<software_link_end>>> make_software_link(
    const software_link_options& o, std::string* why) {
  using both = std::pair<std::shared_ptr<software_link_end>, std::shared_ptr<software_link_end>>;
  if (auto fault = find_fault(o); !fault.empty()) return refuse<both>(why, std::move(fault));
  // room for the first blocks of a session to be under way all at once
  constexpr std::size_t bootstrap = 4 * least_bootstrap_bits / 8;
  const secret_arena arena{{arena_bytes, true}};
  auto for_alice = arena.allocate(bootstrap);
  auto for_bob = arena.allocate(bootstrap);
  if (!for_alice || !for_bob) return status::resource_limit;
  auto random_alice = sound_random(why);
  auto random_bob = sound_random(why);
  if (!random_alice || !random_bob) return status::resource_limit;
  (*random_alice)(for_alice->span());
  std::memcpy(for_bob->data(), for_alice->data(), bootstrap);
  auto alice = auth_pool::in_memory(std::move(*for_alice));
  auto bob = auth_pool::in_memory(std::move(*for_bob));
  if (!alice) return alice.error();
  if (!bob) return bob.error();
  const auto link = std::make_shared<local_link>(
      distiller_options(o, side::alice, std::move(*random_alice)), std::move(*alice),
      distiller_options(o, side::bob, std::move(*random_bob)), std::move(*bob));
  const auto c = capabilities_of(o, security_class::simulated_insecure);
  return both{std::make_shared<local_end>(c, link, side::alice),
              std::make_shared<local_end>(c, link, side::bob)};
}

result<std::unique_ptr<software_link_end>> make_software_link_end(const software_link_options& o,
                                                                  const software_link_end_options& end,
                                                                  std::string* why) {
  using made = std::unique_ptr<software_link_end>;
  if (auto fault = find_fault(o); !fault.empty()) return refuse<made>(why, std::move(fault));
  if (end.security == security_class::hardware) return refuse<made>(why, "simulated photons are no hardware");
  auto pool = auth_pool::open(end.auth_state, end.auth_key, secret_arena{{arena_bytes, true}}, why);
  if (!pool) return pool.error();
  auto random = sound_random(why);
  if (!random) return random.error();
  const bool is_alice = end.which == software_link_end_options::role::alice;
  return made{std::make_unique<remote_end>(
      capabilities_of(o, end.security),
      distiller_options(o, is_alice ? side::alice : side::bob, std::move(*random)), std::move(*pool))};
}

}  // namespace qkd004
