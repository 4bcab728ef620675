// life: one seed from its beginning to its end: a world with its applications, faults, a calm in which whoever reads
// must get key, and the end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "application.hpp"
#include "oracle.hpp"
#include "time_line.hpp"
#include "world.hpp"

namespace simulation {

struct outcome {
  std::uint64_t hash = 0;               ///< of the trace
  oracle::tally seen;                   ///< keys that came, by the way they came
  std::uint64_t read_at_both_ends = 0;  ///< streams, in calm
  std::optional<finding> found;
};

class life {
 public:
  life(std::uint64_t seed, bool shown)
      : luck_{seed},
        time_{shown},
        settings_{draw(luck_)},
        judge_{judge_of(settings_)},
        world_{time_, luck_, judge_, settings_} {
    for (unsigned s = 0; s < world_.sites(); ++s) {
      add({"alice", "alice", s, false});
      if (luck_.one_in(3)) add({"bob", "bob", s, false});
      if (luck_.one_in(3)) add({"anna", "anonymous", s, false});
      if (luck_.one_in(4)) add({"otto", "anonymous", s, luck_.one_in(2)});
      if (luck_.one_in(2)) add({"mallory", "mallory", s, true});
    }
    pace_ = luck_.one_of({20ms, 60ms, 150ms});
    trouble_ = luck_.one_of<duration>({100ms, 300ms, 1s, 20s});
    deadly_ = luck_.one_in(2);
  }
  life(const life&) = delete;
  life& operator=(const life&) = delete;

  outcome run() {
    if (storm() && calm() && finish() && !world_.accusation().empty()) {
      judge_.complain("no site accuses its peer", world_.accusation());
    }
    return {time_.hash(), judge_.seen(), pairs_, judge_.found()};
  }

 private:
  static world_options draw(chance& luck) {
    world_options o;
    const unsigned sites = luck.one_in(8) ? 3 : 2;
    const auto ring = luck.one_of({2U, 4U, 8U, 16U, 128U});
    for (unsigned s = 0; s < sites; ++s) {
      key_manager::options site;
      site.limits.ring_chunks = luck.one_in(3) ? luck.one_of({2U, 4U, 8U, 16U, 128U}) : ring;
      if (luck.one_in(3)) site.limits.ring_bytes = std::size_t{4'096} << luck.below(5);
      site.limits.pool_bytes = luck.one_of<std::size_t>({256, 1'000, 4'096, 65'536});
      site.insist_on_peer = luck.one_in(12);
      o.sites.push_back(std::move(site));
    }
    o.fibre.block_bytes = luck.one_in(2) ? 4'096 : 400 + luck.below(3'000);
    if (luck.one_in(3)) o.fibre.rate_bps = 200'000 + luck.below(4'000'000);
    o.fibre.halting = luck.one_in(3);
    o.peer_wire.slowest = luck.one_of<duration>({100us, 2ms, 40ms});
    o.peer_wire.notice = luck.one_of<duration>({10ms, 1s});
    o.line.slowest = luck.one_of<duration>({100us, 2ms, 20ms});
    o.line.notice = luck.one_of<duration>({10ms, 1s});
    o.links_up_first = !luck.one_in(3);
    return o;
  }
  static oracle::options judge_of(const world_options& w) {
    oracle::options o;
    for (const auto& s : w.sites) o.limits.push_back(s.limits);
    o.transit = 2 * w.line.slowest + 5ms;
    // whoever measures the rate over a second may see one block too many
    if (w.fibre.rate_bps != 0) o.most_promised = w.fibre.rate_bps + 8 * w.fibre.block_bytes;
    return o;
  }

  void add(application::options o) {
    applications_.push_back(std::make_unique<application>(world_, board_, std::move(o)));
  }

  // The three parts of a life return false if something was found, and then nothing happens any more.
  bool storm() {
    const auto until = time_line::began + luck_.between(500ms, 6s);
    for (auto& a : applications_) act(*a, until);
    fault(until);
    return spend(until);
  }

  bool calm() {
    time_.say("calm");
    world_.mend();
    if (!spend(time_.now() + 3s)) return false;  // who had not noticed that a connection is gone, does
    judge_.calm(time_.now());
    for (auto& a : applications_) act_calmly(*a);
    if (!spend(time_.now() + 1s)) return false;
    const auto limit = time_.now() + 100s;
    for (std::string hungry = starving(); !hungry.empty(); hungry = starving()) {
      time_.say("hungry: %s", hungry.c_str());
      if (!spend(time_.now() + 250ms)) return false;
      if (time_.now() >= limit) judge_.complain("whoever reads gets key", hungry);
    }
    return true;
  }

  bool finish() {
    over_ = true;
    for (unsigned s = 0; s < world_.sites(); ++s) world_.stop(s);
    if (!spend(time_.now() + 3s)) return false;
    judge_.end();
    return !judge_.found();
  }

  bool spend(time_point until) {
    const auto there = std::make_shared<bool>(false);
    time_.at(until, [there] { *there = true; });
    while (!*there && !judge_.found()) time_.step();
    return !judge_.found();
  }

  void act(application& a, time_point until) {
    time_.in(luck_.between(0ms, 2 * pace_), [this, &a, until] {
      if (time_.now() >= until) return;
      a.act();
      act(a, until);
    });
  }
  void act_calmly(application& a) {
    time_.in(luck_.between(1ms, 40ms), [this, &a] {
      if (over_) return;
      a.act_calmly();
      act_calmly(a);
    });
  }

  void fault(time_point until) {
    time_.in(luck_.between(0ms, 2 * trouble_), [this, until] {
      if (time_.now() >= until) return;
      const auto link = static_cast<unsigned>(luck_.below(world_.links()));
      const auto site = static_cast<unsigned>(luck_.below(world_.sites()));
      switch (luck_.below(10)) {
        case 0: world_.stall(link, luck_.between(1ms, 1s)); break;
        case 1: world_.part(link, luck_.between(10ms, 4s)); break;
        case 2:
          if (!deadly_ || !luck_.one_in(3)) break;
          luck_.one_in(3) ? world_.stop(site) : world_.crash(site);
          time_.in(luck_.between(0ms, 2s), [this, site] { world_.start(site); });
          break;
        default: world_.cut(link);
      }
      fault(until);
    });
  }

  /// A stream that is read at both ends, and does not get on.
  std::string starving() {
    pairs_ = 0;
    for (const auto& a : applications_) {
      for (const auto& id : a->reading()) {
        for (const auto& b : applications_) {
          if (a->site() == b->site()) continue;
          const auto ids = b->reading();
          if (std::find(ids.begin(), ids.end(), id) == ids.end()) continue;
          pairs_ += a->site() < b->site() ? 1U : 0U;
          auto hungry = judge_.starved(id, world_.running(a->site()), world_.running(b->site()));
          if (!hungry.empty()) return hungry;
        }
      }
    }
    return {};
  }

  chance luck_;
  time_line time_;
  const world_options settings_;
  oracle judge_;
  world world_;
  notice_board board_;
  std::vector<std::unique_ptr<application>> applications_;
  duration pace_{};
  duration trouble_{};
  bool deadly_ = false;
  std::uint64_t pairs_ = 0;
  bool over_ = false;
};

}  // namespace simulation
