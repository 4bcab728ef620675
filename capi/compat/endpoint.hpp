// endpoint: where a compatibility library gets its keys, as the environment says: a key manager, or, without
// QKD004_URI, a pair of simulated ones in this process.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "qkd004.h"

namespace qkd004::compat {

/// The environment, read once.
struct settings {
  bool in_process = false;
  std::string uri;
  std::string certificate;
  std::string key;
  std::string authority;
  std::string server;
  std::string application;  ///< URI of this application; empty: not set
  std::map<std::string, std::string, std::less<>> destinations;
  std::string default_destination;  ///< of what `destinations` does not list; empty: there is none
  bool allow_insecure = false;
  bool allow_unlocked = false;
};

/// False when the environment cannot be: then `why` says it.
[[nodiscard]] bool read_settings(settings& from_environment, std::string& why);

/// Connected clients: one, or in process one at each site.
class endpoint {
 public:
  /// Null on failure, then `said` is why. Else `said` is empty, or says that keys are simulated.
  [[nodiscard]] static std::unique_ptr<endpoint> open(settings wanted, std::string& said);
  endpoint(const endpoint&) = delete;
  endpoint& operator=(const endpoint&) = delete;
  ~endpoint();

  [[nodiscard]] const settings& wanted() const noexcept { return settings_; }
  /// How many ends of a stream can be here: 2 in process, else 1.
  [[nodiscard]] std::size_t ends() const noexcept { return settings_.in_process ? 2 : 1; }
  [[nodiscard]] qkd004_client* client(std::size_t end) const noexcept { return clients_[end]; }

 private:
  explicit endpoint(settings s) : settings_{std::move(s)} {}

  settings settings_;
  qkd004_manager* manager_ = nullptr;
  qkd004_client* clients_[2] = {};
};

}  // namespace qkd004::compat
