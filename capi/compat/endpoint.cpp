// SPDX-License-Identifier: Apache-2.0
#include "endpoint.hpp"

#include <sys/auxv.h>

#include <cstdlib>
#include <new>
#include <sstream>
#include <utility>

namespace qkd004::compat {

namespace {

/// The value of a variable; false if it is set, and empty: more likely a mistake than a wish.
bool read(const char* name, std::string& value, std::string& why) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return true;
  value = text;
  if (!value.empty()) return true;
  why = std::string{name} + " is set, but empty";
  return false;
}

bool read(const char* name, bool& value, std::string& why) {
  std::string text;
  if (!read(name, text, why)) return false;
  value = text == "1";
  if (value || text.empty() || text == "0") return true;
  why = std::string{name} + " is neither 0 nor 1";
  return false;
}

/// `NAME=URI` for a destination as the program writes it, `URI` or `*=URI` for all others; spaces between
/// them, which no URI has.
bool read_destinations(const std::string& text, settings& s, std::string& why) {
  std::istringstream entries{text};
  for (std::string entry; entries >> entry;) {
    const auto equals = entry.find('=');
    const std::string name = equals == std::string::npos ? "*" : entry.substr(0, equals);
    std::string uri = equals == std::string::npos ? entry : entry.substr(equals + 1);
    const bool fresh =
        name != "*" ? s.destinations.try_emplace(name, uri).second : s.default_destination.empty();
    if (name.empty() || uri.empty() || !fresh) {
      why = "QKD004_DESTINATION: \"" + entry + "\" is not NAME=URI or URI, or comes twice";
      return false;
    }
    if (name == "*") s.default_destination = std::move(uri);
  }
  return true;
}

const char* or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

}  // namespace

bool read_settings(settings& s, std::string& why) {
  // Whoever may run a set-user-ID program must not tell it where its keys come from.
  if (::getauxval(AT_SECURE) != 0) {
    why = "refused in a program that runs with more rights than its user: the environment is the user's";
    return false;
  }
  std::string destination;
  if (!read("QKD004_URI", s.uri, why) || !read("QKD004_CERTIFICATE", s.certificate, why) ||
      !read("QKD004_KEY", s.key, why) || !read("QKD004_AUTHORITY", s.authority, why) ||
      !read("QKD004_SERVER", s.server, why) || !read("QKD004_APPLICATION", s.application, why) ||
      !read("QKD004_DESTINATION", destination, why) ||
      !read("QKD004_ALLOW_INSECURE", s.allow_insecure, why) ||
      !read("QKD004_ALLOW_UNLOCKED", s.allow_unlocked, why) || !read_destinations(destination, s, why)) {
    return false;
  }
  s.in_process = s.uri.empty();
  // Half an environment is a mistake: simulated keys in place of real ones should not come of it.
  const std::pair<const char*, const std::string&> of_a_key_manager[] = {
      {"QKD004_APPLICATION", s.application}, {"QKD004_DESTINATION", destination},
      {"QKD004_CERTIFICATE", s.certificate}, {"QKD004_KEY", s.key},
      {"QKD004_AUTHORITY", s.authority},     {"QKD004_SERVER", s.server}};
  for (const auto& [name, value] : of_a_key_manager) {
    if (s.in_process && !value.empty()) {
      why = std::string{name} + " is set, but QKD004_URI is not";
      return false;
    }
  }
  return true;
}

std::unique_ptr<endpoint> endpoint::open(settings s, std::string& said) {
  std::unique_ptr<endpoint> e{new endpoint{std::move(s)}};
  const settings& wanted = e->settings_;
  if (wanted.in_process) {
    qkd004_manager_options options = QKD004_MANAGER_OPTIONS_INIT;
    options.allow_unlocked = 1;  // there is no secret in it
    if (qkd004_manager_open(&options, &e->manager_) != 0 ||
        qkd004_manager_connect(e->manager_, 0, nullptr, &e->clients_[0]) != 0 ||
        qkd004_manager_connect(e->manager_, 1, nullptr, &e->clients_[1]) != 0) {
      said = qkd004_last_error();
      return nullptr;
    }
    said = "QKD004_URI is not set: keys are simulated, in process, not secret";
    return e;
  }
  qkd004_connect_options options = QKD004_CONNECT_OPTIONS_INIT;
  options.certificate = or_null(wanted.certificate);
  options.key = or_null(wanted.key);
  options.authority = or_null(wanted.authority);
  options.server = or_null(wanted.server);
  options.allow_insecure = wanted.allow_insecure ? 1 : 0;
  options.allow_unlocked = wanted.allow_unlocked ? 1 : 0;
  if (qkd004_connect(wanted.uri.c_str(), &options, &e->clients_[0]) != 0) {
    said = "QKD004_URI " + wanted.uri + ": " + qkd004_last_error();
    return nullptr;
  }
  return e;
}

endpoint::~endpoint() {
  for (qkd004_client* const c : clients_) {
    if (c != nullptr) qkd004_client_close(c);
  }
  if (manager_ != nullptr) qkd004_manager_close(manager_);
}

}  // namespace qkd004::compat
