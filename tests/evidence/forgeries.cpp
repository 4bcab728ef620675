// Somebody between the ends who changes, repeats, sends back, holds up, cuts or invents one message of a session, at
// every place and in every way that is listed: whether an end ever accepts a block that such a message is part of.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "evidence.hpp"
#include "software/two_distillers.hpp"

namespace qkd004::evidence {

namespace {

using namespace software;
using octets = std::vector<std::byte>;

enum class way : std::uint8_t {
  bit_flipped,
  octet_replaced,
  cut_short,
  made_longer,
  said_twice,
  of_block_before,    ///< in its place the message of that kind of the block before, renumbered
  of_session_before,  ///< in its place that of the session before
  sent_back,          ///< to who sent it
  behind_the_next,
  invented  ///< random content of the same length
};
constexpr std::array names{"a bit flipped",
                           "an octet replaced",
                           "cut short",
                           "made longer",
                           "said twice",
                           "of the block before",
                           "of the session before",
                           "sent back to its sender",
                           "behind the next",
                           "invented"};

struct trial {
  enum class result : std::uint8_t { nothing_changed, refused, believed };
  result what = result::nothing_changed;
  message_kind kind = message_kind::hello;
};

/// One session of two blocks; the `place`-th message is forged.
class interference {
 public:
  interference(const software_link_options& o, std::uint64_t seed, way how, std::size_t place)
      : ends_{o, seed, 1'024}, random_{seed}, how_{how}, place_{place} {}

  trial run() {
    if (how_ == way::of_session_before) {
      ends_.changes = [this](side, octets& m) { return remember(m); };
      if (!ends_.start()) return {};
      ends_.run_for(1);
      ends_.of_alice.clear();
      ends_.of_bob.clear();
      seen_ = 0;
    }
    if (!ends_.start()) return {};
    ends_.changes = [this](side from, octets& m) { return meddle(from, m); };
    ends_.run_for(2);
    if (changed_) ends_.run_for(4);  // so that the block is accepted, or never will be
    return judge();
  }

 private:
  static link_message parts_of(const octets& m) {
    link_message parts;
    (void)parse_message(m, parts);
    return parts;
  }
  bool remember(const octets& m) {
    const auto parts = parts_of(m);
    before_[{parts.kind, parts.block}].push_back(m);
    return true;
  }
  /// Held up is the first from there on that another of the same side follows; most are answered first.
  bool is_it(const octets& m) {
    const std::size_t at = seen_++;
    if (how_ != way::behind_the_next) return at == place_;
    const auto kind = parts_of(m).kind;
    const bool followed =
        kind == message_kind::detected || kind == message_kind::sifted || kind == message_kind::amplify;
    return at >= place_ && followed && !std::exchange(found_, true);
  }
  distiller& end(side s) { return s == side::alice ? *ends_.alice : *ends_.bob; }

  bool meddle(side from, octets& m) {
    if (held_ && from == other(target_)) {
      changed_ = parts_of(m).block == block_ && m != *held_;  // blocks do not wait for one another
      end(target_).receive(m);
      m = std::move(*std::exchange(held_, std::nullopt));
      return true;
    }
    if (!is_it(m)) return how_ == way::of_block_before ? remember(m) : true;
    const auto parts = parts_of(m);
    kind_ = parts.kind;
    block_ = parts.block;
    target_ = how_ == way::sent_back ? from : other(from);
    const octets original = m;
    switch (how_) {
      case way::bit_flipped: m[random_() % m.size()] ^= std::byte{1} << random_() % 8; break;
      case way::octet_replaced: m[random_() % m.size()] = static_cast<std::byte>(random_()); break;
      case way::cut_short: m.resize(random_() % m.size()); break;
      case way::made_longer: m.resize(m.size() + 1 + random_() % 40); break;
      case way::said_twice:
        end(target_).receive(m);
        changed_ = true;
        return true;
      case way::sent_back:
        end(target_).receive(m);
        changed_ = true;
        return true;
      case way::of_block_before:
      case way::of_session_before: {
        const auto of = how_ == way::of_block_before ? parts.block - 1 : parts.block;
        const auto it = before_.find({parts.kind, of});
        if (it == before_.end()) return true;
        m = it->second[random_() % it->second.size()];
        if (how_ == way::of_block_before) std::copy_n(original.begin(), link_message::head, m.begin());
        break;
      }
      case way::behind_the_next: held_ = m; return false;
      case way::invented:
        for (std::size_t i = link_message::head; i < m.size(); ++i) m[i] = static_cast<std::byte>(random_());
        break;
    }
    changed_ = m != original;
    return true;
  }

  trial judge() {
    const auto at = [&](std::vector<secret_block>& of) {
      return std::any_of(of.begin(), of.end(),
                         [&](const secret_block& b) { return b.provenance.first_block == block_; });
    };
    if (!ends_.agree()) return {trial::result::believed, kind_};
    if (!changed_) return {trial::result::nothing_changed, kind_};
    const auto a = ends_.alice->report(), b = ends_.bob->report();
    const bool noticed = a.forged + b.forged + a.unequal + b.unequal + a.over_limit + b.over_limit > 0;
    const bool accepted = at(target_ == side::alice ? ends_.of_alice : ends_.of_bob);
    // Said twice, or to its sender as well: what was said first was true, and a block may have been complete with it.
    // Then the session has to end. In all else the end that heard it must not accept the block; before a block, none.
    const bool also_true = how_ == way::said_twice || how_ == way::sent_back;
    const bool refused = also_true || kind_ == message_kind::hello ? noticed : !accepted;
    return {refused ? trial::result::refused : trial::result::believed, kind_};
  }

  two_distillers ends_;
  std::mt19937_64 random_;
  const way how_;
  const std::size_t place_;
  std::size_t seen_ = 0;
  bool found_ = false;
  bool changed_ = false;
  message_kind kind_ = message_kind::hello;
  std::uint32_t block_ = 0;
  side target_ = side::alice;
  std::optional<octets> held_;
  std::map<std::pair<message_kind, std::uint32_t>, std::vector<octets>> before_;
};

}  // namespace

int forgeries(const arguments& a) {
  auto o = a.link;
  o.blocks_in_flight = 1;
  // so many messages have two blocks; what lies behind the last is nothing changed
  std::array<std::size_t, 2> messages{};
  for (const auto sampling : {photon_sampling::events, photon_sampling::blocks}) {
    o.sampling = sampling;
    two_distillers w{o, a.seed, 1'024};
    w.changes = [&](side, std::vector<std::byte>&) {
      return ++messages[sampling == photon_sampling::blocks] > 0;
    };
    if (!w.start()) return 2;
    w.run_for(2);
    if (w.of_bob.size() < 2) {
      std::fputs("forgeries: such blocks give no key\n", stderr);
      return 2;
    }
  }
  std::array<std::uint64_t, names.size()> refused{};
  std::map<message_kind, std::uint64_t> kinds;
  std::uint64_t real = 0, believed = 0;
  std::mt19937_64 random{a.seed};
  for (std::uint64_t seed = a.seed; real < a.count; ++seed) {
    const auto how = static_cast<way>(seed % names.size());
    // only single photons come in several messages that follow one another
    const bool in_blocks = how != way::behind_the_next && seed / names.size() % 2 == 0;
    o.sampling = in_blocks ? photon_sampling::blocks : photon_sampling::events;
    const std::size_t place = random() % messages[in_blocks];
    const trial t = interference{o, seed, how, place}.run();
    if (t.what == trial::result::nothing_changed) continue;
    ++real;
    ++kinds[t.kind];
    if (t.what == trial::result::refused) {
      ++refused[seed % names.size()];
      continue;
    }
    ++believed;
    std::printf("believed: %s, message %zu of kind %u, seed %llu\n", names[seed % names.size()], place,
                static_cast<unsigned>(t.kind), static_cast<unsigned long long>(seed));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::printf("%-24s %8llu refused\n", names[i], static_cast<unsigned long long>(refused[i]));
  }
  std::printf("messages changed %llu, of %zu kinds; believed %llu\n", static_cast<unsigned long long>(real),
              kinds.size(), static_cast<unsigned long long>(believed));
  return believed == 0 ? 0 : 1;
}

}  // namespace qkd004::evidence
