// SPDX-License-Identifier: Apache-2.0
#include "software/quantum_pipe.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "qkd004/decoy_channel.hpp"
#include "qkd004/secret.hpp"
#include "software/geometric_gap.hpp"
#include "software/photon_odds.hpp"
#include "software/random_planes.hpp"

namespace qkd004::software {

namespace {

/// Streams of a seed. Bob's choices have their own, so that Alice need not draw them.
enum purpose : std::uint64_t { slots = 1, preparation, measurement, block_bits, block_counts, block_errors };

/// Detections that are made at once.
constexpr std::size_t group = 1024;
constexpr std::size_t group_words = group / 64;
constexpr std::size_t planes = group / plane::lanes;

/// Random numbers of 48 bits that become gaps.
struct gap_words {
  std::array<std::uint32_t, group> low{};
  std::array<std::uint16_t, group> high{};
};
static_assert(sizeof(gap_words) == group * 6);

plane load(const std::uint64_t* from) noexcept { return {{from[0], from[1], from[2], from[3]}}; }
void store(const plane& p, std::uint64_t* to) noexcept { std::copy(p.words.begin(), p.words.end(), to); }

/// Octet j is bit j of the index: 0 or 1.
constexpr std::array<std::uint64_t, 256> spread = [] {
  std::array<std::uint64_t, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    for (std::size_t j = 0; j < 8; ++j) table[i] |= std::uint64_t{i >> j & 1} << (8 * j);
  }
  return table;
}();

/// Intensities of 64 detections: 0, or 1 where it is a decoy and 2 where it is a weak one.
void write_intensities(std::uint64_t decoy, std::uint64_t weak, std::uint8_t* to) noexcept {
  for (unsigned i = 0; i < 64; i += 8) {
    const std::uint64_t eight = spread[decoy >> i & 255] + spread[weak >> i & 255];
    std::memcpy(to + i, &eight, sizeof eight);
  }
}

/// Which of the clicks that have no signal's intensity have the weakest.
std::uint64_t odds_of_weak(const photon_odds& odds) noexcept {
  const auto decoys = static_cast<uint128>(odds.intensity[1]) + odds.intensity[2];
  return decoys == 0
             ? 0
             : static_cast<std::uint64_t>((static_cast<uint128>(odds.intensity[2]) << 64) / (decoys + 1));
}

std::uint64_t first_bits(std::size_t count) noexcept {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

/// Copies `count` bits, from bit `from` of `source` on, to where `target` has zeros from bit `at` on.
void copy_bits(const std::uint64_t* source, std::size_t from, std::uint64_t* target, std::size_t at,
               std::size_t count) noexcept {
  while (count != 0) {
    const std::size_t now = std::min({count, 64 - from % 64, 64 - at % 64});
    target[at / 64] |= (source[from / 64] >> (from % 64) & first_bits(now)) << (at % 64);
    from += now;
    at += now;
    count -= now;
  }
}

/// After-pulses that are still to come, by pulse.
class awaited_afterpulses {
 public:
  static constexpr std::uint64_t never = ~std::uint64_t{0};

  [[nodiscard]] std::uint64_t next() const noexcept { return latest_first_.back(); }
  void take() { latest_first_.pop_back(); }
  void add(std::uint64_t pulse) {
    auto before = latest_first_.end();
    while (before[-1] < pulse) --before;  // ends at `never`
    latest_first_.insert(before, pulse);
  }

 private:
  std::vector<std::uint64_t> latest_first_{never};
};

}  // namespace

struct event_stream::state {
  state(const decoy_bb84& s, const eavesdropper& eve, const seed256& seed, side w)
      : odds{s, eve.intercept_resend},
        weak{odds_of_weak(odds)},
        click_gap{odds.click},
        afterpulse_gap{odds_of(1 / mean_afterpulse_delay)},
        dead_pulses{s.dead_pulses},
        which{w},
        clock{seed, slots},
        alice{seed, preparation},
        bob{seed, measurement} {}
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() { wipe(values.data(), sizeof(values)); }

  void next_group() {
    at = 0;
    if (dead_pulses == 0) {
      next_gaps();
      next_columns();
    } else {
      next_seen();
    }
  }

  void next_clicks();
  void next_gaps();
  void next_columns();
  void next_seen();

  const photon_odds odds;
  const std::uint64_t weak;
  const geometric_gap click_gap;
  const geometric_gap afterpulse_gap;
  const std::uint64_t dead_pulses;
  const side which;

  random_planes clock;
  random_planes alice;
  random_planes bob;

  // Clicks of photons and dark counts, and which of them have an after-pulse.
  gap_words drawn;
  std::array<std::uint32_t, group> click_gaps{};
  std::array<std::uint64_t, group_words> has_afterpulse{};
  std::size_t click_at = group;
  std::uint64_t click_pulse = 0;

  // With the after-pulses between them.
  awaited_afterpulses awaited;
  std::uint64_t pulse = 0;  ///< of the last detection; pulses count from 1
  std::array<std::uint64_t, group_words> is_afterpulse{};

  // A group as this side has it, and how much of it was handed out.
  std::array<std::uint32_t, group> gaps{};
  std::array<std::uint64_t, group_words> bases{};
  std::array<std::uint64_t, group_words> values{};
  std::array<std::uint8_t, group> intensities{};
  std::size_t at = group;

  std::array<std::uint64_t, 4> blind_until{};  ///< Bob's detectors: the last pulse that they do not see
};

/// Clicks of photons and dark counts.
void event_stream::state::next_clicks() {
  clock.fill(std::as_writable_bytes(std::span{&drawn, 1}));
  click_gap({drawn.low.data(), drawn.high.data(), group}, click_gaps.data());
  if (odds.afterpulse != 0) {
    for (std::size_t i = 0; i < planes; ++i) store(clock.biased(odds.afterpulse), &has_afterpulse[4 * i]);
  }
  click_at = 0;
}

/// Clicks and their after-pulses in the order in which they come.
void event_stream::state::next_gaps() {
  if (odds.afterpulse == 0) {
    next_clicks();
    gaps = click_gaps;
    return;
  }
  is_afterpulse.fill(0);
  std::uint64_t last = pulse;
  for (std::size_t n = 0; n < group;) {
    if (click_at == group) next_clicks();
    // To the next click that has an after-pulse, in its own word of 64, or to where a group is full.
    const std::uint64_t flags = has_afterpulse[click_at / 64] >> (click_at % 64);
    const std::size_t unflagged =
        std::min(static_cast<std::size_t>(std::countr_zero(flags)), 63 - click_at % 64);
    const std::size_t most = std::min(unflagged + 1, group - n);
    const std::uint64_t next = awaited.next();
    const std::uint32_t* const from = &click_gaps[click_at];
    std::uint32_t* const to = &gaps[n];
    std::uint64_t click = click_pulse + from[0];
    std::size_t taken = 0;
    if (next >= click) {
      to[0] = static_cast<std::uint32_t>(click - last);  // the only one that an after-pulse may come before
      for (taken = 1; taken < most && next >= click + from[taken]; ++taken) {
        click += from[taken];
        to[taken] = from[taken];
      }
      last = click_pulse = click;
      click_at += taken;
      n += taken;
    }
    if (taken == most) {
      if ((flags >> (taken - 1) & 1) != 0) awaited.add(click_pulse + afterpulse_gap(clock.word()));
      continue;
    }
    awaited.take();
    if (const std::uint64_t own = std::max(next, last + 1); own < click_pulse + from[taken]) {
      is_afterpulse[n / 64] |= std::uint64_t{1} << (n % 64);
      gaps[n++] = static_cast<std::uint32_t>(own - last);
      last = own;
    } else {
      awaited.add(click_pulse + from[taken] + 1);  // its pulse has a click: it waits for the next
    }
  }
  pulse = last;
}

/// What Alice sent on the pulses that were detected, and what Bob makes of it.
void event_stream::state::next_columns() {
  for (std::size_t i = 0; i < planes; ++i) {
    const plane z_of_alice = alice.biased(odds.z_basis);
    const plane decoy = ~alice.biased(odds.intensity[0]);
    const plane weakest = weak == 0 ? plane{} : alice.biased(weak, decoy);
    const plane bit = alice.fair();
    if (which == side::alice) {
      store(z_of_alice, &bases[4 * i]);
      store(bit, &values[4 * i]);
      for (std::size_t w = 0; w < 4; ++w) {
        write_intensities(decoy.words[w], weakest.words[w], &intensities[i * plane::lanes + 64 * w]);
      }
      continue;
    }
    const plane z_of_bob = bob.biased(odds.z_basis);
    // The bit of an after-pulse, and that of a photon in the other basis, has nothing to do with Alice's.
    const plane tells = ~(z_of_alice ^ z_of_bob) & ~load(&is_afterpulse[4 * i]);
    const plane wrong =
        bob.biased(odds.click_error, {tells & ~decoy, tells & decoy & ~weakest, tells & weakest});
    store(z_of_bob, &bases[4 * i]);
    store(bit ^ wrong ^ (bob.fair() & ~tells), &values[4 * i]);
  }
}

/// The same one by one, because what comes next depends on which detector clicked. Both sides draw everything.
void event_stream::state::next_seen() {
  bases.fill(0);
  values.fill(0);
  const auto happens = [this](std::uint64_t p) { return clock.word() < p; };
  for (std::size_t n = 0; n < group;) {
    if (click_at == group) next_clicks();
    std::uint64_t now = click_pulse + click_gaps[click_at];
    bool afterpulse = false;
    bool has_one = false;
    if (const std::uint64_t own = std::max(awaited.next(), pulse + 1); own < now) {
      awaited.take();
      now = own;
      afterpulse = true;
    } else {
      has_one = (has_afterpulse[click_at / 64] >> (click_at % 64) & 1) != 0;
      click_pulse = now;
      ++click_at;
    }

    const bool z_of_alice = happens(odds.z_basis);
    const bool z_of_bob = happens(odds.z_basis);
    const std::uint8_t intensity = happens(odds.intensity[0]) ? 0 : happens(weak) ? 2 : 1;
    const bool tells = z_of_alice == z_of_bob && !afterpulse;
    const bool wrong = happens(tells ? odds.click_error[intensity] : std::uint64_t{1} << 63);
    const bool bit = (clock.word() & 1) != 0;
    const bool bit_of_bob = bit != wrong;

    std::uint64_t& blind = blind_until[(z_of_bob ? 2U : 0U) + (bit_of_bob ? 1U : 0U)];
    if (now <= blind) continue;
    blind = now + dead_pulses;
    if (has_one) awaited.add(now + dead_pulses + afterpulse_gap(clock.word()));

    gaps[n] = static_cast<std::uint32_t>(std::min<std::uint64_t>(now - pulse, geometric_gap::most));
    pulse = now;
    const bool z = which == side::alice ? z_of_alice : z_of_bob;
    const bool value = which == side::alice ? bit : bit_of_bob;
    bases[n / 64] |= std::uint64_t{z} << (n % 64);
    values[n / 64] |= std::uint64_t{value} << (n % 64);
    intensities[n] = intensity;
    ++n;
  }
}

event_stream::event_stream(const decoy_bb84& system, const eavesdropper& eve, const seed256& seed, side which)
    : state_{std::make_unique<state>(system, eve, seed, which)} {}

event_stream::event_stream(event_stream&&) noexcept = default;
event_stream& event_stream::operator=(event_stream&&) noexcept = default;
event_stream::~event_stream() = default;

void event_stream::next(std::size_t count, detections& out) {
  state& s = *state_;
  const bool alice = s.which == side::alice;
  out.gaps.resize(count);
  out.bases.assign((count + 63) / 64, 0);
  out.intensities.resize(alice ? count : 0);
  if (out.values.size() != count) out.values = bits{count};
  const auto values = out.values.words();
  std::fill(values.begin(), values.end(), 0);
  for (std::size_t done = 0; done < count;) {
    if (s.at == group) s.next_group();
    const std::size_t now = std::min(count - done, group - s.at);
    std::copy_n(s.gaps.data() + s.at, now, out.gaps.data() + done);
    copy_bits(s.bases.data(), s.at, out.bases.data(), done, now);
    copy_bits(s.values.data(), s.at, values.data(), done, now);
    if (alice) std::copy_n(s.intensities.data() + s.at, now, out.intensities.data() + done);
    s.at += now;
    done += now;
  }
}

namespace {

/// How many fail before the n-th success, of trials that succeed with probability p / 2^64.
/// As many trials as successes are wanted never bring more of them, and bring all only if the last one is a success.
std::uint64_t failures_before(std::uint64_t n, std::uint64_t p, random_planes& random) {
  std::uint64_t failures = 0;
  while (n != 0) {
    const std::uint64_t successes = random.binomial(n, p);
    failures += n - successes;
    n -= successes;
  }
  return failures;
}

using by_intensity = std::array<std::uint64_t, 3>;

/// n things that are of kind k with a probability in proportion to weight[k].
by_intensity multinomial(std::uint64_t n, const by_intensity& weight, random_planes& random) {
  const auto others = static_cast<uint128>(weight[1]) + weight[2];
  by_intensity counts{};
  const auto share = [](uint128 part, uint128 whole) {
    return whole == 0 ? 0 : static_cast<std::uint64_t>((part << 64) / (whole + 1));
  };
  // Halved, so that the sums fit.
  counts[0] = random.binomial(n, share(weight[0] / 4, weight[0] / 4 + others / 4));
  if (weight[2] != 0) counts[2] = random.binomial(n - counts[0], share(weight[2] / 4, others / 4));
  counts[1] = n - counts[0] - counts[2];
  return counts;
}

by_intensity each_scaled(const by_intensity& a, const by_intensity& b) noexcept {
  return {scaled(a[0], b[0]), scaled(a[1], b[1]), scaled(a[2], b[2])};
}

/// Where the errors of a block are, one after the other.
class error_places {
 public:
  error_places(std::uint64_t error, random_planes& random) : gap_{error}, random_{random} { advance(); }
  error_places(const error_places&) = delete;
  error_places& operator=(const error_places&) = delete;
  ~error_places() { wipe(gaps_.data(), sizeof(gaps_)); }

  [[nodiscard]] std::uint64_t place() const noexcept { return next_ - 1; }
  void advance() {
    if (at_ == group) refill();
    next_ += gaps_[at_++];
  }

 private:
  void refill() {
    gap_words drawn;
    random_.fill(std::as_writable_bytes(std::span{&drawn, 1}));
    gap_({drawn.low.data(), drawn.high.data(), group}, gaps_.data());
    at_ = 0;
  }

  geometric_gap gap_;
  random_planes& random_;
  std::array<std::uint32_t, group> gaps_{};
  std::size_t at_ = group;
  std::uint64_t next_ = 0;  ///< counted from 1
};

/// The intensity of each bit of the block, which with one decoy both sides keep, and how many bits there are of each.
by_intensity draw_intensities(const photon_odds& odds, sifted_block& block, side which,
                              random_planes& random) {
  const std::size_t n = block.x.size();
  const by_intensity good{~odds.error[0], ~odds.error[1], 0};
  const by_intensity of_errors = each_scaled(odds.intensity, odds.error);
  const by_intensity of_others = each_scaled(odds.intensity, good);
  const auto decoys = [](const by_intensity& w) {
    return static_cast<std::uint64_t>((static_cast<uint128>(w[1]) << 64) /
                                      (static_cast<uint128>(w[0]) + w[1] + 1));
  };
  const auto words = block.x.words();
  const std::size_t blocks = (n + plane::lanes - 1) / plane::lanes;
  block.x_intensities.resize(blocks * plane::lanes);
  const std::uint64_t decoy_of_errors = decoys(of_errors);
  const std::uint64_t decoy_of_others = decoys(of_others);
  error_places errors{of_errors[0] + of_errors[1], random};
  std::uint64_t with_decoy = 0;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t begin = i * plane::lanes;
    plane wrong{};
    for (; errors.place() < begin + plane::lanes; errors.advance()) {
      const std::size_t place = errors.place() - begin;
      wrong.words[place / 64] |= std::uint64_t{1} << (place % 64);
    }
    const plane decoy = (random.biased(decoy_of_others) & ~wrong) | random.biased(decoy_of_errors, wrong);
    for (std::size_t w = 0; w < 4 && begin + 64 * w < n; ++w) {
      const std::uint64_t inside = first_bits(n - begin - 64 * w);
      with_decoy += static_cast<std::uint64_t>(std::popcount(decoy.words[w] & inside));
      write_intensities(decoy.words[w], 0, &block.x_intensities[begin + 64 * w]);
      if (which == side::bob) words[4 * i + w] ^= wrong.words[w] & inside;
    }
  }
  block.x_intensities.resize(n);
  return {n - with_decoy, with_decoy, 0};
}

}  // namespace

sifted_block draw_block(const decoy_bb84& system, const eavesdropper& eve, const seed256& seed,
                        std::uint64_t n_x, side which) {
  const photon_odds odds{system, eve.intercept_resend};
  sifted_block block;
  block.x = bits{n_x};
  expander{seed, block_bits}.fill(std::as_writable_bytes(block.x.words()));
  if (n_x % 64 != 0) block.x.words().back() &= first_bits(n_x % 64);

  random_planes of_errors{seed, block_errors};
  random_planes of_counts{seed, block_counts};
  if (system.proof == decoy_proof::w24) {
    block.counts.n_x = draw_intensities(odds, block, which, of_errors);
  } else {
    const by_intensity weight = each_scaled(odds.intensity, odds.error);
    const by_intensity others{odds.intensity[0] - weight[0], odds.intensity[1] - weight[1],
                              odds.intensity[2] - weight[2]};
    error_places errors{weight[0] + weight[1] + weight[2], of_errors};
    std::uint64_t wrong = 0;
    for (; errors.place() < n_x; errors.advance(), ++wrong) {
      if (which == side::bob) block.x.flip(errors.place());
    }
    const by_intensity among_wrong = multinomial(wrong, weight, of_counts);
    const by_intensity among_others = multinomial(n_x - wrong, others, of_counts);
    for (std::size_t k = 0; k < 3; ++k) block.counts.n_x[k] = among_wrong[k] + among_others[k];
  }

  const std::uint64_t x_basis = ~odds.z_basis;
  const auto both_x = static_cast<uint128>(scaled(x_basis, x_basis));
  const auto both_z = static_cast<uint128>(scaled(odds.z_basis, odds.z_basis));
  const auto x_of_equal = static_cast<std::uint64_t>((both_x << 64) / (both_x + both_z + 1));
  block.counts.n_z = multinomial(failures_before(n_x, x_of_equal, of_counts), odds.intensity, of_counts);
  for (std::size_t k = 0; k < 3; ++k) {
    block.counts.m_z[k] = of_counts.binomial(block.counts.n_z[k], odds.error[k]);
  }
  const double x_of_all = std::ldexp(static_cast<double>(scaled(x_basis, x_basis)), -64);
  block.pulses =
      static_cast<std::uint64_t>(static_cast<double>(n_x) / (x_of_all * detection_probability(system)));
  return block;
}

}  // namespace qkd004::software
