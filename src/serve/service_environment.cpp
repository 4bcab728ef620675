// SPDX-License-Identifier: Apache-2.0
#include "serve/service_environment.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "serve/printable.hpp"

namespace qkd004::serve {

namespace {

/// The first descriptor that is given (SD_LISTEN_FDS_START).
constexpr int first_given = 3;
/// More than this is no set of listeners.
constexpr std::uint64_t most_given = 1'024;

/// A variable, which is then gone. In a program with more rights than its user the environment is the user's, and nothing
/// is taken.
std::string taken(const char* name) {
  const char* const value = ::secure_getenv(name);
  std::string text = value != nullptr ? value : "";
  ::unsetenv(name);
  return text;
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_me(std::string_view pid) { return number_of(pid) == static_cast<std::uint64_t>(::getpid()); }

std::vector<std::string> names_of(std::string_view text) {
  std::vector<std::string> names;
  while (true) {
    const auto colon = text.find(':');
    names.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return names;
    text.remove_prefix(colon + 1);
  }
}

}  // namespace

result<service_environment> service_environment::take(std::string* why) {
  const auto fail = [why](std::string text, std::error_code error) {
    if (why != nullptr) *why = std::move(text);
    return error;
  };
  // all of them first: whatever is wrong with one, none is left
  service_environment found;
  found.notify_socket = taken("NOTIFY_SOCKET");
  const std::string watchdog = taken("WATCHDOG_USEC");
  const std::string watchdog_pid = taken("WATCHDOG_PID");
  const std::string count = taken("LISTEN_FDS");
  const std::string pid = taken("LISTEN_PID");
  const std::string names = taken("LISTEN_FDNAMES");

  if (!watchdog.empty() && (watchdog_pid.empty() || is_me(watchdog_pid))) {
    const auto microseconds = number_of(watchdog);
    constexpr std::uint64_t day = std::uint64_t{24} * 3'600 * 1'000'000;
    if (!microseconds || *microseconds == 0) {
      return fail(fmt::format("WATCHDOG_USEC='{}' is no number of microseconds", printable(watchdog)),
                  status::invalid_argument);
    }
    found.watchdog = std::chrono::microseconds{std::min(*microseconds, day)};
  }

  if (count.empty() || !is_me(pid)) return found;
  const auto sockets = number_of(count);
  if (!sockets || *sockets > most_given) {
    return fail(fmt::format("LISTEN_FDS='{}' is no number of sockets", printable(count)),
                status::invalid_argument);
  }
  auto named = names.empty() ? std::vector<std::string>(*sockets, "unknown") : names_of(names);
  if (named.size() != *sockets) {
    return fail(fmt::format("LISTEN_FDNAMES='{}' are not {} names", printable(names), *sockets),
                status::invalid_argument);
  }
  for (std::size_t i = 0; i < named.size(); ++i) {
    const int descriptor = first_given + static_cast<int>(i);
    if (::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) {
      const std::error_code error{errno, std::generic_category()};
      return fail(
          fmt::format("LISTEN_FDS={}, but descriptor {} is none: {}", *sockets, descriptor, error.message()),
          error);
    }
    found.sockets.push_back({std::move(named[i]), descriptor});
  }
  return found;
}

bool writes_to_journal() {
  const char* const value = ::secure_getenv("JOURNAL_STREAM");
  if (value == nullptr) return false;
  const std::string_view text{value};
  const auto colon = text.find(':');
  struct stat here {};
  if (colon == std::string_view::npos || ::fstat(STDERR_FILENO, &here) != 0) return false;
  return number_of(text.substr(0, colon)) == here.st_dev && number_of(text.substr(colon + 1)) == here.st_ino;
}

}  // namespace qkd004::serve
