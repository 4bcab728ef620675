// SPDX-License-Identifier: Apache-2.0
#include "software/sp800_22.hpp"

#include <doctest/doctest.h>
#include <openssl/bn.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>

using namespace qkd004::tests;

namespace {

using sp800_22::from_text;
using sp800_22::sequence;

/// The first 100 bits of pi, the document's long example.
const std::string pi_100 =
    "11001001000011111101101010100010001000010110100011"
    "00001000110100110001001100011001100010100010111000";

struct big_deleter {
  void operator()(BIGNUM* n) const { BN_free(n); }
  void operator()(BN_CTX* c) const { BN_CTX_free(c); }
};
using big = std::unique_ptr<BIGNUM, big_deleter>;

struct fraction {
  big p{BN_new()};
  big q{BN_new()};
};

/// 1/(a+1) + 1/((a+1)(a+2)) + ... up to 1/((a+1)...b), by halves.
fraction sum_between(unsigned a, unsigned b, BN_CTX* room) {
  fraction whole;
  if (b - a == 1) {
    BN_set_word(whole.p.get(), 1);
    BN_set_word(whole.q.get(), b);
    return whole;
  }
  const fraction low = sum_between(a, (a + b) / 2, room);
  const fraction high = sum_between((a + b) / 2, b, room);
  BN_mul(whole.p.get(), low.p.get(), high.q.get(), room);
  BN_add(whole.p.get(), whole.p.get(), high.p.get());
  BN_mul(whole.q.get(), low.q.get(), high.q.get(), room);
  return whole;
}

/// The first million bits of e, on which the document's appendix B states what each test gives.
const sequence& million_bits_of_e() {
  static const sequence made = [] {
    constexpr int bits = 1'000'000;
    const std::unique_ptr<BN_CTX, big_deleter> room{BN_CTX_new()};
    fraction e = sum_between(0, 81'000, room.get());  // 81,000! is above 2^1,200,000
    BN_add(e.p.get(), e.p.get(), e.q.get());
    BN_lshift(e.p.get(), e.p.get(), bits - 2);  // 2 bits are before the point
    const big quotient{BN_new()};
    BN_div(quotient.get(), nullptr, e.p.get(), e.q.get(), room.get());
    sequence s;
    for (int i = bits; i-- > 0;) s.push_back(BN_is_bit_set(quotient.get(), i) == 1);
    return s;
  }();
  return made;
}

}  // namespace

TEST_CASE("sp800_22: gives what the examples of its sections state") {
  using namespace sp800_22;
  const auto near = [](double p) { return doctest::Approx(p).epsilon(2e-6); };
  CHECK(monobit(from_text("1011010101")) == near(0.527089));
  CHECK(monobit(from_text(pi_100)) == near(0.109599));
  CHECK(block_frequency(from_text("0110011010"), 3) == near(0.801252));
  CHECK(block_frequency(from_text(pi_100), 10) == near(0.706438));
  CHECK(runs(from_text("1001101011")) == near(0.147232));
  CHECK(runs(from_text(pi_100)) == near(0.500798));
  // printed with probabilities of four digits: 0.180609
  CHECK(longest_run(from_text(
            "11001100000101010110110001001100111000000000001001001101010100010001001111010110"
            "100000001101011111001100111001101101100010110010")) == doctest::Approx(0.180609).epsilon(1e-4));
  CHECK(serial(from_text("0011011101"), 3).first == near(0.808792));
  CHECK(serial(from_text("0011011101"), 3).second == near(0.670320));
  CHECK(approximate_entropy(from_text("0100110101"), 3) == near(0.261961));
  CHECK(approximate_entropy(from_text(pi_100), 2) == near(0.235301));
  CHECK(cumulative_sums(from_text("1011010111"), walk::forward) == near(0.4116588));
  CHECK(cumulative_sums(from_text(pi_100), walk::forward) == near(0.219194));
  CHECK(cumulative_sums(from_text(pi_100), walk::backward) == near(0.114866));
}

TEST_CASE("sp800_22: gives what its appendix B states for the first million bits of e") {
  using namespace sp800_22;
  const sequence& e = million_bits_of_e();
  REQUIRE(e.size() == 1'000'000);
  const auto near = [](double p) { return doctest::Approx(p).epsilon(2e-5); };
  CHECK(monobit(e) == near(0.953749));
  CHECK(block_frequency(e, 128) == near(0.211072));
  CHECK(runs(e) == near(0.561917));
  CHECK(longest_run(e) == near(0.718945));
  CHECK(serial(e, 2).first == near(0.843764));
  CHECK(serial(e, 2).second == near(0.561915));
  CHECK(serial(e, 16).first == near(0.766182));
  CHECK(serial(e, 16).second == near(0.462921));
  CHECK(approximate_entropy(e, 10) == near(0.700073));
  CHECK(cumulative_sums(e, walk::forward) == near(0.669887));
  CHECK(cumulative_sums(e, walk::backward) == near(0.724266));
}

TEST_CASE("sp800_22: sees what is not random") {
  constexpr std::size_t size = 1'000'000;
  std::mt19937_64 random{7};
  const auto worst = [](const sequence& s) {
    const auto all = sp800_22::all_of(s);
    return std::min_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.p < b.p; })
        ->p;
  };
  const auto made = [&](auto&& bit) {
    sequence s(size);
    for (std::size_t i = 0; i < size; ++i) s[i] = bit(i) ? 1 : 0;
    return s;
  };
  CHECK(worst(made([&](std::size_t) { return random() % 2 == 0; })) > 1e-4);
  CHECK(worst(made([&](std::size_t) { return random() % 1000 < 505; })) < 1e-10);  // a bias
  CHECK(worst(made([&](std::size_t i) { return i % 64 == 63 || random() % 2 == 0; })) <
        1e-10);  // a stuck bit
  std::uint8_t last = 0;
  CHECK(worst(made([&](std::size_t) { return (last = random() % 100 < 51 ? last : 1 - last) != 0; })) <
        1e-10);
  std::vector<std::uint8_t> page(4'096);
  for (auto& bit : page) bit = random() % 2;
  CHECK(worst(made([&](std::size_t i) { return page[i % page.size()] != 0; })) < 1e-10);  // a repetition
}
