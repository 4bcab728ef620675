// Sites that die at any moment of a block, with applications that read on: what one end ever had for an index, the other
// never has otherwise, and no key comes twice.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/two_sites.hpp"
#include "software/link_channel.hpp"
#include "software/two_distillers.hpp"

using namespace qkd004;
using namespace qkd004::software;
using namespace std::chrono_literals;

namespace {

using key = std::vector<std::byte>;

/// One end as the key manager knows it, distilling when it is told to.
class stepped_end final : public key_source {
 public:
  stepped_end(distiller::options o, auth_pool pool) : distiller_{std::move(o), std::move(pool)} {}

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return distiller_.position(); }
  [[nodiscard]] result<key_source_check> start(const key_source_session& s, time_point) override {
    stop();
    channel_.reset();
    number_ = s.first_block;
    return distiller_.start(s);
  }
  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point) override {
    auto made = distiller_.take();
    if (!made && distiller_.failure()) return distiller_.failure();
    if (!made) return std::optional<key_block>{};
    auto bytes = arena.allocate(made->key.size() / 8);
    REQUIRE(bytes);
    std::memcpy(bytes->data(), made->key.words().data(), bytes->size());
    ++blocks;
    return std::optional<key_block>{key_block{number_++, std::move(*bytes)}};
  }
  [[nodiscard]] time_point ready_at(time_point now) const noexcept override { return now + 1ms; }
  void stop() noexcept override { distiller_.stop(); }
  [[nodiscard]] classical_channel* channel() noexcept override { return &channel_; }

  void step() {
    std::deque<octet_run> arrived;
    const bool possible = channel_.take(arrived).has_value();
    for (const auto& m : arrived) distiller_.receive(m);
    if (!possible) distiller_.receive({});
    static_cast<void>(distiller_.work(channel_.unsent()));
    for (const auto& m : distiller_.messages()) channel_.send(m);
    distiller_.messages().clear();
  }
  [[nodiscard]] software_link_report report() const { return distiller_.report(); }

  int blocks = 0;

 private:
  key_source_capabilities capabilities_{.kind = "software-bb84",
                                        .security = security_class::simulated_insecure};
  distiller distiller_;
  link_channel channel_{[] {}};
  std::uint64_t number_ = 0;
};

/// A folder of the test's own.
class folder {
 public:
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "qkd004-restart-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Two sites, of which either may die and come back.
struct mortal_sites {
  struct place {
    std::string node, peer;
    side which;
    std::filesystem::path state;
    std::unique_ptr<stepped_end> end{};
    std::unique_ptr<testing::site> site{};
    connection_id application = 0;
    int blocks_of_the_dead = 0;
  };

  explicit mortal_sites(std::uint64_t seed) : random{seed}, octets_of{two_distillers::seed_of(seed), 0} {
    key bootstrap(65'536);
    octets_of.fill(bootstrap);
    std::ofstream out{where / "bootstrap", std::ios::binary};
    out.write(reinterpret_cast<const char*>(bootstrap.data()), std::ssize(bootstrap));
    out.close();
    std::filesystem::permissions(where / "bootstrap", std::filesystem::perms::owner_read);
    for (place& p : places) come_up(p);
    connect();
  }

  void come_up(place& p) {
    software_link_options o = small_blocks();
    o.blocks_in_flight = 2;
    std::string why;
    auto pool =
        auth_pool::open(p.state, where / "bootstrap", secret_arena{{std::size_t{1} << 22, true}}, &why);
    REQUIRE_MESSAGE(pool, why);
    p.end = std::make_unique<stepped_end>(
        distiller::options{o, p.which, [this](std::span<std::byte> to) { octets_of.fill(to); },
                           [this] { return now; }},
        std::move(*pool));
    key_manager::options k{p.node, {}, {}, false, {}};
    p.site = std::make_unique<testing::site>(k, secret_options{std::size_t{4} << 20, true},
                                             testing::seeded_random{random() | 1U});
    p.site->link = p.site->manager.add_link({"ab", p.peer, {}}, *p.end).value();
    p.application = p.site->manager.connect("application");
  }

  /// What is on the disk at that moment is all that is left.
  void die(place& p) {
    cut();
    p.blocks_of_the_dead += p.end->blocks;
    const auto kept = where / "kept";
    std::filesystem::copy_file(p.state, kept, std::filesystem::copy_options::overwrite_existing);
    p.site.reset();
    p.end.reset();  // an end that goes in order stores what it has not used
    std::filesystem::copy_file(kept, p.state, std::filesystem::copy_options::overwrite_existing);
    come_up(p);
  }

  void cut() {
    if (!up) return;
    up = false;
    for (place& p : places) {
      p.site->outbox.clear();
      p.site->manager.link_down(p.site->link, now);
    }
  }
  void connect() {
    up = true;
    for (place& p : places) p.site->outbox.clear();
    for (place& p : places) p.site->manager.link_up(p.site->link, now);
  }

  void carry(place& from, place& to, std::size_t most) {
    for (; up && most > 0 && !from.site->outbox.empty(); --most) {
      auto m = std::move(from.site->outbox.front());
      from.site->outbox.pop_front();
      if (auto* const said = std::get_if<peer::classical>(&m); said != nullptr && tampers > 0) {
        // not where the segment says what it is: that would break the connection only
        if (said->octets.size() > 30 && random() % tampers == 0) {
          said->octets[22 + random() % (said->octets.size() - 22)] ^= std::byte{4};
          ++tampered;
        }
      }
      to.site->manager.receive(to.site->link, std::move(m), now);
    }
  }

  void live(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      now += 500us;
      for (place& p : places) {
        p.end->step();
        p.site->manager.advance(now);
      }
      carry(places[0], places[1], 1 + random() % 8);
      carry(places[1], places[0], 1 + random() % 8);
      if (up && std::any_of(places.begin(), places.end(),
                            [](const place& p) { return !p.site->failures.empty(); })) {
        for (place& p : places) p.site->failures.clear();
        cut();
      }
      if (!up) connect();
      if (i % 8 == 0) read();
    }
  }

  /// Each application opens the stream that is agreed on for the time, and takes what there is.
  void read() {
    for (std::size_t at = 0; at < places.size(); ++at) {
      place& p = places[at];
      auto& manager = p.site->manager;
      open_connect_request open{"qkd://alice@A", "qkd://bob@B"};
      open.stream = stream;
      manager.open_connect({p.application, ++ticket}, open, now);
      auto& answers = p.site->answers;
      const auto& opened = answers[ticket].open;
      if (opened && opened->outcome == status::ksid_in_use) {
        fresh_stream();
        return;
      }
      if (!opened) continue;  // it waits for the other end
      get_keys_request get;
      get.stream = stream;
      get.epoch = opened->epoch;
      get.first = wanted[at];
      get.acknowledge_below = wanted[at];
      get.count = 16;
      get.no_wait = true;
      manager.get_keys({p.application, ++ticket}, get, now);
      const auto& a = answers[ticket];
      if (a.several && a.several->outcome == status::success) {
        for (std::size_t i = 0; i < a.keys.size(); ++i) {
          delivered[at][{stream, a.several->first + i}] = a.keys[i];
        }
        wanted[at] = a.several->first + a.keys.size();
      } else if (a.several && a.several->outcome == status::index_not_available) {
        wanted[at] = std::max(a.several->first, wanted[at] + 1);
      }
      answers.clear();
    }
  }

  void fresh_stream() {
    stream = testing::predefined(++streams);
    wanted = {};
  }

  /// No index has two keys, and no key two indices. Returns how many both had.
  std::size_t compare() const {
    std::size_t both = 0;
    std::map<key, std::pair<key_stream_id, std::uint64_t>> place_of;
    for (const auto& [index, k] : delivered[0]) {
      if (const auto other = delivered[1].find(index); other != delivered[1].end()) {
        REQUIRE((other->second == k));
        ++both;
      }
    }
    for (const auto& of : delivered) {
      for (const auto& [index, k] : of) {
        const auto [at, is_new] = place_of.emplace(k, index);
        if (!is_new) REQUIRE((at->second == index));
      }
    }
    return both;
  }

  folder where;
  std::mt19937_64 random;
  expander octets_of;
  time_point now{1h};
  std::array<place, 2> places{
      {{"A", "B", side::alice, where / "alice"}, {"B", "A", side::bob, where / "bob"}}};
  bool up = false;
  unsigned tampers = 0;  ///< one of so many messages is changed on its way
  int tampered = 0;
  std::uint8_t streams = 1;
  key_stream_id stream = testing::predefined(1);
  std::array<std::uint64_t, 2> wanted{};
  std::uint64_t ticket = 0;
  std::array<std::map<std::pair<key_stream_id, std::uint64_t>, key>, 2> delivered;
};

}  // namespace

TEST_CASE(
    "software link: sites that die at any moment, many times, leave no index with two keys and no key twice") {
#ifdef __SANITIZE_ADDRESS__
  constexpr unsigned seeds = 3;
#else
  constexpr unsigned seeds = 10;
#endif
  std::size_t deaths = 0, both = 0, blocks = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    mortal_sites w{seed};
    for (int i = 0; i < 20; ++i, ++deaths) {
      w.live(static_cast<int>(20 + w.random() % 500));
      if (w.random() % 4 == 0) w.cut();  // and the connection by itself
      if (w.random() % 4 == 0) w.live(50);
      mortal_sites::place& victim = w.places[w.random() % 2];
      w.die(victim);
      w.fresh_stream();
      w.connect();
    }
    w.live(1'500);
    both += w.compare();
    for (auto& p : w.places) blocks += static_cast<std::size_t>(p.blocks_of_the_dead + p.end->blocks);
  }
  CHECK(deaths == 20 * seeds);
  MESSAGE(blocks << " blocks, " << both << " keys at both ends");
  CHECK(blocks > 20 * seeds);
  CHECK(both > 1'000 * seeds);
}

TEST_CASE(
    "software link: somebody who changes messages gets sessions ended, no index with two keys, and no more") {
  std::size_t both = 0;
  std::uint64_t forged = 0;
  for (unsigned seed = 101; seed <= 104; ++seed) {
    CAPTURE(seed);
    mortal_sites w{seed};
    for (int i = 0; i < 12; ++i) {
      w.tampers = 300;
      w.live(400);
      w.tampers = 0;
      w.live(400);
      w.fresh_stream();
    }
    both += w.compare();
    CHECK(w.tampered > 3);
    for (auto& p : w.places) forged += p.end->report().forged;
  }
  MESSAGE(forged << " sessions ended, " << both << " keys at both ends");
  CHECK(forged > 20);
  CHECK(both > 1'000);
}
