// Two key managers in this process over a software link, an application at each: what they are given, compared by the
// SHA-256 of each key.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evidence.hpp"
#include "qkd004/in_process.hpp"

namespace qkd004::evidence {

namespace {

/// A key source as it is, but for one bit of its fourth block.
class flipping_source final : public key_source {
 public:
  explicit flipping_source(std::shared_ptr<key_source> real) : real_{std::move(real)} {}

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return real_->capabilities();
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return real_->position(); }
  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point now) override {
    return real_->start(session, now);
  }
  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    auto polled = real_->poll(arena, now);
    if (polled && *polled && ++blocks_ == 4) (*polled)->bytes.data()[7] ^= std::byte{0x10};
    return polled;
  }
  [[nodiscard]] time_point ready_at(time_point now) const noexcept override { return real_->ready_at(now); }
  void stop() noexcept override { real_->stop(); }

 private:
  const std::shared_ptr<key_source> real_;
  unsigned blocks_ = 0;
};

struct tally {
  std::uint64_t keys = 0;
  std::uint64_t bits = 0;
  std::uint64_t wrong_keys = 0;
  std::uint64_t wrong_bits = 0;
};

/// One stream, opened at both sites. Digests of the first site's keys wait, by index, for those of the second.
class compared_stream {
 public:
  compared_stream(key_stream first, key_stream second, std::size_t chunk)
      : first_{std::move(first)}, second_{std::move(second)}, chunk_{chunk}, buffer_(most), other_(most) {}

  /// What is there of the first site's, then the same of the second's. False: a site has none.
  bool advance(tally& seen, sha256& hash) {
    const auto run = first_.next_keys_into(buffer_);
    if (!run) return false;
    for (std::size_t i = 0; i < run->count; ++i) {
      waiting_[run->first + i] = hash.of(std::span{buffer_}.subspan(i * chunk_, chunk_));
    }
    while (!waiting_.empty()) {
      const auto his = second_.next_keys_into(std::span{other_}.first(run->count * chunk_));
      if (!his) return false;
      for (std::size_t i = 0; i < his->count; ++i) {
        const auto it = waiting_.find(his->first + i);
        if (it == waiting_.end()) return false;  // a key that the other site's application never got
        const auto mine = std::span{buffer_}.subspan((his->first + i - run->first) * chunk_, chunk_);
        const auto theirs = std::span{other_}.subspan(i * chunk_, chunk_);
        if (it->second != hash.of(theirs)) count_wrong(mine, theirs, seen);
        waiting_.erase(it);
        seen.keys += 1;
        seen.bits += 8 * chunk_;
      }
    }
    return true;
  }

 private:
  static constexpr std::size_t most = std::size_t{1} << 20;

  static void count_wrong(std::span<const std::byte> mine, std::span<const std::byte> theirs, tally& seen) {
    seen.wrong_keys += 1;
    for (std::size_t i = 0; i < mine.size(); ++i) {
      seen.wrong_bits += static_cast<unsigned>(std::popcount(std::to_integer<unsigned>(mine[i] ^ theirs[i])));
    }
  }

  key_stream first_;
  key_stream second_;
  const std::size_t chunk_;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> other_;
  std::map<std::uint64_t, sha256::digest> waiting_;
};

}  // namespace

int identity(const arguments& a) {
  std::string why;
  const auto link = make_software_link(a.link, &why);
  if (!link) {
    std::fprintf(stderr, "identity: no link: %s\n", why.c_str());
    return 2;
  }
  pair_options o;
  o.memory = {std::size_t{64} << 20, true};
  o.limits.ring_chunks = 1'024;
  o.limits.pool_bytes = std::size_t{4} << 20;
  o.first_source = link->first;
  o.second_source = link->second;
  if (a.flip) o.second_source = std::make_shared<flipping_source>(link->second);
  auto [at_first, at_second] = pair(std::move(o));

  // large keys and small ones
  std::vector<compared_stream> streams;
  for (const std::uint32_t chunk : {4'096U, 32U}) {
    qos wants;
    wants.key_chunk_size = chunk;
    wants.timeout_ms = 60'000;
    auto mine = at_first.open_connect({"qkd://alice@A", "qkd://bob@B", wants});
    if (!mine) return 2;
    auto theirs = at_second.open_connect({"qkd://alice@A", "qkd://bob@B", wants, mine->id()});
    if (!theirs) return 2;
    streams.emplace_back(std::move(*mine), std::move(*theirs), chunk);
  }

  const double cpu = cpu_seconds();
  const auto begun = std::chrono::steady_clock::now();
  tally seen;
  sha256 hash;
  bool complete = true;
  while (complete && seen.bits < a.bits) {
    for (auto& stream : streams) complete = complete && stream.advance(seen, hash);
  }
  const double used = cpu_seconds() - cpu;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;

  const auto r = link->second->report();
  const auto n = [](std::uint64_t x) { return static_cast<unsigned long long>(x); };
  std::printf("simulated key: bits %llu, keys %llu, blocks %llu, corrected bits %llu, blocks refused %llu\n",
              n(seen.bits), n(seen.keys), n(r.accepted), n(r.errors), n(r.unequal + r.no_key + r.over_limit));
  std::printf("mismatching keys %llu, mismatching bits %llu\n", n(seen.wrong_keys), n(seen.wrong_bits));
  std::printf("%.1f s, %.1f s of CPU, %.1f Mbit of key/s, %.1f Mbit of key per second of CPU\n", took.count(),
              used, static_cast<double>(seen.bits) / took.count() / 1e6,
              static_cast<double>(seen.bits) / used / 1e6);
  if (!complete) std::fprintf(stderr, "identity: a key is missing at a site: %s\n", r.failure.c_str());
  return complete && seen.wrong_keys == 0 && r.errors > 0 ? 0 : 1;
}

}  // namespace qkd004::evidence
