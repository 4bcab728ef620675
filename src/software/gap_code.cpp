// SPDX-License-Identifier: Apache-2.0
#include "software/gap_code.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

#include "wire/octets.hpp"

namespace qkd004::software {

static_assert(std::endian::native == std::endian::little, "words are written as they are");

namespace {

constexpr std::size_t head_octets = 5;
constexpr unsigned most_zeros = 20;  ///< and more are an escape
constexpr unsigned most_parameter = 31;
constexpr std::size_t word_octets = sizeof(std::uint64_t);

constexpr std::uint64_t low(unsigned count) noexcept { return (std::uint64_t{1} << count) - 1; }
constexpr std::size_t octets_of(std::size_t bits) noexcept { return (bits + 7) / 8; }

/// For geometric gaps the best Rice parameter is the least r with (1 - P)^(2^r) below the golden section (Kiely, IPN
/// Progress Report 42-159, 2004). The result depends on libm; what it is stands in the message.
unsigned parameter_for(double detection_probability) noexcept {
  constexpr double golden = 0.6180339887498949;
  const double p = std::clamp(detection_probability, 1e-12, 0.999);
  const double run = std::log2(std::log(golden) / std::log1p(-p));
  return static_cast<unsigned>(std::clamp(std::ceil(run), 0.0, double{most_parameter}));
}

std::uint64_t word_at(const std::byte* from) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// The octets of a message from `from` on as a word, zeros behind its end.
std::uint64_t word_within(std::span<const std::byte> octets, std::size_t from) noexcept {
  if (from + word_octets <= octets.size()) [[likely]]
    return word_at(&octets[from]);
  std::uint64_t word = 0;
  if (from < octets.size()) std::memcpy(&word, &octets[from], octets.size() - from);
  return word;
}

/// Whether the bits of these octets from `bits` on, fewer than 8, are 0.
bool ends_with_zeros(std::span<const std::byte> octets, std::size_t bits) noexcept {
  return bits % 8 == 0 || std::to_integer<unsigned>(octets.back()) >> (bits % 8) == 0;
}

/// r low bits of each gap - 1, one after another. Returns the octet behind them; up to word_octets more are written to.
[[gnu::always_inline]] inline std::byte* write_low_bits(std::span<const std::uint32_t> gaps, unsigned r,
                                                        std::byte* to) noexcept {
  std::uint64_t pending = 0;
  unsigned held = 0;  ///< bits of `pending`, fewer than 8 between two turns
  const auto push = [&](std::uint64_t bits, unsigned count) {
    pending |= bits << held;
    held += count;
    std::memcpy(to, &pending, sizeof pending);
    to += held / 8;
    pending >>= held & ~7U;
    held %= 8;
  };
  const std::uint64_t mask = low(r);
  std::size_t i = 0;
  if (4 * r + 7 < 64) {  // four at a time: what one waits for from the last is `held`
    for (; i + 4 <= gaps.size(); i += 4) {
      const std::uint64_t two = ((gaps[i] - 1U) & mask) | ((gaps[i + 1] - 1U) & mask) << r;
      const std::uint64_t more = ((gaps[i + 2] - 1U) & mask) | ((gaps[i + 3] - 1U) & mask) << r;
      push(two | more << (2 * r), 4 * r);
    }
  }
  for (; i < gaps.size(); ++i) push((gaps[i] - 1U) & mask, r);
  return held == 0 ? to : to + 1;
}

/// The last two runs; how many zeros there are of gaps that have too many goes to `escaped`. Returns as write_low_bits.
[[gnu::always_inline]] inline std::byte* write_all(std::span<const std::uint32_t> gaps, unsigned r,
                                                   std::byte* to, std::vector<std::uint32_t>& escaped) {
  to = write_low_bits(gaps, r, to);
  std::uint64_t pending = 0;
  std::uint64_t held = 0;  ///< bits of `pending`, fewer than 64 - most_zeros
  for (const std::uint32_t gap : gaps) {
    std::uint32_t zeros = (gap - 1) >> r;
    if (zeros >= most_zeros) [[unlikely]] {
      escaped.push_back(zeros);
      zeros = most_zeros;
    }
    held += zeros;
    pending |= std::uint64_t{1} << held;
    if (++held >= 64 - most_zeros) {
      std::memcpy(to, &pending, sizeof pending);
      to += held / 8;
      pending = held == 64 ? 0 : pending >> (held & ~std::uint64_t{7});
      held %= 8;
    }
  }
  std::memcpy(to, &pending, sizeof pending);
  to += octets_of(held);
  return to;
}

struct codes {
  unsigned r;
  std::span<const std::byte> low_bits;
  std::span<const std::byte> ones;  ///< and what comes after them
};

/// Reads as many gaps as there is room for; `escaped` are those of which the zeros are elsewhere. Returns how many bits of
/// `ones` they take, 0: those are no codes.
[[gnu::always_inline]] inline std::uint64_t read_all(const codes& c, std::span<std::uint32_t> gaps,
                                                     std::vector<std::size_t>& escaped) {
  const std::uint64_t mask = low(c.r);
  std::uint64_t too_large = 0;    ///< not 0 once a gap is
  std::uint64_t behind_last = 0;  ///< the bit after the one of the last gap
  std::size_t i = 0;
  for (std::size_t at = 0; i < gaps.size(); at += word_octets) {
    if (at >= c.ones.size()) return 0;
    std::uint64_t word = word_within(c.ones, at);
    for (; word != 0 && i < gaps.size(); ++i, word &= word - 1) {
      const std::uint64_t one = 8 * at + static_cast<std::uint64_t>(std::countr_zero(word));
      const std::uint64_t zeros = one - behind_last;
      behind_last = one + 1;
      if (zeros >= most_zeros) [[unlikely]] {
        if (zeros > most_zeros) return 0;
        escaped.push_back(i);
      }
      const std::size_t bit = i * c.r;
      const std::uint64_t gap = (zeros << c.r | (word_within(c.low_bits, bit / 8) >> (bit % 8) & mask)) + 1;
      too_large |= gap >> 32;
      gaps[i] = static_cast<std::uint32_t>(gap);
    }
  }
  return too_large == 0 ? behind_last : 0;
}

std::byte* write_portable(std::span<const std::uint32_t> gaps, unsigned r, std::byte* to,
                          std::vector<std::uint32_t>& escaped) {
  return write_all(gaps, r, to, escaped);
}
std::uint64_t read_portable(const codes& c, std::span<std::uint32_t> gaps,
                            std::vector<std::size_t>& escaped) {
  return read_all(c, gaps, escaped);
}

#if defined(__x86_64__)
// Nothing but shifts and what finds the lowest bit: one instruction each with these, three without.
[[gnu::target("bmi,bmi2")]] std::byte* write_bmi2(std::span<const std::uint32_t> gaps, unsigned r,
                                                  std::byte* to, std::vector<std::uint32_t>& escaped) {
  return write_all(gaps, r, to, escaped);
}
[[gnu::target("bmi,bmi2")]] std::uint64_t read_bmi2(const codes& c, std::span<std::uint32_t> gaps,
                                                    std::vector<std::size_t>& escaped) {
  return read_all(c, gaps, escaped);
}
#endif

struct implementation {
  decltype(&write_portable) write;
  decltype(&read_portable) read;
};

const implementation& best() noexcept {
  static const implementation chosen = [] {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0) {
      return implementation{write_bmi2, read_bmi2};
    }
#endif
    return implementation{write_portable, read_portable};
  }();
  return chosen;
}

}  // namespace

void encode_gaps(std::span<const std::uint32_t> gaps, std::span<const std::uint64_t> bases,
                 double detection_probability, std::vector<std::byte>& message) {
  assert(bases.size() * 64 >= gaps.size());
  const unsigned r = parameter_for(detection_probability);
  const std::size_t before = message.size();
  const std::size_t fixed = head_octets + octets_of(gaps.size()) + octets_of(gaps.size() * r);
  // as many as can be needed, without those of escapes
  message.resize(before + fixed + octets_of(gaps.size() * (most_zeros + 1)) + 2 * word_octets);
  wire::octet_writer head{std::span{message}.subspan(before)};
  head.u32(static_cast<std::uint32_t>(gaps.size()));
  head.u8(static_cast<std::uint8_t>(r));
  std::byte* to = message.data() + before + head_octets;
  if (!gaps.empty()) std::memcpy(to, bases.data(), octets_of(gaps.size()));
  std::vector<std::uint32_t> escaped;
  to = best().write(gaps, r, to + octets_of(gaps.size()), escaped);
  message.resize(static_cast<std::size_t>(to - message.data()) + escaped.size() * sizeof(std::uint32_t));
  wire::octet_writer tail{std::span{message}.last(escaped.size() * sizeof(std::uint32_t))};
  for (const std::uint32_t zeros : escaped) tail.u32(zeros);
}

bool decode_gaps(std::span<const std::byte> message, std::size_t most, decoded_gaps& out) {
  wire::octet_reader in{message};
  const std::size_t count = in.u32();
  const unsigned r = in.u8();
  if (!in.ok() || count > most || r > most_parameter) return false;
  const auto bases = in.octets(octets_of(count));
  const auto low_bits = in.octets(octets_of(count * r));
  const auto rest = in.octets(in.left());
  if (!in.ok() || rest.size() < octets_of(count)) return false;
  if (!ends_with_zeros(bases, count) || !ends_with_zeros(low_bits, count * r)) return false;
  out.gaps.resize(count);
  out.bases.assign((count + 63) / 64, 0);
  if (count != 0) std::memcpy(out.bases.data(), bases.data(), bases.size());

  std::vector<std::size_t> escaped;
  const std::uint64_t bits = best().read({r, low_bits, rest}, out.gaps, escaped);
  if (bits == 0 && count != 0) return false;
  const auto ones = rest.first(octets_of(bits));
  if (!ends_with_zeros(ones, bits)) return false;
  wire::octet_reader tail{rest.subspan(ones.size())};
  for (const std::size_t place : escaped) {
    const std::uint64_t zeros = tail.u32();
    if (zeros < most_zeros) return false;  // it has a shorter code
    const std::uint64_t gap = (zeros << r | ((out.gaps[place] - 1U) & low(r))) + 1;
    if (gap >> 32 != 0) return false;
    out.gaps[place] = static_cast<std::uint32_t>(gap);
  }
  return tail.at_end();
}

}  // namespace qkd004::software
