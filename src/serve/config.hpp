// config: the TOML file of a site, checked as a whole before anything is opened. Opens nothing itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "operations/audience.hpp"
#include "qkd004/file_source.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/push/device.hpp"
#include "qkd004/push_source.hpp"
#include "qkd004/result.hpp"
#include "qkd004/seeded_source.hpp"
#include "qkd004/software_link.hpp"
#include "serve/log_lines.hpp"

namespace qkd004::serve {

/// A key source `kind = "seeded"`.
struct seeded_settings {
  std::string secret_file;
  seeded_source_options options;
};

/// A key source `kind = "software"`: one end of a software QKD link. Its security class is not asked for: it follows from
/// what the peer is believed over.
struct software_settings {
  software_link_options link;
  software_link_end_options end{
      software_link_end_options::role::alice, security_class::simulated_insecure, {}, {}};
};

/// A key source `kind = "push"`: a QKD device posts the key.
struct push_settings {
  push_source_options source;
  std::string device;    ///< URI
  std::string identity;  ///< SAN URI of its certificate
  bool post_get_key = false;
};

/// A key source `kind = "given"`: the program that runs the site has it.
struct given_settings {};

using key_source_settings =
    std::variant<seeded_settings, file_source_options, software_settings, push_settings, given_settings>;

struct site_config {
  net::site_options site;                        ///< its peers have no key source yet
  std::vector<key_source_settings> key_sources;  ///< of site.peers, in their order
  std::optional<push::device_options> push;      ///< the site is the QKD device of key managers, too
  operations::viewers viewers;                   ///< of the metrics and the dashboard, on its HTTP listeners
  log_settings log;
};

/// Reads a site's configuration. Paths in it that are not absolute are taken from the folder of `file`.
/// Returns invalid_argument; `why` receives a line `file:line:column: what is wrong` for everything found.
[[nodiscard]] result<site_config> parse_config(std::string_view text, const std::string& file,
                                               std::string* why);

/// As parse_config(), from a file. Returns errno when it cannot be read.
[[nodiscard]] result<site_config> read_config(const std::string& file, std::string* why);

}  // namespace qkd004::serve
