// key_sources: opens the key sources that a site's configuration asks for, and watches those that are software links.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/key_source.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/push/receiver.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/software_link.hpp"
#include "serve/config.hpp"
#include "serve/link_report.hpp"
#include "serve/link_watch.hpp"

namespace qkd004::serve {

/// What to do when the system refuses to lock memory.
inline constexpr char lock_refused_help[] =
    "the system refuses to lock memory (see ulimit -l); raise the limit, or accept that key may reach swap "
    "space "
    "(memory.allow_unlocked, --allow-unlocked)";

/// Threads: one at a time.
class key_sources {
 public:
  using log = std::function<void(net::log_level, std::string_view)>;

  using notice = std::function<void(std::string_view)>;

  /// `must_know` is for what has to be known wherever simulated key is made; without it that goes to `to`. Both may be
  /// empty.
  key_sources(const secret_options& memory, log to, notice must_know);

  /// Opens one. A seeded one keeps its secret in memory of ours. `why` receives a sentence.
  [[nodiscard]] result<std::shared_ptr<key_source>> open(const key_source_settings& settings,
                                                         const std::string& link, std::string* why);

  /// The links whose key devices post, of those that were opened.
  [[nodiscard]] const std::vector<push::pushed_link>& pushed() const noexcept { return pushed_; }

  /// Whether there is anything to watch.
  [[nodiscard]] bool has_software() const noexcept { return !software_.empty(); }
  /// Logs what is new about the software links.
  void look();
  /// How these stand.
  [[nodiscard]] std::vector<link_sample> samples() const;

 private:
  /// A software link that this site has an end of.
  struct software_end {
    std::string name;
    std::shared_ptr<software_link_end> end;
    link_watch watch;
  };

  [[nodiscard]] result<std::shared_ptr<key_source>> open_software(const software_settings& settings,
                                                                  const std::string& link, std::string* why);

  const log log_;
  const notice notice_;
  secret_arena arena_;
  std::vector<software_end> software_;
  std::vector<push::pushed_link> pushed_;
};

}  // namespace qkd004::serve
