// A key manager that is also reached over HTTP: alice asks by REST, bob by frames over TCP, and both get the same key. A
// resource of this program's own is served beside the key streams. With curl it looks like this:
//
//     type='Content-Type: application/json'
//     curl -H "$type" http://127.0.0.1:8004/qkd004/v2/open_connect -d '{"source":"qkd://a@x","destination":"qkd://b@y"}'
//     curl -H "$type" http://127.0.0.1:8004/qkd004/v2/get_key -d '{"key_stream_id":"...","index":0}'
#include <qkd004/net/connect.hpp>
#include <qkd004/net/http.hpp>
#include <qkd004/net/site.hpp>
#include <qkd004/qkd004.hpp>

#include <asio/io_context.hpp>

#include <cstdio>
#include <string>
#include <thread>

namespace http = qkd004::net::http;

int main() {
  asio::io_context context;
  qkd004::net::site_options options;
  options.manager.node = "here";
  options.listen = {"qkd004://127.0.0.1:0", "http://127.0.0.1:0"};
  options.self_link = true;
  qkd004::net::site site{context, options};
  http::resource delivered{
      "GET", "/delivered", [&site](const http::request&, http::answer answer) {
        answer.send({200, "text/plain", std::to_string(site.service().totals().delivered)});
      }};
  std::string why;
  if (!site.add(delivered) || !site.start(&why)) {
    std::fprintf(stderr, "%s\n", why.c_str());
    return 1;
  }
  std::thread server{[&context] { context.run(); }};

  bool equal = false;
  {
    const qkd004::secret_arena arena;
    const auto uris = site.addresses();
    qkd004::client alice{qkd004::net::connect(uris.at(1), arena).value(), arena};
    qkd004::client bob{qkd004::net::connect(uris.at(0), arena).value(), arena};

    qkd004::open_connect_request request{"qkd://alice@here", "qkd://bob@here"};
    auto at_alice = alice.open_connect(request).value();
    request.stream = at_alice.id();
    auto at_bob = bob.open_connect(request).value();

    const auto key_a = at_alice.next_key().value();
    const auto key_b = at_bob.next_key().value();
    equal = key_a.index == key_b.index && qkd004::equal_in_constant_time(key_a.bytes(), key_b.bytes());
    std::printf("key %llu over %s and %s: %s\n", static_cast<unsigned long long>(key_a.index),
                uris.at(1).c_str(), uris.at(0).c_str(), equal ? "equal at both ends" : "DIFFERENT");
  }
  site.stop();
  server.join();
  return equal ? 0 : 1;
}
