// SPDX-License-Identifier: Apache-2.0
#include "software/quantum_pipe.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>

#include "qkd004/decoy_channel.hpp"
#include "software/chi_square.hpp"
#include "software/geometric_gap.hpp"
#include "software/photon_odds.hpp"
#include "software/random_planes.hpp"

using namespace qkd004;
using namespace qkd004::software;
using namespace qkd004::tests;

namespace {

seed256 seed_of(unsigned number) {
  seed256 seed{};
  seed[0] = std::byte(number);
  return seed;
}

decoy_bb84 system_at(double km) {
  decoy_bb84 system;
  system.x_basis = 0.87;
  system.intensities = {{{0.45, 0.40}, {0.20, 0.45}, {2e-4, 0.15}}};
  system.km = km;
  return system;
}

bool bit(std::span<const std::uint64_t> words, std::size_t i) { return (words[i / 64] >> (i % 64) & 1) != 0; }

/// The closed forms of Lim et al. 2014, in floating point and by the system's own library.
struct closed_form {
  std::array<double, 3> D{};  ///< per pulse of the intensity
  std::array<double, 3> R{};
  std::array<double, 3> e{};  ///< with an eavesdropper
  double P = 0;               ///< sum of p_k D_k
  double x;

  explicit closed_form(const decoy_bb84& s, double q = 0) : x{s.x_basis} {
    const double eta = s.efficiency * std::pow(10, -s.loss_db_per_km * s.km / 10);
    for (std::size_t k = 0; k < s.intensity_count(); ++k) {
      const double mu = s.intensities[k].mean_photons;
      D[k] = 1 - (1 - 2 * s.dark_count) * std::exp(-eta * mu);
      R[k] = D[k] * (1 + s.afterpulse);
      const double e_click = s.dark_count + s.misalignment * (1 - std::exp(-eta * mu));
      e[k] = (1 - q / 2) * e_click + q / 4 * D[k] + s.afterpulse * D[k] / 2;
      P += s.intensities[k].probability * D[k];
    }
  }
  double share(const decoy_bb84& s, std::size_t k) const { return s.intensities[k].probability * D[k] / P; }
};

/// A run of detections as both sides have it.
struct both {
  detections alice;
  detections bob;
};

both detect(const decoy_bb84& system, std::size_t count, unsigned seed, eavesdropper eve = {}) {
  both b;
  event_stream{system, eve, seed_of(seed), side::alice}.next(count, b.alice);
  event_stream{system, eve, seed_of(seed), side::bob}.next(count, b.bob);
  REQUIRE(b.alice.gaps == b.bob.gaps);
  REQUIRE(b.bob.intensities.empty());
  return b;
}

/// Cells: Alice's basis, Bob's basis, intensity, whether the bits differ.
double p_of_columns(const decoy_bb84& system, const both& b, double q = 0) {
  const closed_form form{system, q};
  std::vector<std::uint64_t> counts(24);
  for (std::size_t i = 0; i < b.alice.gaps.size(); ++i) {
    const std::size_t cell = 12U * bit(b.alice.bases, i) + 6U * bit(b.bob.bases, i) +
                             2U * b.alice.intensities[i] + (b.alice.values[i] != b.bob.values[i] ? 1 : 0);
    ++counts.at(cell);
  }
  std::vector<double> expected(24);
  for (std::size_t cell = 0; cell < 24; ++cell) {
    const bool z_a = cell >= 12;
    const bool z_b = cell % 12 >= 6;
    const std::size_t k = cell % 6 / 2;
    if (form.D[k] == 0) continue;
    const double error = z_a == z_b ? form.e[k] / form.R[k] : 0.5;
    expected[cell] = (z_a ? 1 - form.x : form.x) * (z_b ? 1 - form.x : form.x) * form.share(system, k) *
                     (cell % 2 == 1 ? error : 1 - error);
  }
  return chi_square_p(counts, expected);
}

double ones(std::span<const std::uint64_t> words) {
  double sum = 0;
  for (const std::uint64_t w : words) sum += std::popcount(w);
  return sum;
}

bool same(const bits& a, const bits& b) {
  return std::ranges::equal(a.words(), b.words()) && a.size() == b.size();
}

std::uint64_t digest(std::uint64_t hash, std::span<const std::byte> octets) {
  for (const std::byte octet : octets) hash = (hash ^ std::to_integer<std::uint64_t>(octet)) * 0x100000001b3;
  return hash;
}

std::uint64_t digest(const detections& d) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  hash = digest(hash, std::as_bytes(std::span{d.gaps}));
  hash = digest(hash, std::as_bytes(std::span{d.bases}));
  hash = digest(hash, std::as_bytes(std::span{d.intensities}));
  return digest(hash, std::as_bytes(d.values.words()));
}

}  // namespace

TEST_CASE("photon odds: are the closed forms at any distance") {
  for (const double km : {0.0, 25.0, 50.0, 100.0, 150.0, 250.0}) {
    for (const double q : {0.0, 0.4}) {
      const decoy_bb84 system = system_at(km);
      const closed_form form{system, q};
      const photon_odds odds{system, q};
      CAPTURE(km);
      CHECK(std::ldexp(double(odds.click), -64) == doctest::Approx(form.P).epsilon(1e-9));
      CHECK(detection_probability(system) == doctest::Approx(form.P * 1.04).epsilon(1e-9));
      for (std::size_t k = 0; k < 3; ++k) {
        CHECK(std::ldexp(double(odds.intensity[k]), -64) ==
              doctest::Approx(form.share(system, k)).epsilon(1e-7));
        CHECK(std::ldexp(double(odds.error[k]), -64) == doctest::Approx(form.e[k] / form.R[k]).epsilon(1e-7));
      }
    }
  }
}

TEST_CASE("photon odds: have no fault when nothing or everything is detected") {
  decoy_bb84 dark = system_at(5000);
  dark.dark_count = 0;
  const photon_odds none{dark, 1};
  CHECK(none.click == 0);
  decoy_bb84 bright;
  bright.km = 0;
  bright.efficiency = 1;
  bright.dark_count = 0.5;
  bright.intensities = {{{200, 1}, {100, 0}, {0, 0}}};
  const photon_odds all{bright, 0};
  CHECK(std::ldexp(double(all.click), -64) == doctest::Approx(1));
  CHECK(std::ldexp(double(all.intensity[0]), -64) == doctest::Approx(1));
}

TEST_CASE("exp_minus: is the exponential function to 50 binary places") {
  for (double x = 1e-9; x < 60; x *= 1.03) {
    const auto units = static_cast<uint128>(std::ldexp(x, 56)) << 8;
    CHECK(std::abs(std::ldexp(double(exp_minus(units)), -64) - std::exp(-x)) < 0x1p-50);
  }
  CHECK(exp_minus(0) == ~std::uint64_t{0});
  CHECK(exp_minus(static_cast<uint128>(1) << 100) == 0);
}

TEST_CASE("geometric gap: has the geometric distribution from certain to rare") {
  for (const double p : {0.9, 0.5, 0.0265, 2.8e-5}) {
    const geometric_gap gap{odds_of(p)};
    random_planes random{seed_of(1), 0};
    // Cells that are equally probable as far as gaps are whole numbers allow.
    std::vector<std::uint32_t> first{1};
    std::vector<double> expected;
    const auto beyond = [p](double g) { return std::exp(std::log1p(-p) * (g - 1)); };
    for (std::uint32_t g = 1; expected.size() < 400 && beyond(first.back()) > 0.01; ++g) {
      const double probability = beyond(first.back()) - beyond(g + 1.0);
      if (probability < 0.003) continue;
      expected.push_back(probability);
      first.push_back(g + 1);
    }
    expected.push_back(beyond(first.back()));
    std::vector<std::uint64_t> counts(expected.size());
    for (int i = 0; i < 1'000'000; ++i) {
      const auto above = std::upper_bound(first.begin(), first.end(), gap(random.word()));
      ++counts[static_cast<std::size_t>(above - first.begin() - 1)];
    }
    CAPTURE(p);
    CAPTURE(counts.size());
    CHECK(chi_square_p(counts, expected) > least_p);
  }
}

TEST_CASE("geometric gap: differs from a computed logarithm only where a gap ends") {
  random_planes random{seed_of(2), 0};
  for (const double p : {0.7, 0.0265, 2.7e-3, 2.8e-5}) {
    const geometric_gap gap{odds_of(p)};
    int different = 0;
    for (int i = 0; i < 100'000; ++i) {
      const std::uint64_t word = random.word() >> 16;
      const double exact = std::log((double(word) + 0.5) * 0x1p-48) / std::log1p(-p);
      const double drawn = gap(word);
      REQUIRE(std::abs(drawn - 0.5 - exact) < 0.5 + 8e-8 / p);
      if (drawn != 1 + std::floor(exact)) ++different;
    }
    CHECK(different < 200);
  }
  CHECK(geometric_gap{odds_of(1e-15)}(0) == geometric_gap::most);
  CHECK(geometric_gap{0}(0) == geometric_gap::most);
  CHECK(geometric_gap{~std::uint64_t{0}}(12345) == 1);
}

TEST_CASE("geometric gap: is the same of many words as of each") {
  random_planes random{seed_of(63), 0};
  std::vector<std::uint32_t> low{0, 0, 0xffffffff, 0xffffffff, 1, 0};
  std::vector<std::uint16_t> high{0, 0xffff, 0, 0xffff, 0, 1};
  while (low.size() < 8192) {
    // Some with many zeros at the front, for long gaps.
    const std::uint64_t word = (random.word() >> 16) >> (random.word() % 4 == 0 ? random.word() % 48 : 0);
    low.push_back(static_cast<std::uint32_t>(word));
    high.push_back(static_cast<std::uint16_t>(word >> 32));
  }
  for (const double p : {0.999, 0.5, 0.0265, 2.8e-5, 1e-9, 1e-14}) {
    const geometric_gap gap{odds_of(p)};
    std::vector<std::uint32_t> many(low.size());
    gap({low.data(), high.data(), low.size()}, many.data());
    for (std::size_t i = 0; i < low.size(); ++i) {
      CAPTURE(p);
      CAPTURE(i);
      REQUIRE(many[i] == gap(std::uint64_t{high[i]} << 32 | low[i]));
    }
  }
}

TEST_CASE("random planes: are 1 as often as they are told to be") {
  random_planes random{seed_of(3), 0};
  for (const double p : {0.0, 1e-3, 0.13, 0.5, 0.87}) {
    double sum = 0;
    for (int i = 0; i < 4000; ++i) sum += ones(random.biased(odds_of(p)).words);
    const double n = 4000.0 * plane::lanes;
    CAPTURE(p);
    CHECK(std::abs(sum - n * p) <= 4 * std::sqrt(n * p * (1 - p)));
  }
}

TEST_CASE("binomial numbers: have the binomial distribution") {
  random_planes random{seed_of(4), 0};
  for (const double p : {0.3, 0.02, 0.97}) {
    constexpr std::uint64_t n = 333;
    std::vector<double> expected;
    for (std::uint64_t k = 0; k <= n; ++k) {
      const double a = double(k);
      const double b = double(n - k);
      expected.push_back(std::exp(std::lgamma(n + 1.0) - std::lgamma(a + 1) - std::lgamma(b + 1) +
                                  a * std::log(p) + b * std::log1p(-p)));
    }
    std::vector<std::uint64_t> counts(n + 1);
    for (int i = 0; i < 50'000; ++i) ++counts[random.binomial(n, odds_of(p))];
    CAPTURE(p);
    CHECK(chi_square_p(counts, expected) > least_p);
  }
}

TEST_CASE("event stream: has the bases and intensities and errors of the closed forms") {
  for (const double km : {0.0, 50.0, 150.0}) {
    const decoy_bb84 system = system_at(km);
    CAPTURE(km);
    CHECK(p_of_columns(system, detect(system, 2'000'000, 5)) > least_p);
  }
  decoy_bb84 one_decoy = system_at(10);
  one_decoy.proof = decoy_proof::w24;
  one_decoy.intensities = {{{0.5, 0.7}, {0.15, 0.3}, {0, 0}}};
  one_decoy.x_basis = 0.6;
  one_decoy.afterpulse = 0;
  CHECK(p_of_columns(one_decoy, detect(one_decoy, 1'000'000, 6)) > least_p);
}

TEST_CASE("event stream: errs in a quarter more of what an eavesdropper sent again") {
  for (const double q : {0.3, 1.0}) {
    const decoy_bb84 system = system_at(25);
    const both b = detect(system, 1'000'000, 7, {q});
    CAPTURE(q);
    CHECK(p_of_columns(system, b, q) > least_p);
    double equal = 0;
    double wrong = 0;
    for (std::size_t i = 0; i < b.alice.gaps.size(); ++i) {
      if (bit(b.alice.bases, i) != bit(b.bob.bases, i)) continue;
      ++equal;
      if (b.alice.values[i] != b.bob.values[i]) ++wrong;
    }
    CHECK(wrong / equal == doctest::Approx(0.024 + 0.25 * q).epsilon(0.06));
  }
}

TEST_CASE("event stream: has geometric gaps without after-pulses") {
  for (const double km : {0.0, 100.0}) {
    decoy_bb84 system = system_at(km);
    system.afterpulse = 0;
    const double p = closed_form{system}.P;
    detections out;
    event_stream{system, {}, seed_of(8), side::bob}.next(1'000'000, out);
    const double width = std::max(1.0, std::floor(0.05 / p));
    std::vector<std::uint64_t> counts(200);
    for (const std::uint32_t gap : out.gaps) {
      ++counts[std::min<std::size_t>(199, static_cast<std::size_t>((gap - 1) / width))];
    }
    std::vector<double> expected;
    for (double i = 0; i < 200; ++i) {
      const double beyond = std::exp(std::log1p(-p) * width * i);
      expected.push_back(i == 199 ? beyond : beyond - std::exp(std::log1p(-p) * width * (i + 1)));
    }
    CAPTURE(km);
    CHECK(chi_square_p(counts, expected) > least_p);
  }
}

TEST_CASE("event stream: detects R_k of all pulses with after-pulses") {
  for (const double km : {0.0, 50.0}) {
    const decoy_bb84 system = system_at(km);
    const double p = closed_form{system}.P;
    detections out;
    event_stream{system, {}, seed_of(9), side::alice}.next(2'000'000, out);
    const double pulses = std::accumulate(out.gaps.begin(), out.gaps.end(), 0.0);
    // Of n pulses n P click, and each click counts 1 + p_ap.
    const double expected = pulses * p * 1.04;
    const double sigma = std::sqrt(pulses * p * ((1 - p) * 1.04 * 1.04 + 0.04 * 0.96));
    CAPTURE(km);
    CHECK(std::abs(2e6 - expected) < 4 * sigma);
  }
}

TEST_CASE("event stream: loses no after-pulse to a pulse that has clicked itself") {
  decoy_bb84 system = system_at(0);
  system.efficiency = 0.8;
  system.afterpulse = 0.5;
  const double p = closed_form{system}.P;
  REQUIRE(p > 0.15);
  const both b = detect(system, 500'000, 16);
  const double pulses = std::accumulate(b.bob.gaps.begin(), b.bob.gaps.end(), 0.0);
  const double sigma = std::sqrt(pulses * p * ((1 - p) * 1.5 * 1.5 + 0.5 * 0.5));
  CHECK(std::abs(5e5 - pulses * p * 1.5) < 4 * sigma + 1000 * p);  // some are still to come
  CHECK(*std::min_element(b.bob.gaps.begin(), b.bob.gaps.end()) == 1);
  CHECK(p_of_columns(system, b) > least_p);
}

TEST_CASE("event stream: puts after-pulses at geometric delays after their clicks") {
  // Clicks so rare that what comes within 20,000 pulses is an after-pulse.
  decoy_bb84 system = system_at(400);
  system.dark_count = 1e-9;
  system.afterpulse = 0.3;
  for (const std::uint32_t dead : {0U, 50U}) {
    system.dead_pulses = dead;
    detections out;
    event_stream{system, {}, seed_of(10), side::bob}.next(400'000, out);
    std::vector<std::uint64_t> counts(101);
    double near = 0;
    for (const std::uint32_t gap : out.gaps) {
      if (gap > 20'000) continue;
      ++near;
      REQUIRE(gap > dead);
      ++counts[std::min<std::size_t>(100, (gap - dead - 1) / 50)];
    }
    std::vector<double> expected;
    for (double i = 0; i <= 100; ++i) {
      const double beyond = std::pow(0.999, 50 * i);
      expected.push_back(i == 100 ? beyond : beyond - std::pow(0.999, 50 * (i + 1)));
    }
    CAPTURE(dead);
    CHECK(chi_square_p(counts, expected) > least_p);
    const double share = 0.3 / 1.3;
    CHECK(std::abs(near - 4e5 * share) < 5 * std::sqrt(4e5 * share) + 4e5 * 1e-4);
  }
}

TEST_CASE("event stream: sees nothing at a detector that is dead and otherwise what the closed form says") {
  for (const std::uint32_t dead : {20U, 500U}) {
    decoy_bb84 system = system_at(0);
    system.afterpulse = 0;
    system.x_basis = 0.7;
    system.dead_pulses = dead;
    const double p = closed_form{system}.P;
    detections out;
    event_stream{system, {}, seed_of(11), side::bob}.next(400'000, out);
    std::array<std::uint64_t, 4> last{};
    std::array<double, 4> clicks{};
    std::uint64_t now = 0;
    for (std::size_t i = 0; i < out.gaps.size(); ++i) {
      now += out.gaps[i];
      const std::size_t detector = 2U * bit(out.bases, i) + (out.values[i] ? 1 : 0);
      REQUIRE((clicks[detector] == 0 || now - last[detector] > dead));
      last[detector] = now;
      ++clicks[detector];
    }
    for (std::size_t d = 0; d < 4; ++d) {
      // r = r0 / (1 + r0 t); a renewal process, so the count has the variance n (1 - r t)^2 and a little less.
      const double r0 = p * (d < 2 ? 0.7 : 0.3) / 2;
      const double r = r0 / (1 + r0 * dead);
      const double expected = r * double(now);
      CAPTURE(dead);
      CAPTURE(d);
      CHECK(std::abs(clicks[d] - expected) < 5 * std::sqrt(expected));
    }
  }
}

TEST_CASE("event stream: has the same columns drawn one by one when the dead time is too short to matter") {
  decoy_bb84 system = system_at(100);
  system.dead_pulses = 1;
  CHECK(p_of_columns(system, detect(system, 500'000, 12)) > least_p);
  CHECK(p_of_columns(system, detect(system, 300'000, 13, {0.5}), 0.5) > least_p);
}

TEST_CASE("event stream: draws the same however many detections are asked for at a time") {
  for (const std::uint32_t dead : {0U, 30U}) {
    for (const side which : {side::alice, side::bob}) {
      decoy_bb84 system = system_at(10);
      system.dead_pulses = dead;
      constexpr std::size_t count = 30'000;
      detections whole;
      event_stream{system, {}, seed_of(14), which}.next(count, whole);
      event_stream stream{system, {}, seed_of(14), which};
      detections part;
      std::size_t done = 0;
      for (std::size_t size = 1; done < count; size = size * 7 % 3001 + 1) {
        const std::size_t now = std::min(size, count - done);
        stream.next(now, part);
        REQUIRE(part.gaps.size() == now);
        REQUIRE(part.values.size() == now);
        REQUIRE(std::equal(part.gaps.begin(), part.gaps.end(), whole.gaps.begin() + std::ptrdiff_t(done)));
        for (std::size_t i = 0; i < now; ++i) {
          REQUIRE(bit(part.bases, i) == bit(whole.bases, done + i));
          REQUIRE(part.values[i] == whole.values[done + i]);
          if (which == side::alice) REQUIRE(part.intensities[i] == whole.intensities[done + i]);
        }
        if (now % 64 != 0) {
          REQUIRE((part.bases.back() >> (now % 64)) == 0);
          REQUIRE((part.values.words().back() >> (now % 64)) == 0);
        }
        done += now;
      }
    }
  }
}

// The two ends of a link may be two machines: an end that draws otherwise has another key.
TEST_CASE("event stream: draws on every machine what was drawn when this was written") {
  const decoy_bb84 system = system_at(37);
  const both b = detect(system, 50'000, 15, {0.1});
  CHECK(digest(b.alice) == 0xb724ab592943b578);
  CHECK(digest(b.bob) == 0xb1e4505dfed6cc3f);
  decoy_bb84 with_dead_time = system;
  with_dead_time.dead_pulses = 77;
  CHECK(digest(detect(with_dead_time, 20'000, 15).bob) == 0x17211bc6c7b5bd6d);
  const auto block = draw_block(system, {0.1}, seed_of(15), 40'000, side::bob);
  std::uint64_t hash = digest(block.counts.n_z[0], std::as_bytes(block.x.words()));
  hash = digest(hash, std::as_bytes(std::span{block.counts.n_x}));
  hash = digest(hash, std::as_bytes(std::span{block.counts.m_z}));
  CHECK(hash == 0x31f8048b3a812575);
}

TEST_CASE("block: is counted alike by both sides and in the proportions of the closed forms") {
  for (const double km : {0.0, 100.0}) {
    for (const double q : {0.0, 0.2}) {
      const decoy_bb84 system = system_at(km);
      const closed_form form{system, q};
      std::vector<std::uint64_t> n_x(3);
      std::vector<std::uint64_t> z(6);
      std::vector<std::uint64_t> wrong(2);
      double bits_drawn = 0;
      double ones_drawn = 0;
      for (unsigned i = 0; i < 20; ++i) {
        const std::uint64_t n = 100'000 + i;
        const auto alice = draw_block(system, {q}, seed_of(20 + i), n, side::alice);
        const auto bob = draw_block(system, {q}, seed_of(20 + i), n, side::bob);
        REQUIRE(alice.x.size() == n);
        REQUIRE(bob.x.size() == n);
        REQUIRE(alice.x_intensities.empty());
        REQUIRE(alice.counts.n_x == bob.counts.n_x);
        REQUIRE(alice.counts.n_z == bob.counts.n_z);
        REQUIRE(alice.counts.m_z == bob.counts.m_z);
        REQUIRE(alice.counts.n_x[0] + alice.counts.n_x[1] + alice.counts.n_x[2] == n);
        std::uint64_t differ = 0;
        for (std::size_t w = 0; w < alice.x.words().size(); ++w) {
          differ += std::uint64_t(std::popcount(alice.x.words()[w] ^ bob.x.words()[w]));
        }
        wrong[1] += differ;
        wrong[0] += n - differ;
        bits_drawn += double(n);
        ones_drawn += ones(alice.x.words());
        for (std::size_t k = 0; k < 3; ++k) {
          n_x[k] += alice.counts.n_x[k];
          z[2 * k] += alice.counts.n_z[k] - alice.counts.m_z[k];
          z[2 * k + 1] += alice.counts.m_z[k];
        }
      }
      double e = 0;
      std::vector<double> share(3);
      std::vector<double> in_z(6);
      for (std::size_t k = 0; k < 3; ++k) {
        const double e_k = form.e[k] / form.R[k];
        share[k] = form.share(system, k);
        in_z[2 * k] = share[k] * (1 - e_k);
        in_z[2 * k + 1] = share[k] * e_k;
        e += share[k] * e_k;
      }
      CAPTURE(km);
      CAPTURE(q);
      CHECK(chi_square_p(n_x, share) > least_p);
      CHECK(chi_square_p(z, in_z) > least_p);
      CHECK(chi_square_p(wrong, {1 - e, e}) > least_p);
      CHECK(std::abs(ones_drawn - bits_drawn / 2) < 4 * std::sqrt(bits_drawn) / 2);
    }
  }
}

TEST_CASE("block: has as many detections in Z as come before the last in X") {
  decoy_bb84 system = system_at(50);
  system.x_basis = 0.7;
  constexpr double n = 500;
  constexpr int blocks = 4000;
  const double p = 0.49 / (0.49 + 0.09);
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < blocks; ++i) {
    seed256 seed = seed_of(unsigned(i) & 255);
    seed[1] = std::byte(i >> 8);
    const auto counts = draw_block(system, {}, seed, std::uint64_t(n), side::alice).counts;
    const double n_z = double(counts.n_z[0] + counts.n_z[1] + counts.n_z[2]);
    sum += n_z;
    squares += n_z * n_z;
  }
  const double mean = sum / blocks;
  const double variance = squares / blocks - mean * mean;
  const double expected_variance = n * (1 - p) / (p * p);
  CHECK(std::abs(mean - n * (1 - p) / p) < 4 * std::sqrt(expected_variance / blocks));
  CHECK(std::abs(variance / expected_variance - 1) < 4 * std::sqrt(2.0 / blocks) + 0.01);
}

TEST_CASE("block: errs at every place alike, the first and the last too") {
  const decoy_bb84 system = system_at(0);
  for (const decoy_proof proof : {decoy_proof::lim14, decoy_proof::w24}) {
    decoy_bb84 s = system;
    s.proof = proof;
    std::vector<std::uint64_t> counts(70);
    double errors = 0;
    for (unsigned i = 0; i < 1500; ++i) {
      seed256 seed = seed_of(i & 255);
      seed[1] = std::byte(i >> 8);
      const auto alice = draw_block(s, {1}, seed, 70, side::alice);
      const auto bob = draw_block(s, {1}, seed, 70, side::bob);
      for (std::size_t place = 0; place < 70; ++place) {
        if (alice.x[place] == bob.x[place]) continue;
        ++counts[place];
        ++errors;
      }
    }
    CHECK(chi_square_p(counts, std::vector<double>(70, 1.0 / 70)) > least_p);
    CHECK(errors / (70 * 1500) == doctest::Approx(0.2676).epsilon(0.03));
  }
}

TEST_CASE("block: states the intensity of each bit with one decoy and errs accordingly") {
  decoy_bb84 system = system_at(120);
  system.proof = decoy_proof::w24;
  system.dark_count = 3e-6;
  system.intensities = {{{0.5, 0.7}, {0.1, 0.3}, {0, 0}}};
  const closed_form form{system, 0.1};
  constexpr std::uint64_t n = 1'000'003;
  const auto alice = draw_block(system, {0.1}, seed_of(60), n, side::alice);
  const auto bob = draw_block(system, {0.1}, seed_of(60), n, side::bob);
  REQUIRE(alice.x_intensities.size() == n);
  REQUIRE(alice.x_intensities == bob.x_intensities);
  std::vector<std::uint64_t> counts(4);
  for (std::size_t i = 0; i < n; ++i) {
    ++counts.at(2U * alice.x_intensities[i] + (alice.x[i] != bob.x[i] ? 1 : 0));
  }
  CHECK(counts[0] + counts[1] == alice.counts.n_x[0]);
  CHECK(counts[2] + counts[3] == alice.counts.n_x[1]);
  CHECK(alice.counts.n_x == bob.counts.n_x);
  CHECK(alice.counts.n_z == bob.counts.n_z);
  CHECK(alice.counts.m_z == bob.counts.m_z);
  CHECK((bob.x.words().back() >> (n % 64)) == 0);
  std::vector<double> expected;
  for (std::size_t k = 0; k < 2; ++k) {
    const double e = form.e[k] / form.R[k];
    expected.push_back(form.share(system, k) * (1 - e));
    expected.push_back(form.share(system, k) * e);
  }
  CHECK(chi_square_p(counts, expected) > least_p);
}

TEST_CASE("block: takes the pulses that events take") {
  const decoy_bb84 system = system_at(50);
  detections out;
  event_stream{system, {}, seed_of(61), side::alice}.next(500'000, out);
  const double pulses = std::accumulate(out.gaps.begin(), out.gaps.end(), 0.0);
  const double in_x = 500'000 * 0.87 * 0.87;
  const auto block = draw_block(system, {}, seed_of(61), 100'000, side::alice);
  CHECK(double(block.pulses) == doctest::Approx(1e5 * pulses / in_x).epsilon(0.01));
}

TEST_CASE("detections: reuse their memory for a batch of the same size") {
  event_stream stream{system_at(0), {}, seed_of(62), side::alice};
  detections out;
  stream.next(1000, out);
  const auto* const gaps = out.gaps.data();
  const auto* const values = out.values.words().data();
  const bits before = out.values.copy();
  stream.next(1000, out);
  CHECK(out.gaps.data() == gaps);
  CHECK(out.values.words().data() == values);
  CHECK_FALSE(same(before, out.values));
}
