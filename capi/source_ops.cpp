// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "guard.hpp"
#include "nouns.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "qkd004/random.hpp"
#include "source.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {
namespace {

/// The largest block, as of the sources of this library.
constexpr std::size_t largest_block = std::size_t{1} << 20;

class ops_source final : public called_source {
 public:
  ops_source(const qkd004_source_ops& ops, void* context) : ops_{ops}, context_{context} {
    capabilities_.kind = text(ops.kind);
    ops_.kind = nullptr;
    capabilities_.security = security_of(ops.security);
    capabilities_.rate_bps = ops.rate_bps;
    capabilities_.jitter_bps = ops.jitter_bps;
    capabilities_.hops = ops.hops;
  }
  ops_source(const ops_source&) = delete;
  ops_source& operator=(const ops_source&) = delete;
  ~ops_source() override {
    if (!owns_ || ops_.destroy == nullptr) return;
    call([this] { return ops_.destroy(context_), 0; }, 0);
  }

  /// From now on the context is ours to destroy.
  void own() noexcept { owns_ = true; }
  void used_by(domain managers) noexcept override { managers_ = std::move(managers); }

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }

  [[nodiscard]] std::uint64_t position() const noexcept override {
    if (ops_.position == nullptr) return 0;
    return call([this] { return ops_.position(context_); }, std::uint64_t{0});
  }

  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point) override {
    qkd004_source_session told{};
    told.struct_size = sizeof told;
    told.link = session.link.c_str();
    std::memcpy(told.lower, session.lower.data(), sizeof told.lower);
    std::memcpy(told.higher, session.higher.data(), sizeof told.higher);
    told.first_block = session.first_block;
    kept_.reset();
    key_source_check check{};
    auto* const octets = reinterpret_cast<std::uint8_t*>(check.data());
    const int failed = call([&] { return ops_.start(context_, &told, octets); }, -EIO);
    if (failed != 0) return error_of(failed);
    next_ = session.first_block;
    return check;
  }

  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point) override {
    if (arena.forked()) return status::no_qkd_connection;
    if (!kept_) {
      auto room = arena.allocate(ops_.block_bytes);
      if (!room) return room.error();
      std::size_t size = ops_.block_bytes;
      auto* const octets = reinterpret_cast<std::uint8_t*>(room->data());
      const int failed = call([&] { return ops_.poll(context_, octets, &size); }, -EIO);
      if (failed != 0) return error_of(failed);
      if (size > ops_.block_bytes) return std::make_error_code(std::errc::io_error);
      if (size == 0) return std::optional<key_block>{};
      if (size == ops_.block_bytes) return std::optional<key_block>{key_block{next_++, *std::move(room)}};
      kept_.emplace(*std::move(room), size);
    }
    // a shorter block has to move; it stays here while the arena has no room for it
    auto bytes = arena.allocate(kept_->second);
    if (!bytes) return bytes.error();
    std::memcpy(bytes->data(), kept_->first.data(), kept_->second);
    kept_.reset();
    return std::optional<key_block>{key_block{next_++, *std::move(bytes)}};
  }

  [[nodiscard]] time_point ready_at(time_point now) const noexcept override {
    constexpr std::uint32_t usual = 10;
    if (ops_.ready_in_ms == nullptr) return now + std::chrono::milliseconds{usual};
    return now + std::chrono::milliseconds{call([this] { return ops_.ready_in_ms(context_); }, usual)};
  }

  void stop() noexcept override {
    kept_.reset();
    if (ops_.stop == nullptr) return;
    call([this] { return ops_.stop(context_), 0; }, 0);
  }

 private:
  template <class Callback, class Result>
  Result call(Callback&& callback, Result otherwise) const {
    const frame in{managers_.get()};
    return called_back(std::forward<Callback>(callback), otherwise);
  }

  qkd004_source_ops ops_;
  void* const context_;
  bool owns_ = false;
  domain managers_;
  key_source_capabilities capabilities_{.kind = {}, .security = security_class::simulated_insecure};
  std::uint64_t next_ = 0;
  std::optional<std::pair<secret_bytes, std::size_t>> kept_;  ///< a block that was polled and not handed out
};

answer from_ops(const qkd004_source_ops* ops, void* context, qkd004_source** source) {
  qkd004_source*& out = needed(source);
  const qkd004_source_ops o = read(needed(ops));
  if (o.start == nullptr || o.poll == nullptr) return {status::invalid_argument, "start and poll are needed"};
  if (o.block_bytes == 0 || o.block_bytes > largest_block) {
    return {status::invalid_argument, "block_bytes is 1 to 1,048,576"};
  }
  new_handle<qkd004_source> handle;
  auto made = std::make_shared<ops_source>(o, context);
  auto object = std::make_shared<source_object>(std::shared_ptr<called_source>{made});
  made->own();
  out = handle.publish(std::move(object));
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

int qkd004_source_from_ops(const qkd004_source_ops* ops, void* context, qkd004_source** source) {
  return qkd004::capi::guarded("qkd004_source_from_ops",
                               [&] { return qkd004::capi::from_ops(ops, context, source); });
}
