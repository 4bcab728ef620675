// SPDX-License-Identifier: Apache-2.0
#include "net/polled_exchange.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "qkd004/status.hpp"
#include "qkd004/waiting.hpp"

namespace qkd004::net {

namespace {

/// A deadline may be as far away as time_point::max().
constexpr boot_clock::duration longest_wait = std::chrono::hours{1};

boot_clock::duration until_then(time_point then, time_point now) {
  return then > now + longest_wait ? longest_wait : std::max(then - now, boot_clock::duration::zero());
}

}  // namespace

polled_exchange::polled_exchange(address to, std::shared_ptr<const tls_context> tls, secret_arena arena,
                                 const connect_options& options)
    : address_{std::move(to)},
      arena_{std::move(arena)},
      options_{options},
      tls_{std::move(tls)},
      allowed_{options.allow_insecure ? reach::anywhere : reach::loopback} {}

polled_exchange::~polled_exchange() {
  for (const int descriptor : {wake_[0], wake_[1], loop_.load(), signal_.load()}) {
    if (descriptor >= 0) ::close(descriptor);
  }
}

// --- Connecting ---

result<void> polled_exchange::prepare(std::string* why) {
  if (::pipe(wake_) != 0) {
    return fail(why, "no descriptor left", std::error_code{errno, std::system_category()});
  }
  for (const int descriptor : wake_) {
    ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
    ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  }
  auto endpoints = endpoints_of(address_, allowed_, why);
  if (!endpoints) return endpoints.error();
  endpoints_ = std::move(*endpoints);
  return {};
}

bool polled_exchange::open_until(unique_lock& lock, time_point deadline,
                                 const std::function<bool()>& settled) {
  while (!settled() && boot_clock::now() < deadline) {
    poll_once(lock, std::min(deadline, boot_clock::now() + waiting_hook::interval));
    if (!waiting_hook::go_on()) return false;
  }
  return true;
}

std::error_code polled_exchange::cannot_connect(std::string* why, const std::string& because,
                                                std::error_code error) const {
  const std::string where = address_.kind == scheme::unix_socket
                                ? address_.path
                                : address_.host + " port " + std::to_string(address_.port);
  return fail(why, "cannot connect to " + where + ": " + because, error);
}

client_socket::target polled_exchange::next_target() {
  if (!is_number(address_) && std::exchange(endpoints_failed_, false)) {
    if (auto found = endpoints_of(address_, allowed_); found) endpoints_ = std::move(*found);
  }
  client_socket::target to = target_of(address_, endpoints_, tls_, options_.server);
  to.deadline = boot_clock::now() + options_.connect_timeout;
  return to;
}

bool polled_exchange::has_rested() noexcept {
  const time_point now = clock_.now();
  return now - std::exchange(last_start_, now) > std::chrono::seconds{1};
}

// --- Calls ---

void polled_exchange::start(std::span<call* const> calls) {
  const std::lock_guard lock{mutex_};
  if (arena_.forked()) {  // the connection is the parent's
    for (call* const c : calls) done(*c, std::make_error_code(std::errc::operation_not_permitted));
    return;
  }
  ask(calls);
  changed();
}

void polled_exchange::wait(call& c) { wait_until(c, time_point::max()); }

void polled_exchange::wait_until(call& c, time_point until) {
  unique_lock lock{mutex_};
  while (!c.done()) {
    const time_point now = boot_clock::now();
    if (now >= until) break;
    if (now >= c.deadline) {
      give_up(c, status::timeout);
    } else if (driven_) {
      sleep(lock, c, std::min(c.deadline, until));
    } else if (!poll_once(lock, std::min(c.deadline, until)) && until != time_point::max()) {
      break;
    }
  }
  hand_over();
}

void polled_exchange::cancel(call& c) noexcept {
  const std::lock_guard lock{mutex_};
  if (c.done()) return;
  give_up(c, std::make_error_code(std::errc::operation_canceled));
  wake_driver();  // the call may be its own
}

void polled_exchange::give_up(call& c, std::error_code why) {
  forget(c, why);
  done(c, why);
}

void polled_exchange::done(call& c, std::error_code error) {
  c.error = error;
  const auto it =
      std::find_if(sleepers_.begin(), sleepers_.end(), [&c](const sleeper* s) { return s->for_what == &c; });
  c.complete();
  if (it != sleepers_.end()) (*it)->wake.notify_one();
}

// --- Polling ---

bool polled_exchange::poll_once(unique_lock& lock, time_point until) {
  until = std::min(until, expire(time_point::min()));  // what has come by now counts, so it is read first
  polled_.clear();
  polled_sockets_.clear();
  connections(polled_sockets_);
  polled_.push_back({wake_[0], POLLIN, 0});
  for (const auto& s : polled_sockets_) polled_.push_back(s->wants());
  int milliseconds = -1;
  if (until != time_point::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until_then(until, boot_clock::now()));
    milliseconds = static_cast<int>(left.count());
  }
  driven_ = true;
  lock.unlock();
  const int ready = ::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), milliseconds);
  const bool interrupted = ready < 0 && errno == EINTR;
  lock.lock();
  driven_ = false;
  if (ready > 0 && polled_[0].revents != 0) {
    char ignored[64];
    while (::read(wake_[0], ignored, sizeof ignored) > 0) {}
  }
  for (std::size_t i = 0; ready > 0 && i < polled_sockets_.size(); ++i) {
    client_socket& s = *polled_sockets_[i];
    if (polled_[i + 1].revents != 0 && !s.is_over()) s.on_ready(polled_[i + 1].revents);
  }
  if (ready == 0) expire(boot_clock::now());
  polled_sockets_.clear();
  watch();
  return !interrupted;
}

void polled_exchange::sleep(unique_lock& lock, call& c, time_point until) {
  sleeper me{&c, {}};
  sleepers_.push_back(&me);
  me.wake.wait_for(lock, until_then(until, boot_clock::now()));
  std::erase(sleepers_, &me);
}

void polled_exchange::hand_over() {
  if (!driven_ && !sleepers_.empty()) sleepers_.front()->wake.notify_one();
}

void polled_exchange::changed() {
  if (driven_) {
    current_.clear();
    connections(current_);
    const bool as_polled = std::all_of(current_.begin(), current_.end(), [this](const socket_ptr& s) {
      return s->wants().events == POLLIN &&
             std::find(polled_sockets_.begin(), polled_sockets_.end(), s) != polled_sockets_.end();
    });
    current_.clear();
    if (!as_polled) wake_driver();
  }
  watch();
}

void polled_exchange::wake_driver() noexcept {
  if (!driven_) return;
  const char octet = 0;
  static_cast<void>(::write(wake_[1], &octet, 1));
}

// --- Event loops ---

int polled_exchange::descriptor() {
  const std::lock_guard lock{mutex_};
  if (loop_ >= 0) return loop_;
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  const int signal = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{EPOLLIN, {}};
  if (set < 0 || signal < 0 || ::epoll_ctl(set, EPOLL_CTL_ADD, signal, &event) != 0) {
    if (set >= 0) ::close(set);
    if (signal >= 0) ::close(signal);
    return -1;  // no descriptor left: by time alone
  }
  signal_ = signal;
  loop_ = set;
  watch();
  return set;
}

/// Takes no lock: calls complete under it.
void polled_exchange::wake() noexcept {
  const std::uint64_t one = 1;
  if (const int signal = signal_; signal >= 0) static_cast<void>(::write(signal, &one, sizeof one));
}

/// Has the epoll set follow the connections, and what each waits for.
void polled_exchange::watch() {
  if (loop_ < 0 || arena_.forked()) return;  // the set of a child is the parent's
  current_.clear();
  connections(current_);
  std::erase_if(watched_, [this](const watched_socket& w) {
    const bool lives = std::find(current_.begin(), current_.end(), w.what) != current_.end();
    if (!lives) ::epoll_ctl(loop_, EPOLL_CTL_DEL, w.how.descriptor, nullptr);
    return !lives;
  });
  for (const auto& s : current_) {
    const client_socket::interest now = s->watched_for();
    auto it = std::find_if(watched_.begin(), watched_.end(), [&s](const auto& w) { return w.what == s; });
    if (it != watched_.end() && it->how == now) continue;
    // another socket may have the number of one before
    const bool known = it != watched_.end() && it->how.socket == now.socket;
    if (it == watched_.end()) it = watched_.insert(it, {s, now});
    epoll_event event{};
    event.events =
        ((now.events & POLLIN) != 0 ? EPOLLIN : 0U) | ((now.events & POLLOUT) != 0 ? EPOLLOUT : 0U);
    ::epoll_ctl(loop_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, now.descriptor, &event);
    it->how = now;
  }
  current_.clear();
}

time_point polled_exchange::drive(time_point) {
  unique_lock lock{mutex_};
  if (arena_.forked()) return time_point::max();
  std::uint64_t ignored = 0;
  if (signal_ >= 0) static_cast<void>(::read(signal_, &ignored, sizeof ignored));
  if (!driven_) poll_once(lock, boot_clock::now());  // else whoever waits does it for us
  const time_point next = expire(boot_clock::now());
  hand_over();
  watch();
  return next;
}

}  // namespace qkd004::net
