// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "qkd004/decoy_channel.hpp"
#include "qkd004/finite_key.hpp"
#include "qkd004/secret.hpp"
#include "software/amplify.hpp"
#include "software/bit_selection.hpp"
#include "software/block.hpp"
#include "software/block_content.hpp"
#include "software/verify.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

class bob_block final : public detecting_block {
 public:
  bob_block(block_host& host, std::uint32_t id) : detecting_block{host, id, side::bob} {}
  ~bob_block() override { wipe(seed_.data(), seed_.size()); }

  [[nodiscard]] bool wants_photons() const override {
    if (waits_ != waiting::answers) return false;
    if (!photons_) return !drawn_;
    // no more batches than are likely to be needed: with both bases chosen alike, x^2 of the detections count
    const double x = host_.options.system.x_basis;
    const double coming = static_cast<double>(unanswered_.size() * batch_of(host_.options)) * x * x;
    return coming < static_cast<double>(sifter_.missing());
  }

  std::uint64_t detect() override {
    const time_point begun = host_.clock();
    const std::uint64_t pulses = photons_ ? detect_batch() : draw();
    note_part(stage_type::photons, begun);
    return pulses;
  }

  block_fate receive(const link_message& m) override {
    if (m.kind == message_kind::tag_alice) return on_tag(m.content);
    if (m.kind == message_kind::accepted) return on_accepted(m.content);
    heard_.add(m.all);
    switch (m.kind) {
      case message_kind::photons: return on_photons(m.content);
      case message_kind::sifted: return on_sifted(m.content);
      case message_kind::reconcile: return on_reconcile(m.content);
      case message_kind::parities: return on_parities(m.content);
      case message_kind::verify: return on_verify(m.content);
      case message_kind::amplify: return on_amplify(m.content);
      default: return block_fate::impossible;
    }
  }

 private:
  enum class waiting : std::uint8_t { photons, answers, parities, verification, matrix, tag, acceptance };

  block_fate on_photons(std::span<const std::byte> content) {
    if (waits_ != waiting::photons || content.size() != seed_.size()) return block_fate::impossible;
    std::copy(content.begin(), content.end(), seed_.begin());
    if (host_.options.sampling == photon_sampling::events) {
      photons_.emplace(host_.options.system, eavesdropper{host_.options.intercept_resend}, seed_, side::bob);
    }
    waits_ = waiting::answers;
    return block_fate::in_work;
  }

  std::uint64_t detect_batch() {
    if (!spare_.empty()) {
      batch_.bases = std::move(spare_.back().bases);
      batch_.values = std::move(spare_.back().values);
      spare_.pop_back();
    }
    photons_->next(batch_of(host_.options), batch_);
    content_.clear();
    write_detections(batch_, detection_probability(host_.options.system), content_);
    say(message_kind::detected, content_);
    std::uint64_t pulses = 0;
    for (const std::uint32_t gap : batch_.gaps) pulses += gap;
    host_.report.pulses += pulses;
    host_.report.detections += batch_.gaps.size();
    unanswered_.push_back({std::move(batch_.bases), std::move(batch_.values)});
    return pulses;
  }

  std::uint64_t draw() {
    auto drawn = draw_block(host_.options.system, eavesdropper{host_.options.intercept_resend}, seed_,
                            host_.options.block_bits, side::bob);
    const std::uint64_t pulses = drawn.pulses;
    sifter_.take(std::move(drawn));
    drawn_ = true;
    content_.clear();
    append_counts(content_, sifter_.counts());
    say(message_kind::drawn, content_);
    host_.report.detections += total(sifter_.counts().n_x) + total(sifter_.counts().n_z);
    host_.report.pulses += pulses;
    return pulses;
  }

  block_fate on_sifted(std::span<const std::byte> content) {
    if (waits_ != waiting::answers || unanswered_.empty() || sifter_.full()) return block_fate::impossible;
    const time_point begun = host_.clock();
    const auto& [bases, values] = unanswered_.front();
    sifted_batch batch;
    batch.bases = bases;
    const std::size_t count = values.size();
    if (!parse_sifted(content, host_.options.system.proof, count, batch) || !sifter_.fits(batch)) {
      return block_fate::impossible;
    }
    sifter_.add(batch, values.words());
    if (batch.count < count && !sifter_.full()) return block_fate::impossible;
    spare_.push_back(std::move(unanswered_.front()));
    unanswered_.pop_front();
    note_part(stage_type::sifting, begun);
    progress_ = 1 - static_cast<double>(sifter_.missing()) / host_.options.block_bits;
    return block_fate::in_work;
  }

  block_fate on_reconcile(std::span<const std::byte> content) {
    if (waits_ != waiting::answers || !sifter_.full()) return block_fate::impossible;
    note_parts(stage_type::photons);
    note_parts(stage_type::sifting);
    unanswered_.clear();
    spare_.clear();
    photons_.reset();
    host_.report.sifted += host_.options.block_bits;
    enter(stage_type::reconciliation);
    wire::octet_reader in{content};
    decoy_counts& c = sifter_.counts();
    std::array<std::uint64_t, 3> m{};
    for (auto& of : m) of = in.u64();
    if (!in.ok() || m[0] > c.n_z[0] || m[1] > c.n_z[1] || m[2] > c.n_z[2]) return block_fate::impossible;
    if (drawn_ && m != c.m_z) return block_fate::impossible;
    c.m_z = m;
    if (is_over_limit(total(c.m_z), total(c.n_z))) {
      return in.at_end() ? block_fate::over_limit : block_fate::impossible;
    }
    const cascade_options o{qber_z(), in.array<std::tuple_size_v<seed256>>()};
    if (!in.ok()) return block_fate::impossible;
    received_ = sifter_.key().copy();
    cascade_.emplace(sifter_.key(), o);
    waits_ = waiting::parities;
    return correct(in.octets(in.left()));
  }

  block_fate on_parities(std::span<const std::byte> content) {
    if (waits_ != waiting::parities) return block_fate::impossible;
    return correct(content);
  }

  block_fate correct(std::span<const std::byte> answered) {
    content_.clear();
    if (!cascade_->receive(answered, content_)) return block_fate::impossible;
    if (!cascade_->done()) {
      say(message_kind::ask, content_);
      return block_fate::in_work;
    }
    tally_ = cascade_->tally();
    cascade_.reset();
    host_.report.leak_alice += tally_.alice_bits;
    host_.report.leak_bob += tally_.bob_bits;
    host_.report.rounds += tally_.rounds;

    correction mine;
    const auto flipped = received_.words();
    const auto after = sifter_.key().words();
    for (std::size_t i = 0; i < flipped.size(); ++i) flipped[i] ^= after[i];
    mine.errors = count_ones(flipped);
    if (const auto decoys = sifter_.key_decoys(); !decoys.empty()) {
      mine.m_x[1] = count_common(flipped, decoys.first(flipped.size()));
      mine.m_x[0] = mine.errors - mine.m_x[1];
    }
    received_ = bits{};
    errors_ = mine.errors;
    host_.report.errors += errors_;
    sifter_.counts().m_x = mine.m_x;
    mine.alice_bits = tally_.alice_bits;
    mine.bob_bits = tally_.bob_bits;
    content_.clear();
    append_correction(content_, mine);
    say(message_kind::corrected, content_);
    enter(stage_type::verification);
    if (is_over_limit(errors_, host_.options.block_bits)) return block_fate::over_limit;
    waits_ = waiting::verification;
    return block_fate::in_work;
  }

  block_fate on_verify(std::span<const std::byte> content) {
    wire::octet_reader in{content};
    const auto key = in.array<std::tuple_size_v<verification_key>>();
    const std::uint64_t hers = in.u64();
    if (waits_ != waiting::verification || !in.at_end()) return block_fate::impossible;
    // both are public: there is nothing to hide in how long this takes
    const bool equal = verification_tag(sifter_.key(), key) == hers;
    say(message_kind::verified, std::array{equal ? std::byte{1} : std::byte{0}});
    waits_ = waiting::matrix;
    return equal ? block_fate::in_work : block_fate::unequal;
  }

  block_fate on_amplify(std::span<const std::byte> content) {
    if (waits_ != waiting::matrix) return block_fate::impossible;
    enter(stage_type::authentication);
    wire::octet_reader in{content};
    const std::uint64_t length = in.u64();
    if (!in.ok()) return block_fate::impossible;
    if (length == 0) return in.at_end() ? block_fate::no_key : block_fate::impossible;
    // Her mathematical library may round otherwise in the last place; a longer key than that is none.
    const std::uint64_t mine = key_length(host_.options, sifter_.counts(), leak(), phase_error_);
    if (length > mine + 1 || length < least_key) return block_fate::impossible;
    length_ = static_cast<std::size_t>(length);
    toeplitz_.resize((toeplitz_seed_bits(sifter_.key().size(), length_) + 63) / 64);
    const auto words = in.octets(toeplitz_.size() * sizeof(std::uint64_t));
    if (!in.at_end()) return block_fate::impossible;
    std::memcpy(toeplitz_.data(), words.data(), words.size());
    waits_ = waiting::tag;
    return block_fate::in_work;
  }

  block_fate on_tag(std::span<const std::byte> content) {
    if (waits_ != waiting::tag || !pads_.take(host_.pool)) return block_fate::impossible;
    host_.report.auth_used += 8 * block_pads::size;
    block128 tag;
    if (!parse_tag(content, tag) || !heard_.accepts(tag, pads_.alice)) return block_fate::impossible;
    say_tag(message_kind::tag_bob, said_.tag(pads_.bob));
    waits_ = waiting::acceptance;
    return block_fate::in_work;
  }

  block_fate on_accepted(std::span<const std::byte> content) {
    if (waits_ != waiting::acceptance || !equal_in_constant_time(content, pads_.accepted)) {
      return block_fate::impossible;
    }
    return finish(toeplitz_, length_) ? block_fate::accepted : block_fate::impossible;
  }

  struct batch_of_mine {
    word_run bases;
    bits values;
  };

  waiting waits_ = waiting::photons;
  seed256 seed_{};
  std::optional<event_stream> photons_;
  bool drawn_ = false;
  detections batch_;
  std::deque<batch_of_mine> unanswered_;
  std::vector<batch_of_mine> spare_;  ///< answered; kept for their memory
  std::vector<std::byte> content_;    ///< of a message; kept for its memory
  bits received_;                     ///< the key before it was corrected
  std::optional<cascade_bob> cascade_;
  word_run toeplitz_;
  std::size_t length_ = 0;
};

}  // namespace

std::unique_ptr<detecting_block> make_bob_block(block_host& host, std::uint32_t id) {
  return std::make_unique<bob_block>(host, id);
}

}  // namespace qkd004::software
