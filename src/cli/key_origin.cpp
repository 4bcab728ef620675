// SPDX-License-Identifier: Apache-2.0
#include "cli/key_origin.hpp"

#include <variant>

#include "serve/json_member.hpp"

namespace qkd004::cli {

std::optional<key_provenance> parse_key_origin(std::string_view json) {
  key_provenance p;
  auto blocks = serve::value_of(json, "x_block");
  if (!blocks || !blocks->starts_with('[')) return std::nullopt;
  blocks->remove_prefix(1);
  if (!serve::take_number(*blocks, p.first_block) || !blocks->starts_with(',')) return std::nullopt;
  blocks->remove_prefix(1);
  if (!serve::take_number(*blocks, p.last_block) || !blocks->starts_with(']')) return std::nullopt;
  const bool good =
      serve::read_member(json, "x_qber", p.qber) && serve::read_member(json, "x_phi", p.phase_error) &&
      serve::read_member(json, "x_eps_sec", p.eps_sec) && serve::read_member(json, "x_eps_cor", p.eps_cor) &&
      serve::read_member(json, "x_eps_auth", p.eps_auth) && serve::read_member(json, "x_n_x", p.sifted) &&
      serve::read_member(json, "x_f_ec", p.efficiency) &&
      serve::read_member(json, "x_leak_alice", p.leak_alice) &&
      serve::read_member(json, "x_leak_bob", p.leak_bob) &&
      serve::read_member(json, "x_sec_model", p.model) &&
      serve::read_member(json, "x_ec", p.reconciliation) &&
      serve::read_member(json, "x_pa", p.amplification) &&
      serve::read_member(json, "x_auth", p.authentication);
  if (!good) return std::nullopt;
  return p;
}

void asking_for_origin::start(std::span<call* const> calls) {
  for (call* const c : calls) {
    if (auto* const keys = std::get_if<get_keys_request>(&c->request)) keys->vendor_metadata = true;
  }
  via_->start(calls);
}

void asking_for_origin::wait(call& c) {
  via_->wait(c);
  if (c.error || c.vendor_metadata.empty() || c.vendor_metadata == last_) return;
  last_ = c.vendor_metadata;
  is_new_ = true;
}

extensions asking_for_origin::supports() const {
  extensions all = via_->supports();
  all.subscribe = false;
  return all;
}

std::string asking_for_origin::take_news() { return std::exchange(is_new_, false) ? last_ : std::string{}; }

}  // namespace qkd004::cli
