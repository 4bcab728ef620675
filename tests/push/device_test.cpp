// What a device answers, decision by decision.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push/device.hpp"

#include <condition_variable>
#include <map>
#include <mutex>

#include "http/raw_http.hpp"
#include "push_sites.hpp"

using namespace testing;

namespace {

constexpr char root[] = "/api/v1/kms/etsi004/";
constexpr char open_null[] =
    R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","key_stream_id":null,"qos":{}})";

std::string id_in(std::string_view body) {
  constexpr std::string_view name = R"("key_stream_id":")";
  const std::size_t at = body.find(name);
  REQUIRE(at != std::string_view::npos);
  return std::string{body.substr(at + name.size(), 36)};
}
std::string named(const std::string& id, const std::string& more = "") {
  return R"({"key_stream_id":")" + id + '"' + more + "}";
}
constexpr char nobody[] = "11111111-2222-4333-8444-555555555555";

struct fixture {
  explicit fixture(push::device_options o = {}) : devices{std::move(o)} {}
  http::client_response post(const std::string& call, std::string text, std::size_t n = 0) {
    return ask.ask(devices.at(n), "POST", root + call, std::move(text));
  }
  http::client_response say(std::string method, const std::string& call, std::string text) {
    return ask.ask(devices.at(0), std::move(method), root + call, std::move(text));
  }
  std::string open() {
    const auto r = post("open-connect", open_null);
    REQUIRE(r.status == 201);
    return id_in(r.text());
  }

  two_devices devices;
  asker ask;
};

}  // namespace

TEST_CASE("push device: OPEN_CONNECT with a NULL id is 201 with the id, the QoS and both ends") {
  fixture f;
  const auto r = f.post("open-connect", open_null);
  CHECK(r.status == 201);
  CHECK(r.content_type == "application/json");
  const std::string body{r.text()};
  CHECK(body.find(R"("status":1)") != std::string::npos);  // the other end is not there yet
  CHECK(body.find(R"("key_chunk_size":32)") != std::string::npos);
  CHECK(body.find(R"("source":"qkd://a@dev-a","destination":"qkd://b@dev-b")") != std::string::npos);
  CHECK(id_in(body).size() == 36);
}

TEST_CASE("push device: an id that is absent is a NULL one, and members that are unknown do no harm") {
  fixture f;
  const auto r = f.post(
      "open-connect",
      R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","qos":{"ttl":null,"colour":"red"},"x":[1]})");
  CHECK(r.status == 201);
}

TEST_CASE(
    "push device: what the other device registered is opened with its id, and again by whom it belongs to") {
  fixture f;
  const std::string id = f.open();
  const std::string text =
      R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","qos":{},"key_stream_id":")" + id + "\"}";
  for (int i = 0; i < 2; ++i) {
    const auto r = f.post("open-connect", text, 1);
    CHECK(r.status == 201);
    CHECK(id_in(r.text()) == id);
    CHECK(r.text().find(R"("status":0)") != std::string_view::npos);
  }
  const auto other = f.post(
      "open-connect",
      R"({"source":"qkd://c@dev-a","destination":"qkd://b@dev-b","qos":{},"key_stream_id":")" + id + "\"}",
      1);
  CHECK(other.status == 400);
  CHECK(other.text() == R"({"status":5})");
}

TEST_CASE(
    "push device: GET_KEY is 205 and CLOSE 204, both without a body, by POST and PUT as well as by GET") {
  fixture f;
  for (const char* const method : {"GET", "POST"}) {
    const std::string id = f.open();
    auto r = f.say(method, "get-key", named(id, R"(,"index":0,"metadata":"")"));
    CHECK(r.status == 205);
    CHECK(r.text().empty());
    r = f.say("PUT", "close", named(id));
    CHECK(r.status == 204);
    CHECK(r.text().empty());
  }
}

TEST_CASE("push device: with strict bodies, asked for or configured, both are 200 with a body") {
  push::device_options o;
  o.strict_bodies = true;
  fixture f{o};
  const std::string id = f.open();
  auto r = f.say("GET", "get-key", named(id));
  CHECK(r.status == 200);
  CHECK(r.text() == R"({"status":0})");
  r = f.say("PUT", "close", named(id));
  CHECK(r.status == 200);
  CHECK(r.text() == R"({"status":0})");

  fixture g;
  const std::string second = g.open();
  test::raw_http raw{g.devices.at(0)};
  const auto ask = [&](const char* method, const char* call, const char* accept) {
    const std::string body = named(second);
    raw.send(std::string{method} + " " + root + call + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: " + accept +
             "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return raw.read(method).value();
  };
  CHECK(ask("GET", "get-key", "*/*").status == 205);
  CHECK(ask("GET", "get-key", "application/json").status == 200);
  CHECK(ask("PUT", "close", "text/html, application/json;q=0.9").status == 200);
}

TEST_CASE("push device: what is malformed is 400 with the status of each call's sample") {
  fixture f;
  const std::string id = f.open();
  for (const char* const bad :
       {"", "{", "[]", "null", R"({"source":"qkd://a@dev-a"})", R"({"source":1,"destination":"b","qos":{}})",
        R"({"source":"a","source":"a","destination":"b","qos":{}})",
        R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b"})",
        R"({"source":"a","destination":"b","qos":{"ttl":-1}})",
        R"({"source":"a","destination":"b","qos":{"ttl":4294967296}})",
        R"({"source":"a","destination":"b","qos":{},"key_stream_id":"7"})"}) {
    CAPTURE(bad);
    const auto r = f.post("open-connect", bad);
    CHECK(r.status == 400);
    CHECK(r.text() == R"({"status":5})");
  }
  for (const std::string& bad :
       {std::string{"{}"}, std::string{R"({"key_stream_id":null})"}, named(id, R"(,"index":4294967296)"),
        named(id, R"(,"index":-1)"), named(id, R"(,"index":"0")"), named(id, R"(,"metadata":{})")}) {
    CAPTURE(bad);
    const auto r = f.post("get-key", bad);
    CHECK(r.status == 400);
    CHECK(r.text() == R"({"status":3})");
  }
  const auto r = f.say("PUT", "close", "{}");
  CHECK(r.status == 400);
  CHECK(r.text() == R"({"status":5})");
}

TEST_CASE("push device: an unknown stream is 400 with status 3, and so is one that was closed") {
  fixture f;
  for (int i = 0; i < 2; ++i) {
    const std::string id = i == 0 ? nobody : f.open();
    if (i == 1) CHECK(f.say("PUT", "close", named(id)).status == 204);
    for (const auto& r : {f.say("GET", "get-key", named(id)), f.say("PUT", "close", named(id))}) {
      CHECK(r.status == 400);
      CHECK(r.text() == R"({"status":3})");
    }
  }
}

TEST_CASE(
    "push device: a destination without a link is 500 with status 4, a QoS that cannot be is 500 with "
    "another one") {
  fixture f;
  auto r = f.post("open-connect", R"({"source":"qkd://a@dev-a","destination":"qkd://b@mars","qos":{}})");
  CHECK(r.status == 500);
  CHECK(r.text() == R"({"status":4})");
  r = f.post("open-connect",
             R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","qos":{"key_chunk_size":70000}})");
  CHECK(r.status == 500);
  const std::string body{r.text()};
  CHECK(body.starts_with(R"({"status":7,"qos":{)"));
  CHECK(body.find(R"("key_chunk_size":65536)") != std::string::npos);
}

TEST_CASE("push device: other methods are 405, and heads and options are answered") {
  fixture f;
  test::raw_http raw{f.devices.at(0)};
  const auto ask = [&](const std::string& method, const char* call) {
    raw.send(method + " " + root + call + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    return raw.read(method).value();
  };
  const auto deletion = ask("DELETE", "close");
  CHECK(deletion.status == 405);
  CHECK(deletion.fields.at("allow") == "PUT, OPTIONS");
  CHECK(ask("GET", "open-connect").status == 405);
  CHECK(ask("HEAD", "open-connect").status == 405);
  CHECK(ask("HEAD", "get-key").status == 400);  // as GET: which stream?
  const auto options = ask("OPTIONS", "get-key");
  CHECK(options.status == 204);
  CHECK(options.fields.at("allow") == "GET, HEAD, POST, OPTIONS");
}

TEST_CASE("push device: says as it starts which key manager it cannot post to") {
  const auto refused = [](const std::string& uri, bool allow_insecure = false) {
    running_site at{site_options_of("dev-a")};
    push::device_options o;
    o.allow_insecure = allow_insecure;
    o.memory.allow_unlocked = true;
    o.key_managers["qkd://a@dev-a"] = {uri, ""};
    at.device.emplace(at.context, at.site, std::move(o));
    std::string why;
    const auto started = at.device->start(&why);
    if (started) return std::string{};
    CHECK(started.error() == make_error_code(status::invalid_argument));
    CHECK(why.starts_with("the key manager of qkd://a@dev-a: "));
    return why;
  };
  CHECK(refused("http://127.0.0.1:1").empty());
  CHECK(refused("http://somewhere:1").empty());  // is looked up when there is something to post
  CHECK(refused("http://192.0.2.1:1", true).empty());
  CHECK(refused("http://192.0.2.1:1").find("needs allow_insecure") != std::string::npos);
  CHECK(refused("https://127.0.0.1:1").find("needs a certificate") != std::string::npos);
  CHECK(refused("qkd004://127.0.0.1:1").find("is not http:// or https://") != std::string::npos);
}

namespace {

/// A key manager of a test: what it answers is the test's business.
struct posted_to : running_site {
  posted_to()
      : running_site{[] {
          auto o = site_options_of("sink");
          o.self_link = true;
          return o;
        }()} {
    http::resource r;
    r.method = "POST";
    r.path = "/api/v1/qkd/etsi004/key-material";
    r.serve = [this](const http::request& asked, http::answer to) {
      const std::lock_guard lock{mutex};
      bodies.emplace_back(asked.text());
      to.send({code, "application/json", R"({"status":0})"});
      came.notify_all();
    };
    REQUIRE(site.add(std::move(r)));
    start();
  }
  ~posted_to() { stop(); }

  std::vector<std::string> wait(std::size_t count) {
    std::unique_lock lock{mutex};
    REQUIRE(came.wait_for(lock, patience, [&] { return bodies.size() >= count; }));
    return bodies;
  }
  void answer_with(unsigned c) {
    const std::lock_guard lock{mutex};
    code = c;
    bodies.clear();
  }
  std::mutex mutex;
  std::condition_variable came;
  unsigned code = 201;
  std::vector<std::string> bodies;
};

std::uint64_t number_behind(const std::string& body, const std::string& name) {
  const std::size_t at = body.find(name);
  REQUIRE(at != std::string::npos);
  return std::stoull(body.substr(at + name.size()));
}

}  // namespace

TEST_CASE(
    "push device: posts what the specification says, from the index that is asked for, once both ends are "
    "there") {
  posted_to sink;
  push::device_options o;
  o.key_managers["qkd://a@dev-a"] = {sink.address("http"), ""};
  fixture f{o};
  const std::string id = f.open();
  CHECK(f.say("GET", "get-key", named(id, R"(,"index":5)")).status == 205);
  const std::string text =
      R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","qos":{},"key_stream_id":")" + id + "\"}";
  CHECK(f.post("open-connect", text, 1).status == 201);
  const auto bodies = sink.wait(20);
  std::uint64_t lowest = ~std::uint64_t{0};
  for (const auto& body : bodies) {
    CHECK(body.starts_with(R"({"status":0,"index":)"));
    CHECK(body.find(R"(,"metadata":{"size":56,"buffer":{"key_stream_id":")" + id + "\"}}}") !=
          std::string::npos);
    const std::size_t key = body.find(R"("key_buffer":")") + 14;
    CHECK(body.find('"', key) - key == 44);  // 32 octets
    lowest = std::min(lowest, number_behind(body, R"("index":)"));
  }
  CHECK(lowest == 5);
  // what was acknowledged does not come again
  const auto gone = f.say("GET", "get-key", named(id, R"(,"index":5)"));
  CHECK(gone.status == 400);
  CHECK(gone.text() == R"({"status":2})");
  CHECK(f.say("GET", "get-key", named(id)).status == 205);
}

TEST_CASE("push device: an answer of 4xx stops the stream, until GET_KEY") {
  posted_to sink;
  sink.answer_with(400);
  std::mutex mutex;
  std::condition_variable said;
  bool alarmed = false;
  push::device_options o;
  o.key_managers["qkd://a@dev-a"] = {sink.address("http"), ""};
  o.log = [&](net::log_level level, std::string_view line) {
    if (level != net::log_level::error) return;
    const std::lock_guard lock{mutex};
    alarmed |= line.find("ALARM") != std::string_view::npos;
    said.notify_all();
  };
  fixture f{o};
  const std::string id = f.open();
  const std::string text =
      R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","qos":{},"key_stream_id":")" + id + "\"}";
  CHECK(f.post("open-connect", text, 1).status == 201);
  CHECK(f.say("GET", "get-key", named(id)).status == 205);
  {
    std::unique_lock lock{mutex};
    REQUIRE(said.wait_for(lock, patience, [&] { return alarmed; }));
  }
  CHECK(sink.wait(1).size() <= 8);
  sink.answer_with(201);
  CHECK(f.say("GET", "get-key", named(id)).status == 205);
  const auto bodies = sink.wait(10);
  CHECK(number_behind(bodies.front(), R"("index":)") < 8);  // nothing was passed over
}

TEST_CASE("push device: what there is no memory for is posted later, and that is said once") {
  posted_to sink;
  std::mutex mutex;
  int said = 0;
  push::device_options o;
  o.key_managers["qkd://a@dev-a"] = {sink.address("http"), ""};
  o.memory.bytes = std::size_t{32} << 10;  // for three or four connections, of eight
  o.log = [&](net::log_level, std::string_view line) {
    const std::lock_guard lock{mutex};
    said += line.find("too little memory for all posts") != std::string_view::npos ? 1 : 0;
  };
  fixture f{o};
  const std::string id = f.open();
  const std::string text =
      R"({"source":"qkd://a@dev-a","destination":"qkd://b@dev-b","qos":{},"key_stream_id":")" + id + "\"}";
  CHECK(f.post("open-connect", text, 1).status == 201);
  CHECK(f.say("GET", "get-key", named(id)).status == 205);
  CHECK(sink.wait(20).size() >= 20);
  const std::lock_guard lock{mutex};
  CHECK(said == 1);
}
