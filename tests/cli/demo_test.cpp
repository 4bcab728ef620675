// The demonstration as a whole, and that no key gets out of it by accident.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "site_pair.hpp"

namespace fs = std::filesystem;
using namespace qkd004::cli;
using test::finish;
using test::has;
using test::patience;
using test::read_file;
using test::run;

namespace {

std::string hex(std::string_view octets, std::string_view digits) {
  std::string text;
  for (const char c : octets) {
    const auto octet = static_cast<unsigned char>(c);
    text += digits[octet >> 4];
    text += digits[octet & 15];
  }
  return text;
}

/// Without padding, and without the last digit that depends on octets that are not there.
std::string base64(std::string_view octets) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  unsigned bits = 0;
  unsigned count = 0;
  for (const char c : octets) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) text += digits[bits >> (count - 6) & 63];
  }
  return text;
}

/// How a key could look where it must not be: the first octets of it are enough.
std::vector<std::string> forms_of(std::string_view key) {
  const std::string_view part = key.substr(0, 9);
  return {std::string{part.substr(0, 8)}, hex(part, "0123456789abcdef"),
          hex(part, "0123456789ABCDEF"),  base64(part),
          base64(part.substr(1)),         base64(part.substr(2))};
}

/// Every form of every key of `size` octets that stands in `text`.
std::size_t leaks(std::string_view text, std::string_view keys, std::size_t size) {
  std::size_t found = 0;
  for (std::size_t at = 0; at + size <= keys.size(); at += size) {
    for (const auto& form : forms_of(keys.substr(at, size))) found += has(text, form) ? 1U : 0U;
  }
  return found;
}

/// What stands after a label of the table, in its line.
std::string row_of(const std::string& out, const std::string& label) {
  const auto at = out.find("\n  " + label);
  if (at == std::string::npos) return {};
  const auto begin = at + 3 + label.size();
  return out.substr(begin, out.find('\n', begin) - begin);
}

/// The number in `site-a listens on ..., process 123` and in `alice (process 123) opens ...`.
std::optional<pid_t> process_of(const std::string& line) {
  constexpr std::string_view word = "process ";
  const auto at = line.find(word);
  if (at == std::string::npos || line.find_first_of("0123456789", at) != at + word.size())
    return std::nullopt;
  return std::stoi(line.substr(at + word.size()));
}

/// Waits until a process that is not our child has ended.
bool has_ended(pid_t id) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < deadline) {
    const std::string state = read_file("/proc/" + std::to_string(id) + "/stat");
    // the state follows the program's name in parentheses; Z: ended, and nobody has asked how
    if (state.empty() || has(state, ") Z ")) return true;
  }
  return false;
}

/// The folder for temporary files is another one, for as long as this lives.
class other_temporary {
 public:
  explicit other_temporary(const std::string& folder) {
    if (const char* now = ::getenv("TMPDIR")) before_ = now;
    ::setenv("TMPDIR", folder.c_str(), 1);
  }
  other_temporary(const other_temporary&) = delete;
  other_temporary& operator=(const other_temporary&) = delete;
  ~other_temporary() {
    if (before_.empty()) {
      ::unsetenv("TMPDIR");
    } else {
      ::setenv("TMPDIR", before_.c_str(), 1);
    }
  }

 private:
  std::string before_;
};

/// A demonstration that goes on for as long as it is let, and the processes in it.
struct long_demo {
  explicit long_demo(const test::temporary_folder& folder)
      : demo{test::start(folder, "demo.err", {"demo", "--keys", "10000000", "--rate", "100000"})} {
    for (auto& id : parts) {
      std::optional<pid_t> found;
      while (!found) {
        const auto line = demo.wait_line(patience);
        REQUIRE(line);
        found = process_of(*line);
      }
      id = *found;
    }
  }
  process demo;
  std::array<pid_t, 4> parts{};  ///< site-b, site-a, alice, bob
};

}  // namespace

TEST_CASE("demo: shows equal keys at both sites and leaves nothing behind") {
  const test::temporary_folder folder;
  const other_temporary here{folder.path()};
  const auto o = run({"demo"});
  INFO(o.out);
  INFO(o.err);
  CHECK(o.code == 0);
  CHECK(o.err.empty());
  CHECK(has(o.out, "index range  0 to 999              0 to 999              equal\n"));
  CHECK(has(o.out, "key source   BB84 with decoy states in software, simulated-insecure\n"));
  CHECK(has(o.out, "\n  link         25 km, proof lim14, 1,048,576 sifted bits a block\n"));
  for (const char* measured : {"QBER         ", "phase error  ", "efficiency f ", "leak/block   "}) {
    const std::string row = row_of(o.out, measured);
    INFO(row);
    CHECK(has(row, "  equal"));
  }
  CHECK(std::abs(std::strtod(row_of(o.out, "QBER         ").c_str(), nullptr) - 2.4) < 0.5);
  CHECK(has(row_of(o.out, "epsilon      "), "secrecy 1e-10, correctness 1e-15, authentication 5e-20"));
  CHECK(has(row_of(o.out, "blocks       "), " accepted"));
  for (const char* rate : {"sifted       ", "secret       "}) CHECK(has(row_of(o.out, rate), "bit/s"));
  CHECK(has(o.out, "\nNOT QUANTUM-SECURE: "));
  CHECK(has(o.out, "\n1000 of 1000 keys are equal at both ends\n"));
  CHECK_FALSE(has(o.out, "DIFFERENT"));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("demo: keeps to chunk, number and rate when they are given") {
  const auto o = run({"demo", "--keys", "10", "--chunk", "100", "--rate", "1000000"});
  INFO(o.err);
  CHECK(o.code == 0);
  CHECK(has(o.out, "10 keys of 100 octets"));
  CHECK(has(o.out, "1000000 bit/s"));
  CHECK(has(o.out, "10 of 10 keys are equal"));
}

TEST_CASE("demo: makes no key and says why when somebody measures the photons") {
  const test::temporary_folder folder;
  const other_temporary here{folder.path()};
  const auto o = run({"demo", "--eve", "0.5", "--block-bits", "65536"});
  INFO(o.out);
  INFO(o.err);
  CHECK(o.code == 0);
  CHECK(has(o.out, "\nno key: QBER "));
  CHECK(has(o.out, "is above the limit of 8.00 %"));
  CHECK(has(o.out, "this is as it must be\n"));
  CHECK(has(o.out, "\n  keys         0                     0                     equal\n"));
  const double qber = std::strtod(row_of(o.out, "QBER         ").c_str(), nullptr);
  CHECK(qber > 12.5);
  CHECK(qber < 17);
  CHECK(has(row_of(o.out, "blocks       "), "0 accepted, "));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("demo: fails and says what to change when the distance is too far for a key") {
  const auto o = run({"demo", "--km", "150", "--block-bits", "65536"});
  INFO(o.out);
  CHECK(o.code == 1);
  CHECK(has(o.err, "no key: "));
  CHECK(has(o.err, "150 km with 65,536 sifted bits a block is too much for this system"));
}

TEST_CASE("demo: distils over another distance and from other blocks when told to") {
  const auto o = run({"demo", "--km", "50", "--block-bits", "524288", "--keys", "100"});
  INFO(o.out);
  INFO(o.err);
  CHECK(o.code == 0);
  CHECK(has(o.out, "\n  link         50 km, proof lim14, 524,288 sifted bits a block\n"));
  CHECK(has(o.out, "\n100 of 100 keys are equal at both ends\n"));
}

TEST_CASE("demo: shows the first keys of each end only when asked") {
  const auto o = run({"demo", "--keys", "5", "--rate", "0", "--show-keys"});
  CHECK(o.code == 0);
  for (const char* index : {"0", "1", "2"}) {
    const std::string label = std::string{"  key "} + index + " at site-a  ";
    const auto at_a = o.out.find(label);
    REQUIRE(at_a != std::string::npos);
    const std::string key = o.out.substr(at_a + label.size(), 64);
    CHECK(has(o.out, std::string{"  key "} + index + " at site-b  " + key + "\n"));
  }
  CHECK_FALSE(has(o.out, "  key 3"));
  CHECK_FALSE(has(run({"demo", "--keys", "5", "--rate", "0"}).out, "  key 0"));
}

TEST_CASE("demo: names who ended and shows its log when a process dies") {
  const test::temporary_folder folder;
  const other_temporary here{folder.path()};
  constexpr std::array<const char*, 4> names{"site-b", "site-a", "alice", "bob"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    INFO(names[i]);
    ::unlink(folder.path("demo.err").c_str());
    long_demo running{folder};
    ::kill(running.parts[i], SIGKILL);
    const auto o = finish(running.demo);
    INFO(o.err);
    CHECK(o.code == 1);
    CHECK(has(o.err, std::string{names[i]} + " ended"));
    CHECK(has(o.err, "ended by signal 9"));
    if (i < 2) CHECK(has(o.err, "listening uri=qkd004://"));
    for (const pid_t id : running.parts) CHECK(has_ended(id));
  }
  ::unlink(folder.path("demo.err").c_str());
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("demo: takes its processes along and tidies up when it is interrupted") {
  const test::temporary_folder folder;
  const test::temporary_folder logs;
  const other_temporary here{folder.path()};
  long_demo running{logs};
  running.demo.signal(SIGINT);
  const auto o = finish(running.demo);
  CHECK(o.code == 1);
  CHECK(has(o.err, "interrupted"));
  for (const pid_t id : running.parts) CHECK(has_ended(id));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("demo: leaves no process and no secret behind when it is killed") {
  const test::temporary_folder folder;
  const test::temporary_folder logs;
  const other_temporary here{folder.path()};
  long_demo running{logs};
  running.demo.signal(SIGKILL);
  CHECK(running.demo.wait_exit(patience) == 128 + SIGKILL);
  for (const pid_t id : running.parts) CHECK(has_ended(id));
  for (const auto& entry : fs::recursive_directory_iterator{folder.path()})
    CHECK_FALSE(entry.path().extension() == ".secret");
}

TEST_CASE("demo: exits with 2 when the folder to keep exists") {
  const test::temporary_folder folder;
  const auto o = run({"demo", "--keep", folder.path()});
  CHECK(o.code == 2);
  CHECK(has(o.err, folder.path()));
}

TEST_CASE("leaks: are found when a key was planted, in every form") {
  const std::string keys =
      "0123456789abcdefghijklmnopqrstuv"
      "ABCDEFGHIJKLMNOPQRSTUVWXYZ\x01\x02\x03\xff\xfe\xfd";
  CHECK(leaks("a log line\nand another", keys, 32) == 0);
  for (std::size_t at = 0; at < keys.size(); at += 32) {
    const std::string key = keys.substr(at, 32);
    CHECK(leaks("before " + key + " after", keys, 32) >= 1);
    CHECK(leaks("before " + hex(key, "0123456789abcdef"), keys, 32) >= 1);
    CHECK(leaks(hex(key, "0123456789ABCDEF") + " after", keys, 32) >= 1);
    CHECK(leaks(base64(key), keys, 32) >= 1);
    CHECK(leaks(base64("x" + key), keys, 32) >= 1);
    CHECK(leaks(base64("xy" + key), keys, 32) >= 1);
  }
}

TEST_CASE("demo: lets no key into any output or log when everything is logged") {
  const test::temporary_folder folder;
  const std::string kept = folder.path("kept");
  const auto o = run({"demo", "--keys", "50", "--keep", kept, "--log-level", "debug"});
  INFO(o.err);
  REQUIRE(o.code == 0);
  const std::string keys = read_file(kept + "/alice.keys");
  REQUIRE(keys.size() == 50 * 32);
  REQUIRE(keys == read_file(kept + "/bob.keys"));
  const std::string secret = read_file(kept + "/link.secret");
  REQUIRE(secret.size() == 4'096);

  std::string text = o.out + o.err;
  std::size_t logs = 0;
  for (const auto& entry : fs::directory_iterator{kept}) {
    const auto kind = entry.path().extension();
    if (kind == ".keys" || kind == ".secret") continue;
    logs += kind == ".log" ? 1U : 0U;
    text += read_file(entry.path());
  }
  CHECK(logs == 4);
  CHECK(has(text, "site-a+site-b"));  // the logs are in it
  CHECK(leaks(text, keys, 32) == 0);
  CHECK(leaks(text, secret, 32) == 0);
}

TEST_CASE("demo: goes over TLS when asked, and lets no private key into any output or log") {
  const test::temporary_folder folder;
  const std::string kept = folder.path("kept");
  const auto o = run({"demo", "--tls", "--keys", "50", "--keep", kept, "--log-level", "debug"});
  INFO(o.out);
  INFO(o.err);
  REQUIRE(o.code == 0);
  CHECK(has(o.out, "\nsite-a listens on qkd004s://127.0.0.1:"));
  CHECK(has(o.out, "  transport    TLS 1.3, certificates at both ends\n"));
  CHECK(has(o.out, "BB84 with decoy states in software, simulated-over-tls\n"));
  CHECK(has(o.out, "\n50 of 50 keys are equal at both ends\n"));
  std::string text = o.out + o.err;
  for (const char* log : {"/site-a.log", "/site-b.log", "/alice.log", "/bob.log"})
    text += read_file(kept + log);
  CHECK(has(text, "qkd004s://"));
  CHECK(has(text,
            "NOT QUANTUM-SECURE: simulated photons, whose seeds cross between the sites under TLS alone"));
  for (const char* name : {"authority", "site-a", "site-b", "alice", "bob"}) {
    const std::string key = read_file(kept + "/certs/" + name + ".key");
    // the second line of PEM is Base64; its begin is the same for every key of this kind
    const std::string secret = key.substr(key.find('\n') + 1 + 48, 16);
    REQUIRE(secret.size() == 16);
    CHECK_FALSE(has(text, secret));
  }
}

TEST_CASE("commands: let no key into any output or log when everything is logged") {
  test::site_pair sites;
  const std::string ksid = sites.open(sites.a);
  std::string keys;
  std::string text;
  for (auto* site : {&sites.a, &sites.b}) {
    const std::string file = sites.folder.path(site->name + ".keys");
    const auto got = sites.application(*site, {"get", "--ksid", ksid, "-n", "50", "--out", file});
    REQUIRE(got.code == 0);
    text += got.out + got.err;
    keys += read_file(file);
  }
  REQUIRE(keys.size() == 2 * 50 * 32);
  CHECK(keys.substr(0, keys.size() / 2) == keys.substr(keys.size() / 2));
  for (auto* site : {&sites.a, &sites.b}) {
    site->daemon->signal(SIGTERM);
    CHECK(site->daemon->wait_exit(patience) == 0);
    text += sites.log(*site);
  }
  CHECK(has(text, "delivered_keys=50"));
  CHECK(leaks(text, keys, 32) == 0);
  CHECK(leaks(text, read_file(sites.folder.path("link.secret")), 32) == 0);
}
