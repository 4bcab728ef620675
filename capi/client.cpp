// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <chrono>
#include <cstring>
#include <string>

#include "buffer.hpp"
#include "guard.hpp"
#include "nouns.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "qkd004/net/connect.hpp"
#include "stream.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {

void client_object::cancel_streams() {
  std::vector<std::shared_ptr<stream_object>> open;  // let go of without the lock
  {
    const std::lock_guard lock{mutex_};
    for (const auto& s : streams_) {
      // acquire: pairs with the release where OPEN_CONNECT has succeeded
      auto alive = s.lock();
      if (alive && alive->is_open.load(std::memory_order_acquire)) open.push_back(std::move(alive));
    }
  }
  for (const auto& s : open) s->stream->cancel();
}

void client_object::opened(const std::shared_ptr<stream_object>& s) {
  const std::lock_guard lock{mutex_};
  if (streams_.size() >= sweep_at_) {
    std::erase_if(streams_, [](const auto& old) { return old.expired(); });
    sweep_at_ = std::max<std::size_t>(16, 2 * streams_.size());
  }
  streams_.push_back(s);
}

void give(std::shared_ptr<exchange> way, secret_arena memory, domain managers, qkd004_client*& out) {
  new_handle<qkd004_client> handle;
  out =
      handle.publish(std::make_shared<client_object>(std::move(way), std::move(memory), std::move(managers)));
}

namespace {

constexpr qkd004_connect_options connect_defaults = QKD004_CONNECT_OPTIONS_INIT;

net::connect_options options_of(const qkd004_connect_options& o) {
  net::connect_options options;
  if (o.connect_timeout_ms != 0) options.connect_timeout = std::chrono::milliseconds{o.connect_timeout_ms};
  options.allow_insecure = o.allow_insecure != 0;
  options.plain = o.plain != 0;
  options.per_call = o.per_call != 0;
  if (o.certificate != nullptr || o.key != nullptr || o.authority != nullptr) {
    options.tls = net::tls_options{text(o.certificate), text(o.key), text(o.authority), false};
  }
  options.server = text_or(o.server, "");
  return options;
}

answer connect(const char* uri, const qkd004_connect_options* options, qkd004_client** client) {
  qkd004_client*& out = needed(client);
  const qkd004_connect_options o = read_or(options, connect_defaults);
  const secret_arena memory{memory_of(o.memory_bytes, o.allow_unlocked)};
  std::string why;
  auto way = net::connect(text(uri), memory, options_of(o), &why);
  if (!way) return {way.error(), why};
  give(*std::move(way), memory, nullptr, out);
  return 0;
}

answer report(qkd004_client* client, const qkd004_key_stream_id* id, buffer<char> json) {
  const auto c = use(client);
  client_object::asking ask{*c};
  const auto text = ask->report(id == nullptr ? key_stream_id{} : id_of(*id));
  if (!text) return text.error();
  json.put(*text);
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_connect(const char* uri, const qkd004_connect_options* options, qkd004_client** client) {
  return guarded("qkd004_connect", [&] { return connect(uri, options, client); });
}

int qkd004_client_report(qkd004_client* client, const qkd004_key_stream_id* id, char* json, size_t* size) {
  return guarded("qkd004_client_report", [&] { return report(client, id, {json, size}); });
}

int qkd004_client_cancel(qkd004_client* client) {
  return guarded("qkd004_client_cancel", [&]() -> answer {
    const auto c = use(client);
    c->cancel_calls();
    c->cancel_streams();
    return 0;
  });
}

int qkd004_client_close(qkd004_client* client) {
  return guarded("qkd004_client_close", [&]() -> answer {
    const auto c = use(client);
    auto shut = c->calls.shut([&] { c->cancel_calls(); });
    end(client);
    shut.keep();
    return 0;
  });
}
