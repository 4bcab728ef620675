// Push mode in one process: two QKD devices post their keys to two key managers, and an application at each of these takes
// the same keys. In earnest each site is a process of its own, or part of one: `qkd004 serve` with examples/push/.
// SPDX-License-Identifier: Apache-2.0
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <qkd004/client.hpp>
#include <qkd004/memory_source.hpp>
#include <qkd004/net/connect.hpp>
#include <qkd004/net/site.hpp>
#include <qkd004/push/device.hpp>
#include <qkd004/push/receiver.hpp>

namespace {

using namespace qkd004;

constexpr char source[] = "qkd://kms-a@device-a";
constexpr char destination[] = "qkd://kms-b@device-b";

void must(bool good, const std::string& why) {
  if (good) return;
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

net::site_options site_of(std::string node, std::string peer, std::string address,
                          std::shared_ptr<key_source> key) {
  net::site_options o;
  o.manager.node = std::move(node);
  o.listen = {"qkd004://127.0.0.1:0", "http://127.0.0.1:0"};  // any free port
  o.memory.allow_unlocked = true;
  o.peers.push_back({{"link", std::move(peer), {}}, std::move(address), std::move(key), ""});
  return o;
}

void start(net::site& site) {
  std::string why;
  must(static_cast<bool>(site.start(&why)), why);
}

std::string pull(const net::site& site) { return site.addresses().at(0); }
std::string http(const net::site& site) { return site.addresses().at(1); }

std::shared_ptr<push_source> pushed(push_source_options::end which) {
  push_source_options o{source, destination, which, security_class::simulated_insecure};
  o.memory.allow_unlocked = true;
  return std::make_shared<push_source>(std::move(o));
}

}  // namespace

int main() {
  asio::io_context context;

  // the key managers, each with its end of the source that devices fill
  const auto end_a = pushed(push_source_options::end::begins);
  const auto end_b = pushed(push_source_options::end::follows);
  net::site kms_b{context, site_of("kms-b", "kms-a", "", end_b)};
  start(kms_b);
  net::site kms_a{context, site_of("kms-a", "kms-b", pull(kms_b), end_a)};
  start(kms_a);

  // the devices, linked by key that both have, each with the address of its key manager
  const auto device_of = [&context](net::site& site, const net::site& kms) {
    push::device_options o;
    o.key_managers[source] = {http(kms), ""};
    o.memory.allow_unlocked = true;
    auto device = std::make_unique<push::device>(context, site, std::move(o));
    std::string why;
    must(static_cast<bool>(device->start(&why)), why);
    return device;
  };
  auto link = make_memory_sources({});
  net::site device_b{context, site_of("device-b", "device-a", "", std::move(link.second))};
  const auto pushes_b = device_of(device_b, kms_b);
  start(device_b);
  net::site device_a{context, site_of("device-a", "device-b", pull(device_b), std::move(link.first))};
  const auto pushes_a = device_of(device_a, kms_a);
  start(device_a);

  // and the key managers ask for keys
  const auto receiver_of = [&context](net::site& kms, std::shared_ptr<push_source> end,
                                      const net::site& device) {
    push::receiver_options o;
    o.links = {{"link", std::move(end), http(device), "", false}};
    o.memory.allow_unlocked = true;
    auto receiver = std::make_unique<push::receiver>(context, kms, std::move(o));
    std::string why;
    must(static_cast<bool>(receiver->start(&why)), why);
    return receiver;
  };
  const auto takes_a = receiver_of(kms_a, end_a, device_a);
  const auto takes_b = receiver_of(kms_b, end_b, device_b);
  std::thread runs{[&context] { context.run(); }};

  // the applications know nothing of all that
  {
    const secret_arena arena{{std::size_t{1} << 20, true}};
    client alice{net::connect(pull(kms_a), arena).value(), arena};
    client bob{net::connect(pull(kms_b), arena).value(), arena};
    auto at_a = alice.open_connect({"qkd://alice@kms-a", "qkd://bob@kms-b"}).value();
    auto at_b = bob.open_connect({"qkd://alice@kms-a", "qkd://bob@kms-b", {}, at_a.id()}).value();
    for (int i = 0; i < 3; ++i) {
      const auto key = at_a.next_key().value();
      must(equal_in_constant_time(key.bytes(), at_b.get_key(key.index).value().bytes()), "different keys");
      std::printf("key %llu: equal at both ends\n", static_cast<unsigned long long>(key.index));
    }
  }

  asio::post(context, [&] {
    for (push::receiver* const r : {takes_a.get(), takes_b.get()}) r->stop();  // CLOSE goes to the devices
    for (push::device* const d : {pushes_a.get(), pushes_b.get()}) d->stop();
    for (net::site* const s : {&kms_a, &kms_b, &device_a, &device_b}) s->stop();
  });
  runs.join();
}
