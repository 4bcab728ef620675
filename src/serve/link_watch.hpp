// link_watch: what is worth a line of the log about a software link, from one look at its report to the next. Reads no
// clock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "qkd004/net/site.hpp"
#include "qkd004/software_link.hpp"

namespace qkd004::serve {

/// Accepted blocks at debug, a summary at info every ten seconds in which there was one, and warnings of what should not
/// be, each kind once in ten seconds at the most.
class link_watch {
 public:
  using clock = std::chrono::steady_clock;
  using log = std::function<void(net::log_level, std::string_view)>;

  static constexpr std::chrono::seconds period{10};

  /// `start` is when the link's end was made, `qber_limit` that of its options.
  link_watch(std::string link, double qber_limit, log to, clock::time_point start);

  void look(const software_link_report& now, clock::time_point at);

 private:
  /// Something that is counted and warned of, but not always at once.
  struct warned {
    std::uint64_t count = 0;
    clock::time_point at{};
  };

  void note_blocks(const software_link_report& now);
  void summarize(const software_link_report& now, clock::time_point at);
  void warn(const software_link_report& now, clock::time_point at);
  /// How many are to be warned of now, of `count` in all.
  static std::uint64_t due(warned& of, std::uint64_t count, clock::time_point at);
  void say(net::log_level level, std::string_view text) const;

  const std::string link_;
  const double qber_limit_;
  const log log_;
  std::uint64_t accepted_ = 0;
  std::uint64_t secret_ = 0;
  software_link_report summarized_;
  clock::time_point summarized_at_;
  warned over_limit_;
  warned no_key_;
  warned unequal_;
  warned forged_;
  std::string failure_;
};

}  // namespace qkd004::serve
