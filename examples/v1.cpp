// The first edition's API (GS QKD 004 V1.1.1): a server makes a handle and tells it to a client, both meet and take
// keys. The two key managers are in this program; over a network `net::connect` gives the sessions their exchanges.
#include <qkd004/in_process.hpp>
#include <qkd004/v1.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

int main() {
  using namespace std::chrono_literals;
  namespace v1 = qkd004::v1;

  const auto link = std::make_shared<qkd004::in_process_link>(qkd004::pair_options{});
  const auto way_to = [&](std::size_t site) {
    return std::make_shared<qkd004::in_process_exchange>(link, site, "anonymous");
  };
  // V1 knows an address for the other end, and nothing of URIs: the table says which node that is
  v1::session server{way_to(0), {"qkd://server@A", {}, "qkd://client@B"}};
  v1::session client{way_to(1), {"qkd://client@B", {{"192.0.2.1", "qkd://server@A"}}, {}}};

  v1::key_handle handle;  // NULL: open() makes one
  v1::status outcome = server.open({}, {.requested_length = 32}, handle);
  // not secret: the server tells it to the client over any channel
  if (outcome == v1::status::success) outcome = client.open("192.0.2.1", {}, handle);
  if (outcome == v1::status::success) outcome = server.connect_blocking(handle, 5s);
  if (outcome == v1::status::success) outcome = client.connect_blocking(handle, 5s);

  bool equal = outcome == v1::status::success;
  for (int i = 0; i < 3 && equal; ++i) {
    std::array<std::byte, 32> at_server{};
    std::array<std::byte, 32> at_client{};
    equal = server.get_key(handle, at_server) == v1::status::success &&
            client.get_key(handle, at_client) == v1::status::success &&
            qkd004::equal_in_constant_time(at_server, at_client);
    std::printf("key %d: %s\n", i, equal ? "equal at both ends" : "DIFFERENT");
    qkd004::wipe(at_server.data(), at_server.size());
    qkd004::wipe(at_client.data(), at_client.size());
  }
  if (outcome != v1::status::success) std::printf("%s\n", std::string{to_string(outcome)}.c_str());
  const bool closed =
      server.close(handle) == v1::status::success && client.close(handle) == v1::status::success;
  return equal && closed ? 0 : 1;
}
