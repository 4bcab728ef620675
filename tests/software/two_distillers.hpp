// two_distillers: both ends of a software link in one thread, with randomness and time of the test's, and whoever wants
// to change what crosses.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "qkd004/secret.hpp"
#include "software/auth_pool.hpp"
#include "software/distiller.hpp"
#include "software/expander.hpp"

namespace qkd004::software {

/// Small blocks that still give a key: the choices are the best for them at 25 km.
inline software_link_options small_blocks() {
  software_link_options o;
  o.block_bits = 65'536;
  o.system.x_basis = 0.66;
  o.system.intensities = {{{0.49, 0.09}, {0.15, 0.62}, {2e-4, 0.29}}};
  o.sampling = photon_sampling::blocks;
  return o;
}

inline auth_pool made_pool(std::uint64_t seed, std::size_t octets) {
  const secret_arena arena{{std::size_t{1} << 20, true}};
  auto bootstrap = *arena.allocate(octets);
  seed256 from{};
  std::memcpy(from.data(), &seed, sizeof seed);
  expander{from, 1}.fill(bootstrap.span());
  return *auth_pool::in_memory(std::move(bootstrap));
}

struct two_distillers {
  /// Sees each message before it arrives and may change it; false: it does not arrive.
  using between = std::function<bool(side from, std::vector<std::byte>& message)>;

  explicit two_distillers(const software_link_options& o, std::uint64_t seed = 1,
                          std::size_t pad_octets = 4'096)
      : random{seed_of(seed), 0},
        alice{std::make_unique<distiller>(options(o, side::alice), made_pool(seed, pad_octets))},
        bob{std::make_unique<distiller>(options(o, side::bob), made_pool(seed, pad_octets))} {}

  static seed256 seed_of(std::uint64_t number) {
    seed256 seed{};
    std::memcpy(seed.data(), &number, sizeof number);
    return seed;
  }

  distiller::options options(const software_link_options& o, side which) {
    return {o, which, [this](std::span<std::byte> out) { random.fill(out); }, [this] { return now; }};
  }

  /// Begins a session at both ends. Whether their check values agree.
  bool start() {
    key_source_session session;
    session.link = "link";
    session.lower[0] = std::byte{static_cast<unsigned char>(++sessions)};
    session.first_block = std::max(alice->position(), bob->position());
    const auto a = alice->start(session);
    const auto b = bob->start(session);
    return a && b && *a == *b;
  }

  bool cross(distiller& from, distiller& to, side who) {
    auto messages = std::exchange(from.messages(), {});
    for (auto& m : messages) {
      if (!changes || changes(who, m)) to.receive(m);
    }
    return !messages.empty();
  }

  /// Works until nobody has anything to do, or `done` says so.
  void run(const std::function<bool()>& done) {
    for (bool busy = true; busy && !done();) {
      now += std::chrono::microseconds{10};
      busy = alice->work(0);
      busy |= cross(*alice, *bob, side::alice);
      busy |= bob->work(0);
      busy |= cross(*bob, *alice, side::bob);
      collect(*alice, of_alice);
      collect(*bob, of_bob);
    }
  }
  /// Until both have that many blocks.
  void run_for(std::size_t blocks) {
    run([&] { return of_alice.size() >= blocks && of_bob.size() >= blocks; });
  }

  static void collect(distiller& from, std::vector<secret_block>& to) {
    while (auto made = from.take()) to.push_back(std::move(*made));
  }

  [[nodiscard]] static bool same(const bits& a, const bits& b) {
    return a.size() == b.size() &&
           std::memcmp(a.words().data(), b.words().data(), a.words().size_bytes()) == 0;
  }
  /// Whether what one has is the beginning of what the other has, bit for bit.
  [[nodiscard]] bool agree() const {
    for (std::size_t i = 0; i < std::min(of_alice.size(), of_bob.size()); ++i) {
      if (!same(of_alice[i].key, of_bob[i].key)) return false;
    }
    return true;
  }

  expander random;
  time_point now{std::chrono::seconds{1}};
  int sessions = 0;
  between changes;
  std::unique_ptr<distiller> alice, bob;
  std::vector<secret_block> of_alice, of_bob;
};

}  // namespace qkd004::software
