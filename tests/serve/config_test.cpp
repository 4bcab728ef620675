// SPDX-License-Identifier: Apache-2.0
#include "serve/config.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <variant>

using namespace qkd004;
using namespace qkd004::serve;
using namespace std::chrono_literals;

namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

const std::string least =
    "node = 'a'\n"
    "listen = ['qkd004://127.0.0.1:0']\n";

const std::string the_peer =
    "[[peer]]\n"
    "node = 'b'\n"
    "address = 'qkd004://127.0.0.1:9'\n"
    "[peer.source]\n"
    "kind = 'seeded'\n"
    "secret_file = 's'\n";

site_config good(const std::string& text) {
  std::string why;
  auto config = parse_config(text, "dir/site.toml", &why);
  INFO(text);
  INFO(why);
  REQUIRE(config);
  return std::move(*config);
}

std::string bad(const std::string& text) {
  std::string why;
  const auto config = parse_config(text, "site.toml", &why);
  INFO(text);
  CHECK_FALSE(config);
  CHECK(config.error() == make_error_code(status::invalid_argument));
  return why;
}

}  // namespace

TEST_CASE("config: takes the library's defaults when only node and listen are given") {
  const auto config = good(least);
  const net::site_options defaults;
  CHECK(config.site.manager.node == "a");
  CHECK(config.site.listen == std::vector<std::string>{"qkd004://127.0.0.1:0"});
  CHECK(config.site.peers.empty());
  CHECK(config.site.memory.bytes == defaults.memory.bytes);
  CHECK_FALSE(config.site.memory.allow_unlocked);
  CHECK_FALSE(config.site.allow_insecure);
  CHECK_FALSE(config.site.tls);
  CHECK(config.site.access.empty());
  CHECK(config.site.unix_mode == 0600);
  CHECK(config.site.manager.limits.max_chunk == limits{}.max_chunk);
  CHECK(config.site.timeouts.silence == defaults.timeouts.silence);
}

TEST_CASE("config: reads every key when all are given") {
  const auto config = good(R"(
node = "a"
listen = ["qkd004://127.0.0.1:1", "qkd004://[::1]:2", "qkd004s://0.0.0.0:3", "unix:/run/qkd004/site"]
local_uris = ["app:x", "app:y*"]
allow_insecure = true
insist_on_peer = true
unix_mode = 0o660
[tls]
certificate = "certs/site.pem"
key = "/secret/site.key"
authority = "authority.pem"
allow_tls_1_2 = true
[[access]]
identity = "qkd://alice@a"
local = "qkd://alice@a"
remote = "qkd://*"
[[access]]
identity = "uid:1000"
[memory]
bytes = 4_194_304
allow_unlocked = true
[limits]
max_chunk = 1001
ring_chunks = 64
ring_bytes = 65_536
max_streams = 1002
max_retired = 1003
max_waiting = 1004
pool_bytes = 65_537
max_uri = 1005
max_reported = 1007
max_connections = 1006
max_frame = 10_007
max_in_flight = 1008
max_unsent = 10_009
max_log_lines = 1011
[log]
level = "notice"
format = "journal"
[timeouts]
silence_ms = 1
frame_ms = 2
unsent_ms = 3
linger_ms = 4
dial_ms = 5
handshake_ms = 6
[[peer]]
node = "b"
link = "ab"
address = "qkd004s://host:9"
identity = "urn:x"
destinations = ["c", "app:*"]
[peer.source]
kind = "seeded"
secret_file = "secret"
rate_bps = 1010
block_bytes = 128
[[peer]]
node = "0"
[peer.source]
kind = "file"
path = "/keys"
offset_path = "offset"
security_class = "hardware"
block_bytes = 256
rate_bps = 1011
reserve_blocks = 12
allow_readable = true
erase = true
)");
  const auto& site = config.site;
  CHECK(site.listen.size() == 4);
  CHECK(site.unix_mode == 0660);
  REQUIRE(site.tls);
  CHECK(*site.tls == net::tls_options{"dir/certs/site.pem", "/secret/site.key", "dir/authority.pem", true});
  CHECK(site.access ==
        std::vector<net::access_rule>{{"qkd://alice@a", "qkd://alice@a", "qkd://*"}, {"uid:1000", "*", "*"}});
  CHECK(site.manager.local_uris == std::vector<std::string>{"app:x", "app:y*"});
  CHECK(site.allow_insecure);
  CHECK(site.manager.insist_on_peer);
  CHECK(site.memory.bytes == 4'194'304);
  CHECK(site.memory.allow_unlocked);
  const auto& l = site.manager.limits;
  CHECK(l.max_chunk == 1001);
  CHECK(l.ring_chunks == 64);
  CHECK(l.ring_bytes == 65'536);
  CHECK(l.max_streams == 1002);
  CHECK(l.max_retired == 1003);
  CHECK(l.max_waiting == 1004);
  CHECK(l.pool_bytes == 65'537);
  CHECK(l.max_uri == 1005);
  CHECK(l.max_reported == 1007);
  CHECK(l.max_connections == 1006);
  CHECK(l.max_frame == 10'007);
  CHECK(l.max_in_flight == 1008);
  CHECK(l.max_unsent == 10'009);
  CHECK(l.max_log_lines == 1011);
  CHECK(config.log.level == net::log_level::notice);
  CHECK(config.log.format == log_format::journal);
  CHECK(site.timeouts.silence == 1ms);
  CHECK(site.timeouts.frame == 2ms);
  CHECK(site.timeouts.unsent == 3ms);
  CHECK(site.timeouts.linger == 4ms);
  CHECK(site.timeouts.dial == 5ms);
  CHECK(site.timeouts.handshake == 6ms);
  REQUIRE(site.peers.size() == 2);
  REQUIRE(config.key_sources.size() == 2);
  CHECK(site.peers[0].link.peer == "b");
  CHECK(site.peers[0].link.name == "ab");
  CHECK(site.peers[0].address == "qkd004s://host:9");
  CHECK(site.peers[0].identity == "urn:x");
  CHECK(site.peers[0].link.destinations == std::vector<std::string>{"c", "app:*"});
  const auto& seeded = std::get<seeded_settings>(config.key_sources[0]);
  CHECK(seeded.secret_file == "dir/secret");
  CHECK(seeded.options.rate_bps == 1010);
  CHECK(seeded.options.block_bytes == 128);
  const auto& file = std::get<file_source_options>(config.key_sources[1]);
  CHECK(file.path == "/keys");
  CHECK(file.offset_path == "dir/offset");
  CHECK(file.security == security_class::hardware);
  CHECK(file.block_bytes == 256);
  CHECK(file.rate_bps == 1011);
  CHECK(file.reserve_blocks == 12);
  CHECK(file.allow_readable);
  CHECK(file.erase);
}

TEST_CASE("config: reads every option of a software link when all are given") {
  const auto config = good(least + R"(
[[peer]]
node = "b"
address = "qkd004://127.0.0.1:9"
[peer.source]
kind = "software"
role = "bob"
auth_key_file = "link.secret"
auth_state_file = "/state"
proof = "w24"
km = 50
loss_db_per_km = 0.21
efficiency = 0.2
dark_count = 1e-6
afterpulse = 0
misalignment = 0.01
dead_pulses = 20
x_basis = 0.9
intensities = [[0.5, 0.7], [0.15, 0.3]]
eps_sec = 1e-9
eps_cor = 1e-12
sampling = "blocks"
block_bits = 10_000_000
qber_limit = 0.11
leak = "both_directions"
intercept_resend = 0.25
pulse_rate = 625_000_000
blocks_in_flight = 2
)");
  const auto& o = std::get<software_settings>(config.key_sources.at(0));
  CHECK(o.end.which == software_link_end_options::role::bob);
  CHECK(o.end.security == security_class::simulated_insecure);
  CHECK(o.end.auth_key == "dir/link.secret");
  CHECK(o.end.auth_state == "/state");
  CHECK(o.link.sampling == photon_sampling::blocks);
  CHECK(o.link.block_bits == 10'000'000);
  CHECK(o.link.qber_limit == 0.11);
  CHECK(o.link.leak == leak_account::both_directions);
  CHECK(o.link.intercept_resend == 0.25);
  CHECK(o.link.pulse_rate == 625'000'000);
  CHECK(o.link.blocks_in_flight == 2);
  const auto& s = o.link.system;
  CHECK(s.proof == decoy_proof::w24);
  CHECK(s.km == 50);
  CHECK(s.loss_db_per_km == 0.21);
  CHECK(s.efficiency == 0.2);
  CHECK(s.dark_count == 1e-6);
  CHECK(s.afterpulse == 0);
  CHECK(s.misalignment == 0.01);
  CHECK(s.dead_pulses == 20);
  CHECK(s.x_basis == 0.9);
  CHECK(s.intensities[0].mean_photons == 0.5);
  CHECK(s.intensities[0].probability == 0.7);
  CHECK(s.intensities[1].mean_photons == 0.15);
  CHECK(s.intensities[1].probability == 0.3);
  CHECK(s.eps_sec == 1e-9);
  CHECK(s.eps_cor == 1e-12);
}

TEST_CASE("config: says of a software link what its key is by what the peer is believed over") {
  const std::string tls = "[tls]\ncertificate = 'c'\nkey = 'k'\nauthority = 'a'\n";
  const std::string source =
      "[peer.source]\nkind = 'software'\nrole = 'alice'\nauth_key_file = 'k'\nauth_state_file = 's'\n";
  const auto class_of = [&](const std::string& site, const std::string& peer) {
    const auto config = good(site + "[[peer]]\n" + peer + source);
    return std::get<software_settings>(config.key_sources.at(0)).end.security;
  };
  const std::string tls_only = "node = 'c'\nlisten = ['qkd004s://127.0.0.1:0']\n" + tls;
  const std::string mixed = "node = 'c'\nlisten = ['qkd004s://127.0.0.1:0', 'qkd004://127.0.0.1:0']\n" + tls;
  const auto insecure = security_class::simulated_insecure;
  const auto over_tls = security_class::simulated_over_tls;
  CHECK(class_of(least, "node = 'b'\naddress = 'qkd004://h:1'\n") == insecure);
  CHECK(class_of(least + tls, "node = 'b'\naddress = 'qkd004://h:1'\n") == insecure);
  CHECK(class_of(least + tls, "node = 'b'\naddress = 'qkd004s://h:1'\n") == over_tls);
  CHECK(class_of(tls_only, "node = 'b'\n") == over_tls);
  CHECK(class_of(mixed, "node = 'b'\n") == insecure);
  CHECK(class_of(mixed, "node = 'b'\nidentity = 'qkd://b'\n") == over_tls);
}

TEST_CASE("config: names a link after both nodes in order when it has no name") {
  CHECK(good(least + the_peer).site.peers[0].link.name == "a+b");
  CHECK(good("node = 'c'\nlisten = ['qkd004://127.0.0.1']\n" + the_peer).site.peers[0].link.name == "b+c");
}

TEST_CASE("config: lets the site that sorts last go without an address when it is dialled") {
  const std::string no_address = "[[peer]]\nnode = 'b'\n[peer.source]\nkind = 'seeded'\nsecret_file = 's'\n";
  CHECK(good("node = 'c'\nlisten = ['qkd004://127.0.0.1']\n" + no_address).site.peers[0].address.empty());
  const auto why = bad(least + no_address);
  CHECK(has(why, "site.toml:3:1: peer.address: is missing"));
  CHECK(has(why, "'a' sorts before 'b'"));
}

TEST_CASE("config: makes a site its own peer when it says so") {
  CHECK(good("node = 'a'\nlisten = ['qkd004://127.0.0.1:0']\nself_link = true\n").site.self_link);
}

TEST_CASE("config: leaves the peer's identity to the library when it is not given") {
  CHECK(good(least + the_peer).site.peers[0].identity.empty());
}

TEST_CASE("config: says where and what when something is wrong") {
  struct row {
    std::string text;
    std::string place;
    std::string word;
  };
  const std::string file_source =
      "[[peer]]\nnode = 'b'\naddress = 'qkd004://127.0.0.1:9'\n[peer.source]\nkind = 'file'\npath = 'k'\n";
  const std::string tls = "[tls]\ncertificate = 'c'\nkey = 'k'\nauthority = 'a'\n";
  const std::string tls_peer =
      "[[peer]]\nnode = 'b'\naddress = 'qkd004s://h:1'\n[peer.source]\nkind = 'seeded'\nsecret_file = 's'\n";
  const std::string software =
      "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'software'\nrole = 'bob'\n"
      "auth_key_file = 'k'\nauth_state_file = 's'\n";
  const row rows[] = {
      // a software link
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'software'\n"
               "auth_key_file = 'k'\nauth_state_file = 's'\n",
       "site.toml:6:1: peer.source.role: ", "is missing"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'software'\n"
               "role = 'eve'\nauth_key_file = 'k'\nauth_state_file = 's'\n",
       "site.toml:8:8: peer.source.role: ", "\"alice\" and \"bob\""},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'software'\n"
               "role = 'bob'\nauth_state_file = 's'\n",
       "site.toml:6:1: peer.source.auth_key_file: ", "is missing"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'software'\n"
               "role = 'bob'\nauth_key_file = 'k'\n",
       "site.toml:6:1: peer.source.auth_state_file: ", "is missing"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'software'\n"
               "role = 'bob'\nauth_key_file = 'k'\nauth_state_file = 'k'\n",
       "site.toml:10:19: peer.source.auth_state_file: ", "the file of the key itself"},
      {least + software + "km = 1001\n", "site.toml:11:6: peer.source.km: ", "from 0 to 1000"},
      {least + software + "km = 'far'\n", "site.toml:11:6: peer.source.km: ", "must be a number"},
      {least + software + "km = nan\n", "site.toml:11:6: peer.source.km: ", "from 0 to 1000"},
      {least + software + "efficiency = 0\n", "site.toml:11:14: peer.source.efficiency: ", "from 1e-6 to 1"},
      {least + software + "dark_count = 0.2\n", "site.toml:11:14: peer.source.dark_count: ", "0.1"},
      {least + software + "afterpulse = 0.6\n", "site.toml:11:14: peer.source.afterpulse: ", "0.5"},
      {least + software + "misalignment = 0.6\n", "site.toml:11:16: peer.source.misalignment: ", "0.5"},
      {least + software + "loss_db_per_km = -1\n", "site.toml:11:18: peer.source.loss_db_per_km: ", "100"},
      {least + software + "x_basis = 1\n", "site.toml:11:11: peer.source.x_basis: ", "0.5 to 0.99"},
      {least + software + "dead_pulses = 1_000_001\n",
       "site.toml:11:15: peer.source.dead_pulses: ", "at most"},
      {least + software + "dead_pulses = -1\n", "site.toml:11:15: peer.source.dead_pulses: ", "is -1"},
      {least + software + "eps_sec = 0\n", "site.toml:11:11: peer.source.eps_sec: ", "1e-30"},
      {least + software + "eps_cor = 1\n", "site.toml:11:11: peer.source.eps_cor: ", "eps_cor"},
      {least + software + "block_bits = 65_535\n", "site.toml:11:14: peer.source.block_bits: ", "65536"},
      {least + software + "block_bits = 134_217_729\n", "site.toml:11:14: peer.source.block_bits: ", "2^27"},
      {least + software + "block_bits = 1.5e6\n", "site.toml:11:14: peer.source.block_bits: ", "an integer"},
      {least + software + "qber_limit = 0.12\n", "site.toml:11:14: peer.source.qber_limit: ", "0.11"},
      {least + software + "intercept_resend = 1.5\n", "site.toml:11:20: peer.source.intercept_resend: ", "1"},
      {least + software + "blocks_in_flight = 17\n", "site.toml:11:20: peer.source.blocks_in_flight: ", "16"},
      {least + software + "pulse_rate = -1\n", "site.toml:11:14: peer.source.pulse_rate: ", "from 0"},
      {least + software + "sampling = 'all'\n",
       "site.toml:11:12: peer.source.sampling: ", "\"events\" and \"blocks\""},
      {least + software + "leak = 'none'\n", "site.toml:11:8: peer.source.leak: ", "\"both_directions\""},
      {least + software + "proof = 'gllp'\n", "site.toml:11:9: peer.source.proof: ", "\"lim14\" and \"w24\""},
      {least + software + "intensities = [[0.4, 0.5], [0.1, 0.5]]\n",
       "site.toml:11:15: peer.source.intensities: ", "two decoys"},
      {least + software + "intensities = []\n", "site.toml:11:15: peer.source.intensities: ", "is empty"},
      {least + software + "intensities = [[0.4, 0.5], [0.1]]\n",
       "site.toml:11:28: peer.source.intensities: ", "pairs of numbers"},
      {least + software + "intensities = [[0.4, 0.5], [0.1, 0.4], [0, 0.2]]\n",
       "site.toml:11:15: peer.source.intensities: ", "add up to 1"},
      {least + software + "intensities = [[0.1, 0.5], [0.4, 0.4], [0, 0.1]]\n",
       "site.toml:11:15: peer.source.intensities: ", "strong to weak"},
      {least + software + "km = 1000\ndark_count = 0\n", "site.toml:7:8: peer.source.kind: ", "1e9"},
      {least + software + "security_class = 'hardware'\n",
       "site.toml:11:1: unknown key 'peer.source.security_class'", "km"},
      // TLS, Unix sockets, identities
      {"node = 'a'\nlisten = ['qkd004s://127.0.0.1:0']\n", "site.toml:2:11: listen: ", "needs [tls]"},
      {"node = 'a'\nlisten = ['qkd004s://127.0.0.1:x']\n" + tls, "site.toml:2:11: listen: ", "port"},
      {"node = 'a'\nlisten = ['unix:relative']\n", "site.toml:2:11: listen: ", "'unix:relative'"},
      {"node = 'a'\nlisten = ['unix:/']\n", "site.toml:2:11: listen: ", "'unix:/'"},
      {least + "unix_mode = 660\n", "site.toml:3:13: unix_mode: ", "to 511"},
      {least + "tls = true\n", "site.toml:3:7: tls: ", "must be a table"},
      {least + "[tls]\nkey = 'k'\nauthority = 'a'\n", "site.toml:3:1: tls.certificate: ", "is missing"},
      {least + "[tls]\ncertificate = 'c'\nauthority = 'a'\n", "site.toml:3:1: tls.key: ", "is missing"},
      {least + "[tls]\ncertificate = 'c'\nkey = 'k'\n", "site.toml:3:1: tls.authority: ", "is missing"},
      {least + tls + "allow_tls_1_1 = true\n", "site.toml:7:1: unknown key 'tls.allow_tls_1_1'",
       "allow_tls_1_2, authority, certificate, key"},
      {least + tls + "allow_tls_1_2 = 1\n", "site.toml:7:17: tls.allow_tls_1_2: ", "must be true or false"},
      {least + "[[access]]\nlocal = 'x'\n", "site.toml:3:1: access.identity: ", "is missing"},
      {least + "[[access]]\nidentity = ''\n", "site.toml:4:12: access.identity: ", "is empty"},
      {least + "[[access]]\nidentity = 'x'\nlocal = ''\n", "site.toml:5:9: access.local: ", "is empty"},
      {least + "[[access]]\nidentity = 'x'\nremotes = '*'\n", "site.toml:5:1: unknown key 'access.remotes'",
       "identity, local, remote"},
      {least + "access = []\n", "site.toml:3:10: access: ", "is empty"},
      {least + "peer = []\n", "site.toml:3:8: peer: ", "is empty"},
      {least + "access = ['qkd://x@a']\n", "site.toml:3:11: access: ", "[[access]]"},
      {least + tls_peer, "site.toml:5:11: peer.address: ", "needs [tls]"},
      {"node = 'c'\nlisten = ['qkd004://127.0.0.1']\n[[peer]]\nnode = 'b'\nidentity = "
       "'qkd://b'\n[peer.source]\n"
       "kind = 'seeded'\nsecret_file = 's'\n",
       "site.toml:5:12: peer.identity: ", "needs [tls]"},
      {least + tls +
           "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\nidentity = 'qkd://b'\n[peer.source]\n"
           "kind = 'seeded'\nsecret_file = 's'\n",
       "site.toml:10:12: peer.identity: ", "over TLS only"},
      {least + tls +
           "[[peer]]\nnode = 'b'\naddress = 'qkd004s://h:0'\n[peer.source]\nkind = 'seeded'\n"
           "secret_file = 's'\n",
       "site.toml:9:11: peer.address: ", "port 0"},
      // TOML itself
      {"node = \n", "site.toml:1:8: ", ""},
      {least + "node = 'b'\n", "site.toml:3:8: ", "node"},
      // required
      {"listen = ['qkd004://127.0.0.1']\n", "site.toml:1:1: node: ", "is missing"},
      {"node = 'a'\n", "site.toml:1:1: listen: ", "is missing"},
      {"node = 'a'\nlisten = []\n", "site.toml:2:10: listen: ", "no address"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n",
       "site.toml:3:1: peer.source: ", "is missing"},
      {least + "[[peer]]\n[peer.source]\nkind = 'seeded'\nsecret_file = 's'\n",
       "site.toml:3:1: peer.node: ", "is missing"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'seeded'\n",
       "site.toml:6:1: peer.source.secret_file: ", "is missing"},
      {least + file_source, "site.toml:6:1: peer.source.security_class: ", "is missing"},
      // unknown
      {least + "lisen = 1\n", "site.toml:3:1: unknown key 'lisen'", "listen, local_uris"},
      {least + "[memory]\nbyte = 1\n", "site.toml:4:1: unknown key 'memory.byte'", "bytes"},
      {least + "[limits]\nmax_chunks = 1\n", "site.toml:4:1: unknown key 'limits.max_chunks'", "max_chunk"},
      {least + "[timeouts]\nsilence = 1\n", "site.toml:4:1: unknown key 'timeouts.silence'", "silence_ms"},
      {least + the_peer + "erase = true\n", "site.toml:9:1: unknown key 'peer.source.erase'", "secret_file"},
      {least + "[[peer]]\nport = 1\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = "
               "'seeded'\nsecret_file = 's'\n",
       "site.toml:4:1: unknown key 'peer.port'", "address"},
      // types
      {"node = 1\nlisten = ['qkd004://127.0.0.1']\n",
       "site.toml:1:8: node: ", "an integer; it must be a string"},
      {"node = 'a'\nlisten = 'qkd004://127.0.0.1'\n",
       "site.toml:2:10: listen: ", "a string; it must be an array"},
      {"node = 'a'\nlisten = ['qkd004://127.0.0.1', 5]\n", "site.toml:2:33: listen: ", "an integer"},
      {least + "self_link = 1\n", "site.toml:3:13: self_link: ", "must be true or false"},
      {least + "allow_insecure = 'yes'\n", "site.toml:3:18: allow_insecure: ", "must be true or false"},
      {least + "memory = 5\n", "site.toml:3:10: memory: ", "must be a table"},
      {least + "[limits]\nmax_chunk = 1.5\n",
       "site.toml:4:13: limits.max_chunk: ", "a number with a fraction"},
      {least + "peer = 3\n", "site.toml:3:8: peer: ", "must be an array"},
      {least + "peer = ['b']\n", "site.toml:3:9: peer: ", "[[peer]]"},
      {least + "[peer]\nnode = 'b'\n", "site.toml:3:1: peer: ", "must be an array"},
      // ranges
      {least + "[memory]\nbytes = 5\n", "site.toml:4:9: memory.bytes: ", "from 65536 to"},
      {least + "[limits]\nmax_chunk = 0\n", "site.toml:4:13: limits.max_chunk: ", "from 1 to 1048576"},
      {least + "[limits]\nmax_chunk = -1\n", "site.toml:4:13: limits.max_chunk: ", "is -1"},
      {least + "[limits]\nring_chunks = 100\n", "site.toml:4:15: limits.ring_chunks: ", "power of two"},
      {least + "[limits]\nmax_uri = 2001\n", "site.toml:4:11: limits.max_uri: ", "to 2000"},
      {least + "[timeouts]\ndial_ms = 0\n", "site.toml:4:11: timeouts.dial_ms: ", "from 1 to"},
      {least + the_peer + "rate_bps = -5\n", "site.toml:9:12: peer.source.rate_bps: ", "from 0"},
      {least + the_peer + "block_bytes = 1_048_577\n",
       "site.toml:9:15: peer.source.block_bytes: ", "to 1048576"},
      {least + file_source + "security_class = 'hardware'\nblock_bytes = 31\n",
       "site.toml:10:15: peer.source.block_bytes: ", "from 32"},
      {least + file_source + "security_class = 'hardware'\nreserve_blocks = 0\n",
       "site.toml:10:18: peer.source.reserve_blocks: ", "from 1"},
      // values
      {"node = ''\nlisten = ['qkd004://127.0.0.1']\n", "site.toml:1:8: node: ", "is empty"},
      {"node = 'a b'\nlisten = ['qkd004://127.0.0.1']\n", "site.toml:1:8: node: ", "cannot be a node id"},
      {"node = 'a/b'\nlisten = ['qkd004://127.0.0.1']\n", "site.toml:1:8: node: ", "cannot be a node id"},
      {"node = '" + std::string(256, 'a') + "'\nlisten = ['qkd004://127.0.0.1']\n",
       "site.toml:1:8: node: ", "255"},
      {"node = 'a'\nlisten = ['tcp://127.0.0.1']\n", "site.toml:2:11: listen: ", "'tcp'"},
      {"node = 'a'\nlisten = ['qkd004://127.0.0.1:65536']\n", "site.toml:2:11: listen: ", "port"},
      {least + "local_uris = ['']\n", "site.toml:3:15: local_uris: ", "empty"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:0'\n[peer.source]\nkind = 'seeded'\nsecret_file "
               "= 's'\n",
       "site.toml:5:11: peer.address: ", "port 0"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'h:1'\n[peer.source]\nkind = 'seeded'\nsecret_file = 's'\n",
       "site.toml:5:11: peer.address: ", "'h:1'"},
      {least + "[[peer]]\nnode = 'a'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'seeded'\nsecret_file "
               "= 's'\n",
       "site.toml:4:8: peer.node: ", "this site itself"},
      {least + "[log]\nlevel = 'loud'\n", "site.toml:4:9: log.level: ", "\"notice\""},
      {least + "[log]\nformat = 'xml'\n", "site.toml:4:10: log.format: ", "\"journal\""},
      {least + "[log]\nfile = 'x'\n", "site.toml:4:1: unknown key 'log.file'", "format, level"},
      {"node = 'a'\nlisten = ['qkd004+systemd:']\n", "site.toml:2:11: listen: ", "name of a socket"},
      {"node = 'a'\nlisten = ['qkd004s+systemd:x']\n", "site.toml:2:11: listen: ", "needs [tls]"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004+systemd:x'\n[peer.source]\nkind = 'given'\n",
       "site.toml:5:11: peer.address: ", "not supported"},
      {least + the_peer + the_peer, "site.toml:10:8: peer.node: ", "a peer already"},
      {least + "[[peer]]\nnode = 'b'\naddress = 'qkd004://h:1'\n[peer.source]\nkind = 'magic'\n",
       "site.toml:7:8: peer.source.kind: ", "\"software\", \"push\", \"seeded\", \"file\" and \"given\""},
      {least + file_source + "security_class = 'good'\n",
       "site.toml:9:18: peer.source.security_class: ", "simulated-insecure"},
      {least + the_peer + "[memory]\nbytes = 1_000_000\n", "site.toml:9:1: memory: ", "1572864"},
  };
  for (const auto& r : rows) {
    INFO(r.text);
    const std::string why = bad(r.text);
    INFO(why);
    CHECK(why.starts_with(r.place));
    CHECK(has(why, r.word));
    CHECK_FALSE(has(why, "\n"));
  }
}

TEST_CASE("config: reports everything in the file's order when several things are wrong") {
  const auto why =
      bad("node = 5\nlisten = ['qkd004://127.0.0.1']\ncolour = 1\n[limits]\nmax_chunk = 'x'\n[memory]\nbytes "
          "= 1\n");
  const auto node = why.find("site.toml:1:8: ");
  const auto colour = why.find("\nsite.toml:3:1: ");
  const auto chunk = why.find("\nsite.toml:5:13: ");
  const auto bytes = why.find("\nsite.toml:7:9: ");
  INFO(why);
  CHECK(node == 0);
  CHECK(node < colour);
  CHECK(colour < chunk);
  CHECK(chunk < bytes);
  CHECK(bytes != std::string::npos);
}

TEST_CASE("config: shows no control character when the file has one") {
  const auto why = bad(least + "\"a\\u001b[2J\" = 1\n");
  CHECK(has(why, "\\x1b"));
  CHECK_FALSE(has(why, "\x1b"));
}

TEST_CASE("config: gives the system's error when the file cannot be read") {
  std::string why;
  CHECK(read_config("/nonexistent/site.toml", &why).error() == std::errc::no_such_file_or_directory);
  CHECK(has(why, "/nonexistent/site.toml: "));
  CHECK_FALSE(read_config("/", &why));
  CHECK(has(why, "/: "));
}
