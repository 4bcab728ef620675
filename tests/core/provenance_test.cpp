// SPDX-License-Identifier: Apache-2.0
#include "qkd004/key_provenance.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <memory>
#include <string>

#include "core/talking_source.hpp"
#include "core/two_sites.hpp"
#include "qkd004/key_pool.hpp"
#include "qkd004/vendor_metadata.hpp"

using namespace testing;

namespace {

/// Of a block; what is local differs between sites.
key_provenance of_block(std::uint64_t number, std::int64_t created_ms = 0) {
  key_provenance p;
  p.first_block = p.last_block = number;
  p.qber = 0.01 * static_cast<double>(number + 1);
  p.phase_error = 0.02;
  p.eps_sec = 1e-10;
  p.eps_cor = 1e-15;
  p.eps_auth = 1e-12;
  p.sifted = 1'000'000 - number;
  p.efficiency = 1.05;
  p.leak_alice = 100 + number;
  p.leak_bob = 200;
  p.model = "lim14";
  p.reconciliation = "cascade";
  p.amplification = "toeplitz";
  p.authentication = "its";
  p.created_ms = created_ms;
  return p;
}

/// Sites whose sources say how their blocks came to be.
struct describing_sites : two_sites {
  explicit describing_sites(bool describe = true) : two_sites{apart()} {
    if (describe) describe_blocks();
    a = make(settings.a, "B", end_a, 1);
    b = make(settings.b, "A", end_b, 2);
    conn_a = a->manager.connect("alice");
    conn_b = b->manager.connect("bob");
    connect();
    open_connect_request request{"qkd://alice@A", "qkd://bob@B"};
    request.quality.key_chunk_size = chunk;
    stream = open_both(request);
  }
  void describe_blocks() {
    end_a.provenance = [](std::uint64_t n) { return std::make_shared<key_provenance>(of_block(n, 1'000)); };
    end_b.provenance = [](std::uint64_t n) { return std::make_shared<key_provenance>(of_block(n, 2'000)); };
  }
  ~describing_sites() {  // before the sources
    a.reset();
    b.reset();
  }
  describing_sites(const describing_sites&) = delete;
  describing_sites& operator=(const describing_sites&) = delete;

  static options apart() {
    options o;
    o.up = false;
    return o;
  }
  /// The vendor metadata of a run; its keys are acknowledged with the next.
  std::string metadata(site& at, connection_id who, std::uint64_t first, std::uint16_t count,
                       std::uint64_t acknowledge_below = 0) {
    get_keys_request r;
    r.stream = stream;
    r.epoch = 1;
    r.first = first;
    r.count = count;
    r.acknowledge_below = acknowledge_below;
    r.vendor_metadata = true;
    at.manager.get_keys({who, ++tickets}, r, now);
    settle();
    REQUIRE(at.answers[tickets].several);
    REQUIRE(at.answers[tickets].several->outcome == status::success);
    REQUIRE(at.answers[tickets].keys.size() == count);
    return at.vendor;
  }

  static constexpr std::uint32_t chunk = 96;  // does not divide a block's 256 octets
  talking_source end_a;
  talking_source end_b;
  key_stream_id stream;
};

std::string without_created(std::string json) {
  const auto at = json.find(",\"x_created\"");
  REQUIRE(at != std::string::npos);
  return json.erase(at);
}

}  // namespace

TEST_CASE("key_provenance: of two runs is the worst of each number") {
  auto a = of_block(3, 50);
  auto b = of_block(7, 40);
  a.phase_error = 0.3;
  b.eps_sec = 2e-10;
  a.eps_cor = 3e-15;
  b.eps_auth = 4e-12;
  a.efficiency = 1.2;
  a.leak_bob = 999;
  const auto both = merge(a, b);
  CHECK(both == merge(b, a));
  CHECK(both.first_block == 3);
  CHECK(both.last_block == 7);
  CHECK(both.qber == b.qber);
  CHECK(both.phase_error == 0.3);
  CHECK(both.eps_sec == 2e-10);
  CHECK(both.eps_cor == 3e-15);
  CHECK(both.eps_auth == 4e-12);
  CHECK(both.sifted == b.sifted);
  CHECK(both.efficiency == 1.2);
  CHECK(both.leak_alice == b.leak_alice);
  CHECK(both.leak_bob == 999);
  CHECK(both.model == "lim14");
  CHECK(both.created_ms == 40);
  CHECK(merge(a, a) == a);
}

TEST_CASE("key_provenance: of two runs says where words differ, and the weaker authentication") {
  auto a = of_block(0);
  auto b = of_block(1);
  a.model = "w24";
  b.authentication = "computational";
  for (const auto& both : {merge(a, b), merge(b, a)}) {
    CHECK(both.model == "mixed");
    CHECK(both.reconciliation == "cascade");
    CHECK(both.authentication == "computational");
  }
}

TEST_CASE("key_pool: tells how a run of key came to be, over the blocks that it lies in and no others") {
  secret_options memory;
  memory.allow_unlocked = true;
  secret_arena arena{memory};
  key_pool pool;
  const auto append = [&](std::shared_ptr<const key_provenance> how) {
    pool.append(arena.allocate(100).value(), std::move(how));
  };
  append(nullptr);
  CHECK(pool.provenance(0, 100) == nullptr);
  const auto one = std::make_shared<const key_provenance>(of_block(1));
  append(one);
  append(std::make_shared<const key_provenance>(of_block(2)));
  append(nullptr);
  CHECK(pool.provenance(100, 100) == one);
  CHECK(pool.provenance(199, 1) == one);
  CHECK(*pool.provenance(200, 100) == of_block(2));
  CHECK(*pool.provenance(199, 2) == merge(of_block(1), of_block(2)));
  CHECK(pool.provenance(99, 2) == nullptr);  // nobody knows of all of it
  CHECK(pool.provenance(299, 2) == nullptr);
  pool.discard_below(150);
  CHECK(pool.provenance(150, 10) == one);
  pool.clear();
  append(nullptr);
  CHECK(pool.provenance(0, 100) == nullptr);
}

TEST_CASE("vendor metadata: has every number of a run as JSON") {
  auto how = of_block(4, 1'763'808'024'007);
  how.last_block = 6;
  const key_source_capabilities source{.kind = "software", .security = security_class::simulated_over_tls};
  CHECK(
      vendor_metadata_json(source, "north", &how) ==
      R"({"x_security":"simulated-over-tls","x_qber":0.05,"x_phi":0.02,"x_eps_sec":1e-10,"x_eps_cor":1e-15,)"
      R"("x_eps_auth":1e-12,"x_block":[4,6],"x_n_x":999996,"x_f_ec":1.05,"x_leak_alice":104,"x_leak_bob":200,)"
      R"("x_sec_model":"lim14","x_ec":"cascade","x_pa":"toeplitz","x_auth":"its","x_backend":"software",)"
      R"("x_security_class":"simulated-over-tls","x_link":"north","x_created":"2025-11-22T10:40:24.007Z"})");
  CHECK(vendor_metadata_json(source, "north", nullptr) == R"({"x_security":"simulated-over-tls"})");
}

TEST_CASE("vendor metadata: is JSON within its bound whatever names and numbers are") {
  auto how = of_block(0, std::numeric_limits<std::int64_t>::max());
  how.qber = std::numeric_limits<double>::quiet_NaN();
  how.phase_error = std::numeric_limits<double>::infinity();
  const key_source_capabilities source{.kind = "a\"b\\c\n\xff", .security = security_class::hardware};
  const auto json = vendor_metadata_json(source, "", &how);
  CHECK(json.find(R"("x_qber":null,"x_phi":null)") != std::string::npos);
  CHECK(json.find(R"("x_backend":"a\"b\\c\u000a\u00ff")") != std::string::npos);
  CHECK(json.find(R"("x_created":"9999-12-31T23:59:59.999Z")") != std::string::npos);

  const key_source_capabilities odd{.kind = std::string(255, '\x01'), .security = security_class::hardware};
  CHECK(vendor_metadata_json(odd, std::string(255, '\x01'), &how).size() <= max_vendor_metadata);
  how.model.assign(1'000, '\x01');
  CHECK(vendor_metadata_json(odd, "", &how) == R"({"x_security":"hardware"})");
}

TEST_CASE("get_keys: says how a run of keys came to be, the same at both sites") {
  describing_sites w;
  std::string last;
  for (std::uint64_t first = 0; first < 400; first += 5) {
    CAPTURE(first);
    const std::string at_a = w.metadata(*w.a, w.conn_a, first, 5, first);
    const std::string at_b = w.metadata(*w.b, w.conn_b, first, 5, first);
    CHECK(without_created(at_a) == without_created(at_b));
    CHECK(at_a.ends_with(R"("x_created":"1970-01-01T00:00:01.000Z"})"));
    CHECK(at_b.ends_with(R"("x_created":"1970-01-01T00:00:02.000Z"})"));
    // of a binding of at most 32 chunks, in which the run lies, or of two
    const std::uint64_t block = first * describing_sites::chunk / talking_source::block_octets;
    const auto at = at_a.find("\"x_block\":[") + 11;
    const auto low = std::stoull(at_a.substr(at));
    const auto high = std::stoull(at_a.substr(at_a.find(',', at) + 1));
    CHECK(low <= block);
    CHECK(high >= (5 * describing_sites::chunk - 1) / talking_source::block_octets + block);
    CHECK(high - low <= 2 * 32 * describing_sites::chunk / talking_source::block_octets + 1);
    last = at_a;
  }
  CHECK(w.metadata(*w.a, w.conn_a, 395, 5) == last);  // and once more of keys that are served again
}

TEST_CASE("get_keys: says nothing of key whose source does not") {
  describing_sites w{false};
  CHECK(w.metadata(*w.a, w.conn_a, 0, 5) == R"({"x_security":"simulated-insecure"})");
}

TEST_CASE("get_keys: has as many keys with its vendor metadata as one frame holds") {
  two_sites w;
  open_connect_request request{"qkd://alice@A", "qkd://bob@B"};
  request.quality.key_chunk_size = 6'000;
  const auto stream = w.open_both(request);
  get_keys_request r;
  r.stream = stream;
  r.epoch = 1;
  r.count = 16;
  const auto keys = [&] {
    w.a->manager.get_keys({w.conn_a, ++w.tickets}, r, w.now);
    return w.a->answers[w.tickets].keys.size();
  };
  w.get(*w.a, w.conn_a, stream, 15);
  CHECK(keys() == 10);  // of 6,008 octets in 65,536
  r.vendor_metadata = true;
  CHECK(keys() == 10);
  r.stream = w.open_both([&] {
    request.quality.key_chunk_size = 4'000;
    return request;
  }());
  w.get(*w.a, w.conn_a, r.stream, 15);
  CHECK(keys() == 15);
  r.vendor_metadata = false;
  CHECK(keys() == 16);
}
