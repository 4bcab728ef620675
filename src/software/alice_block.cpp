// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "qkd004/finite_key.hpp"
#include "qkd004/secret.hpp"
#include "software/amplify.hpp"
#include "software/block.hpp"
#include "software/block_content.hpp"
#include "software/verify.hpp"

namespace qkd004::software {

namespace {

/// Where `intensities` (0, 1 or 2) is `which`, packed.
word_run places_of(std::span<const std::uint8_t> intensities, std::uint8_t which) {
  // eight at a time: octets become 0 where they are equal, then each lowest bit goes to its place in the highest octet
  constexpr std::uint64_t ones = 0x0101010101010101;
  constexpr std::uint64_t collect = 0x0102040810204080;
  word_run out((intensities.size() + 63) / 64);
  std::size_t i = 0;
  for (; i + 8 <= intensities.size(); i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, intensities.data() + i, sizeof eight);
    eight ^= ones * which;
    const std::uint64_t equal = ~(eight | eight >> 1U) & ones;
    out[i / 64] |= (equal * collect >> 56U) << (i % 64);
  }
  for (; i < intensities.size(); ++i) out[i / 64] |= std::uint64_t{intensities[i] == which} << (i % 64);
  return out;
}

class alice_block final : public block {
 public:
  alice_block(block_host& host, std::uint32_t id) : block{host, id, side::alice} {
    seed256 seed;
    host.random(seed);
    if (host.options.sampling == photon_sampling::events) {
      photons_.emplace(host.options.system, eavesdropper{host.options.intercept_resend}, seed, side::alice);
    } else {
      sifter_.take(draw_block(host.options.system, eavesdropper{host.options.intercept_resend}, seed,
                              host.options.block_bits, side::alice));
    }
    say(message_kind::photons, seed);
    wipe(seed.data(), seed.size());
  }

  block_fate receive(const link_message& m) override {
    if (m.kind == message_kind::tag_bob) return on_tag(m.content);
    heard_.add(m.all);
    switch (m.kind) {
      case message_kind::detected: return on_detected(m.content);
      case message_kind::drawn: return on_drawn(m.content);
      case message_kind::ask: return on_ask(m.content);
      case message_kind::corrected: return on_corrected(m.content);
      case message_kind::verified: return on_verified(m.content);
      default: return block_fate::impossible;
    }
  }

 private:
  /// What she waits for; detections that were on their way when the block was full come in any.
  enum class waiting : std::uint8_t { detections, comparison, verdict, tag };

  block_fate on_detected(std::span<const std::byte> content) {
    if (host_.options.sampling != photon_sampling::events) return block_fate::impossible;
    if (sifter_.full()) return block_fate::in_work;
    time_point begun = host_.clock();
    const std::size_t count = batch_of(host_.options);
    if (!parse_detections(content, count, his_) || his_.where.gaps.size() != count)
      return block_fate::impossible;
    begun = note_part(stage_type::sifting, begun);
    photons_->next(count, mine_);
    begun = note_part(stage_type::photons, begun);
    if (mine_.gaps != his_.where.gaps) return block_fate::impossible;

    sifted_batch batch;
    batch.count = static_cast<std::uint32_t>(count);
    batch.match.resize(his_.where.bases.size());
    for (std::size_t i = 0; i < batch.match.size(); ++i)
      batch.match[i] = ~(his_.where.bases[i] ^ mine_.bases[i]);
    batch.bases = his_.where.bases;
    batch.decoy1 = places_of(mine_.intensities, 1);
    if (host_.options.system.proof == decoy_proof::lim14) batch.decoy2 = places_of(mine_.intensities, 2);
    sifter_.cut(batch);
    sifter_.add(batch, mine_.values.words());
    sifter_.count_errors(batch, mine_.values.words(), his_.z_values);
    for (const std::uint32_t gap : mine_.gaps) host_.report.pulses += gap;
    host_.report.detections += count;
    progress_ = 1 - static_cast<double>(sifter_.missing()) / host_.options.block_bits;

    content_.clear();
    write_sifted(batch, host_.options.system.proof, content_);
    say(message_kind::sifted, content_);
    note_part(stage_type::sifting, begun);
    return sifter_.full() ? reconcile() : block_fate::in_work;
  }

  block_fate on_drawn(std::span<const std::byte> content) {
    decoy_counts his;
    if (photons_ || waits_ != waiting::detections || !parse_counts(content, his))
      return block_fate::impossible;
    const decoy_counts& mine = sifter_.counts();
    if (his.n_x != mine.n_x || his.n_z != mine.n_z || his.m_z != mine.m_z) return block_fate::impossible;
    return reconcile();
  }

  block_fate reconcile() {
    const decoy_counts& c = sifter_.counts();
    host_.report.sifted += host_.options.block_bits;
    note_parts(stage_type::photons);
    note_parts(stage_type::sifting);
    enter(stage_type::reconciliation);
    photons_.reset();
    content_.clear();
    for (const std::uint64_t m : c.m_z) append_number(content_, m);
    if (is_over_limit(total(c.m_z), total(c.n_z))) {
      say(message_kind::reconcile, content_);
      return block_fate::over_limit;
    }
    cascade_options o{qber_z(), {}};
    host_.random(o.seed);
    content_.insert(content_.end(), o.seed.begin(), o.seed.end());
    cascade_.emplace(sifter_.key(), o);
    cascade_->start(content_);
    say(message_kind::reconcile, content_);
    waits_ = waiting::comparison;
    return block_fate::in_work;
  }

  block_fate on_ask(std::span<const std::byte> content) {
    if (waits_ != waiting::comparison) return block_fate::impossible;
    content_.clear();
    if (!cascade_->answer(content, content_)) return block_fate::impossible;
    say(message_kind::parities, content_);
    return block_fate::in_work;
  }

  block_fate on_corrected(std::span<const std::byte> content) {
    correction his;
    if (waits_ != waiting::comparison || !parse_correction(content, his)) return block_fate::impossible;
    tally_ = cascade_->tally();
    cascade_.reset();
    // what was disclosed is counted where it is sent, at both ends
    if (his.alice_bits != tally_.alice_bits || his.bob_bits != tally_.bob_bits) return block_fate::impossible;
    decoy_counts& c = sifter_.counts();
    if (!may_be_errors(his, c, host_.options)) return block_fate::impossible;
    errors_ = his.errors;
    c.m_x = his.m_x;
    enter(stage_type::verification);
    if (is_over_limit(errors_, host_.options.block_bits)) return block_fate::over_limit;

    verification_key key;
    host_.random(key);
    content_.assign(key.begin(), key.end());
    append_number(content_, verification_tag(sifter_.key(), key));
    say(message_kind::verify, content_);
    waits_ = waiting::verdict;
    return block_fate::in_work;
  }

  block_fate on_verified(std::span<const std::byte> content) {
    if (waits_ != waiting::verdict || content.size() != 1 || content[0] > std::byte{1}) {
      return block_fate::impossible;
    }
    if (content[0] == std::byte{0}) return block_fate::unequal;
    enter(stage_type::authentication);
    length_ = key_length(host_.options, sifter_.counts(), leak(), phase_error_);
    content_.clear();
    append_number(content_, length_);
    if (length_ == 0) {
      say(message_kind::amplify, content_);
      return block_fate::no_key;
    }
    toeplitz_.resize((toeplitz_seed_bits(sifter_.key().size(), length_) + 63) / 64);
    host_.random(std::as_writable_bytes(std::span{toeplitz_}));
    append_words(content_, toeplitz_);
    say(message_kind::amplify, content_);
    if (!pads_.take(host_.pool)) return block_fate::impossible;
    host_.report.auth_used += 8 * block_pads::size;
    say_tag(message_kind::tag_alice, said_.tag(pads_.alice));
    waits_ = waiting::tag;
    return block_fate::in_work;
  }

  block_fate on_tag(std::span<const std::byte> content) {
    block128 tag;
    if (waits_ != waiting::tag || !parse_tag(content, tag) || !heard_.accepts(tag, pads_.bob)) {
      return block_fate::impossible;
    }
    if (!finish(toeplitz_, length_)) return block_fate::impossible;
    say_tag(message_kind::accepted, pads_.accepted);
    return block_fate::accepted;
  }

  waiting waits_ = waiting::detections;
  std::optional<event_stream> photons_;
  detections mine_;
  read_detections his_;
  std::vector<std::byte> content_;  ///< of a message; kept for its memory
  std::optional<cascade_alice> cascade_;
  word_run toeplitz_;
  std::size_t length_ = 0;
};

}  // namespace

std::unique_ptr<block> make_alice_block(block_host& host, std::uint32_t id) {
  return std::make_unique<alice_block>(host, id);
}

}  // namespace qkd004::software
