// SPDX-License-Identifier: Apache-2.0
#include "first_edition.hpp"

#include <string.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace qkd004::compat {

namespace {

/// Octets of a key for which no length was asked: the buffer has to have some length.
constexpr std::uint32_t usual_length = 32;

}  // namespace

std::shared_ptr<first_edition> first_edition::make(std::string& said) {
  settings s;
  if (!read_settings(s, said)) return nullptr;
  if (!s.in_process && s.application.empty()) {
    said =
        "QKD004_URI is set, but QKD004_APPLICATION is not: the URI of this application, with the node of its "
        "key manager";
    return nullptr;
  }
  if (!s.in_process && s.default_destination.empty() && s.destinations.empty()) {
    said =
        "QKD004_URI is set, but QKD004_DESTINATION is not: the URI of the peer, with the node of its key "
        "manager";
    return nullptr;
  }
  auto at = endpoint::open(s, said);
  if (!at) return nullptr;
  auto made = std::make_shared<first_edition>(std::move(at));
  for (std::size_t end = 0; end < made->at_->ends(); ++end) {
    static constexpr const char* here[] = {"qkd://first@A", "qkd://second@B"};
    const char* const application = s.in_process ? here[end] : s.application.c_str();
    const char* const other = s.in_process                    ? here[1 - end]
                              : s.default_destination.empty() ? nullptr
                                                              : s.default_destination.c_str();
    int failed = qkd004_v1_session_open(made->at_->client(end), application, other, &made->sessions_[end]);
    for (const auto& [name, uri] : s.destinations) {
      if (failed == 0)
        failed = qkd004_v1_session_destination(made->sessions_[end], name.c_str(), uri.c_str());
    }
    if (failed != 0) {
      said = std::string{"QKD004_APPLICATION, QKD004_DESTINATION: "} + qkd004_last_error();
      return nullptr;
    }
  }
  return made;
}

first_edition::~first_edition() {
  for (qkd004_v1_session* const s : sessions_) {
    if (s != nullptr) qkd004_v1_session_close(s);
  }
}

int first_edition::open(const open_request& request, void* handle) {
  octets name;
  std::memcpy(name.data(), handle, name.size());
  const bool null = name == octets{};
  const std::uint32_t length = request.requested_length == 0 ? usual_length : request.requested_length;
  const stream_end opened{true, std::this_thread::get_id(), length, 0};
  std::size_t end = request.end < at_->ends() ? request.end : 0;

  if (!null) {
    const std::lock_guard lock{mutex_};
    const auto [it, fresh] = streams_.try_emplace(name);
    if (it->second.ends[end].open) end = at_->ends() - 1 - end;
    if (it->second.ends[end].open) return QKD004_V1_KEY_HANDLE_IN_USE;
    if (fresh) it->second.first = end;
    it->second.ends[end] = opened;  // so that a second thread does not open the same end
  }

  const char* destination = nullptr;
  for (const std::string& spelling : request.names) {
    const auto known = at_->wanted().destinations.find(spelling);
    if (known != at_->wanted().destinations.end()) destination = known->first.c_str();
  }
  qkd004_v1_qos qos = QKD004_V1_QOS_INIT;
  qos.requested_length = length;
  qos.max_bps = request.max_bps;
  qos.priority = request.priority;
  qos.timeout_ms = request.timeout_ms;
  qkd004_v1_key_handle made;
  std::memcpy(made.octets, name.data(), name.size());
  const int result = qkd004_v1_open(sessions_[end], destination, &qos, &made);

  if (result != QKD004_V1_SUCCESS) {
    if (!null) forget_end(name, end);
    return result;
  }
  if (null) {
    std::memcpy(name.data(), made.octets, name.size());
    std::memcpy(handle, made.octets, name.size());
  }
  const std::lock_guard lock{mutex_};
  const auto [it, fresh] = streams_.try_emplace(name);
  if (fresh) it->second.first = end;
  it->second.ends[end] = opened;  // also where a QKD_CLOSE that came too early has forgotten it
  return result;
}

std::optional<std::size_t> first_edition::choose(const octets& handle, purpose p) {
  const std::lock_guard lock{mutex_};
  const auto it = streams_.find(handle);
  if (it == streams_.end()) return std::nullopt;
  stream& s = it->second;
  const auto self = std::this_thread::get_id();
  std::size_t end = s.first;
  if (!s.ends[0].open || !s.ends[1].open) {
    end = s.ends[0].open ? 0 : 1;
  } else if (s.ends[0].opener != s.ends[1].opener && s.ends[1 - end].opener == self) {
    end = 1 - end;
  } else if (s.ends[0].opener != s.ends[1].opener && s.ends[end].opener == self) {
    // it is the first opener's
  } else if (p == purpose::get_key && s.ends[1 - end].keys < s.ends[end].keys) {
    end = 1 - end;
  }
  if (p == purpose::get_key) s.ends[end].keys += 1;
  return end;
}

int first_edition::connect_nonblock(const void* handle) {
  octets name;
  std::memcpy(name.data(), handle, name.size());
  const auto end = choose(name, purpose::connect);
  if (!end) return QKD004_V1_NO_QKD_CONNECTION;
  return qkd004_v1_connect_nonblock(sessions_[*end], static_cast<const qkd004_v1_key_handle*>(handle));
}

int first_edition::connect_blocking(const void* handle, std::uint32_t timeout_ms) {
  octets name;
  std::memcpy(name.data(), handle, name.size());
  const auto end = choose(name, purpose::connect);
  if (!end) return QKD004_V1_NO_QKD_CONNECTION;
  return qkd004_v1_connect_blocking(sessions_[*end], static_cast<const qkd004_v1_key_handle*>(handle),
                                    timeout_ms);
}

int first_edition::get_key(const void* handle, void* key_buffer) {
  octets name;
  std::memcpy(name.data(), handle, name.size());
  const auto end = choose(name, purpose::get_key);
  if (!end) return QKD004_V1_NO_QKD_CONNECTION;
  const int result = fetch(*end, name, key_buffer);
  if (result != QKD004_V1_SUCCESS) {
    const std::lock_guard lock{mutex_};
    const auto it = streams_.find(name);
    if (it != streams_.end() && it->second.ends[*end].keys > 0) it->second.ends[*end].keys -= 1;
  }
  return result;
}

int first_edition::key_length(std::size_t end, const octets& handle, std::size_t& length) const {
  qkd004_v1_key_handle name;
  std::memcpy(name.octets, handle.data(), handle.size());
  length = 0;  // without room, which consumes nothing
  const int result = qkd004_v1_get_key(sessions_[end], &name, nullptr, &length);
  return result == -ENOBUFS ? 0 : result;
}

int first_edition::fetch(std::size_t end, const octets& handle, void* key_buffer) {
  qkd004_v1_key_handle name;
  std::memcpy(name.octets, handle.data(), handle.size());
  std::size_t wanted = 0;
  {
    const std::lock_guard lock{mutex_};
    const auto it = streams_.find(handle);
    if (it == streams_.end()) return QKD004_V1_NO_QKD_CONNECTION;
    wanted = it->second.ends[end].length;
  }
  // The other end's length holds if it came first. A longer key would not fit, a shorter one would leave octets in the
  // buffer that are no key and look like one.
  std::size_t size = 0;
  const int unknown = key_length(end, handle, size);
  if (unknown != 0) return unknown;
  if (size != wanted) return QKD004_V1_INVALID_ARGUMENT;
  const int result = qkd004_v1_get_key(sessions_[end], &name, static_cast<std::uint8_t*>(key_buffer), &size);
  if (result == QKD004_V1_SUCCESS && size != wanted) {  // another thread has closed and opened it meanwhile
    ::explicit_bzero(key_buffer, wanted);
    return QKD004_V1_INSUFFICIENT_KEY;
  }
  return result == -ENOBUFS ? QKD004_V1_INVALID_ARGUMENT : result;
}

void first_edition::forget_end(const octets& handle, std::size_t end) {
  const std::lock_guard lock{mutex_};
  const auto it = streams_.find(handle);
  if (it == streams_.end()) return;
  it->second.ends[end] = {};
  if (!it->second.ends[0].open && !it->second.ends[1].open) streams_.erase(it);
}

int first_edition::close(const void* handle) {
  octets name;
  std::memcpy(name.data(), handle, name.size());
  const auto end = choose(name, purpose::close);
  if (!end) return QKD004_V1_NO_QKD_CONNECTION;
  const int result = qkd004_v1_close(sessions_[*end], static_cast<const qkd004_v1_key_handle*>(handle));
  std::size_t length = 0;
  // the key manager may have answered that it will not, and then the session has let go of the stream
  if (result == QKD004_V1_SUCCESS || key_length(*end, name, length) == QKD004_V1_NO_QKD_CONNECTION) {
    forget_end(name, *end);
  }
  return result;
}

}  // namespace qkd004::compat
