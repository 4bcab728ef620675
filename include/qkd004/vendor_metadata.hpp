// vendor_metadata: what GET_KEYS says of a run of keys beside the standard's metadata, as JSON: where its octets come
// from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "qkd004/key_provenance.hpp"
#include "qkd004/key_source.hpp"

namespace qkd004 {

/// Octets of vendor metadata that a run may have, so that it fits beside the largest key.
inline constexpr std::size_t max_vendor_metadata = 4'000;

namespace detail {

/// Appends members to a JSON object.
class json_members {
 public:
  void text(std::string_view name, std::string_view value) {
    start(name);
    out_ += '"';
    for (const char c : value) append(c);
    out_ += '"';
  }
  void number(std::string_view name, double value) {
    start(name);
    if (!std::isfinite(value)) {
      out_ += "null";  // JSON has no word for it
      return;
    }
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out_.append(digits.data(), end);
  }
  void number(std::string_view name, std::uint64_t value) {
    start(name);
    out_ += std::to_string(value);
  }
  void range(std::string_view name, std::uint64_t first, std::uint64_t last) {
    start(name);
    out_ += '[' + std::to_string(first) + ',' + std::to_string(last) + ']';
  }
  [[nodiscard]] std::string object() const { return '{' + out_ + '}'; }

 private:
  void start(std::string_view name) {
    if (!out_.empty()) out_ += ',';
    out_ += "\"x_";
    out_ += name;
    out_ += "\":";
  }
  /// What is not ASCII is shown octet by octet, so that the text is JSON whatever it was.
  void append(char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto octet = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (octet < 0x20 || octet >= 0x7f) {
      out_ += "\\u00";
      out_ += digits[octet >> 4];
      out_ += digits[octet & 0xf];
    } else {
      out_ += c;
    }
  }

  std::string out_;
};

/// RFC 3339, to the millisecond, of the years 1970 to 9999.
[[nodiscard]] inline std::string utc(std::int64_t ms_since_1970) {
  using namespace std::chrono;
  constexpr std::int64_t end_of_9999 = 253'402'300'799'999;
  const sys_time<milliseconds> when{milliseconds{std::clamp<std::int64_t>(ms_since_1970, 0, end_of_9999)}};
  const auto day = floor<days>(when);
  const year_month_day date{day};
  const hh_mm_ss time{when - day};
  const auto padded = [](std::int64_t value, std::size_t width) {
    const std::string digits = std::to_string(value);
    return std::string(width - std::min(width, digits.size()), '0') + digits;
  };
  return padded(static_cast<int>(date.year()), 4) + '-' + padded(unsigned{date.month()}, 2) + '-' +
         padded(unsigned{date.day()}, 2) + 'T' + padded(time.hours().count(), 2) + ':' +
         padded(time.minutes().count(), 2) + ':' + padded(time.seconds().count(), 2) + '.' +
         padded(time.subseconds().count(), 3) + 'Z';
}

}  // namespace detail

/// A JSON object of at most max_vendor_metadata octets. How far its source may be trusted is always in it; the rest, if
/// the source said how the octets came to be: null where it did not. Both sites say the same of the same key, but for
/// x_created, which is by the clock of each.
/// Clause: D14.
[[nodiscard]] inline std::string vendor_metadata_json(const key_source_capabilities& source,
                                                      std::string_view link, const key_provenance* run) {
  detail::json_members short_form;
  short_form.text("security", to_string(source.security));
  if (run == nullptr) return short_form.object();
  detail::json_members all = short_form;
  all.number("qber", run->qber);
  all.number("phi", run->phase_error);
  all.number("eps_sec", run->eps_sec);
  all.number("eps_cor", run->eps_cor);
  all.number("eps_auth", run->eps_auth);
  all.range("block", run->first_block, run->last_block);
  all.number("n_x", run->sifted);
  all.number("f_ec", run->efficiency);
  all.number("leak_alice", run->leak_alice);
  all.number("leak_bob", run->leak_bob);
  all.text("sec_model", run->model);
  all.text("ec", run->reconciliation);
  all.text("pa", run->amplification);
  all.text("auth", run->authentication);
  all.text("backend", source.kind);
  all.text("security_class", to_string(source.security));
  all.text("link", link);
  all.text("created", detail::utc(run->created_ms));
  std::string json = all.object();
  return json.size() <= max_vendor_metadata ? json : short_form.object();  // names of very many odd octets
}

}  // namespace qkd004
