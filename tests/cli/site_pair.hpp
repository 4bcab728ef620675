// site_pair: two sites served by the real program, and the program run to its end; in a folder that goes away.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/certs.hpp"
#include "cli/process.hpp"
#include "cli/secret.hpp"

namespace qkd004::cli::test {

using namespace std::chrono_literals;

/// More than anything here takes, on a busy machine.
inline constexpr std::chrono::milliseconds patience{20'000};

class temporary_folder {
 public:
  temporary_folder() : folder_{std::filesystem::temp_directory_path() / "qkd004-test-XXXXXX"} {
    if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error{"mkdtemp"};
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  [[nodiscard]] const std::string& path() const noexcept { return folder_; }
  [[nodiscard]] std::string path(std::string_view name) const { return folder_ + "/" + std::string{name}; }

 private:
  std::string folder_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream out{path, std::ios::binary};
  out << text;
}

inline process start(const temporary_folder& folder, std::string_view log,
                     std::vector<std::string> arguments) {
  return process::start({QKD004_PROGRAM, std::move(arguments), folder.path(log)}).value();
}

struct outcome {
  int code = -1;
  std::string out;
  std::string err;

  /// The first line of the output.
  [[nodiscard]] std::string line() const { return out.substr(0, out.find('\n')); }
};

inline outcome finish(process& p) {
  outcome o;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto line = p.wait_line(patience);
    if (!line) break;
    o.out += *line + "\n";
  }
  o.code = p.wait_exit(patience).value_or(-1);
  o.err = read_file(p.log());
  return o;
}

/// Runs the program to its end.
inline outcome run(std::vector<std::string> arguments) {
  const temporary_folder folder;
  auto p = start(folder, "err", std::move(arguments));
  return finish(p);
}

inline bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// What the sites of a pair listen on.
enum class over { tcp, tls, unix_socket };

/// A link that distils, and further lines of its key sources.
struct distilling {
  std::string settings;
};

class site_pair {
 public:
  struct site {
    std::string name;
    std::string uri;
    std::optional<process> daemon;
  };

  /// `settings` stands at the top of both files, `rate` in their key sources.
  explicit site_pair(std::string settings = "", std::string rate = "1_000_000", over transport = over::tcp)
      : settings_{std::move(settings)}, rate_{std::move(rate)}, over_{transport} {
    std::string why;
    if (over_ == over::tls && !create_certs({folder.path("certs")}, &why)) throw std::runtime_error{why};
    if (!create_secret(folder.path("link.secret"), &why)) throw std::runtime_error{why};
    start_b();
    start_a();
  }

  explicit site_pair(distilling link) : software_{std::move(link.settings)} {
    std::string why;
    if (!create_auth_key(folder.path("link.secret"), usual_auth_key, &why)) throw std::runtime_error{why};
    start_b();
    start_a();
  }

  void start_a() { serve(a, "site-b", "address = \"" + b.uri + "\"\n", listen_on(a)); }
  /// A second start listens where the first one did: site-a still dials that.
  void start_b() { serve(b, "site-a", "", b.uri.empty() ? listen_on(b) : b.uri); }

  static void kill(site& s) {
    s.daemon->signal(SIGKILL);
    REQUIRE(s.daemon->wait_exit(patience) == 128 + SIGKILL);
  }

  /// What an application shows over TLS, and whom it expects there.
  [[nodiscard]] std::vector<std::string> shown(const std::string& application,
                                               const std::string& expected) const {
    const std::string name = folder.path("certs/" + application);
    return {"--certificate", name + ".pem", "--key",
            name + ".key",   "--authority", folder.path("certs/authority.pem"),
            "--server",      expected};
  }

  /// A command of an application at that site: over TLS, of alice at site-a and bob at site-b.
  outcome application(const site& at, std::vector<std::string> arguments) const {
    if (over_ == over::tls) {
      const auto with = shown(&at == &a ? "alice" : "bob", "qkd://" + at.name);
      arguments.insert(arguments.end(), with.begin(), with.end());
    }
    return anybody(at, std::move(arguments));
  }

  /// A command that shows a certificate only if it is among the arguments.
  outcome anybody(const site& at, std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--uri", at.uri, "--allow-unlocked"});
    if (arguments[0] != "close") arguments.insert(arguments.end(), ends.begin(), ends.end());
    return run(std::move(arguments));
  }

  /// Takes keys into a file, and gives back their octets.
  std::string keys(const site& at, const std::string& ksid, std::size_t count) {
    const std::string file = folder.path("keys-" + std::to_string(++files_));
    const auto got = application(at, {"get", "--ksid", ksid, "-n", std::to_string(count), "--out", file});
    INFO(got.err);
    REQUIRE(got.code == 0);
    return read_file(file);
  }

  std::string open(const site& at) {
    const auto opened = application(at, {"open"});
    INFO(opened.err);
    REQUIRE(opened.code == 0);
    return opened.line();
  }

  [[nodiscard]] std::string log(const site& s) const { return read_file(folder.path(s.name + ".log")); }

  temporary_folder folder;
  site a{"site-a", {}, {}};
  site b{"site-b", {}, {}};
  std::vector<std::string> serve_with;  ///< further arguments, from the next start on
  std::vector<std::string> ends{"--source", "qkd://alice@site-a", "--destination", "qkd://bob@site-b"};

 private:
  [[nodiscard]] std::string listen_on(const site& s) const {
    if (over_ == over::unix_socket) return "unix:" + folder.path(s.name + ".socket");
    return over_ == over::tls ? "qkd004s://127.0.0.1:0" : "qkd004://127.0.0.1:0";
  }

  [[nodiscard]] std::string source_of(const site& s) const {
    if (!software_) return "kind = \"seeded\"\nsecret_file = \"link.secret\"\nrate_bps = " + rate_ + "\n";
    return "kind = \"software\"\nrole = \"" + std::string{&s == &a ? "alice" : "bob"} +
           "\"\nauth_key_file = \"link.secret\"\nauth_state_file = \"" + s.name + ".state\"\n" + *software_;
  }

  void serve(site& s, const std::string& peer, const std::string& address, const std::string& listen) {
    const std::string file = folder.path(s.name + ".toml");
    const std::string tls = "[tls]\ncertificate = \"certs/" + s.name + ".pem\"\nkey = \"certs/" + s.name +
                            ".key\"\nauthority = \"certs/authority.pem\"\n";
    write_file(file, "node = \"" + s.name + "\"\nlisten = [\"" + listen + "\"]\n" + settings_ + "\n" +
                         (over_ == over::tls ? tls : "") +
                         "[memory]\nallow_unlocked = true\n[[peer]]\nnode = \"" + peer + "\"\n" + address +
                         "[peer.source]\n" + source_of(s));
    std::vector<std::string> arguments{"serve", "--config", file, "--log-level", "debug"};
    arguments.insert(arguments.end(), serve_with.begin(), serve_with.end());
    s.daemon.emplace(start(folder, s.name + ".log", std::move(arguments)));
    const auto line = s.daemon->wait_line(patience);
    INFO(log(s));
    REQUIRE(line);
    REQUIRE(line->starts_with("listening "));
    s.uri = line->substr(10);
  }

  std::string settings_;
  std::string rate_;
  std::optional<std::string> software_;
  over over_ = over::tcp;
  int files_ = 0;
};

}  // namespace qkd004::cli::test
