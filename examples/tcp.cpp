// A key manager in this program, on a port of its own, and two applications that reach it over TCP. The site is its
// own peer here: with two machines each runs a site, and the applications do not change.
#include <qkd004/net/connect.hpp>
#include <qkd004/net/site.hpp>
#include <qkd004/qkd004.hpp>

#include <asio/io_context.hpp>

#include <cstdio>
#include <thread>

int main() {
  asio::io_context context;
  qkd004::net::site_options options;
  options.manager.node = "here";
  options.listen = {"qkd004://127.0.0.1:0"};
  options.self_link = true;
  qkd004::net::site site{context, options};
  std::string why;
  if (!site.start(&why)) {
    std::fprintf(stderr, "%s\n", why.c_str());
    return 1;
  }
  std::thread server{[&context] { context.run(); }};

  bool equal = false;
  {
    const qkd004::secret_arena arena;
    const std::string uri = site.addresses().front();
    qkd004::client alice{qkd004::net::connect(uri, arena).value(), arena};
    qkd004::client bob{qkd004::net::connect(uri, arena).value(), arena};

    qkd004::open_connect_request request{"qkd://alice@here", "qkd://bob@here"};
    auto at_alice = alice.open_connect(request).value();
    request.stream = at_alice.id();
    auto at_bob = bob.open_connect(request).value();

    const auto key_a = at_alice.next_key().value();
    const auto key_b = at_bob.next_key().value();
    equal = key_a.index == key_b.index && qkd004::equal_in_constant_time(key_a.bytes(), key_b.bytes());
    std::printf("key %llu over %s: %s\n", static_cast<unsigned long long>(key_a.index), uri.c_str(),
                equal ? "equal at both ends" : "DIFFERENT");
  }
  site.stop();
  server.join();
  return equal ? 0 : 1;
}
