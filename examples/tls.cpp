// tcp.cpp over TLS 1.3: the site and both applications have certificates, and know each other by the URI in them.
// SPDX-License-Identifier: Apache-2.0
// Argument: the folder that `qkd004 certs` made.
#include <qkd004/net/connect.hpp>
#include <qkd004/net/site.hpp>
#include <qkd004/qkd004.hpp>

#include <asio/io_context.hpp>

#include <cstdio>
#include <string>
#include <thread>

namespace {

/// The certificate of one of them, its key, and the authority that all of them believe.
qkd004::net::tls_options identity(const std::string& folder, const std::string& name) {
  qkd004::net::tls_options tls;
  tls.certificate = folder + "/" + name + ".pem";
  tls.key = folder + "/" + name + ".key";
  tls.authority = folder + "/authority.pem";
  return tls;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s FOLDER-OF-CERTIFICATES\n", argv[0]), 2;
  const std::string folder = argv[1];

  asio::io_context context;
  qkd004::net::site_options options;
  options.manager.node = "site-a";
  options.listen = {"qkd004s://127.0.0.1:0"};
  options.tls = identity(folder, "site-a");
  options.self_link = true;
  qkd004::net::site site{context, options};
  std::string why;
  if (!site.start(&why)) return std::fprintf(stderr, "%s\n", why.c_str()), 1;
  std::thread server{[&context] { context.run(); }};

  bool as_expected = false;
  {
    const qkd004::secret_arena arena;
    const std::string uri = site.addresses().front();

    qkd004::net::connect_options as_alice;
    as_alice.tls = identity(folder, "alice");
    as_alice.server = "qkd://site-a";  // whose certificate the site has to show
    qkd004::client alice{qkd004::net::connect(uri, arena, as_alice).value(), arena};

    const auto own = alice.open_connect({"qkd://alice@site-a", "qkd://bob@site-a"});
    const auto another = alice.open_connect({"qkd://carol@site-a", "qkd://bob@site-a"});
    std::printf("alice as alice: %s\n", own ? "opened" : own.error().message().c_str());
    std::printf("alice as carol: %s\n", another ? "opened" : another.error().message().c_str());

    // without a certificate there is no connection at all
    const auto nobody = qkd004::net::connect(uri, arena, {}, &why);
    std::printf("nobody: %s\n", nobody ? "connected" : nobody.error().message().c_str());

    as_expected = own && another.error() == qkd004::status::not_authorized && !nobody;
  }
  site.stop();
  server.join();
  return as_expected ? 0 : 1;
}
