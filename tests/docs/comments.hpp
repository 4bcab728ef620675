// comments: what the code in the comments of the public headers takes for granted; see comments.py.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>
#include <qkd004/async_client.hpp>
#include <qkd004/net/connect.hpp>
#include <qkd004/net/http.hpp>
#include <qkd004/net/site.hpp>
#include <qkd004/push/device.hpp>
#include <qkd004/push/receiver.hpp>
#include <qkd004/push_source.hpp>
#include <qkd004/qkd004.hpp>
#include <qkd004/seeded_source.hpp>
#include <qkd004/software_link.hpp>
#include <qkd004/v1.hpp>
#include <qkd004/waiting.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

/// What a piece of code may return.
struct anything {
  anything() = default;
  template <class T>
  anything(T&&) {}
};

namespace taken_for_granted {

using namespace qkd004;
using namespace std::chrono_literals;

extern const secret_arena arena;
extern const std::string uri;
extern const std::shared_ptr<exchange> via;
extern const open_connect_request request;
extern asio::io_context context;
extern net::site_options options;
extern key_stream stream;
extern bool interrupted;
extern time_point until;
extern std::string why;
extern std::array<std::byte, 32> key;

anything fail(const std::string& why);
void begin(const result<async_key_stream>& opened);
void wait(int descriptor, time_point until);
void use(std::span<const std::byte> octets);
void tell_the_peer(const v1::key_handle& handle);

}  // namespace taken_for_granted
