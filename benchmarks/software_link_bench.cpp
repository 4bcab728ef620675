// What a QKD link in software costs, beside what it is meant to cost: the whole of it and each stage, as one table.
// SPDX-License-Identifier: Apache-2.0
//
// The whole link is two processes, one for each end, on a processor each, with one TCP connection of the loopback between
// them. In each works the end that make_software_link_end() gives, with its thread and its files, and a loop that
// carries its channel and takes its key, as a site does. Figures are of a run of blocks in the midst of the work, and
// are bits per second of CPU time (user and system) of the whole process of the end that took more of it: what the
// link does when nobody else wants the processors. Beside it stands wall time, which on a machine that others use too
// says how busy they are. The cases take turns inside each repetition. All key of both ends is hashed, and compared.
//
// Stages run alone in this process; Alice's and Bob's work in turns. Everything is of one processor; all figures are
// medians, lowest and highest in brackets.
//
//     bench_software_link_bench [--long]         less than a minute; --long ten times the blocks, for publishing
//     bench_software_link_bench --profile blocks|events       one link for 20 s, for a profiler to look at
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "amplify_input.hpp"
#include "cascade_runs.hpp"
#include "hash_variants.hpp"
#include "measured.hpp"
#include "qkd004/classical_channel.hpp"
#include "qkd004/decoy_optimum.hpp"
#include "qkd004/random.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/software_link.hpp"
#include "software/additive_fft.hpp"
#include "software/quantum_pipe.hpp"

namespace {

using namespace qkd004;
using namespace qkd004::bench;
using software::side;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "software_link_bench: %s\n", what.c_str());
  std::exit(1);
}
void check(bool good, const char* what) {
  if (!good) die(std::string{what} + ": " + std::strerror(errno));
}

// --- The table --------------------------------------------------------------------------------------------

enum class wanted : std::uint8_t { at_least, at_most };

struct goal {
  std::string what;
  wanted sense = wanted::at_least;
  double must = 0;  ///< 0: none
  double aim = 0;   ///< 0: none
};

std::string number(double value) {
  char text[32];
  if (value >= 100 && value < 1e6) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else if (value < 10) {
    std::snprintf(text, sizeof text, "%.4g", value);
  } else {
    std::snprintf(text, sizeof text, "%.3g", value);
  }
  return text;
}

/// `wall` 0: it says nothing here.
void print_row(const goal& g, const spread& cpu, double wall = 0) {
  const auto reaches = [&](double bound) {
    return g.sense == wanted::at_least ? cpu.median >= bound : cpu.median <= bound;
  };
  const auto bound = [&](double b) {
    return b == 0 ? std::string{} : (g.sense == wanted::at_least ? ">= " : "<= ") + number(b);
  };
  std::string range;
  if (cpu.lowest != cpu.highest) range = " (" + number(cpu.lowest) + " to " + number(cpu.highest) + ")";
  const char* verdict = "";
  if (g.must != 0) verdict = reaches(g.aim) ? "aim" : reaches(g.must) ? "must" : "**short**";
  std::printf("| %s | %s | %s | %s%s | %s | %s |\n", g.what.c_str(), bound(g.must).c_str(),
              bound(g.aim).c_str(), number(cpu.median).c_str(), range.c_str(),
              wall == 0 ? "" : number(wall).c_str(), verdict);
  std::fflush(stdout);
}

void print_heading(const char* what) {
  std::printf(
      "\n%s\n\n| what | must | aim | measured, CPU time | wall time | reached |\n|---|---|---|---|---|---|\n",
      what);
}

// --- The whole link ---------------------------------------------------------------------------------------

struct link_case {
  photon_sampling sampling = photon_sampling::blocks;
  double km = 25;
  std::uint32_t blocks = 32;  ///< that are measured

  [[nodiscard]] software_link_options options() const {
    software_link_options o;
    o.sampling = sampling;
    decoy_bb84 system;
    system.km = km;
    o.system = optimise(system, {.block_bits = static_cast<double>(o.block_bits), .f_ec = 1.05}).system;
    return o;
  }
};

/// Blocks at the beginning that do not count.
constexpr std::uint32_t warm_up = 4;

/// What one end tells of the blocks that were measured.
struct end_figures {
  double cpu = 0;
  double cpu_of_system = 0;  ///< in there
  double wall = 0;
  std::uint64_t secret = 0;  ///< bits that were taken
  std::uint64_t pulses = 0;
  std::uint64_t errors = 0;
  std::uint64_t sifted = 0;
  std::uint64_t auth_used = 0;  ///< bits of pads, by the number of blocks accepted
  std::uint64_t lost = 0;       ///< blocks that did not become key
  software::block128 digest{};  ///< of all key up to the last block that was measured
  std::uint64_t digested = 0;   ///< octets
};

struct moment {
  double cpu, system, wall;
  software_link_report report;

  static moment now(const software_link_end& end) {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    const double system = seconds(used.ru_stime);
    return {seconds(used.ru_utime) + system, system, wall_seconds(), end.report()};
  }
};

/// Carries a channel over a connected socket, each message after its length.
class carrier {
 public:
  carrier(classical_channel& channel, int socket) : channel_{channel}, socket_{socket} {
    wake_ = ::eventfd(0, EFD_NONBLOCK);
    check(wake_ >= 0, "eventfd");
    channel_.on_ready([fd = wake_] {
      const std::uint64_t one = 1;
      static_cast<void>(::write(fd, &one, sizeof one));
    });
    channel_.up();
  }

  /// Until something came or may be sent. False: the other process is gone.
  bool carry() {
    send();
    std::array<pollfd, 2> both{{{socket_, POLLIN, 0}, {wake_, POLLIN, 0}}};
    if (sent_ < out_.size()) both[0].events |= POLLOUT;
    if (::poll(both.data(), both.size(), 100) < 0 && errno != EINTR) die("poll");
    if ((both[1].revents & POLLIN) != 0) {
      std::uint64_t count = 0;
      static_cast<void>(::read(wake_, &count, sizeof count));
    }
    return (both[0].revents & (POLLIN | POLLHUP)) == 0 || receive();
  }

 private:
  static constexpr std::size_t at_a_time = std::size_t{256} << 10;

  void send() {
    for (;;) {
      if (sent_ == out_.size()) {
        out_.clear();
        sent_ = 0;
        while (out_.size() < at_a_time && channel_.next(message_)) {
          const auto size = static_cast<std::uint32_t>(message_.size());
          const auto* const octets = reinterpret_cast<const std::byte*>(&size);
          out_.insert(out_.end(), octets, octets + sizeof size);
          out_.insert(out_.end(), message_.begin(), message_.end());
        }
        if (out_.empty()) return;
      }
      const auto n = ::send(socket_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) return;
      sent_ += static_cast<std::size_t>(n);
    }
  }

  bool receive() {
    const auto n = ::recv(socket_, in_.data() + filled_, in_.size() - filled_, MSG_DONTWAIT);
    if (n == 0) return false;
    filled_ += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    std::size_t at = 0;
    for (std::uint32_t size = 0; filled_ - at >= sizeof size; at += size) {
      std::memcpy(&size, in_.data() + at, sizeof size);
      if (filled_ - at - sizeof size < size) break;
      at += sizeof size;
      if (!channel_.receive(std::span{in_}.subspan(at, size))) die("the channel refuses what came");
    }
    std::copy(in_.begin() + static_cast<std::ptrdiff_t>(at),
              in_.begin() + static_cast<std::ptrdiff_t>(filled_), in_.begin());
    filled_ -= at;
    return true;
  }

  classical_channel& channel_;
  int socket_;
  int wake_ = -1;
  std::vector<std::byte> message_, out_;
  std::size_t sent_ = 0;
  std::vector<std::byte> in_ = std::vector<std::byte>(at_a_time);
  std::size_t filled_ = 0;
};

using role = software_link_end_options::role;

/// The process of one end: tells its figures, then goes on so that the other end can finish, until it is ended.
[[noreturn]] void run_end(const link_case& c, role which, int socket, const std::string& directory,
                          int tell) {
  const bool is_alice = which == role::alice;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 1) {
    std::size_t cpu = 0;
    for (int before = is_alice ? 0 : 1; !CPU_ISSET(cpu, &allowed) || before-- > 0;) ++cpu;
    CPU_ZERO(&allowed);
    CPU_SET(cpu, &allowed);
    static_cast<void>(::sched_setaffinity(0, sizeof allowed, &allowed));
  }

  std::string why;
  auto made = make_software_link_end(c.options(),
                                     {which, security_class::simulated_insecure, directory + "/bootstrap",
                                      directory + (is_alice ? "/alice" : "/bob")},
                                     &why);
  if (!made) die("no end: " + why);
  software_link_end& end = **made;
  key_source_session session;
  session.link = "bench";
  session.higher[0] = std::byte{1};
  if (!end.start(session, boot_clock::now())) die("the end does not start");
  carrier wire{*end.channel(), socket};

  const secret_arena arena{{std::size_t{1} << 20, true}};
  software::poly_hash hash{software::block128{std::byte{1}}};
  end_figures figures;
  std::optional<moment> begun;
  std::uint64_t block = 0;
  for (bool told = false; wire.carry();) {
    for (;;) {
      auto got = end.poll(arena, boot_clock::now());
      if (!got) die("the session is over: " + end.report().failure);
      if (!*got) break;
      if (told) continue;
      const key_block& key = **got;
      // blocks that are discarded have a number too
      if (block != key.provenance->first_block) block = key.provenance->first_block;
      if (block >= warm_up && !begun) begun = moment::now(end);
      if (block >= warm_up + c.blocks) {
        const moment ended = moment::now(end);
        figures.cpu = ended.cpu - begun->cpu;
        figures.cpu_of_system = ended.system - begun->system;
        figures.wall = ended.wall - begun->wall;
        figures.pulses = ended.report.pulses - begun->report.pulses;
        figures.errors = ended.report.errors - begun->report.errors;
        figures.sifted = ended.report.sifted - begun->report.sifted;
        figures.auth_used = ended.report.auth_used - begun->report.auth_used;
        figures.lost = ended.report.unequal + ended.report.no_key + ended.report.over_limit;
        figures.digest = hash.finish();
        check(::write(tell, &figures, sizeof figures) == sizeof figures, "telling figures");
        told = true;
        continue;
      }
      hash.update(key.bytes.span());
      figures.digested += key.bytes.size();
      if (begun) figures.secret += 8 * key.bytes.size();
    }
  }
  std::_Exit(0);
}

std::pair<int, int> connected_sockets() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  check(::bind(listener, any, size) == 0 && ::listen(listener, 1) == 0, "listen");
  check(::getsockname(listener, any, &size) == 0, "getsockname");
  const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(::connect(one, any, size) == 0, "connect");
  const int other = ::accept(listener, nullptr, nullptr);
  check(other >= 0, "accept");
  ::close(listener);
  for (const int socket : {one, other}) {
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return {one, other};
}

struct link_run {
  end_figures alice, bob;
};

link_run run_link(const link_case& c) {
  std::string directory = (std::filesystem::temp_directory_path() / "qkd004-bench-XXXXXX").string();
  check(::mkdtemp(directory.data()) != nullptr, "mkdtemp");
  {
    std::array<std::byte, 16'384> bootstrap{};
    system_random(bootstrap);
    ::umask(077);
    std::ofstream{directory + "/bootstrap", std::ios::binary}.write(
        reinterpret_cast<const char*>(bootstrap.data()), bootstrap.size());
  }
  const auto sockets = connected_sockets();
  std::array<pid_t, 2> processes{};
  std::array<end_figures, 2> figures{};
  std::array<int, 2> told{};
  for (const std::size_t i : {0U, 1U}) {
    std::array<int, 2> ends{};
    check(::pipe(ends.data()) == 0, "pipe");
    processes[i] = ::fork();
    check(processes[i] >= 0, "fork");
    if (processes[i] == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(i == 0 ? sockets.second : sockets.first);
      ::close(ends[0]);
      run_end(c, i == 0 ? role::alice : role::bob, i == 0 ? sockets.first : sockets.second, directory,
              ends[1]);
    }
    ::close(ends[1]);
    told[i] = ends[0];
  }
  ::close(sockets.first);
  ::close(sockets.second);
  bool whole = true;
  for (const std::size_t i : {0U, 1U}) {
    whole = whole && ::read(told[i], &figures[i], sizeof figures[i]) == sizeof figures[i];
    ::close(told[i]);
  }
  for (const pid_t p : processes) {
    ::kill(p, SIGKILL);
    ::waitpid(p, nullptr, 0);
  }
  std::filesystem::remove_all(directory);
  if (!whole) die("an end has failed");
  return {figures[0], figures[1]};
}

struct link_spreads {
  std::vector<double> sifted, secret, sifted_wall, secret_wall, alice_ns, bob_ns, system_share, pulses;
};

void whole_link(bool is_long) {
  struct one {
    link_case settings;
    double must, aim;  ///< of sifted bits
    double qber = 0, pads = 0;
    link_spreads of{};
  };
  const std::uint32_t blocks = is_long ? 320 : 32;
  std::vector<one> cases;
  for (const double km : {0., 25., 50.}) {
    cases.push_back({{photon_sampling::blocks, km, blocks}, 80, 150});
    cases.push_back({{photon_sampling::events, km, blocks}, 40, 80});
  }
  std::uint64_t compared = 0, unequal = 0, lost = 0;
  for (int repetition = 0; repetition < (is_long ? 5 : 3); ++repetition) {
    for (auto& c : cases) {
      const link_run r = run_link(c.settings);
      const auto megabits = 1e-6 * c.settings.options().block_bits * blocks;
      const double secret = 1e-6 * static_cast<double>(r.alice.secret);
      const double cpu = std::max(r.alice.cpu, r.bob.cpu);
      const double wall = std::max(r.alice.wall, r.bob.wall);
      c.of.sifted.push_back(megabits / cpu);
      c.of.secret.push_back(secret / cpu);
      c.of.sifted_wall.push_back(megabits / wall);
      c.of.secret_wall.push_back(secret / wall);
      c.of.alice_ns.push_back(1e3 * r.alice.cpu / megabits);
      c.of.bob_ns.push_back(1e3 * r.bob.cpu / megabits);
      c.of.system_share.push_back(100 * (r.alice.cpu_of_system + r.bob.cpu_of_system) /
                                  (r.alice.cpu + r.bob.cpu));
      c.of.pulses.push_back(static_cast<double>(r.bob.pulses) / cpu);
      c.qber = 100 * static_cast<double>(r.bob.errors) / static_cast<double>(r.bob.sifted);
      c.pads = 100 * static_cast<double>(r.alice.auth_used) /
               static_cast<double>(r.alice.secret + r.alice.auth_used);
      lost += r.alice.lost;
      compared += 8 * r.alice.digested;
      if (r.alice.digest != r.bob.digest || r.alice.digested != r.bob.digested) ++unequal;
    }
  }

  print_heading("The whole link, blocks of 2^20 sifted bits, Mbit/s; the slower end");
  const auto named = [](const one& c, const char* what) {
    char text[128];
    std::snprintf(text, sizeof text, "%s, %s, %.0f km, QBER %.1f %%", what,
                  c.settings.sampling == photon_sampling::blocks ? "block sampling" : "event sampling",
                  c.settings.km, c.qber);
    return std::string{text};
  };
  for (const auto& c : cases) {
    print_row({named(c, "sifted"), wanted::at_least, c.must, c.aim}, spread_of(c.of.sifted),
              spread_of(c.of.sifted_wall).median);
  }
  // that of secret bits goes with that of block sampling: it is about 0.25 of it
  for (const auto& c : cases) {
    const bool has_goal = c.settings.sampling == photon_sampling::blocks;
    print_row({named(c, "secret"), wanted::at_least, has_goal ? 18. : 0, has_goal ? 37. : 0},
              spread_of(c.of.secret), spread_of(c.of.secret_wall).median);
  }
  for (const auto& c : cases) {
    print_row({named(c, "pads used, % of the key"), wanted::at_most, 0.13}, {c.pads, c.pads, c.pads});
  }
  for (const auto& c : cases) print_row({named(c, "Alice, ns a sifted bit")}, spread_of(c.of.alice_ns));
  for (const auto& c : cases) print_row({named(c, "Bob, ns a sifted bit")}, spread_of(c.of.bob_ns));
  for (const auto& c : cases) {
    print_row({named(c, "in the system, % of both ends' time")}, spread_of(c.of.system_share));
  }
  for (const auto& c : cases) {
    if (c.settings.sampling == photon_sampling::events)
      print_row({named(c, "pulses/s")}, spread_of(c.of.pulses));
  }
  std::printf("\n%.3g bits of key compared between the ends: %llu of the runs unequal; %llu blocks lost.\n",
              static_cast<double>(compared), static_cast<unsigned long long>(unequal),
              static_cast<unsigned long long>(lost));
}

// --- The stages alone -------------------------------------------------------------------------------------

void photons(bool is_long) {
  print_heading("Simulated pulses per second, event sampling");
  for (const double km : {0., 50.}) {
    for (const side which : {side::alice, side::bob}) {
      const decoy_bb84 system = link_case{photon_sampling::events, km}.options().system;
      software::event_stream stream{system, {}, {std::byte{1}}, which};
      software::detections out;
      stream.next(65'536, out);
      std::vector<double> cpu, wall;
      for (int i = 0; i < (is_long ? 41 : 11); ++i) {
        const double cpu_before = cpu_seconds();
        const double wall_before = wall_seconds();
        double pulses = 0;
        for (int batch = 0; batch < 8; ++batch) {
          stream.next(65'536, out);
          // as many as the mean of these, to a part in a thousand
          if (batch == 0) {
            for (const std::uint32_t gap : out.gaps) pulses += gap;
          }
        }
        cpu.push_back(8 * pulses / (cpu_seconds() - cpu_before));
        wall.push_back(8 * pulses / (wall_seconds() - wall_before));
      }
      const double must = km == 0 ? 4e9 : 4e10;
      print_row({std::string{which == side::alice ? "Alice, " : "Bob, "} + number(km) + " km",
                 wanted::at_least, must, 3 * must},
                spread_of(cpu), spread_of(wall).median);
    }
  }
}

void reconciliation(bool is_long) {
  print_heading("Cascade alone, blocks of 2^20 bits, 16 frames each");
  struct one {
    int percent;
    double must, aim;  ///< Mbit/s; 0: no goal is set here
    double must_f, aim_f;
  };
  for (const one& c : {one{1, 0, 0, 1.06, 1.045}, one{2, 0, 0, 1.06, 1.045}, one{3, 250, 450, 1.06, 1.045},
                       one{5, 0, 0, 1.09, 1.07}, one{8, 150, 220, 1.09, 1.07}}) {
    std::mt19937_64 random{static_cast<std::uint64_t>(c.percent)};
    cascade_runs all;
    const int blocks = is_long ? 640 : 63;
    for (int i = 0; i < blocks; ++i) all.run(16 * frame_bits, 0.01 * c.percent, random);
    const auto speeds = [](std::vector<double> seconds) {
      for (double& s : seconds) s = 16e-6 * frame_bits / s;
      return spread_of(seconds);
    };
    const auto same = [](double x) { return spread{x, x, x}; };
    const std::string at = number(c.percent) + " %: ";
    print_row({at + "Bob, Mbit/s", wanted::at_least, c.must, c.aim}, speeds(all.bob));
    print_row({at + "Alice, Mbit/s"}, speeds(all.alice));
    print_row({at + "efficiency f", wanted::at_most, c.must_f, c.aim_f}, same(all.parities / all.limit));
    print_row({at + "rounds of a block"}, {all.rounds / blocks, all.rounds / blocks, all.most_rounds});
    print_row({at + "frames wrong, of " + number(all.frames), wanted::at_most, 1e-3, 1e-4},
              same(all.wrong / all.frames));
  }
}

void amplification(bool is_long) {
  print_heading("Privacy amplification alone, to 0.27 of the bits, Mbit/s of bits that go in");
  bool is_best = true;
  for (const auto& fft : software::additive_ffts()) {
    if (!fft.supported()) continue;
    for (const std::size_t n : {std::size_t{1} << 20, std::size_t{10'000'000}}) {
      const amplify_input in{n};
      std::vector<double> cpu, wall;
      for (int i = 0; i < (is_long ? 21 : 5); ++i) {
        const double cpu_before = cpu_seconds();
        const double wall_before = wall_seconds();
        const auto out = software::amplify_with(fft, in.key, in.seed, in.length);
        benchmark::DoNotOptimize(out.words().data());
        cpu.push_back(1e-6 * static_cast<double>(n) / (cpu_seconds() - cpu_before));
        wall.push_back(1e-6 * static_cast<double>(n) / (wall_seconds() - wall_before));
      }
      const bool is_small = n == std::size_t{1} << 20;
      goal g{std::string{fft.name} + (is_small ? ", 2^20 bits" : ", 10^7 bits")};
      if (is_best) {
        g.must = is_small ? 400 : 100;
        g.aim = is_small ? 800 : 500;
      }
      print_row(g, spread_of(cpu), spread_of(wall).median);
    }
    is_best = false;
  }
}

void authentication(bool is_long) {
  print_heading("The hash of authentication and verification, 64 KiB, beside GMAC of OpenSSL in turns");
  gmac theirs;
  const auto kernels = software::poly_hash_kernels();
  ours our{*std::find_if(kernels.begin(), kernels.end(), [](const auto& k) { return k.runs_here(); })};
  const std::vector<std::byte> message(65'536, std::byte{0x5a});
  std::vector<double> speeds, walls, ratios;
  for (int i = 0; i < (is_long ? 1001 : 101); ++i) {
    const double gmac_speed = speed_of(theirs, message, 16).cpu;
    const speed here = speed_of(our, message, 16);
    speeds.push_back(here.cpu);
    walls.push_back(here.wall);
    ratios.push_back(here.cpu / gmac_speed);
  }
  print_row({std::string{our.kernel.name} + ", GB/s", wanted::at_least, 5, 10}, spread_of(speeds),
            spread_of(walls).median);
  print_row({"over GMAC"}, spread_of(ratios));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "--profile") {
    const auto sampling = arguments[1] == "blocks" ? photon_sampling::blocks : photon_sampling::events;
    for (const double until = wall_seconds() + 20; wall_seconds() < until;) {
      const auto r = run_link({sampling, 25, 100});
      std::printf("100 blocks: Alice %.2f s, Bob %.2f s of CPU time, %.2f s of wall time\n", r.alice.cpu,
                  r.bob.cpu, std::max(r.alice.wall, r.bob.wall));
    }
    return 0;
  }
  const bool is_long = arguments.size() == 1 && arguments[0] == "--long";
  if (!arguments.empty() && !is_long) die("[--long] or --profile blocks|events");
  std::printf("%s%s\n", machine().c_str(), is_long ? "" : "; the quick form");
  const double begun = wall_seconds();
  whole_link(is_long);
  photons(is_long);
  reconciliation(is_long);
  amplification(is_long);
  authentication(is_long);
  std::printf("\n%.0f s in all.\n", wall_seconds() - begun);
  return 0;
}
