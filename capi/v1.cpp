// SPDX-License-Identifier: Apache-2.0
#include "qkd004/v1.hpp"

#include <errno.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "buffer.hpp"
#include "client.hpp"
#include "guard.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "qkd004/exchange.hpp"
#include "qkd004/waiting.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {

/// For the calls of one session over an exchange that others use as well: those that wait can be called off together.
class interruptible final : public exchange {
 public:
  explicit interruptible(std::shared_ptr<exchange> inner) : inner_{std::move(inner)} {}

  void start(std::span<call* const> calls) override { inner_->start(calls); }
  void wait(call& c) override {
    waiting_room::waiter here{room_, this, *inner_};
    call* const one = &c;
    here.ask(std::span{&one, 1}, [] {});  // it was started
  }
  void cancel(call& c) noexcept override { inner_->cancel(c); }
  [[nodiscard]] extensions supports() const override { return inner_->supports(); }

  /// What waits at this moment.
  void cancel_all() noexcept { room_.cancel(this, std::make_error_code(std::errc::operation_canceled)); }

 private:
  const std::shared_ptr<exchange> inner_;
  waiting_room room_;
};

/// What a qkd004_v1_session stands for. The C++ session is made at the first QKD_OPEN, when all destinations are known.
class v1_session_object final : public object {
 public:
  v1_session_object(const client_object& c, v1::options o)
      : calls{c.calls.managers()}, way{std::make_shared<interruptible>(c.way())}, options_{std::move(o)} {}

  /// Throws refusal (invalid_argument): QKD_OPEN came first.
  void destination(std::string name, std::string uri) {
    const std::lock_guard lock{mutex_};
    if (session_) throw refusal{QKD004_V1_INVALID_ARGUMENT, "destinations come before the first open"};
    options_.destinations.insert_or_assign(std::move(name), std::move(uri));
  }

  v1::session& session() {
    const std::lock_guard lock{mutex_};
    if (!session_) session_ = std::make_unique<v1::session>(way, options_);
    return *session_;
  }

  gate calls;
  const std::shared_ptr<interruptible> way;

 private:
  std::mutex mutex_;
  v1::options options_;
  std::unique_ptr<v1::session> session_;
};

namespace {

static_assert(static_cast<int>(v1::status::no_qkd_connection) == QKD004_V1_NO_QKD_CONNECTION);
static_assert(static_cast<int>(v1::status::timeout) == QKD004_V1_TIMEOUT);
static_assert(static_cast<int>(v1::status::resource_limit) == QKD004_V1_RESOURCE_LIMIT);

constexpr qkd004_v1_qos v1_qos_defaults = QKD004_V1_QOS_INIT;

v1::key_handle handle_of(const qkd004_v1_key_handle& h) noexcept {
  v1::key_handle to;
  std::memcpy(to.octets.data(), h.octets, sizeof h.octets);
  return to;
}

/// A call that may wait: what the end of its session calls off is -ECANCELED and not whatever the session makes of it.
template <class Body>
answer in_session(qkd004_v1_session* session, Body&& body) {
  const auto s = use(session);
  const gate::visit visit{s->calls};
  const v1::status outcome = std::forward<Body>(body)(s->session());
  if (outcome == v1::status::success) return 0;
  if (s->calls.is_shut()) return {-ECANCELED};
  answer a{static_cast<int>(outcome)};
  a.words = to_string(outcome).data();  // a literal
  return a;
}

answer session_open(qkd004_client* client, const char* application, const char* default_destination,
                    qkd004_v1_session** session) {
  qkd004_v1_session*& out = needed(session);
  const auto c = use(client);
  const gate::visit visit{c->calls};
  v1::options options{text(application), {}, text_or(default_destination, "")};
  new_handle<qkd004_v1_session> handle;
  out = handle.publish(std::make_shared<v1_session_object>(*c, std::move(options)));
  return 0;
}

answer get_key(qkd004_v1_session* session, const qkd004_v1_key_handle* handle, buffer<std::uint8_t> key) {
  const v1::key_handle h = handle_of(needed(handle));
  std::size_t length = 0;
  const answer a = in_session(session, [&](v1::session& s) {
    length = s.key_length(h);
    key.need(length);
    return s.get_key(h, key.first(length));
  });
  if (a.result == 0) key.filled(length);
  return a;
}

answer session_close(qkd004_v1_session* session) {
  const auto s = use(session);
  auto shut = s->calls.shut([&] { s->way->cancel_all(); });
  end(session);
  shut.keep();
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;
namespace v1 = qkd004::v1;

int qkd004_v1_session_open(qkd004_client* client, const char* application, const char* default_destination,
                           qkd004_v1_session** session) {
  return guarded("qkd004_v1_session_open",
                 [&] { return session_open(client, application, default_destination, session); });
}

int qkd004_v1_session_destination(qkd004_v1_session* session, const char* destination, const char* uri) {
  return guarded("qkd004_v1_session_destination", [&]() -> answer {
    const auto s = use(session);
    s->destination(text(destination), text(uri));
    return 0;
  });
}

int qkd004_v1_open(qkd004_v1_session* session, const char* destination, const qkd004_v1_qos* qos,
                   qkd004_v1_key_handle* handle) {
  return guarded("qkd004_v1_open", [&]() -> answer {
    const std::string to = text_or(destination, "");
    const qkd004_v1_qos q = read_or(qos, v1_qos_defaults);
    v1::key_handle h = handle_of(needed(handle));
    answer a = in_session(session, [&](v1::session& s) {
      return s.open(to, {q.requested_length, q.max_bps, q.priority, q.timeout_ms}, h);
    });
    if (a.result == 0) std::memcpy(handle->octets, h.octets.data(), sizeof handle->octets);
    return a;
  });
}

int qkd004_v1_connect_nonblock(qkd004_v1_session* session, const qkd004_v1_key_handle* handle) {
  return guarded("qkd004_v1_connect_nonblock", [&] {
    const v1::key_handle h = handle_of(needed(handle));
    return in_session(session, [&](v1::session& s) { return s.connect_nonblock(h); });
  });
}

int qkd004_v1_connect_blocking(qkd004_v1_session* session, const qkd004_v1_key_handle* handle,
                               uint32_t timeout_ms) {
  return guarded("qkd004_v1_connect_blocking", [&] {
    const v1::key_handle h = handle_of(needed(handle));
    return in_session(session, [&](v1::session& s) {
      return s.connect_blocking(h, std::chrono::milliseconds{timeout_ms});
    });
  });
}

int qkd004_v1_get_key(qkd004_v1_session* session, const qkd004_v1_key_handle* handle, uint8_t* key,
                      size_t* size) {
  return guarded("qkd004_v1_get_key", [&] { return get_key(session, handle, {key, size}); });
}

int qkd004_v1_close(qkd004_v1_session* session, const qkd004_v1_key_handle* handle) {
  return guarded("qkd004_v1_close", [&] {
    const v1::key_handle h = handle_of(needed(handle));
    return in_session(session, [&](v1::session& s) { return s.close(h); });
  });
}

int qkd004_v1_session_close(qkd004_v1_session* session) {
  return guarded("qkd004_v1_session_close", [&] { return session_close(session); });
}
