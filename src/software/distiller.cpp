// SPDX-License-Identifier: Apache-2.0
#include "software/distiller.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "qkd004/secret.hpp"
#include "software/block_content.hpp"
#include "software/options_text.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

constexpr std::uint16_t protocol_version = 1;
constexpr std::size_t session_pads = 2 * 16;  ///< octets: the points of both hashes
constexpr std::size_t most_ready = 2;         ///< blocks that nobody has taken yet: no more are begun
constexpr std::size_t much_unsent = std::size_t{1} << 20;

}  // namespace

distiller::distiller(options o, auth_pool pool) : options_{std::move(o)}, pool_{std::move(pool)} {}
distiller::~distiller() { stop(); }

result<key_source_check> distiller::start(const key_source_session& session) {
  stop();
  failure_ = {};
  try {
    options_.random({});
  } catch (const std::system_error&) {
    fail_without_random();
    return status::resource_limit;
  }
  pads_from_ = std::max(session.first_block, pool_.position());
  if (pads_from_ > pool_.end() || pool_.end() - pads_from_ < session_pads) return status::resource_limit;
  report_.sessions += 1;

  // No pad is used, or skipped, before the other end has shown that it belongs to this one: sites that are set up wrongly try again
  // and again. What is public and has to be the same goes through a hash.
  key_source_check check{};
  std::string text = options_text(options_.link) + std::to_string(pads_from_) + ';' + session.link;
  for (const auto& instance : {session.lower, session.higher}) {
    text.append(reinterpret_cast<const char*>(instance.data()), instance.size());
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    return status::resource_limit;
  }
  std::memcpy(check.data(), pool_.identity().data(), 16);
  std::memcpy(check.data() + 16, digest.data(), 16);

  host_.emplace(block_host{options_.link, report_, options_.random, options_.clock,
                           [this](std::vector<std::byte>&& m) { messages_.push_back(std::move(m)); }, pool_});

  std::array<std::byte, 2 + 1 + 8> hello{};
  wire::octet_writer out{hello};
  out.u16(protocol_version);
  out.u8(static_cast<std::uint8_t>(options_.which));
  out.u64(pool_.end());
  messages_.push_back(compose(message_kind::hello, no_block, hello));
  hello_of(options_.which) = messages_.back();
  light_at_ = options_.clock();
  return check;
}

void distiller::stop() noexcept {
  report_.cut_off += blocks_.size();
  blocks_.clear();
  ready_.clear();
  messages_.clear();
  next_ = 0;
  photons_due_ = time_point::max();
  if (!host_) return;
  wipe(host_->hash_alice.data(), host_->hash_alice.size());
  wipe(host_->hash_bob.data(), host_->hash_bob.size());
  host_.reset();
}

void distiller::fail(std::error_code why, std::string_view text) {
  if (failure_) return;
  if (why == status::protocol_error) report_.forged += 1;
  report_.failure = text;
  stop();
  failure_ = why;
}

/// Whatever an exception of the source has left half done goes with the session.
void distiller::fail_without_random() {
  fail(make_error_code(status::no_qkd_connection), "the system's random generator failed its health test");
}

void distiller::receive(std::span<const std::byte> message) {
  if (!host_) return;
  try {
    hear(message);
  } catch (const std::system_error&) {
    fail_without_random();
  }
}

void distiller::hear(std::span<const std::byte> message) {
  const auto refuse = [this](std::string_view why) { fail(make_error_code(status::protocol_error), why); };
  link_message m;
  if (!parse_message(message, m)) return refuse("a message is too short");
  if (m.kind == message_kind::hello || !greeted()) {
    if (m.kind != message_kind::hello || m.block != no_block || greeted()) {
      return refuse("a message is out of turn");
    }
    return on_hello(m);
  }
  if (m.kind == message_kind::photons && options_.which == side::bob) {
    if (m.block != next_ || blocks_.size() >= options_.link.blocks_in_flight) {
      return refuse("a block is begun out of turn");
    }
    begin();
  }
  const auto it = blocks_.find(m.block);
  if (it == blocks_.end()) {
    // detections that were on their way when Alice had enough, or gave the block up
    if (m.kind == message_kind::detected && options_.which == side::alice && m.block < next_) return;
    return refuse("a message is of no block in work");
  }
  settle(m.block, it->second->receive(m));
}

void distiller::on_hello(const link_message& m) {
  const auto refuse = [this](std::string_view why) { fail(make_error_code(status::protocol_error), why); };
  wire::octet_reader in{m.content};
  const std::uint16_t version = in.u16();
  const std::uint8_t which = in.u8();
  const std::uint64_t end = in.u64();
  if (!in.at_end() || version != protocol_version) return refuse("the other end speaks another version");
  if (which != static_cast<std::uint8_t>(other(options_.which))) {
    return refuse("both ends are Alice, or both Bob");
  }
  if (!pool_.begin_session(pads_from_, std::min(end, pool_.end()))) {
    return fail(make_error_code(status::no_qkd_connection),
                "no authentication key is left that both ends have");
  }
  std::array<std::byte, session_pads> pads{};
  const auto taken = pool_.take(pads);
  std::memcpy(host_->hash_alice.data(), pads.data(), 16);
  std::memcpy(host_->hash_bob.data(), pads.data() + 16, 16);
  wipe(pads.data(), pads.size());
  if (!taken)
    return fail(make_error_code(status::no_qkd_connection),
                "no authentication key is left that both ends have");
  report_.auth_used += 8 * session_pads;
  hello_of(other(options_.which)).assign(m.all.begin(), m.all.end());
}

/// Alice: whether the next block can go to work.
bool distiller::may_begin() {
  if (!greeted() || ready_.size() >= most_ready || next_ == no_block ||
      blocks_.size() >= options_.link.blocks_in_flight) {
    return false;
  }
  if (pool_.left() >= block_pads::size * (blocks_.size() + 1)) return true;
  if (blocks_.empty() && ready_.empty()) {
    fail(make_error_code(status::no_qkd_connection),
         "the authentication key is used up: both ends need a new one");
  }
  return false;
}

void distiller::begin() {
  const std::uint32_t id = next_++;
  auto& made = blocks_[id];
  if (options_.which == side::alice) {
    made = make_alice_block(*host_, id);
  } else {
    made = make_bob_block(*host_, id);
  }
}

bool distiller::work(std::size_t unsent) {
  photons_due_ = time_point::max();
  if (!host_ || !greeted()) return false;
  if (options_.which == side::alice) {
    if (!may_begin()) return false;
    try {
      begin();
    } catch (const std::system_error&) {
      fail_without_random();
    }
    return true;
  }
  if (unsent >= much_unsent) return false;
  for (const auto& [id, b] : blocks_) {
    auto& block = static_cast<detecting_block&>(*b);
    if (!block.wants_photons()) continue;
    const auto now = options_.clock();
    if (options_.link.pulse_rate > 0 && now < light_at_) {
      photons_due_ = light_at_;
      return false;
    }
    const std::uint64_t pulses = block.detect();
    if (options_.link.pulse_rate > 0) {
      // light that nobody looked at is gone
      const std::chrono::duration<double> took{static_cast<double>(pulses) /
                                               static_cast<double>(options_.link.pulse_rate)};
      light_at_ = std::max(light_at_, now - std::chrono::milliseconds{100}) +
                  std::chrono::duration_cast<boot_clock::duration>(took);
    }
    return true;
  }
  return false;
}

void distiller::settle(std::uint32_t id, block_fate fate) {
  switch (fate) {
    case block_fate::in_work: return;
    case block_fate::accepted:
      report_.accepted += 1;
      ready_.push_back(blocks_.at(id)->take());
      break;
    case block_fate::over_limit: report_.over_limit += 1; break;
    case block_fate::no_key: report_.no_key += 1; break;
    case block_fate::unequal: report_.unequal += 1; break;
    case block_fate::impossible:
      return fail(make_error_code(status::protocol_error),
                  "a message is not the other end's, or was changed on its way");
  }
  blocks_.erase(id);
}

std::optional<secret_block> distiller::take() {
  if (ready_.empty()) return std::nullopt;
  auto taken = std::move(ready_.front());
  ready_.pop_front();
  return taken;
}

software_link_report distiller::report() const {
  software_link_report r = report_;
  r.auth_left = 8 * pool_.left();
  if (!blocks_.empty()) {
    r.at = blocks_.begin()->second->stage();
    r.progress = blocks_.begin()->second->progress();
  }
  return r;
}

}  // namespace qkd004::software
