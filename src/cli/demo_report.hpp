// demo_report: what the applications of the demonstration tell its parent, and whether they hold the same keys. Knows
// digests of keys, not keys.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/digest.hpp"
#include "qkd004/key_provenance.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/software_link.hpp"
#include "serve/link_report.hpp"

namespace qkd004::cli {

struct delivered_key {
  std::uint64_t index = 0;
  sha256_digest digest{};
  std::chrono::microseconds at{};  ///< when it came, on the machine's steady clock
};

/// One application's side. The application writes it in lines, and reads none.
struct application_report {
  std::optional<qos> counter;   ///< the key manager's last counter-proposal, if there was one
  std::optional<qos> promised;  ///< chunk, rates and Priority that it granted
  std::optional<key_stream_id> stream;
  std::vector<delivered_key> keys;       ///< in the order of delivery
  std::optional<key_provenance> origin;  ///< of all keys together, if the key manager says
  std::optional<sha256_digest> all;      ///< of the keys' octets, one key after another; last to come
  double keys_per_second = 0;            ///< after the first batch; 0: there was no other
  std::vector<std::pair<std::uint64_t, std::string>>
      shown;  ///< index and key in hexadecimal, where asked for

  /// False if it is no line of a report.
  [[nodiscard]] bool take(std::string_view line);
};

/// \name The lines, each with its end
///@{
/// Only chunk, rates and Priority.
[[nodiscard]] std::string counter_line(const qos& quality);
[[nodiscard]] std::string promised_line(const qos& quality);
[[nodiscard]] std::string stream_line(const key_stream_id& id);
/// Takes vendor metadata as they came.
[[nodiscard]] std::string origin_line(std::string_view vendor_metadata);
[[nodiscard]] std::string key_line(const delivered_key& key);
[[nodiscard]] std::string done_line(const sha256_digest& all, double keys_per_second);
///@}

struct comparison {
  std::size_t equal = 0;   ///< keys with the same index and the same octets at both ends
  std::string difference;  ///< the first, in words; empty if there is none
};

/// Compares the ends key by key, as far as both have some.
[[nodiscard]] comparison compare_common(const application_report& a, const application_report& b);

/// The same, and both ends are to have finished with so many.
[[nodiscard]] comparison compare(const application_report& a, const application_report& b,
                                 std::size_t expected);

/// What stands above one end's column.
struct table_end {
  std::string site;
  std::string application;
  const application_report& report;
};

/// The result for people. `transport` may be empty: then it is not worth a line.
[[nodiscard]] std::string table(const table_end& a, const table_end& b, std::string_view key_source,
                                std::string_view transport);

/// One end's column about the link.
struct link_column {
  const application_report& report;
  const serve::link_history& link;
};

/// What a software link has to say beside its keys, for people: of the keys, or of the last block where there is none.
[[nodiscard]] std::string link_table(const link_column& a, const link_column& b,
                                     const software_link_options& o);

/// `0 to 999`, or what is there if there are gaps.
[[nodiscard]] std::string index_range(const application_report& report);

}  // namespace qkd004::cli
