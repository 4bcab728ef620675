// key_origin: what a key manager says of where keys come from, asked for with every GET_KEYS of a client that knows nothing
// of it. Clause: D14.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "qkd004/exchange.hpp"
#include "qkd004/key_provenance.hpp"

namespace qkd004::cli {

/// Reads the vendor metadata of a run; nothing if its source did not say how the run came to be. Without `created`.
[[nodiscard]] std::optional<key_provenance> parse_key_origin(std::string_view vendor_metadata);

/// An exchange through another one. Keys are not sent ahead: these come without vendor metadata.
/// Threads: one.
class asking_for_origin final : public exchange {
 public:
  explicit asking_for_origin(std::shared_ptr<exchange> via) : via_{std::move(via)} {}

  void start(std::span<call* const> calls) override;
  void wait(call& c) override;
  void cancel(call& c) noexcept override { via_->cancel(c); }
  [[nodiscard]] extensions supports() const override;

  /// The vendor metadata of the last run, once; empty if they are as they were.
  [[nodiscard]] std::string take_news();

 private:
  const std::shared_ptr<exchange> via_;
  std::string last_;
  bool is_new_ = false;
};

}  // namespace qkd004::cli
