// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "first_edition.hpp"
#include "process_state.hpp"
#include "qkd004-compat/hackathon/qkd_api.h"

namespace {

using qkd004::compat::first_edition;

static_assert(sizeof(key_handle_t) == sizeof(qkd004_v1_key_handle));

void end();
constinit qkd004::compat::process_state<first_edition> here{"libqkd004-hackathon", end};
void end() { here.end(); }

uint32_t result_of(int result) noexcept {
  if (result >= 0) return static_cast<uint32_t>(result);
  switch (result) {
    case -EPERM: return QKD004_V1_NOT_AUTHORIZED;
    case -ENOMEM: return QKD004_V1_RESOURCE_LIMIT;
    default: return NO_QKD_CONNECTION;
  }
}

template <class Call>
uint32_t with_state(Call call) noexcept {
  return result_of(here.with(call));
}

/// How the address may be written where it is configured. The shape does not say whether it is text or
/// octets, and the programs in the field often leave it as they found it: any octets may stand there.
std::vector<std::string> spellings_of(const ip_address_t& destination) {
  const char* const octets = destination.address;
  const std::size_t length = std::min<std::size_t>(destination.length, sizeof destination.address);
  std::vector<std::string> spellings;
  char text[INET6_ADDRSTRLEN];
  if (length == 4 && ::inet_ntop(AF_INET, octets, text, sizeof text) != nullptr) spellings.emplace_back(text);
  if (length == 16 && ::inet_ntop(AF_INET6, octets, text, sizeof text) != nullptr)
    spellings.emplace_back(text);
  spellings.emplace_back(octets, ::strnlen(octets, length));
  return spellings;
}

}  // namespace

uint32_t QKD_OPEN(ip_address_t destination, qos_t QoS, key_handle_t key_handle) {
  if (key_handle == nullptr) return QKD004_V1_INVALID_ARGUMENT;
  return with_state([&](first_edition& state) {
    first_edition::open_request request;
    request.names = spellings_of(destination);
    request.requested_length = QoS.requested_length;
    request.max_bps = QoS.max_bps;
    request.priority = QoS.priority;
    request.timeout_ms = QoS.timeout;
    return state.open(request, key_handle);
  });
}

uint32_t QKD_CONNECT_NONBLOCK(key_handle_t key_handle, uint32_t) {
  if (key_handle == nullptr) return QKD004_V1_INVALID_ARGUMENT;
  return with_state([&](first_edition& state) { return state.connect_nonblock(key_handle); });
}

uint32_t QKD_CONNECT_NONBLOCKING(key_handle_t key_handle, uint32_t timeout) {
  return QKD_CONNECT_NONBLOCK(key_handle, timeout);
}

uint32_t QKD_CONNECT_BLOCKING(key_handle_t key_handle, uint32_t timeout) {
  if (key_handle == nullptr) return QKD004_V1_INVALID_ARGUMENT;
  return with_state([&](first_edition& state) { return state.connect_blocking(key_handle, timeout); });
}

uint32_t QKD_GET_KEY(key_handle_t key_handle, char* key_buffer) {
  if (key_handle == nullptr || key_buffer == nullptr) return QKD004_V1_INVALID_ARGUMENT;
  return with_state([&](first_edition& state) { return state.get_key(key_handle, key_buffer); });
}

uint32_t QKD_CLOSE(key_handle_t key_handle) {
  if (key_handle == nullptr) return QKD004_V1_INVALID_ARGUMENT;
  return with_state([&](first_edition& state) { return state.close(key_handle); });
}
