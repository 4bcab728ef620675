// What a key manager answers to keys, and the whole of push mode over TLS.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push/receiver.hpp"

#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "net/certificates.hpp"
#include "push_sites.hpp"
#include "qkd004/client.hpp"
#include "qkd004/net/connect.hpp"

using namespace testing;
using namespace std::chrono_literals;

namespace {

constexpr char id_text[] = "0123abcd-4567-4890-8bcd-0123456789ab";
constexpr char other_text[] = "11111111-2222-4333-8444-555555555555";
constexpr char key_0[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
constexpr char key_1[] = "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

std::string key(unsigned index, const char* octets, const char* stream = id_text, unsigned status = 0) {
  return R"({"status":)" + std::to_string(status) + R"(,"index":)" + std::to_string(index) +
         R"(,"key_buffer":")" + octets + R"(","metadata":{"size":1,"buffer":{"key_stream_id":")" + stream +
         "\"}}}";
}

/// A key manager whose device is the test, which says yes to everything.
struct fixture {
  explicit fixture(std::size_t most = 1'024, std::chrono::milliseconds hold = 50ms) {
    auto d = site_options_of("device");
    d.self_link = true;
    device = std::make_unique<running_site>(std::move(d));
    const auto serve = [this](const char* method, const std::string& call, unsigned code, std::string body) {
      http::resource r;
      r.method = method;
      r.path = "/api/v1/kms/etsi004/" + call;
      r.serve = [this, call, code, body](const http::request&, http::answer to) {
        to.send(body.empty() ? http::response{code} : http::response{code, "application/json", body});
        const std::lock_guard lock{mutex};
        asked += call + " ";
        came.notify_all();
      };
      REQUIRE(device->site.add(std::move(r)));
    };
    serve("POST", "open-connect", 201,
          std::string{R"({"status":0,"qos":{"key_chunk_size":32},"key_stream_id":")"} + id_text + "\"}");
    serve("GET", "get-key", 205, "");
    serve("PUT", "close", 204, "");
    device->start();

    using end = push_source_options::end;
    push_source_options o{"a@A", "b@B", end::follows, security_class::hardware};
    o.memory.allow_unlocked = true;
    o.bounds = {most, 8};
    mine = std::make_shared<push_source>(o);
    o.which = end::begins;
    theirs = std::make_unique<push_source>(o);
    auto k = site_options_of("kms");
    k.self_link = true;
    kms = std::make_unique<running_site>(std::move(k));
    push::receiver_options r;
    r.links = {{"link", mine, device->address("http"), "", false}};
    r.memory.allow_unlocked = true;
    r.hold = hold;
    kms->receiver.emplace(kms->context, kms->site, std::move(r));
    REQUIRE(kms->receiver->start());
    kms->start();
  }
  ~fixture() { mine->channel()->on_ready({}); }

  /// The other end has opened the stream, and this one opens and arms it.
  void open() {
    key_source_session s;
    s.higher[0] = std::byte{1};
    const time_point now = boot_clock::now();
    for (push_source* const e : {mine.get(), theirs.get()}) {
      REQUIRE(e->start(s, now));
      e->channel()->up();
    }
    talk();
    REQUIRE(theirs->next_call(now));
    push_reply yes{true, 201, status::success, *key_stream_id::parse(id_text), {}};
    yes.quality.key_chunk_size = 32;
    theirs->replied(yes, now);
    talk();
    std::unique_lock lock{mutex};
    REQUIRE(came.wait_for(lock, patience, [&] { return asked.find("get-key") != std::string::npos; }));
    CHECK(asked == "open-connect get-key ");
  }
  void talk() {
    for (bool more = true; more;) {
      more = false;
      for (auto [from, to] : {std::pair{mine.get(), theirs.get()}, std::pair{theirs.get(), mine.get()}}) {
        std::vector<std::byte> words;
        if (!from->channel()->next(words)) continue;
        REQUIRE(to->channel()->receive(words));
        more = true;
      }
    }
  }
  http::client_response post(const std::string& body) {
    return ask.ask(kms->address("http"), "POST", "/api/v1/qkd/etsi004/key-material", body);
  }

  std::mutex mutex;
  std::condition_variable came;
  std::string asked;
  std::shared_ptr<push_source> mine;
  std::unique_ptr<push_source> theirs;
  std::unique_ptr<running_site> device;
  std::unique_ptr<running_site> kms;
  asker ask;
};

}  // namespace

TEST_CASE("push receiver: takes a key once, and tells another one with its index") {
  fixture f;
  f.open();
  for (int i = 0; i < 2; ++i) {
    const auto r = f.post(key(0, key_0));
    CHECK(r.status == 201);
    CHECK(r.text() == R"({"status":0})");
  }
  auto r = f.post(key(0, key_1));
  CHECK(r.status == 400);
  CHECK(r.text() == R"({"status":5})");
  r = f.post(key(1, "AAAA"));  // another size
  CHECK(r.status == 400);
  CHECK(r.text() == R"({"status":5})");
  CHECK(f.mine->report().received == 1);
  CHECK(f.mine->report().repeated == 1);
}

TEST_CASE(
    "push receiver: says later before it knows its streams, and no to those that it does not know after "
    "that") {
  fixture f;
  auto r = f.post(key(0, key_0));
  CHECK(r.status == 503);
  CHECK(r.retry_after == "1");
  f.open();
  r = f.post(key(0, key_0, other_text));
  CHECK(r.status == 400);
  CHECK(r.text() == R"({"status":3})");
}

TEST_CASE("push receiver: a key without metadata is that of the only stream") {
  fixture f;
  f.open();
  CHECK(f.post(std::string{R"({"status":0,"index":0,"key_buffer":")"} + key_0 + "\"}").status == 201);
  CHECK(f.mine->report().received == 1);
}

TEST_CASE("push receiver: a status in place of a key is heard, and no key") {
  fixture f;
  f.open();
  CHECK(f.post(key(0, "", id_text, 4)).status == 201);
  CHECK(f.mine->report().received == 0);
  std::unique_lock lock{f.mutex};
  // and the device is asked whether it has the stream
  CHECK(f.came.wait_for(lock, patience, [&] { return f.asked == "open-connect get-key get-key "; }));
}

TEST_CASE("push receiver: what is malformed is 400 with status 5") {
  fixture f;
  f.open();
  for (const char* const bad : {"", "{}", R"({"status":0,"index":0,"key_buffer":"AB=="})"}) {
    CAPTURE(bad);
    const auto r = f.post(bad);
    CHECK(r.status == 400);
    CHECK(r.text() == R"({"status":5})");
  }
}

TEST_CASE("push receiver: a key that there is no room for waits, and is asked for again") {
  fixture f{16};
  f.open();
  for (unsigned i = 0; i < 16; ++i) CHECK(f.post(key(i, key_0)).status == 201);
  const auto late = f.post(key(16, key_0));
  CHECK(late.status == 503);
  CHECK(late.retry_after == "1");              // nobody took one
  CHECK(f.post(key(3, key_0)).status == 201);  // is there
}

TEST_CASE("push receiver: a key that waits for room is asked for as soon as there is some") {
  fixture f{16, patience};
  f.open();
  for (unsigned i = 0; i < 16; ++i) CHECK(f.post(key(i, key_0)).status == 201);
  auto late = std::async(std::launch::async, [&f] { return f.post(key(16, key_0)); });
  const auto end = boot_clock::now() + patience;
  while (f.mine->report().refused == 0 && boot_clock::now() < end) std::this_thread::yield();
  const std::array<std::byte, 32> octets{};
  push_key_material m;
  m.key = octets;
  CHECK(f.theirs->take(m, boot_clock::now()) == push_source::verdict::stored);
  f.talk();
  const secret_arena arena{{std::size_t{1} << 20, true}};
  const auto block = f.mine->poll(arena, boot_clock::now());
  REQUIRE(block);
  CHECK(block->has_value());
  const auto answer = late.get();
  CHECK(answer.status == 503);
  CHECK(answer.retry_after == "0");
  CHECK(f.post(key(16, key_0)).status == 201);
}

// --- TLS ---

namespace {

struct four_over_tls {
  explicit four_over_tls(const std::string& device_identity = "qkd://device-a") {
    using end = push_source_options::end;
    const char* const kms_names[] = {"kms-a", "kms-b"};
    const char* const device_names[] = {"device-a", "device-b"};
    for (const std::size_t n : {1U, 0U}) {
      push_source_options o{"qkd://kms-a@device-a", "qkd://kms-b@device-b",
                            n == 0 ? end::begins : end::follows, security_class::hardware};
      o.memory.allow_unlocked = true;
      ends[n] = std::make_shared<push_source>(std::move(o));
      kms[n] = make(kms_names[n], kms_names[1 - n], n == 0 ? kms[1]->address("qkd004") : "", ends[n]);
      kms[n]->start();
    }
    auto keys = make_memory_sources({});
    for (const std::size_t n : {1U, 0U}) {
      devices[n] = make(device_names[n], device_names[1 - n], n == 0 ? devices[1]->address("qkd004") : "",
                        std::move(n == 0 ? keys.first : keys.second));
      push::device_options o;
      o.key_managers["qkd://kms-a@device-a"] = {kms[n]->address("https"),
                                                std::string{"qkd://"} + kms_names[n]};
      o.tls = ca.site(device_names[n]);
      const net::tls_options files = *o.tls;
      o.memory.allow_unlocked = true;
      o.log = [this](net::log_level, std::string_view line) { log(line); };
      devices[n]->device.emplace(devices[n]->context, devices[n]->site, std::move(o));
      REQUIRE(devices[n]->device->start());
      // read once, and not again with each stream
      REQUIRE(std::filesystem::remove(files.certificate));
      REQUIRE(std::filesystem::remove(files.key));
      devices[n]->start();
    }
    for (const std::size_t n : {0U, 1U}) {
      push::receiver_options o;
      o.links = {{"link", ends[n], devices[n]->address("https"), n == 0 ? device_identity : "qkd://device-b",
                  false}};
      o.tls = ca.site(kms_names[n]);
      o.memory.allow_unlocked = true;
      o.log = [this](net::log_level, std::string_view line) { log(line); };
      kms[n]->receiver.emplace(kms[n]->context, kms[n]->site, std::move(o));
      REQUIRE(kms[n]->receiver->start());
    }
  }
  std::unique_ptr<running_site> make(const std::string& node, const std::string& peer,
                                     const std::string& address, std::shared_ptr<key_source> key) {
    auto o = site_options_of(node);
    o.listen = {"qkd004://127.0.0.1:0", "https://127.0.0.1:0"};
    o.tls = ca.site(node);
    // each key manager may open at its device what is its own
    o.access = {{node.back() == 'a' ? "qkd://kms-a" : "qkd://kms-b", "*", "*"}, {"anonymous", "*", "*"}};
    o.peers.push_back({{"link", peer, {}}, address, std::move(key), ""});
    return std::make_unique<running_site>(std::move(o));
  }
  void log(std::string_view line) {
    const std::lock_guard lock{mutex};
    lines += std::string{line} + "\n";
    said.notify_all();
  }
  bool wait_line(std::string_view part) {
    std::unique_lock lock{mutex};
    return said.wait_for(lock, patience, [&] { return lines.find(part) != std::string::npos; });
  }

  std::mutex mutex;
  std::condition_variable said;
  std::string lines;
  test::temporary_folder folder;
  test::authority ca{folder};
  std::array<std::shared_ptr<push_source>, 2> ends;
  std::array<std::unique_ptr<running_site>, 2> kms;
  std::array<std::unique_ptr<running_site>, 2> devices;
};

}  // namespace

TEST_CASE("push: the same keys at both key managers over TLS, each known by its certificate") {
  four_over_tls w;
  const secret_arena arena{{std::size_t{1} << 20, true}};
  const auto client_of = [&](std::size_t n) {
    return client{net::connect(w.kms[n]->address("qkd004"), arena).value(), arena};
  };
  open_connect_request r{"qkd://x@kms-a", "qkd://y@kms-b"};
  r.quality.timeout_ms = 15'000;
  auto a = client_of(0).open_connect(r).value();
  r.stream = a.id();
  auto b = client_of(1).open_connect(r).value();
  for (int i = 0; i < 20; ++i) {
    const auto k = a.next_key().value();
    CHECK(equal_in_constant_time(k.bytes(), b.get_key(k.index).value().bytes()));
  }
}

TEST_CASE("push: a device that is not the one it should be is not asked") {
  four_over_tls w{"qkd://device-c"};
  CHECK(w.wait_line("push: the device does not answer link=link device=https://127.0.0.1"));
  CHECK(w.ends[0]->stream().is_null());
}
