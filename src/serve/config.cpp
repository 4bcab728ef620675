// SPDX-License-Identifier: Apache-2.0
#include "serve/config.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "net/address.hpp"
#include "qkd004/routing.hpp"
#include "serve/printable.hpp"
#include "software/options_text.hpp"

namespace qkd004::serve {

namespace {

constexpr std::size_t longest_name =
    255;  ///< octets of node ids and link names, as the peers' hello carries them
constexpr std::size_t largest_file = std::size_t{1} << 20;
constexpr std::int64_t kib = 1024;
constexpr std::int64_t mib = 1024 * kib;
constexpr std::int64_t gib = 1024 * mib;

constexpr std::string_view needs_tls = "needs [tls], which names the certificate, the key and the authority";

/// What is wrong with the file, and where.
class problems {
 public:
  explicit problems(std::string file) : file_{std::move(file)} {}

  void add(const toml::source_position& at, std::string text) {
    found_.emplace_back(at.line, at.column, std::move(text));
  }
  void add(const toml::node& at, std::string text) { add(at.source().begin, std::move(text)); }

  [[nodiscard]] bool none() const noexcept { return found_.empty(); }

  /// A line each, in the file's order.
  [[nodiscard]] std::string text() {
    std::stable_sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) {
      return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
    });
    std::string lines;
    for (const auto& [line, column, what] : found_) {
      if (!lines.empty()) lines += '\n';
      lines += fmt::format("{}:{}:{}: {}", file_, line, column, printable(what));
    }
    return lines;
  }

 private:
  std::string file_;
  std::vector<std::tuple<toml::source_index, toml::source_index, std::string>> found_;
};

std::string_view type_name(toml::node_type type) {
  switch (type) {
    case toml::node_type::none: return "nothing";
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "true or false";
    default: return "a date or time";
  }
}

struct bounds {
  std::int64_t least;
  std::int64_t most;
};

/// One table of the file, read key by key; done() reports the keys that nobody asked for.
class section {
 public:
  /// `name` is as in the file, empty for the top of it.
  section(const toml::table& table, std::string name, problems& out)
      : table_{table}, name_{std::move(name)}, problems_{out} {}

  void complain(const toml::node& at, std::string_view key, std::string_view what) {
    problems_.add(at, fmt::format("{}: {}", full(key), what));
  }
  void complain(std::string_view key, std::string_view what) {
    const toml::node* const node = table_.get(key);
    complain(node != nullptr ? *node : table_, key, what);
  }

  const toml::node* find(std::string_view key, toml::node_type wanted) {
    known_.emplace(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr || node->type() == wanted) return node;
    complain(*node, key, fmt::format("is {}; it must be {}", type_name(node->type()), type_name(wanted)));
    return nullptr;
  }

  /// Whether the key is there, of whatever type.
  [[nodiscard]] bool has(std::string_view key) const { return table_.get(key) != nullptr; }

  enum class presence : std::uint8_t { optional, required };

  /// A string that is not empty.
  void text(std::string_view key, std::string& value, presence p = presence::optional) {
    const toml::node* const node = find(key, toml::node_type::string);
    if (node == nullptr) {
      if (p == presence::required && !has(key)) complain(key, "is missing");
      return;
    }
    value = node->as_string()->get();
    if (value.empty()) complain(*node, key, "is empty");
  }

  /// An array of strings; `check` returns what is wrong with one, or nothing.
  template <class Check>
  void texts(std::string_view key, std::vector<std::string>& values, Check&& check) {
    const toml::node* const node = find(key, toml::node_type::array);
    if (node == nullptr) return;
    for (const toml::node& element : *node->as_array()) {
      if (!element.is_string()) {
        complain(element, key, fmt::format("has {}; it is an array of strings", type_name(element.type())));
        continue;
      }
      values.push_back(element.as_string()->get());
      if (const std::string wrong = check(values.back()); !wrong.empty()) complain(element, key, wrong);
    }
  }

  template <class Integer>
  void number(std::string_view key, Integer& value, bounds allowed) {
    const toml::node* const node = find(key, toml::node_type::integer);
    if (node == nullptr) return;
    const std::int64_t given = node->as_integer()->get();
    if (given < allowed.least || given > allowed.most) {
      return complain(*node, key,
                      fmt::format("is {}; it may be from {} to {}", given, allowed.least, allowed.most));
    }
    value = static_cast<Integer>(given);
  }

  void milliseconds(std::string_view key, std::chrono::milliseconds& value) {
    std::int64_t count = value.count();
    number(key, count, {1, 24 * 3'600 * 1'000});
    value = std::chrono::milliseconds{count};
  }

  /// A number with or without a fraction; false: it is not there, or something else.
  bool real(std::string_view key, double& value) {
    known_.emplace(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr) return false;
    return real_of(*node, key, value);
  }

  /// An array of pairs of such numbers, as many as `values` has at the most. Returns how many there are.
  template <class Pair, std::size_t N>
  std::size_t pairs(std::string_view key, std::array<Pair, N>& values) {
    const toml::node* const node = find(key, toml::node_type::array);
    if (node == nullptr) return 0;
    const toml::array& list = *node->as_array();
    if (list.empty()) complain(*node, key, "is empty");
    std::size_t count = 0;
    for (const toml::node& element : list) {
      const toml::array* const pair = element.as_array();
      if (pair == nullptr || pair->size() != 2 || count == N) {
        complain(element, key, fmt::format("is an array of up to {} pairs of numbers, [[0.4, 0.5], ...]", N));
        return 0;
      }
      auto& [first, second] = values[count++];
      if (!real_of(*pair->get(0), key, first) || !real_of(*pair->get(1), key, second)) return 0;
    }
    return count;
  }

  /// One of a few words.
  template <class Value>
  void word(std::string_view key, Value& value,
            std::initializer_list<std::pair<std::string_view, Value>> words,
            presence p = presence::optional) {
    std::string given;
    text(key, given, p);
    if (given.empty()) return;
    std::string known;
    for (const auto& [name, meant] : words) {
      if (given == name) {
        value = meant;
        return;
      }
      known += fmt::format("{}\"{}\"", known.empty() ? "" : " and ", name);
    }
    complain(key, fmt::format("'{}' is not known; {} are", given, known));
  }

  void flag(std::string_view key, bool& value) {
    if (const toml::node* const node = find(key, toml::node_type::boolean)) value = node->as_boolean()->get();
  }

  /// A table within this one.
  std::optional<section> sub(std::string_view key) {
    const toml::node* const node = find(key, toml::node_type::table);
    if (node == nullptr) return std::nullopt;
    return section{*node->as_table(), full(key), problems_};
  }

  /// Tables within this one that are written [[key]], as often as they are there.
  template <class Read>
  void tables(std::string_view key, Read&& read) {
    const toml::node* const list = find(key, toml::node_type::array);
    if (list == nullptr) return;
    // an empty list would be as if the key were not there, and that is not what it looks like
    if (list->as_array()->empty()) complain(*list, key, "is empty");
    for (const toml::node& element : *list->as_array()) {
      if (!element.is_table()) {
        complain(element, key, fmt::format("is written [[{}]]", full(key)));
        continue;
      }
      section s{*element.as_table(), full(key), problems_};
      read(s);
      s.done();
    }
  }

  void done() {
    for (const auto& [key, node] : table_) {
      if (known_.contains(key.str())) continue;
      problems_.add(key.source().begin,
                    fmt::format("unknown key '{}'; {} may have {}", full(key.str()),
                                name_.empty() ? "a site" : name_, fmt::join(known_, ", ")));
    }
  }

  [[nodiscard]] std::string full(std::string_view key) const {
    return name_.empty() ? std::string{key} : fmt::format("{}.{}", name_, key);
  }

 private:
  bool real_of(const toml::node& node, std::string_view key, double& value) {
    if (const auto number = node.value<double>(); number && (node.is_integer() || node.is_floating_point())) {
      value = *number;
      return true;
    }
    complain(node, key, fmt::format("is {}; it must be a number", type_name(node.type())));
    return false;
  }

  const toml::table& table_;
  std::string name_;
  problems& problems_;
  std::set<std::string, std::less<>> known_;
};

using presence = section::presence;

/// What is wrong with a node id, or nothing.
std::string wrong_with_node(const std::string& node) {
  const std::string uri = "application@" + node;
  if (node.size() > longest_name) return fmt::format("is longer than {} octets", longest_name);
  if (!is_uri(uri, uri.size()) || node_of(uri) != node) {
    return fmt::format("'{}' cannot be a node id: it has to stand in qkd://application@node", node);
  }
  return {};
}

std::string wrong_with_address(const std::string& uri) {
  std::string why;
  return net::parse_address(uri, &why) ? std::string{} : why;
}

std::string wrong_with_listener(const std::string& uri) {
  std::string why;
  return net::parse_listener(uri, &why) ? std::string{} : why;
}

bool over_tls(const std::string& uri) {
  const auto address = net::parse_listener(uri);
  return address && address->kind == net::scheme::tls;
}

std::string wrong_with_pattern(const std::string& text) {
  return text.empty() ? "has an empty string" : std::string{};
}

class reader {
 public:
  reader(const std::string& file, problems& out)
      : folder_{std::filesystem::path{file}.parent_path()}, problems_{out} {}

  site_config read(const toml::table& root) {
    site_config config;
    section top{root, "", problems_};
    net::site_options& site = config.site;

    node(top, "node", site.manager.node);
    top.texts("listen", site.listen, [&](const std::string& uri) {
      std::string wrong = wrong_with_listener(uri);
      if (over_tls(uri) && !top.has("tls")) wrong = fmt::format("'{}' {}", uri, needs_tls);
      return wrong;
    });
    if (!top.has("listen")) top.complain("listen", "is missing");
    if (const auto* list = root.get_as<toml::array>("listen"); list != nullptr && list->empty()) {
      top.complain("listen", "has no address");
    }
    top.texts("local_uris", site.manager.local_uris, wrong_with_pattern);
    top.flag("allow_insecure", site.allow_insecure);
    top.flag("insist_on_peer", site.manager.insist_on_peer);
    top.flag("self_link", site.self_link);
    top.number("unix_mode", site.unix_mode, {0, 0777});
    tls(top, site.tls);
    access(top, site.access);
    memory(top, site.memory);
    limits(top, site.manager.limits);
    timeouts(top, site.timeouts);
    peers(top, config);
    push(top, config);
    operations(top, config.viewers);
    log(top, config.log);
    if (site.self_link && !site.peers.empty())
      top.complain("self_link", "a site that is its own peer has no other");
    if (problems_.none()) fits(top, config);
    top.done();
    return config;
  }

 private:
  void node(section& s, std::string_view key, std::string& value) {
    s.text(key, value, presence::required);
    if (value.empty()) return;
    if (const std::string wrong = wrong_with_node(value); !wrong.empty()) s.complain(key, wrong);
  }

  static void memory(section& top, secret_options& o) {
    auto s = top.sub("memory");
    if (!s) return;
    s->number("bytes", o.bytes, {64 * kib, 64 * gib});
    s->flag("allow_unlocked", o.allow_unlocked);
    s->done();
  }

  void tls(section& top, std::optional<net::tls_options>& o) {
    auto s = top.sub("tls");
    if (!s) return;
    auto& tls = o.emplace();
    path(*s, "certificate", tls.certificate, presence::required);
    path(*s, "key", tls.key, presence::required);
    path(*s, "authority", tls.authority, presence::required);
    s->flag("allow_tls_1_2", tls.allow_tls_1_2);
    s->done();
  }

  static void log(section& top, log_settings& o) {
    auto s = top.sub("log");
    if (!s) return;
    using net::log_level;
    log_level level{};
    s->word<log_level>("level", level,
                       {{"debug", log_level::debug},
                        {"info", log_level::info},
                        {"notice", log_level::notice},
                        {"warning", log_level::warning},
                        {"error", log_level::error}});
    if (s->has("level")) o.level = level;
    log_format format{};
    s->word<log_format>(
        "format", format,
        {{"auto", log_format::automatic}, {"plain", log_format::plain}, {"journal", log_format::journal}});
    if (s->has("format")) o.format = format;
    s->done();
  }

  static void access(section& top, std::vector<net::access_rule>& rules) {
    top.tables("access", [&](section& s) {
      net::access_rule rule;
      s.text("identity", rule.identity, presence::required);
      s.text("local", rule.local);
      s.text("remote", rule.remote);
      rules.push_back(std::move(rule));
    });
  }

  static void limits(section& top, qkd004::limits& o) {
    auto s = top.sub("limits");
    if (!s) return;
    s->number("max_chunk", o.max_chunk, {1, mib});
    s->number("ring_chunks", o.ring_chunks, {2, 65'536});
    if (!std::has_single_bit(o.ring_chunks)) {
      s->complain("ring_chunks", fmt::format("is {}; it must be a power of two", o.ring_chunks));
    }
    s->number("ring_bytes", o.ring_bytes, {4 * kib, gib});
    s->number("max_streams", o.max_streams, {1, 10'000'000});
    s->number("max_retired", o.max_retired, {1, 100'000'000});
    s->number("max_waiting", o.max_waiting, {1, 10'000'000});
    s->number("pool_bytes", o.pool_bytes, {kib, gib});
    s->number("max_uri", o.max_uri, {16, 2'000});
    s->number("max_reported", o.max_reported, {1, 10'000});
    s->number("max_connections", o.max_connections, {1, 1'000'000});
    s->number("max_frame", o.max_frame, {8 * kib, 16 * mib});
    s->number("max_in_flight", o.max_in_flight, {1, 65'536});
    s->number("max_unsent", o.max_unsent, {4 * kib, gib});
    s->number("max_log_lines", o.max_log_lines, {1, 1'000'000});
    s->done();
  }

  static void timeouts(section& top, net::site_timeouts& o) {
    auto s = top.sub("timeouts");
    if (!s) return;
    s->milliseconds("silence_ms", o.silence);
    s->milliseconds("frame_ms", o.frame);
    s->milliseconds("unsent_ms", o.unsent);
    s->milliseconds("linger_ms", o.linger);
    s->milliseconds("dial_ms", o.dial);
    s->milliseconds("handshake_ms", o.handshake);
    s->done();
  }

  void peers(section& top, site_config& config) {
    std::set<std::string, std::less<>> seen;
    top.tables("peer", [&](section& s) { peer(s, config, seen); });
  }

  void peer(section& s, site_config& config, std::set<std::string, std::less<>>& seen) {
    const std::string& here = config.site.manager.node;
    net::peer_options p;
    node(s, "node", p.link.peer);
    if (!p.link.peer.empty()) {
      if (p.link.peer == here) s.complain("node", fmt::format("'{}' is this site itself", here));
      if (!seen.insert(p.link.peer).second)
        s.complain("node", fmt::format("'{}' is a peer already", p.link.peer));
    }

    p.link.name = std::min(here, p.link.peer) + "+" + std::max(here, p.link.peer);
    s.text("link", p.link.name);
    if (p.link.name.size() > longest_name) {
      s.complain("link", fmt::format("the link's name has more than {} octets", longest_name));
    }

    s.text("address", p.address);
    if (!p.address.empty()) {
      may_dial(s, "address", p.address, config.site);
    } else if (!s.has("address") && !here.empty() && here < p.link.peer) {
      s.complain("address", fmt::format("is missing: '{}' sorts before '{}', so it is this site that dials",
                                        here, p.link.peer));
    }
    s.texts("destinations", p.link.destinations, wrong_with_pattern);

    s.text("identity", p.identity);
    if (!p.identity.empty() && !config.site.tls) {
      s.complain("identity", fmt::format("'{}' is proven by a certificate and {}", p.identity, needs_tls));
    } else if (!p.identity.empty() && !p.address.empty() && !over_tls(p.address)) {
      s.complain("identity", "is proven over TLS only, and the address is not qkd004s://");
    }

    auto source = s.sub("source");
    if (!source && !s.has("source"))
      s.complain("source", "is missing: [peer.source] says where the link's key comes from");
    if (source) {
      if (auto settings = key_source(*source, believed_over(config.site, p), config.site)) {
        config.key_sources.push_back(std::move(*settings));
        config.site.peers.push_back(std::move(p));
      }
    }
  }

  /// What simulated key is that crosses between the sites: only where the peer is believed over nothing but TLS, nobody
  /// else reads along.
  static security_class believed_over(const net::site_options& site, const net::peer_options& p) {
    const bool tls_only =
        !p.identity.empty() || over_tls(p.address) ||
        (p.address.empty() && std::all_of(site.listen.begin(), site.listen.end(), over_tls));
    return tls_only ? security_class::simulated_over_tls : security_class::simulated_insecure;
  }

  std::optional<key_source_settings> key_source(section& s, security_class simulated,
                                                const net::site_options& site) {
    std::string kind;
    s.text("kind", kind, presence::required);
    if (kind == "software") return software(s, simulated);
    if (kind == "seeded") return seeded(s);
    if (kind == "file") return file(s);
    if (kind == "push") return pushed(s, site);
    if (kind == "given") {
      s.done();
      return given_settings{};
    }
    if (!kind.empty()) {
      s.complain(
          "kind",
          fmt::format("'{}' is not known; \"software\", \"push\", \"seeded\", \"file\" and \"given\" are",
                      kind));
    }
    return std::nullopt;
  }

  key_source_settings software(section& s, security_class simulated) {
    using role = software_link_end_options::role;
    software_settings o;
    o.end.security = simulated;
    s.word<role>("role", o.end.which, {{"alice", role::alice}, {"bob", role::bob}}, presence::required);
    path(s, "auth_key_file", o.end.auth_key, presence::required);
    path(s, "auth_state_file", o.end.auth_state, presence::required);
    if (!o.end.auth_key.empty() && o.end.auth_state == o.end.auth_key) {
      s.complain("auth_state_file", "is the file of the key itself");
    }

    software_link_options& link = o.link;
    decoy_bb84& system = link.system;
    s.word<decoy_proof>("proof", system.proof, {{"lim14", decoy_proof::lim14}, {"w24", decoy_proof::w24}});
    s.word<photon_sampling>("sampling", link.sampling,
                            {{"events", photon_sampling::events}, {"blocks", photon_sampling::blocks}});
    s.word<leak_account>(
        "leak", link.leak,
        {{"alice_only", leak_account::alice_only}, {"both_directions", leak_account::both_directions}});
    bool possible = real_option(s, "km", link, &decoy_bb84::km);
    possible &= real_option(s, "loss_db_per_km", link, &decoy_bb84::loss_db_per_km);
    possible &= real_option(s, "efficiency", link, &decoy_bb84::efficiency);
    possible &= real_option(s, "dark_count", link, &decoy_bb84::dark_count);
    possible &= real_option(s, "afterpulse", link, &decoy_bb84::afterpulse);
    possible &= real_option(s, "misalignment", link, &decoy_bb84::misalignment);
    possible &= real_option(s, "x_basis", link, &decoy_bb84::x_basis);
    possible &= real_option(s, "eps_sec", link, &decoy_bb84::eps_sec);
    possible &= real_option(s, "eps_cor", link, &decoy_bb84::eps_cor);
    possible &= real_option(s, "qber_limit", link, &software_link_options::qber_limit);
    possible &= real_option(s, "intercept_resend", link, &software_link_options::intercept_resend);
    possible &= whole_option(s, "dead_pulses", link, &decoy_bb84::dead_pulses);
    possible &= whole_option(s, "block_bits", link, &software_link_options::block_bits);
    possible &= whole_option(s, "blocks_in_flight", link, &software_link_options::blocks_in_flight);
    s.number("pulse_rate", link.pulse_rate, {0, 1'000'000'000'000});
    possible &= intensities(s, link);
    // what each may be by itself, but not together with the others
    if (const auto fault = software::find_fault(link); possible && !fault.empty()) s.complain("kind", fault);
    s.done();
    return o;
  }

  /// Whether the link could be, but for this option: what is asked is the link itself, so that limits stand once.
  template <class Member>
  static std::string fault_of(Member software_link_options::*option, Member value) {
    software_link_options alone;
    alone.*option = value;
    return software::find_fault(alone);
  }
  template <class Member>
  static std::string fault_of(Member decoy_bb84::*option, Member value) {
    software_link_options alone;
    alone.system.*option = value;
    return software::find_fault(alone);
  }
  static double& at(software_link_options& link, double software_link_options::*option) {
    return link.*option;
  }
  static double& at(software_link_options& link, double decoy_bb84::*option) { return link.system.*option; }
  static std::uint32_t& at(software_link_options& link, std::uint32_t software_link_options::*option) {
    return link.*option;
  }
  static std::uint32_t& at(software_link_options& link, std::uint32_t decoy_bb84::*option) {
    return link.system.*option;
  }

  /// False: the option cannot be that.
  template <class Owner>
  static bool real_option(section& s, std::string_view key, software_link_options& link,
                          double Owner::*option) {
    double value = 0;
    if (!s.real(key, value)) return true;
    const auto fault = fault_of(option, value);
    if (fault.empty()) {
      at(link, option) = value;
    } else {
      s.complain(key, fmt::format("cannot be {}: {}", value, fault));
    }
    return fault.empty();
  }
  template <class Owner>
  static bool whole_option(section& s, std::string_view key, software_link_options& link,
                           std::uint32_t Owner::*option) {
    std::uint32_t value = at(link, option);
    s.number(key, value, {0, std::numeric_limits<std::uint32_t>::max()});
    const auto fault = fault_of(option, value);
    if (fault.empty()) {
      at(link, option) = value;
    } else {
      s.complain(key, fmt::format("cannot be {}: {}", value, fault));
    }
    return fault.empty();
  }

  static bool intensities(section& s, software_link_options& link) {
    const std::size_t wanted = link.system.intensity_count();
    software_link_options alone;
    alone.system.proof = link.system.proof;
    if (!s.has("intensities")) {
      // the defaults are one proof's
      const auto fault = software::find_fault(alone);
      if (!fault.empty()) s.complain("proof", fmt::format("needs intensities = [[mu, p], ...]: {}", fault));
      return fault.empty();
    }
    const std::size_t count = s.pairs("intensities", alone.system.intensities);
    std::string fault;
    if (count == 0) return false;
    if (count != wanted) {
      fault = fmt::format("has {}; the proof needs the signal and {}", count,
                          wanted == 3 ? "two decoys" : "one decoy");
    } else {
      fault = software::find_fault(alone);
    }
    if (!fault.empty()) s.complain("intensities", fault);
    link.system.intensities = alone.system.intensities;
    return fault.empty();
  }

  static key_source_settings pushed(section& s, const net::site_options& site) {
    using end = push_source_options::end;
    push_settings o{{"", "", end::follows, security_class::simulated_insecure}, {}, {}};
    s.text("source", o.source.source, presence::required);
    s.text("destination", o.source.destination, presence::required);
    bool begins = false;
    if (!s.has("begins"))
      s.complain("begins", "is missing: true at one of the two sites, false at the other");
    s.flag("begins", begins);
    if (begins) o.source.which = end::begins;
    trust(s, o.source.security);
    http_address(s, "device", o.device, site);
    s.text("identity", o.identity);
    if (over_tls(o.device) && o.identity.empty()) {
      s.complain("identity",
                 "is missing: the SAN URI of the device's certificate, by which its keys are known");
    } else if (!o.identity.empty() && !o.device.empty() && !over_tls(o.device)) {
      s.complain("identity", "is proven over TLS only, and the device is not https://");
    }
    s.flag("post_get_key", o.post_get_key);
    first_index(s, o.source.first_index);
    s.number("max_held", o.source.bounds.most, {16, 1'000'000});
    s.number("window", o.source.bounds.window, {8, 65'536});
    s.milliseconds("arm_again_ms", o.source.arm_again);
    s.milliseconds("gap_patience_ms", o.source.gap_patience);
    qos& q = o.source.quality;
    if (auto wanted = s.sub("qos")) {
      constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
      wanted->number("key_chunk_size", q.key_chunk_size, {1, 64 * kib});
      wanted->number("max_bps", q.max_bps, {0, most});
      wanted->number("min_bps", q.min_bps, {0, most});
      wanted->number("jitter", q.jitter, {0, most});
      wanted->number("priority", q.priority, {0, most});
      wanted->number("timeout_ms", q.timeout_ms, {0, most});
      wanted->number("ttl_s", q.ttl_s, {0, most});
      wanted->done();
    }
    // as many again may fill gaps or wait from the stream before, each in whole granules
    const std::size_t chunk = q.key_chunk_size != 0 ? q.key_chunk_size : qos_defaults::key_chunk_size;
    const std::size_t each =
        (chunk + secret_arena::granule - 1) / secret_arena::granule * secret_arena::granule;
    o.source.memory = {
        2 * each * (o.source.bounds.most + static_cast<std::size_t>(o.source.bounds.window)) + mib,
        site.memory.allow_unlocked};
    s.done();
    return o;
  }

  /// The site as a QKD device.
  static void push(section& top, site_config& config) {
    auto s = top.sub("push");
    if (!s) return;
    auto& o = config.push.emplace();
    s->flag("strict_bodies", o.strict_bodies);
    first_index(*s, o.core.first_index);
    s->number("in_flight", o.core.sending.in_flight, {1, 64});
    s->number("max_streams", o.core.max_streams, {1, 100'000});
    s->milliseconds("first_pause_ms", o.core.sending.first_pause);
    s->milliseconds("longest_pause_ms", o.core.sending.longest_pause);
    s->milliseconds("request_timeout_ms", o.request_timeout);
    s->tables("key_manager", [&](section& k) {
      std::string uri;
      push::key_manager_address where;
      k.text("uri", uri, presence::required);
      http_address(k, "address", where.uri, config.site);
      k.text("identity", where.identity);
      if (!o.key_managers.emplace(uri, where).second)
        k.complain("uri", fmt::format("'{}' is there already", uri));
    });
    if (std::none_of(config.site.listen.begin(), config.site.listen.end(),
                     [](const std::string& uri) { return uri.starts_with("http"); })) {
      top.complain("push", "needs an address http:// or https:// in listen");
    }
    o.allow_insecure = config.site.allow_insecure;
    o.tls = config.site.tls;
    // of each post a connection with 4 KiB for either direction, and half a KiB for the body and two keys
    o.memory = {std::max(o.memory.bytes, o.core.max_streams * o.core.sending.in_flight *
                                             static_cast<std::size_t>(8 * kib + 512)),
                config.site.memory.allow_unlocked};
    s->done();
  }

  /// Who may see how the site does.
  static void operations(section& top, operations::viewers& o) {
    using operations::audience;
    auto s = top.sub("operations");
    if (!s) return;
    s->word<audience>("audience", o.who,
                      {{"nobody", audience::nobody},
                       {"operators", audience::operators},
                       {"loopback", audience::loopback},
                       {"authenticated", audience::authenticated},
                       {"everyone", audience::everyone}});
    s->texts("operators", o.operators, wrong_with_pattern);
    if (o.who == audience::operators && o.operators.empty()) {
      s->complain("audience", "is \"operators\", and operators names none");
    }
    s->done();
  }

  static void first_index(section& s, std::uint64_t& value) {
    s.number("first_index", value, {0, std::numeric_limits<std::uint32_t>::max()});
  }

  /// Of somebody who speaks HTTP.
  static void http_address(section& s, std::string_view key, std::string& value,
                           const net::site_options& site) {
    s.text(key, value, presence::required);
    if (value.empty() || !may_dial(s, key, value, site)) return;
    if (net::parse_address(value)->spoken != net::protocol::http)
      s.complain(key, "is not http:// or https://");
  }

  /// Whether this site can connect to it; if not, that was said.
  static bool may_dial(section& s, std::string_view key, const std::string& uri,
                       const net::site_options& site) {
    std::string wrong = wrong_with_address(uri);
    if (wrong.empty() && net::parse_address(uri)->port == 0) wrong = "port 0 cannot be dialled";
    if (wrong.empty() && over_tls(uri) && !site.tls) wrong = fmt::format("'{}' {}", uri, needs_tls);
    if (!wrong.empty()) s.complain(key, wrong);
    return wrong.empty();
  }

  key_source_settings seeded(section& s) {
    seeded_settings o;
    path(s, "secret_file", o.secret_file, presence::required);
    s.number("rate_bps", o.options.rate_bps, {0, 1'000'000'000'000});
    s.number("block_bytes", o.options.block_bytes, {0, mib});
    s.done();
    return o;
  }

  key_source_settings file(section& s) {
    file_source_options o{"", security_class::simulated_insecure};
    path(s, "path", o.path, presence::required);
    path(s, "offset_path", o.offset_path, presence::optional);
    trust(s, o.security);
    s.number("block_bytes", o.block_bytes, {32, mib});
    s.number("rate_bps", o.rate_bps, {0, 1'000'000'000'000});
    s.number("reserve_blocks", o.reserve_blocks, {1, 1'000'000});
    s.flag("allow_readable", o.allow_readable);
    s.flag("erase", o.erase);
    s.done();
    return o;
  }

  static void trust(section& s, security_class& value) {
    std::string security;
    s.text("security_class", security, presence::required);
    if (!security.empty()) {
      const auto classes = {security_class::simulated_insecure, security_class::simulated_over_tls,
                            security_class::hardware};
      const auto* const found = std::find_if(classes.begin(), classes.end(),
                                             [&](security_class c) { return to_string(c) == security; });
      if (found != classes.end()) {
        value = *found;
      } else {
        s.complain("security_class",
                   fmt::format("'{}' is not known; simulated-insecure, simulated-over-tls and hardware are",
                               security));
      }
    }
  }

  void path(section& s, std::string_view key, std::string& value, presence p) {
    s.text(key, value, p);
    if (value.find('\0') != std::string::npos) return s.complain(key, "has an octet 0");
    if (!value.empty()) value = (folder_ / value).string();
  }

  /// The arena holds every link's pool, as much again on its way to streams, and at least one ring.
  static void fits(section& top, const site_config& config) {
    const auto& l = config.site.manager.limits;
    const std::size_t wanted = 2 * l.pool_bytes * config.site.peers.size() + l.ring_bytes;
    if (wanted <= config.site.memory.bytes) return;
    top.complain(
        "memory",
        fmt::format(
            "bytes = {} is less than twice limits.pool_bytes for each peer and one limits.ring_bytes: {}",
            config.site.memory.bytes, wanted));
  }

  std::filesystem::path folder_;
  problems& problems_;
};

}  // namespace

result<site_config> parse_config(std::string_view text, const std::string& file, std::string* why) {
  problems found{file};
  try {
    const toml::table root = toml::parse(text, std::string_view{file});
    site_config config = reader{file, found}.read(root);
    if (found.none()) return config;
  } catch (const toml::parse_error& error) {
    found.add(error.source().begin, std::string{error.description()});
  }
  if (why != nullptr) *why = found.text();
  return status::invalid_argument;
}

result<site_config> read_config(const std::string& file, std::string* why) {
  const auto fail = [&](const std::string& text, std::error_code error) {
    if (why != nullptr) *why = file + ": " + text;
    return error;
  };
  errno = 0;
  std::ifstream in{file, std::ios::binary};
  std::string text;
  char part[4096];
  while (text.size() <= largest_file && (in.read(part, sizeof part) || in.gcount() > 0)) {
    text.append(part, static_cast<std::size_t>(in.gcount()));
  }
  if (!in.is_open() || in.bad()) {
    const std::error_code error{errno != 0 ? errno : EIO, std::generic_category()};
    return fail(error.message(), error);
  }
  if (text.size() > largest_file)
    return fail("is larger than a configuration can be", status::invalid_argument);
  return parse_config(text, file, why);
}

}  // namespace qkd004::serve
