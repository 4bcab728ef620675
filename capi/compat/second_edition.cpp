// SPDX-License-Identifier: Apache-2.0
#include "second_edition.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace qkd004::compat {

namespace {

constexpr std::size_t most_closed = 256;

std::array<std::uint8_t, 16> octets_of(const qkd004_key_stream_id& id) {
  std::array<std::uint8_t, 16> o;
  std::copy(std::begin(id.octets), std::end(id.octets), o.begin());
  return o;
}

/// Any text as an application of a node: what a URI cannot have is written as %XX.
std::string uri_of(std::string_view name, std::size_t node) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string uri = "qkd://";
  for (const char c : name) {
    const auto value = static_cast<unsigned char>(c);
    const bool plain = (value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z') ||
                       (value >= '0' && value <= '9') ||
                       std::string_view{"-._~"}.find(c) != std::string_view::npos;
    if (plain) {
      uri += c;
    } else {
      uri += {'%', digits[value >> 4U], digits[value & 0xfU]};
    }
  }
  return uri + (node == 0 ? "@A" : "@B");
}

}  // namespace

std::shared_ptr<second_edition> second_edition::make(std::string& said) {
  settings s;
  if (!read_settings(s, said)) return nullptr;
  auto at = endpoint::open(std::move(s), said);
  return at ? std::make_shared<second_edition>(std::move(at)) : nullptr;
}

second_edition::~second_edition() {
  for (const auto& [id, s] : streams_) {
    for (const stream_end& e : s.ends) {
      if (e.handle != nullptr) qkd004_close(e.handle);
    }
  }
}

/// What the key manager is told. In process names are what they are at the first opener's: his source is at
/// his site.
second_edition::names second_edition::uris_of(const names& called, std::size_t end,
                                              const names* first) const {
  const settings& s = at_->wanted();
  if (s.in_process) {
    const bool same_order = first != nullptr && called == *first;
    return {uri_of(same_order ? called.destination : called.source, end),
            uri_of(same_order ? called.source : called.destination, 1 - end)};
  }
  names uris = called;
  if (!s.application.empty()) uris.source = s.application;
  const auto known = s.destinations.find(called.destination);
  if (known != s.destinations.end()) {
    uris.destination = known->second;
  } else if (!s.default_destination.empty()) {
    uris.destination = s.default_destination;
  }
  return uris;
}

void second_edition::forget_end(const octets& id, std::size_t end) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return;
  it->second.ends[end] = {};
  if (!it->second.ends[0].taken() && !it->second.ends[1].taken()) streams_.erase(it);
}

int second_edition::open_connect(const names& called, qkd004_qos& qos, qkd004_key_stream_id& id) {
  octets name = octets_of(id);
  const bool null = name == octets{};
  const std::uint32_t asked = qos.key_chunk_size;
  std::size_t end = 0;
  names uris;
  {
    const std::lock_guard lock{mutex_};
    const auto it = null ? streams_.end() : streams_.find(name);
    if (it == streams_.end()) {
      uris = uris_of(called, end, nullptr);
      if (!null) streams_[name] = {{}, end, called};
    } else {
      if (it->second.ends[end].taken()) end = at_->ends() - 1 - end;
      if (it->second.ends[end].taken()) return QKD004_KSID_IN_USE;
      uris = uris_of(called, end, &it->second.called);
    }
    if (!null) streams_[name].ends[end].opening = true;  // so that a second thread does not open the same end
  }

  // in process the peer may be this very thread, later
  const std::uint32_t flags = at_->wanted().in_process ? QKD004_NO_WAIT : 0;
  qkd004_key_stream_id made = id;
  qkd004_stream* handle = nullptr;
  int result = qkd004_open_connect(at_->client(end), uris.source.c_str(), uris.destination.c_str(), &qos,
                                   &made, flags, &handle);
  bool opened = result == QKD004_SUCCESS || result == QKD004_PEER_NOT_CONNECTED;
  if (opened && asked != 0 && qos.key_chunk_size != asked) {
    // It is the other end's, and the caller's buffer has what he asked for: let him ask again with what `qos`
    // says now.
    qkd004_detach(handle);
    opened = false;
    result = QKD004_QOS_NOT_MET;
  }

  const std::lock_guard lock{mutex_};
  if (!opened) {
    if (!null) forget_end(name, end);
    return result;
  }
  if (null) {
    name = octets_of(made);
    streams_[name] = {{}, end, called};
    id = made;
  }
  stream& s = streams_[name];
  s.ends[end] = {handle, false, std::this_thread::get_id(), qos.key_chunk_size, 0, result == QKD004_SUCCESS};
  if (at_->ends() == 2 && s.ends[1 - end].handle != nullptr) s.ends[1 - end].peer_seen = true;
  return result;
}

std::vector<std::size_t> second_edition::choose(const stream& s, bool next) const {
  const stream_end& one = s.ends[s.first];
  const stream_end& two = s.ends[1 - s.first];
  if (one.handle == nullptr || two.handle == nullptr) return {one.handle != nullptr ? s.first : 1 - s.first};
  const auto self = std::this_thread::get_id();
  if (one.opener != two.opener && one.opener == self) return {s.first};
  if (one.opener != two.opener && two.opener == self) return {1 - s.first};
  if (next) return {two.keys < one.keys ? 1 - s.first : s.first};
  return {s.first, 1 - s.first};
}

int second_edition::get_key(const qkd004_key_stream_id& id, std::uint32_t& index, void* key,
                            qkd004_metadata* metadata) {
  const octets name = octets_of(id);
  std::vector<std::size_t> ends;
  {
    const std::lock_guard lock{mutex_};
    const auto it = streams_.find(name);
    if (it == streams_.end()) return QKD004_UNKNOWN_KEY_STREAM;
    ends = choose(it->second, index == next_index);
  }
  int result = QKD004_UNKNOWN_KEY_STREAM;
  for (const std::size_t end : ends) {
    const std::size_t room = metadata != nullptr ? metadata->size : 0;
    result = fetch(name, end, index, {key, metadata});
    if (result != QKD004_INDEX_NOT_AVAILABLE) break;
    if (metadata != nullptr) metadata->size = room;
  }
  return result;
}

int second_edition::fetch(const octets& id, std::size_t end, std::uint32_t& index, const buffers& to) {
  qkd004_stream* handle = nullptr;
  std::size_t size = 0;
  bool peer_seen = false;
  // Calls `change` with the end if it is still that one.
  const auto at_end = [&](auto change) {
    const std::lock_guard lock{mutex_};
    const auto it = streams_.find(id);
    if (it != streams_.end() && it->second.ends[end].handle != nullptr &&
        (handle == nullptr || it->second.ends[end].handle == handle)) {
      change(it->second.ends[end]);
    }
  };
  at_end([&](stream_end& e) {
    handle = e.handle;
    size = e.chunk;
    peer_seen = e.peer_seen;
    e.keys += 1;
  });
  if (handle == nullptr) return QKD004_UNKNOWN_KEY_STREAM;
  const auto without_key = [&](int result) {
    at_end([](stream_end& e) { e.keys -= 1; });
    return result;
  };

  if (!peer_seen) {
    // One millisecond is as good as not to wait. A key manager that cannot say it will do as it thinks right.
    const int there = at_->ends() == 2 ? int{QKD004_PEER_NOT_CONNECTED} : qkd004_wait_for_peer(handle, 1);
    if (there == QKD004_PEER_NOT_CONNECTED || there == QKD004_TIMEOUT) {
      return without_key(QKD004_GET_KEY_PEER_NOT_CONNECTED);
    }
    // one that has come and gone was there; any other failure says nothing of it
    if (there == QKD004_SUCCESS || there == QKD004_GET_KEY_PEER_NOT_CONNECTED || there == -EOPNOTSUPP) {
      at_end([](stream_end& e) { e.peer_seen = true; });
    }
  }

  auto* const key = static_cast<std::uint8_t*>(to.key);
  std::uint64_t got = index;
  const int result = index == next_index ? qkd004_next_key(handle, key, &size, &got, to.metadata)
                                         : qkd004_get_key(handle, got, key, &size, to.metadata);
  if (result != QKD004_SUCCESS) return without_key(result);
  index = static_cast<std::uint32_t>(got);
  return result;
}

int second_edition::close(const qkd004_key_stream_id& id) {
  const octets name = octets_of(id);
  std::size_t end = 0;
  qkd004_stream* handle = nullptr;
  {
    const std::lock_guard lock{mutex_};
    const auto it = streams_.find(name);
    if (it == streams_.end()) {
      const bool known = std::find(closed_.begin(), closed_.end(), name) != closed_.end();
      return known ? QKD004_SUCCESS : QKD004_UNKNOWN_KEY_STREAM;
    }
    end = choose(it->second, false).front();
    handle = it->second.ends[end].handle;
  }
  if (handle == nullptr) return QKD004_UNKNOWN_KEY_STREAM;
  const int result = qkd004_close(handle);
  // a key manager that has lost the stream, or forbids it, has answered: there is nothing to close again
  if (result != QKD004_SUCCESS && qkd004_stream_describe(handle, nullptr, nullptr) != -EBADF) return result;
  const std::lock_guard lock{mutex_};
  const auto it = streams_.find(name);
  if (it != streams_.end() && it->second.ends[end].handle == handle) forget_end(name, end);
  if (result != QKD004_SUCCESS) return result;
  closed_.push_back(name);
  if (closed_.size() > most_closed) closed_.pop_front();
  return result;
}

}  // namespace qkd004::compat
