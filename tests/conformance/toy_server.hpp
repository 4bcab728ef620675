// toy_server: a 004 server in a few lines that is its own peer, speaks one dialect, says no HELLO, and is wrong in one
// chosen way: what the cases must find. If it is to greet, it answers HELLO and speaks the extension as well.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "conformance/dialect.hpp"
#include "conformance/octets.hpp"

namespace test {

namespace cf = qkd004::conformance;
using qkd004::key_stream_id;
using qkd004::qos;

enum class flaw {
  none,
  wrong_index,          ///< the key of index i is said to be of index i + 1
  other_octets,         ///< every connection gets other keys
  never_consumed,       ///< one key under every index
  one_key_for_all,      ///< the same keys in every stream
  constant_key,         ///< keys of zeros
  short_key,            ///< an octet less than Key_chunk_size
  latest_qos,           ///< whoever joins gets what he asked for
  refuses_json,         ///< application/json is not supported
  takes_any_mimetype,   ///< and any other is
  no_counter,           ///< status 7 with what was asked for
  no_status_8,          ///< metadata is left out where there is no room
  impatient,            ///< status 6 at once
  patient,              ///< status 6 later than a busy machine may be
  reuses_ksid,          ///< a closed KSID may be opened
  odd_ksid,             ///< KSIDs that are no UUIDs of version 4
  same_ksid,            ///< always the same KSID
  serves_closed,        ///< keys after CLOSE
  routes_anywhere,      ///< a link towards every destination
  trailing_octet,       ///< an octet too many in answers to CLOSE
  dies,                 ///< a frame of another version stops the server
  forgets_epoch,        ///< an old epoch is as good as the present one
  acknowledges_all,     ///< ACK takes keys that were not served, too
  reuses_acknowledged,  ///< acknowledged keys are served again
  waits_anyway,         ///< GET_KEYS that must not wait does
  ignores_credit,       ///< a delivery has one key more than there is credit
  other_run,            ///< GET_KEYS has other keys than GET_KEY
  never_connected,      ///< WAIT_PEER is always answered with 6
  tells_all,            ///< STATUS of anybody's stream
  resumes_old,          ///< a new subscription goes on where the suspended one was
};

enum class greeting { no, yes };

class toy_server {
 public:
  toy_server(cf::dialect spoken, flaw wrong, greeting greets = greeting::no)
      : spoken_{spoken}, wrong_{wrong}, greets_{greets == greeting::yes} {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const a = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(listener_, a, size) == 0);
    REQUIRE(::getsockname(listener_, a, &size) == 0);
    REQUIRE(::listen(listener_, 256) == 0);
    uri = "qkd004://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    accepting_ = std::thread{[this] { accept_all(); }};
  }
  ~toy_server() {
    stop();
    accepting_.join();
    for (auto& thread : serving_) thread.join();
    for (const int s : sockets_) ::close(s);
    ::close(listener_);
  }
  toy_server(const toy_server&) = delete;
  toy_server& operator=(const toy_server&) = delete;

  std::string uri;

 private:
  struct stream {
    qos quality;
    int opened = 0;
    int closed = 0;
    std::set<std::uint32_t> served{};  ///< and not acknowledged
    std::set<std::uint32_t> gone{};    ///< acknowledged
    bool subscribed = false;
    std::uint32_t delivered = 0;  ///< below this index, to the subscriber
  };
  struct request {
    std::uint8_t service = 0;
    std::vector<std::byte> payload;
  };

  void stop() {
    const std::lock_guard lock{mutex_};
    stopped_ = true;
    changed_.notify_all();
    ::shutdown(listener_, SHUT_RDWR);
    for (const int s : sockets_) ::shutdown(s, SHUT_RDWR);
  }

  void accept_all() {
    for (int number = 0;; ++number) {
      const int s = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (s < 0) return;
      const std::lock_guard lock{mutex_};
      if (stopped_) {
        ::close(s);
        return;
      }
      sockets_.push_back(s);
      serving_.emplace_back([this, s, number] {
        serve(s, number);
        ::shutdown(s, SHUT_RDWR);
      });
    }
  }

  static bool fill(int s, std::byte* room, std::size_t size) {
    while (size > 0) {
      const ssize_t got = ::recv(s, room, size, 0);
      if (got <= 0) return false;
      room += got;
      size -= static_cast<std::size_t>(got);
    }
    return true;
  }

  void serve(int s, int number) {
    for (;;) {
      std::array<std::byte, 8> header{};
      if (!fill(s, header.data(), header.size())) return;
      cf::reader fields{header};
      cf::frame_version version{};
      for (auto& octet : version) octet = static_cast<std::uint8_t>(fields.number(1));
      const auto service = static_cast<std::uint8_t>(fields.number(1));
      const std::uint32_t length = fields.u32();
      if (version != version_of(spoken_)) {
        if (wrong_ == flaw::dies) stop();
        return;
      }
      if (length > 65'536) return;
      std::vector<std::byte> payload(length);
      if (!fill(s, payload.data(), length)) return;
      cf::octets answer;
      if (service == cf::service::open_connect) {
        answer = open(cf::reader{payload});
      } else if (service == cf::service::get_key) {
        answer = get(cf::reader{payload}, number);
      } else if (service == cf::service::close) {
        answer = close(cf::reader{payload});
      } else if (greets_ && service >= cf::service::hello && service <= cf::service::report) {
        answer = extension(service, cf::reader{payload});
      } else {
        return;
      }
      if (answer.empty()) continue;  // a subscription whose keys are not there
      const auto frame = cf::frame_of(version, cf::service::answer_to(service), answer);
      if (::send(s, frame.data(), frame.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(frame.size())) return;
    }
  }

  cf::octets open_answer(std::uint32_t code, const qos& q, const key_stream_id& id) const {
    const bool forge = spoken_ == cf::dialect::forge;
    if (!forge && code != 0 && code != 7 && code != 1) return cf::writer{}.u32(code).take();
    cf::writer out;
    out.u32(!forge && code == 1 ? 0 : code);
    out.u32(q.key_chunk_size).u32(q.max_bps).u32(q.min_bps).u32(q.jitter).u32(q.priority);
    out.u32(q.timeout_ms).u32(q.ttl_s).text(q.metadata_mimetype);
    return out.zeros(forge ? 1 : 256 - q.metadata_mimetype.size()).id(id).take();
  }

  key_stream_id new_id() {
    std::array<std::byte, 16> octets{};
    made_ += wrong_ == flaw::same_ksid && made_ > 0 ? 0 : 1;
    for (std::size_t i = 0; i < 4; ++i) octets[i] = static_cast<std::byte>(made_ >> (8 * i));
    octets[15] = std::byte{1};
    return wrong_ == flaw::odd_ksid ? key_stream_id{octets} : key_stream_id::from_random(octets);
  }

  cf::octets open(cf::reader in) {
    in.text0();
    const std::string destination = in.text0();
    qos q;
    q.key_chunk_size = in.u32();
    q.max_bps = in.u32();
    q.min_bps = in.u32();
    q.jitter = in.u32();
    q.priority = in.u32();
    q.timeout_ms = in.u32();
    q.ttl_s = in.u32();
    if (spoken_ == cf::dialect::forge) {
      q.metadata_mimetype = in.text0();
    } else {
      q.metadata_mimetype = in.text(256);
      q.metadata_mimetype.erase(std::min(q.metadata_mimetype.find('\0'), std::size_t{255}));
    }
    key_stream_id id = in.id();
    if (!in.ok()) return open_answer(4, {}, {});

    std::unique_lock lock{mutex_};
    const auto known = streams_.find(id);
    if (known != streams_.end()) {
      stream& s = known->second;
      if (s.opened == 2 || (s.closed > 0 && wrong_ != flaw::reuses_ksid)) return open_answer(5, {}, id);
      s.opened += 1;
      changed_.notify_all();
      return open_answer(0, wrong_ == flaw::latest_qos ? q : s.quality, id);
    }
    if (destination.find("@toy") == std::string::npos && wrong_ != flaw::routes_anywhere)
      return open_answer(4, q, id);
    const qos asked = q;
    bool refused = q.key_chunk_size > 65'536;
    if (refused) q.key_chunk_size = 65'536;
    const bool json = q.metadata_mimetype == "application/json";
    if (!q.metadata_mimetype.empty() &&
        (json ? wrong_ == flaw::refuses_json : wrong_ != flaw::takes_any_mimetype)) {
      q.metadata_mimetype = json ? "" : "application/json";
      refused = true;
    }
    if (refused) return open_answer(7, wrong_ == flaw::no_counter ? asked : q, id);
    if (q.key_chunk_size == 0) q.key_chunk_size = 32;
    if (q.timeout_ms == 0) q.timeout_ms = 5'000;
    if (q.ttl_s == 0) q.ttl_s = 3'600;
    const bool predefined = !id.is_null();
    if (!predefined) id = new_id();
    streams_[id] = {q, 1, 0};
    if (!predefined) return open_answer(1, q, id);
    wait(lock, q.timeout_ms, [&] { return streams_[id].opened == 2; });
    return open_answer(streams_[id].opened == 2 ? 0 : 1, q, id);
  }

  template <class Until>
  void wait(std::unique_lock<std::mutex>& lock, std::uint32_t timeout_ms, Until until) {
    std::chrono::milliseconds time{timeout_ms};
    if (wrong_ == flaw::impatient) time = {};
    if (wrong_ == flaw::patient) time += std::chrono::milliseconds{1'600};
    changed_.wait_for(lock, time, [&] { return stopped_ || until(); });
  }

  cf::octets get_failure(std::uint32_t code, std::uint32_t needed = 0) const {
    if (spoken_ == cf::dialect::forge)
      return cf::writer{}.u32(code).u32(0).u32(0).u32(needed).zeros(needed).take();
    cf::writer out;
    out.u32(code);
    if (code == 8) out.u32(needed);
    return out.take();
  }

  cf::octets get(cf::reader in, int number) {
    const key_stream_id id = in.id();
    const std::uint32_t index = in.u32();
    const std::uint32_t size = in.u32();
    std::unique_lock lock{mutex_};
    const auto known = streams_.find(id);
    if (!in.ok() || known == streams_.end()) return get_failure(3);
    const stream s = known->second;
    if (s.closed >= s.opened && wrong_ != flaw::serves_closed) return get_failure(3);
    if (index > 10'000) {
      wait(lock, s.quality.timeout_ms, [] { return false; });
      return get_failure(6);
    }
    const bool metadata = s.quality.metadata_mimetype == "application/json" && size > 0;
    const std::string json = R"({"hops": 0, "age": 1})";
    if (metadata && size < json.size() && wrong_ != flaw::no_status_8) {
      return get_failure(8, static_cast<std::uint32_t>(json.size()));
    }

    stream& kept = known->second;
    if (kept.gone.contains(index) && wrong_ != flaw::reuses_acknowledged) return get_failure(1'029);
    kept.served.insert(index);
    const std::size_t length = s.quality.key_chunk_size - (wrong_ == flaw::short_key ? 1U : 0U);
    cf::writer out;
    out.u32(0).u32(wrong_ == flaw::wrong_index ? index + 1 : index).u32(static_cast<std::uint32_t>(length));
    out.all(key_of(id, index, length, number));
    const bool fits = metadata && size >= json.size();
    out.u32(fits ? static_cast<std::uint32_t>(json.size()) : 0U);
    return out.text(fits ? json : std::string{}).take();
  }

  cf::octets key_of(const key_stream_id& id, std::uint32_t index, std::size_t length, int number) const {
    std::uint64_t seed = wrong_ == flaw::never_consumed ? 0 : index;
    if (wrong_ != flaw::one_key_for_all) {
      for (const std::byte octet : id.octets()) seed = seed * 257 + std::to_integer<std::uint64_t>(octet);
    }
    if (wrong_ == flaw::other_octets) seed += static_cast<std::uint64_t>(number) << 32;
    cf::writer key;
    for (std::size_t i = 0; i < length; ++i) {
      seed = seed * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
      key.u8(wrong_ == flaw::constant_key ? 0U : static_cast<std::uint32_t>(seed >> 56));
    }
    return key.take();
  }

  /// The calls that the standard does not have. There is one epoch only.
  cf::octets extension(std::uint8_t service, cf::reader in) {
    if (service == cf::service::hello) return cf::writer{}.u16(2).u32(31).u64(7).u16(3).text("toy").take();
    if (service == cf::service::open_connect2) return cf::writer{}.all(open(in)).u64(1).u32(0).take();
    std::unique_lock lock{mutex_};
    const key_stream_id id = in.id();
    const auto known = streams_.find(id);
    const bool there = known != streams_.end() &&
                       (known->second.closed < known->second.opened || wrong_ == flaw::serves_closed);
    if (service == cf::service::report) {
      const bool mine = there || id.is_null() || wrong_ == flaw::tells_all;
      return cf::writer{}.u32(mine ? 0 : 1'024).u32(mine ? 2 : 0).text(mine ? "{}" : "").take();
    }
    if (!there) {
      if (service == cf::service::get_keys) return no_run(1'024);
      if (service == cf::service::subscribe) return cf::writer{}.id(id).all(no_run(1'024)).take();
      return cf::writer{}.u32(1'024).take();
    }
    stream& s = known->second;
    if (service == cf::service::wait_peer) {
      const std::chrono::milliseconds time{in.u32()};
      const bool came = changed_.wait_for(lock, time, [&] { return stopped_ || s.opened == 2; });
      return cf::writer{}.u32(came && wrong_ != flaw::never_connected ? 0 : 6).take();
    }
    const bool epoch = in.number(8) == 1 || wrong_ == flaw::forgets_epoch;
    if (service == cf::service::acknowledge) {
      if (epoch) acknowledge(s, in.u32());
      return cf::writer{}.u32(epoch ? 0 : 1'026).take();
    }
    const std::uint32_t first = in.u32();
    if (service == cf::service::subscribe) {
      const auto delivery = subscribe(id, s, epoch, first, in.u32());
      return delivery.empty() ? delivery : cf::writer{}.id(id).all(delivery).take();
    }
    const auto count = static_cast<std::uint32_t>(in.number(2));
    const std::uint32_t flags = in.u32();
    std::uint32_t failure = 0;
    if (!epoch) failure = 1'026;
    if (count == 0 || flags > 3) failure = 1'025;
    if (failure == 0) acknowledge(s, in.u32());
    if (failure == 0 && s.gone.contains(first) && wrong_ != flaw::reuses_acknowledged) failure = 1'029;
    if (failure == 0 && first > 10'000) {
      const bool at_once = (flags & 1) != 0 && wrong_ != flaw::waits_anyway;
      if (!at_once) wait(lock, s.quality.timeout_ms, [] { return false; });
      failure = at_once ? 2 : 6;
    }
    if (failure != 0) return no_run(failure);
    return run_of(id, s, first, count);
  }

  static cf::octets no_run(std::uint32_t failure) {
    return cf::writer{}.u32(failure).u32(0).u16(0).u32(0).u32(0).take();
  }

  /// Returns a delivery without its KSID; nothing if there are no keys yet.
  cf::octets subscribe(const key_stream_id& id, stream& s, bool epoch, std::uint32_t first,
                       std::uint32_t credit) const {
    if (!epoch) return no_run(1'026);
    if (!std::exchange(s.subscribed, credit > 0) && wrong_ != flaw::resumes_old) s.delivered = first;
    if (credit == 0) return no_run(2);
    const std::uint32_t from = s.delivered;
    if (from > 10'000) return {};
    s.delivered += credit + (wrong_ == flaw::ignores_credit ? 1 : 0);
    return run_of(id, s, from, s.delivered - from);
  }

  void acknowledge(stream& s, std::uint32_t below) const {
    for (std::uint32_t i = 0; i < below && i < 10'000; ++i) {
      if (s.served.erase(i) > 0 || wrong_ == flaw::acknowledges_all) s.gone.insert(i);
    }
  }

  cf::octets run_of(const key_stream_id& id, stream& s, std::uint32_t first, std::uint32_t count) const {
    cf::writer out;
    out.u32(0).u32(first).u16(count).u32(s.quality.key_chunk_size);
    for (std::uint32_t i = first; i < first + count; ++i) {
      s.served.insert(i);
      out.all(key_of(id, wrong_ == flaw::other_run ? i + 1 : i, s.quality.key_chunk_size, 0));
    }
    return out.zeros(std::size_t{count} * 8).u32(0).take();
  }

  cf::octets close(cf::reader in) {
    const std::lock_guard lock{mutex_};
    const auto known = streams_.find(in.id());
    cf::writer out;
    out.u32(known == streams_.end() ? 3 : 0);
    if (known != streams_.end()) known->second.closed += 1;
    if (wrong_ == flaw::trailing_octet) out.u8(0);
    return out.take();
  }

  cf::dialect spoken_;
  flaw wrong_;
  bool greets_;
  int listener_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::uint32_t made_ = 0;
  std::map<key_stream_id, stream> streams_;
  std::vector<int> sockets_;
  std::list<std::thread> serving_;
  std::thread accepting_;
};

}  // namespace test
