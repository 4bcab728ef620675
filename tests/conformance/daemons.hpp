// daemons: our own servers in this process, as targets of the conformance cases: two sites with a link that can be cut,
// or one that is its own peer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "conformance/bench.hpp"
#include "net/proxy.hpp"
#include "net/sites.hpp"
#include "qkd004/seeded_source.hpp"

namespace test {

/// What is common to a place's sites. Applications use the last listener; the first is on TCP, for peers.
struct place_options {
  conformance::dialect spoken = conformance::dialect::forge;
  std::function<void(net::site_options&)> adjust;               ///< adds a listener, certificates
  conformance::connector connect = conformance::connect_plain;  ///< to that listener, as alice
  conformance::connector connect_b{};                           ///< as bob; empty: nobody can tell them apart
};

/// Servers, and how to reach them. A further transport is a further function that makes one of these.
struct place {
  virtual ~place() = default;
  conformance::target whom;

 protected:
  void speak(const place_options& o) {
    whom.spoken = o.spoken;
    whom.greets = o.spoken == conformance::dialect::forge;
    whom.connect = o.connect;
    whom.connect_b = o.connect_b;
    whom.two_principals = o.connect_b != nullptr;
    whom.patience = patience;
    if (!whom.greets) return;
    conformance::bench b{whom, 1};
    whom.features = b.connect(conformance::side::a).hello().features;
  }
};

/// A key source with bounds: there is a Min_bps and a jitter that cannot be had.
class bounded_source final : public key_source {
 public:
  explicit bounded_source(std::unique_ptr<key_source> from) : from_{std::move(from)} {
    capabilities_ = from_->capabilities();
    capabilities_.jitter_bps = 2'000;
  }
  const key_source_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::uint64_t position() const noexcept override { return from_->position(); }
  result<key_source_check> start(const key_source_session& session, time_point now) override {
    return from_->start(session, now);
  }
  result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    return from_->poll(arena, now);
  }
  time_point ready_at(time_point now) const noexcept override { return from_->ready_at(now); }
  void stop() noexcept override { from_->stop(); }

 private:
  std::unique_ptr<key_source> from_;
  key_source_capabilities capabilities_;
};

/// One end of the link; the other is made by another call.
inline std::shared_ptr<key_source> bounded_end() {
  const secret_arena arena{some_memory()};
  auto secret = arena.allocate(seeded_secret_bytes).value();
  std::fill(secret.span().begin(), secret.span().end(), std::byte{0x5a});
  return std::make_shared<bounded_source>(
      make_seeded_source(std::move(secret), {.rate_bps = 80'000'000, .block_bytes = 4'096}).value());
}

/// Sites site-a and site-b. The link runs through a proxy.
class two_sites_place : public place {
 public:
  explicit two_sites_place(const place_options& o) {
    of_a_ = site_options_of("site-a");
    of_a_.manager.limits.max_log_lines = 10'000;  // they are counted here
    of_a_.peers.push_back(peer_of("site-b", between_.address(), bounded_end()));
    of_b_ = site_options_of("site-b");
    of_b_.manager.limits.max_log_lines = 10'000;
    of_b_.peers.push_back(peer_of("site-a", "", bounded_end()));
    if (o.adjust) {
      o.adjust(of_a_);
      o.adjust(of_b_);
    }
    b_.emplace(of_b_);
    of_b_.listen = b_->site->addresses();  // a second start is where the first was
    between_.lead_to(b_->address());
    a_.emplace(of_a_);
    wait_for_link();

    whom.uri_a = a_->site->addresses().back();
    whom.uri_b = b_->site->addresses().back();
    whom.source = "qkd://alice@site-a";
    whom.destination = "qkd://bob@site-b";
    speak(o);
    whom.hooks.cut_link = [this] {
      between_.lead_to("");
      between_.cut();
      REQUIRE(a_->log.has("lost a peer", ups_at_a_));
      REQUIRE(b_->log.has("lost a peer", ups_at_b_));
      is_cut_ = true;
    };
    whom.hooks.mend_link = [this] {
      if (!std::exchange(is_cut_, false)) return;
      between_.lead_to(b_->address());
      wait_for_link();
    };
    whom.hooks.restart_peer = [this] {
      b_.reset();
      REQUIRE(a_->log.has("lost a peer", ups_at_a_));
      b_.emplace(of_b_);
      ups_at_b_ = 0;
      wait_for_link();
    };
  }

 private:
  void wait_for_link() {
    REQUIRE(a_->log.has("a peer is up", ++ups_at_a_));
    REQUIRE(b_->log.has("a peer is up", ++ups_at_b_));
  }

  proxy between_;
  net::site_options of_a_;
  net::site_options of_b_;
  std::optional<running_site> b_;
  std::optional<running_site> a_;
  std::size_t ups_at_a_ = 0;  ///< how often the link was made, as each site saw it
  std::size_t ups_at_b_ = 0;
  bool is_cut_ = false;
};

/// One site that is its own peer (D17).
class self_link_place : public place {
 public:
  explicit self_link_place(const place_options& o) {
    auto options = site_options_of("site-a");
    options.self_link = true;
    if (o.adjust) o.adjust(options);
    site_.emplace(std::move(options));
    whom.uri_a = whom.uri_b = site_->site->addresses().back();
    whom.source = "qkd://alice@site-a";
    whom.destination = "qkd://bob@site-a";
    speak(o);
  }

 private:
  std::optional<running_site> site_;
};

}  // namespace test
