// What no client of ours would say: each is refused and the connection ends, or it is answered as what it is; nothing of
// it is served, nobody waits, and the site goes on.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/raw_http.hpp"
#include "net/certificates.hpp"

namespace {

using namespace test;
namespace http = net::http;
using namespace std::string_literals;

struct bad_request {
  std::string name;
  std::string octets;
  unsigned status;
};

/// With a body of five octets, where one is read, so that what is smuggled behind it would be a request.
std::string with(std::string_view fields, std::string_view behind = "") {
  return "POST /secret HTTP/1.1\r\nHost: localhost\r\n" + std::string{fields} + "\r\n" + std::string{behind};
}

std::string many(std::size_t count, std::string_view piece) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

const std::string smuggled = "GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n";

const std::vector<bad_request>& bad_requests() {
  static const std::vector<bad_request> all = {
      // where a body ends
      {"length and chunked",
       with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + smuggled), 400},
      {"chunked and length",
       with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n" + smuggled), 400},
      {"two lengths", with("Content-Length: 5\r\nContent-Length: 6\r\n", "hello" + smuggled), 400},
      {"two equal lengths", with("Content-Length: 5\r\nContent-Length: 5\r\n", "hello" + smuggled), 400},
      {"a list of lengths", with("Content-Length: 5, 5\r\n", "hello" + smuggled), 400},
      {"a negative length", with("Content-Length: -5\r\n", smuggled), 400},
      {"a length with a plus", with("Content-Length: +5\r\n", "hello" + smuggled), 400},
      {"a length in hexadecimal", with("Content-Length: 0x5\r\n", "hello" + smuggled), 400},
      {"a length with a space in it", with("Content-Length: 5 0\r\n", "hello" + smuggled), 400},
      {"an empty length", with("Content-Length: \r\n", smuggled), 400},
      {"a length past 64 bits", with("Content-Length: 18446744073709551621\r\n", "hello" + smuggled), 400},
      {"a length with a fraction", with("Content-Length: 5.0\r\n", "hello" + smuggled), 400},
      {"a length of letters", with("Content-Length: five\r\n", smuggled), 400},
      {"a length that is too large", with("Content-Length: 65537\r\n"), 413},
      {"a length that is huge", with("Content-Length: 99999999999999\r\n"), 413},
      {"two codings",
       with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + smuggled), 400},
      {"a list of codings", with("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n" + smuggled), 501},
      {"chunked and another behind it",
       with("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n" + smuggled), 501},
      {"an unknown coding", with("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + smuggled), 501},
      {"a coding with a parameter", with("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n" + smuggled), 501},
      {"a quoted coding", with("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n" + smuggled), 501},
      {"an empty coding", with("Transfer-Encoding:\r\n", "0\r\n\r\n" + smuggled), 501},
      {"identity", with("Transfer-Encoding: identity\r\n", smuggled), 501},
      {"a vertical tab before a coding",
       with("Transfer-Encoding:\x0b"
            "chunked\r\n",
            "0\r\n\r\n" + smuggled),
       400},
      {"a coding in HTTP/1.0",
       "POST /secret HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
      // names and values
      {"a space before the colon", with("Content-Length : 5\r\n", "hello" + smuggled), 400},
      {"a tab before the colon", with("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n" + smuggled), 400},
      {"a space before the name", "POST /secret HTTP/1.1\r\n Host: localhost\r\n\r\n", 400},
      {"a folded value", with("X: a\r\n b\r\n"), 400},
      {"a folded value behind a tab", with("X: a\r\n\tb\r\n"), 400},
      {"a folded coding", with("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n" + smuggled), 400},
      {"a name that is empty", with(": value\r\n"), 400},
      {"a name with a space", with("X Y: value\r\n"), 400},
      {"a name with a slash", with("X/Y: value\r\n"), 400},
      {"a name with an umlaut", with("X\xc3\xa4: value\r\n"), 400},
      {"a line without a colon", with("nothing\r\n"), 400},
      {"a NUL in a value", with("X: a\0b\r\n"s), 400},
      {"a NUL in a name", with("X\0: b\r\n"s), 400},
      {"a DEL in a value", with("X: a\x7f\r\n"), 400},
      {"an escape in a value", with("X: a\x1b[0m\r\n"), 400},
      {"a bare CR in a value", with("X: a\rContent-Length: 5\r\n"), 400},
      {"a bare LF in a value", with("X: a\nTransfer-Encoding: chunked\r\n"), 400},
      {"CR CR LF", with("X: a\r\r\n"), 400},
      // lines
      {"bare LF everywhere", "GET /secret HTTP/1.1\nHost: localhost\n\n", 400},
      {"a bare LF behind the first line", "GET /secret HTTP/1.1\nHost: localhost\r\n\r\n", 400},
      {"a bare LF at the end", "GET /secret HTTP/1.1\r\nHost: localhost\r\n\n", 400},
      {"two empty lines before", "\r\n\r\nGET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"two spaces in the first line", "GET  /secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a tab in the first line", "GET\t/secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a space behind the version", "GET /secret HTTP/1.1 \r\nHost: localhost\r\n\r\n", 400},
      {"a space before the method", " GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"no version", "GET /secret\r\nHost: localhost\r\n\r\n", 400},
      {"a version of one digit", "GET /secret HTTP/1\r\nHost: localhost\r\n\r\n", 400},
      {"a version of two digits", "GET /secret HTTP/1.10\r\nHost: localhost\r\n\r\n", 400},
      {"a version in lower case", "GET /secret http/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"HTTP/2.0", "GET /secret HTTP/2.0\r\nHost: localhost\r\n\r\n", 505},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/1.2", "GET /secret HTTP/1.2\r\nHost: localhost\r\n\r\n", 400},
      {"a method with a colon", "GE:T /secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"s, 400},
      {"a frame of 004", "\x02\x01\x01\x02\x00\x00\x00\x00"s, 400},
      {"zeros", std::string(64, '\0'), 400},
      // targets and hosts
      {"no Host", "GET /secret HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET /secret HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400},
      {"a Host that is a list", "GET /secret HTTP/1.1\r\nHost: localhost, evil\r\n\r\n", 400},
      {"a Host with a path", "GET /secret HTTP/1.1\r\nHost: localhost/x\r\n\r\n", 400},
      {"a Host with a user", "GET /secret HTTP/1.1\r\nHost: evil@localhost\r\n\r\n", 400},
      {"a Host of somebody else", "GET /secret HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
      {"a target without a slash", "GET secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a star for GET", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"an authority for a target", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a target of another scheme", "GET file:///etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a NUL behind %", "GET /secret%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"CR LF behind %", "GET /secret%0d%0aX:%20y HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"CR LF behind % in the query", "GET /secret?x=%0D%0A HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"half of a %", "GET /secret%2 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"letters behind %", "GET /secret%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a fragment", "GET /secret#x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a backslash", "GET \\secret HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"octets that are no URI", "GET /secret\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"a NUL in the target", "GET /sec\0ret HTTP/1.1\r\nHost: localhost\r\n\r\n"s, 400},
      // sizes
      {"a target that is too long",
       "GET /" + std::string(2'048, 'x') + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414},
      {"a first line without an end", "GET /" + std::string(9'000, 'x'), 414},
      {"a head that is too long", with("X: " + std::string(8'192, 'x') + "\r\n"), 431},
      {"a head without an end", with(many(400, "X: yyyyyyyyyyyyyyyyyyyy\r\n")), 431},
      {"65 fields", with(many(64, "X: y\r\n")), 431},
      // expectations
      {"an unknown expectation", with("Expect: nothing\r\nContent-Length: 5\r\n", "hello"), 417},
      {"two expectations", with("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"),
       417},
      // chunks
      {"a negative chunk", with("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n" + smuggled),
       400},
      {"a chunk with a plus", with("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n" + smuggled),
       400},
      {"a chunk with 0x", with("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n" + smuggled),
       400},
      {"a chunk without a size", with("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n" + smuggled),
       400},
      {"a chunk past 64 bits",
       with("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nhello\r\n" + smuggled), 400},
      {"a chunk that is too large", with("Transfer-Encoding: chunked\r\n", "10001\r\n"), 413},
      {"a chunk of 64 bits", with("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n"), 413},
      {"chunks that are too large together",
       with("Transfer-Encoding: chunked\r\n", many(3, "8000\r\n" + std::string(0x8000, 'x') + "\r\n")), 413},
      {"a chunk that is longer than it says",
       with("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n" + smuggled), 400},
      {"a chunk that ends in LF", with("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"), 400},
      {"a chunk's size with a bare LF in it",
       with("Transfer-Encoding: chunked\r\n", "5;x\ny\r\nhello\r\n0\r\n\r\n"), 400},
      {"an extension without an end", with("Transfer-Encoding: chunked\r\n", "5;" + std::string(9'000, 'x')),
       431},
      {"huge extensions, one after another",
       with("Transfer-Encoding: chunked\r\n", many(40, "1;x=" + std::string(4'000, 'y') + "\r\nx\r\n")), 413},
      {"an extension that is none", with("Transfer-Encoding: chunked\r\n", "5;\x01=1\r\nhello\r\n0\r\n\r\n"),
       400},
      {"trailers without an end",
       with("Transfer-Encoding: chunked\r\n", "0\r\n" + many(600, "X-Trailer: yyyyyy\r\n")), 431},
      {"a length among the trailers",
       with("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 5\r\n\r\n" + smuggled), 400},
  };
  return all;
}

struct hostile_site {
  explicit hostile_site(net::site_options o = http_site()) : running{std::move(o)} {
    const auto serve = [this](const http::request&, http::answer a) {
      ++served;
      a.send({200, "text/plain", "secret"});
    };
    REQUIRE(running.site->add({"GET", "/secret", serve}));
    REQUIRE(running.site->add({"POST", "/secret", serve}));
  }
  std::atomic<int> served{0};
  running_site running;
};

std::size_t resident_octets() {
  std::ifstream file{"/proc/self/statm"};
  std::size_t pages = 0;
  file >> pages >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE(
    "http hostile: what is no request is refused, the connection ends, and nothing behind it is served") {
  hostile_site s;
  CHECK(bad_requests().size() >= 60);
  for (const bad_request& b : bad_requests()) {
    CAPTURE(b.name);
    raw_http c{s.running.address()};
    c.send(b.octets);
    const auto a = c.read();
    REQUIRE(a);
    CHECK(a->status == b.status);
    CHECK(a->fields.at("connection") == "close");
    CHECK(a->fields.at("content-type") == "application/problem+json");
    CHECK(c.is_closed_by_peer());
    CHECK(c.unread().empty());
  }
  CHECK(s.served == 0);
  CHECK(raw_http{s.running.address()}.ask(get("/secret")).status == 200);
}

TEST_CASE("http hostile: it is the same when it comes octet by octet") {
  hostile_site s;
  for (const bad_request& b : bad_requests()) {
    if (b.octets.size() > 1'000) continue;
    CAPTURE(b.name);
    raw_http c{s.running.address()};
    for (const char octet : b.octets) c.send({&octet, 1});
    const auto a = c.read();
    // the server has closed while this end still wrote: then the answer may be lost with the rest
    if (a) CHECK(a->status == b.status);
    CHECK(c.is_closed_by_peer());
  }
  CHECK(s.served == 0);
}

TEST_CASE("http hostile: requests before a bad one are answered first, in their order") {
  hostile_site s;
  raw_http c{s.running.address()};
  c.send(get("/secret") + get("/secret") + "nonsense\r\n\r\n" + get("/secret"));
  CHECK(c.read()->status == 200);
  CHECK(c.read()->status == 200);
  CHECK(c.read()->status == 400);
  CHECK(c.is_closed_by_peer());
  CHECK(s.served == 2);
}

TEST_CASE("http hostile: JSON that is none, or not what is asked for, is a 400 and changes nothing") {
  running_site s{http_site()};
  const std::string id = "00000000-0000-4000-8000-000000000001";
  struct bad_body {
    const char* path;
    std::string text;
  };
  const auto open = [](std::string_view more) {
    return R"({"source":"qkd://app@a","destination":"qkd://peer@a")" + std::string{more} + "}";
  };
  const auto get_key = [&](std::string_view index) {
    return R"({"key_stream_id":")" + id + R"(","index":)" + std::string{index} + "}";
  };
  const std::vector<bad_body> bodies = {
      {"open_connect", ""},
      {"open_connect", " "},
      {"open_connect", "{"},
      {"open_connect", "[]"},
      {"open_connect", "null"},
      {"open_connect", "\"text\""},
      {"open_connect", "{}"},
      {"open_connect", "{}{}"},
      {"open_connect", "{} x"},
      {"open_connect", open(",")},
      {"open_connect", open(R"(,"source":"qkd://app@a")")},
      {"open_connect", open(R"(,"unknown":1)")},
      {"open_connect", open(R"(,"no_wait":1)")},
      {"open_connect", open(R"(,"no_wait":"true")")},
      {"open_connect", open(R"(,"no_wait":null)")},
      {"open_connect", open(R"(,"no_wait":true,"no_wait":false)")},
      {"open_connect", open(R"(,"key_stream_id":"")")},
      {"open_connect", open(R"(,"key_stream_id":"00000000-0000-4000-8000-00000000000g")")},
      {"open_connect", open(R"(,"key_stream_id":7)")},
      {"open_connect", open(R"(,"qos":[])")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":-1})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":1.5})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":1e3})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":"32"})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":4294967296})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":99999999999999999999999999})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":032})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":0x20})")},
      {"open_connect", open(R"(,"qos":{"key_chunk_size":NaN})")},
      {"open_connect", open(R"(,"qos":{"ttl":1,"ttl":2})")},
      {"open_connect", open(R"(,"qos":{"metadata_mimetype":5})")},
      {"open_connect", open(R"(,"qos":{"metadata_mimetype":")" + std::string(256, 'x') + "\"}")},
      {"open_connect", open(R"(,"qos":{"nothing":1})")},
      {"open_connect", open(R"(,"qos":)" + many(20, "[") + many(20, "]"))},
      {"open_connect", many(10'000, "[") + many(10'000, "]")},
      {"open_connect", many(5'000, "{\"a\":") + "1" + many(5'000, "}")},
      {"open_connect", R"({"source":"qkd://app@a","destination":"qkd://\u0000@a"})"},
      {"open_connect", R"({"source":"qkd://app\r\nX: y@a","destination":"qkd://peer@a"})"},
      {"open_connect", R"({"source":"qkd://\ud800@a","destination":"qkd://peer@a"})"},
      {"open_connect", R"({"source":"qkd://\x41@a","destination":"qkd://peer@a"})"},
      {"open_connect", "{\"source\":\"qkd://\xff@a\",\"destination\":\"qkd://peer@a\"}"},
      {"open_connect", "{\"source\":\"qkd://\xc0\xaf@a\",\"destination\":\"qkd://peer@a\"}"},
      {"open_connect", "{\"source\":\"qkd://\xed\xa0\x80@a\",\"destination\":\"qkd://peer@a\"}"},
      {"open_connect", "{\"source\":\"line\nbreak\",\"destination\":\"qkd://peer@a\"}"},
      {"open_connect", "{'source':'a','destination':'b'}"},
      {"open_connect", "\xef\xbb\xbf{\"source\":\"\"}"},
      {"open_connect", R"({"source":"qkd://app@a"})"},
      {"open_connect", R"(/* comment */ {"source":"qkd://app@a","destination":"qkd://peer@a"})"},
      {"get_key", "{}"},
      {"get_key", R"({"index":0})"},
      {"get_key", R"({"key_stream_id":"00000000-0000-4000-8000-000000000001"})"},
      {"get_key", get_key("-1")},
      {"get_key", get_key("4294967296")},
      {"get_key", get_key("18446744073709551616")},
      {"get_key", get_key("0.0")},
      {"get_key", get_key("\"0\"")},
      {"get_key", get_key("null")},
      {"get_key", get_key(R"(0,"index":0)")},
      {"get_key", get_key(R"(0,"count":0)")},
      {"get_key", get_key(R"(0,"count":65536)")},
      {"get_key", get_key(R"(0,"epoch":9007199254740992)")},
      {"get_key", get_key(R"(0,"metadata_size":-36)")},
      {"get_key", get_key(R"(0,"key_buffer":"AAAA")")},
      {"close", "{}"},
      {"close", R"({"key_stream_id":null})"},
      {"wait_peer", R"({"timeout":5})"},
      {"acknowledge", R"({"key_stream_id":"00000000-0000-4000-8000-000000000001","epoch":1})"},
      {"acknowledge", R"({"key_stream_id":"00000000-0000-4000-8000-000000000001","epoch":1,"below":-1})"},
  };
  raw_http c{s.address()};
  for (const bad_body& b : bodies) {
    CAPTURE(b.path);
    CAPTURE(b.text.substr(0, 200));
    const auto a = c.ask(post("/qkd004/v2/" + std::string{b.path}, b.text));
    CHECK(a.status == 400);
    CHECK(a.fields.at("content-type") == "application/problem+json");
  }
  CHECK(c.ask(get("/qkd004/v2/streams?key_stream_id=x")).status == 400);
  CHECK(c.ask(get("/qkd004/v2/streams?x")).status == 400);
  const auto streams = c.ask(get("/qkd004/v2/streams"));
  CHECK(streams.status == 200);
  CHECK(streams.body.find(R"("streams_open":0)") != std::string::npos);
}

TEST_CASE("http hostile: a body of another type, as a page in a browser may send it, is a 415") {
  running_site s{http_site()};
  raw_http c{s.address()};
  const std::string body = R"({"source":"qkd://app@a","destination":"qkd://peer@a","no_wait":true})";
  for (const std::string type :
       {"text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""}) {
    CAPTURE(type);
    CHECK(c.ask("POST /qkd004/v2/open_connect HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + type +
                "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body)
              .status == 415);
  }
  CHECK(c.ask("POST /qkd004/v2/open_connect HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body)
            .status == 415);
  CHECK(c.ask("POST /qkd004/v2/open_connect HTTP/1.1\r\nHost: localhost\r\nContent-Type: Application/JSON; "
              "charset=utf-8\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body)
            .status == 200);
}

TEST_CASE("http hostile: half a megabyte is more than a hostile connection gets of the memory") {
  hostile_site s;
  const std::string body(65'536, 'x');
  const std::array<std::string, 5> hostile = {
      "GET /secret HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(8'000, 'x'),
      with("Content-Length: 65536\r\n", body.substr(1)),
      with("Transfer-Encoding: chunked\r\n", "10000\r\n" + body.substr(1)),
      with("Transfer-Encoding: chunked\r\n", many(2'000, "1\r\nx\r\n")),
      many(2'000, get("/secret")),  // and reads no answer
  };
  constexpr std::size_t count = 200;
  const std::size_t before = resident_octets();
  std::vector<std::unique_ptr<raw_http>> held;
  for (std::size_t i = 0; i < count; ++i) {
    held.push_back(std::make_unique<raw_http>(s.running.address()));
    held.back()->send(hostile[i % hostile.size()]);
  }
  CHECK(raw_http{s.running.address()}.ask(get("/secret")).status == 200);
  const std::size_t after = resident_octets();
  const std::size_t each = (std::max(after, before) - before) / count;
  MESSAGE("octets of memory for each hostile connection, this end's own among them: " << each);
  CHECK(each < std::size_t{512} * 1024);
}

TEST_CASE("http hostile: octets at random never hang, and none of them is served") {
  const char* const given = std::getenv("QKD004_SEED");
  std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 2026;
  CAPTURE(seed);
  const auto random = [&seed] {
    // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)
    std::uint64_t z = seed += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
    return z ^ (z >> 31);
  };
  hostile_site s;
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    // a bad one with some octets changed, which may make it good: /secret is not among the paths here
    std::string octets = bad_requests()[random() % bad_requests().size()].octets;
    for (std::size_t at = octets.find("/secret"); at != std::string::npos; at = octets.find("/secret")) {
      octets.replace(at, 7, "/nobody");
    }
    if (octets.size() > 4'000) continue;
    for (std::uint64_t i = random() % 8; i > 0; --i)
      octets[random() % octets.size()] = static_cast<char>(random());
    raw_http c{s.running.address()};
    c.send(octets);
    c.socket().shutdown(tcp::socket::shutdown_send);
    CHECK(c.is_closed_by_peer());
  }
  CHECK(s.served == 0);
  CHECK(raw_http{s.running.address()}.ask(get("/secret")).status == 200);
}

TEST_CASE(
    "http hostile: 500 heads that come slowly and a silent TLS client do not keep an honest one waiting") {
  const temporary_folder folder;
  authority ca{folder};
  auto o = http_site();
  o.listen.push_back("https://127.0.0.1:0");
  o.tls = ca.site("a");
  hostile_site s{std::move(o)};
  const std::string address = s.running.address();
  raw_http honest{address};
  const auto p99 = [&] {
    std::vector<boot_clock::duration> took;
    for (int i = 0; i < 2'000; ++i) {
      const auto before = std::chrono::steady_clock::now();
      REQUIRE(honest.ask(get("/secret")).status == 200);
      took.push_back(
          std::chrono::duration_cast<boot_clock::duration>(std::chrono::steady_clock::now() - before));
    }
    std::nth_element(took.begin(), took.begin() + 1'980, took.end());
    return took[1'980];
  };
  raw_http silent{"https" + s.running.site->addresses().at(1).substr(5)};
  std::vector<std::unique_ptr<raw_http>> slow;
  double best = 1e9;
  // a machine that is busy with others makes one of the two look bad: the best of some rounds is what the server does
  for (int round = 0; round < 6 && best > 2; ++round) {
    slow.clear();
    const auto idle = p99();
    while (slow.size() < 500) {
      slow.push_back(std::make_unique<raw_http>(address));
      slow.back()->send("GET /secret HTTP/1.1\r\n");
    }
    for (auto& c : slow) c->send("X");
    const auto busy = p99();
    best = std::min(best, std::chrono::duration<double>(busy) / std::chrono::duration<double>(idle));
  }
  MESSAGE("p99 beside the idle one: " << best);
  CHECK(best <= 2);
}
