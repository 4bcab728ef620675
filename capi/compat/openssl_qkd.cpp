// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <sys/random.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "first_edition.hpp"
#include "process_state.hpp"
#include "qkd004-compat/openssl-qkd/qkd_api.h"

namespace {

using qkd004::compat::first_edition;

static_assert(sizeof(QKD_key_handle_t) == sizeof(qkd004_v1_key_handle));

void end();
constinit qkd004::compat::process_state<first_edition> here{"libqkd004-openssl-qkd", end};
void end() { here.end(); }
std::atomic<std::size_t> next_end{first_edition::no_preference};  // relaxed everywhere: a preference, no more

QKD_result_t result_of(int result) noexcept {
  switch (result) {
    case QKD004_V1_SUCCESS: return QKD_RESULT_SUCCESS;
    case QKD004_V1_INSUFFICIENT_KEY: return QKD_RESULT_RECEIVE_FAILED;
    case QKD004_V1_RESOURCE_LIMIT:
    case -ENOMEM: return QKD_RESULT_OUT_OF_MEMORY;
    case QKD004_V1_INVALID_ARGUMENT: return QKD_RESULT_NOT_SUPPORTED;
    default: return QKD_RESULT_CONNECTION_FAILED;
  }
}

template <class Call>
QKD_result_t with_state(Call call) noexcept {
  return result_of(here.with(call));
}

constexpr char digits[] = "0123456789abcdef";

void write_hexadecimal(std::span<const char> octets, char* text) noexcept {
  for (const char c : octets) {
    const auto value = static_cast<unsigned char>(c);
    *text++ = digits[value >> 4U];
    *text++ = digits[value & 0xfU];
  }
  *text = '\0';
}

/// The text of a secret, for as long as it must be.
struct secret_text {
  secret_text() = default;
  secret_text(const secret_text&) = delete;
  secret_text& operator=(const secret_text&) = delete;
  ~secret_text() { forget(); }

  void forget() noexcept {
    if (text) ::explicit_bzero(text.get(), size);
    text.reset();
    size = 0;
  }

  std::unique_ptr<char[]> text;
  std::size_t size = 0;
};

thread_local secret_text last_secret;
thread_local char last_handle[2 * QKD_KEY_HANDLE_SIZE + 1];

}  // namespace

const QKD_key_handle_t QKD_key_handle_null = {{0}};

const char* QKD_result_str(QKD_result_t result) {
  switch (static_cast<int>(result)) {
    case QKD_RESULT_SUCCESS: return "success";
    case QKD_RESULT_SEND_FAILED: return "send failed";
    case QKD_RESULT_RECEIVE_FAILED: return "receive failed";
    case QKD_RESULT_CONNECTION_FAILED: return "connection failed";
    case QKD_RESULT_OUT_OF_MEMORY: return "out of memory";
    case QKD_STATUS_OPEN_SSL_ERROR: return "openssl error";
    case QKD_RESULT_NOT_SUPPORTED: return "not supported";
    default: return "unknown result";
  }
}

char* QKD_shared_secret_str(char* shared_secret, size_t shared_secret_size) {
  last_secret.forget();
  if (shared_secret == nullptr || shared_secret_size > SIZE_MAX / 2 - 1) return nullptr;
  const std::size_t size = 2 * shared_secret_size + 1;
  last_secret.text.reset(new (std::nothrow) char[size]);
  if (!last_secret.text) return nullptr;
  last_secret.size = size;
  write_hexadecimal({shared_secret, shared_secret_size}, last_secret.text.get());
  return last_secret.text.get();
}

void QKD_key_handle_set_null(QKD_key_handle_t* key_handle) {
  if (key_handle != nullptr) *key_handle = QKD_key_handle_null;
}

bool QKD_key_handle_is_null(const QKD_key_handle_t* key_handle) {
  return key_handle == nullptr || QKD_key_handle_compare(key_handle, &QKD_key_handle_null) == 0;
}

void QKD_key_handle_set_random(QKD_key_handle_t* key_handle) {
  if (key_handle == nullptr) return;
  do {
    // up to 256 octets come whole; it fails only where the kernel has no such call
    if (::getrandom(key_handle->bytes, sizeof key_handle->bytes, 0) != sizeof key_handle->bytes) std::abort();
  } while (QKD_key_handle_is_null(key_handle));
}

char* QKD_key_handle_str(const QKD_key_handle_t* key_handle) {
  write_hexadecimal((key_handle == nullptr ? &QKD_key_handle_null : key_handle)->bytes, last_handle);
  return last_handle;
}

int QKD_key_handle_compare(const QKD_key_handle_t* key_handle_1, const QKD_key_handle_t* key_handle_2) {
  if (key_handle_1 == nullptr) key_handle_1 = &QKD_key_handle_null;
  if (key_handle_2 == nullptr) key_handle_2 = &QKD_key_handle_null;
  return std::memcmp(key_handle_1->bytes, key_handle_2->bytes, sizeof key_handle_1->bytes);
}

QKD_result_t QKD_init(bool am_server) {
  next_end.store(am_server ? 0 : 1, std::memory_order_relaxed);
  return QKD_RESULT_SUCCESS;
}

QKD_result_t QKD_open(char* destination, QKD_qos_t qos, QKD_key_handle_t* key_handle) {
  if (key_handle == nullptr) return QKD_RESULT_NOT_SUPPORTED;
  return with_state([&](first_edition& state) {
    first_edition::open_request request;
    if (destination != nullptr) request.names.emplace_back(destination);
    request.requested_length = qos.requested_length;
    request.max_bps = qos.max_bps;
    request.priority = qos.priority;
    request.timeout_ms = qos.timeout;
    request.end = next_end.load(std::memory_order_relaxed);
    return state.open(request, key_handle->bytes);
  });
}

QKD_result_t QKD_connect_nonblock(const QKD_key_handle_t* key_handle) {
  if (key_handle == nullptr) return QKD_RESULT_NOT_SUPPORTED;
  return with_state([&](first_edition& state) { return state.connect_nonblock(key_handle->bytes); });
}

QKD_result_t QKD_connect_blocking(const QKD_key_handle_t* key_handle, uint32_t timeout) {
  if (key_handle == nullptr) return QKD_RESULT_NOT_SUPPORTED;
  return with_state([&](first_edition& state) { return state.connect_blocking(key_handle->bytes, timeout); });
}

QKD_result_t QKD_get_key(const QKD_key_handle_t* key_handle, char* key_buffer) {
  if (key_handle == nullptr || key_buffer == nullptr) return QKD_RESULT_NOT_SUPPORTED;
  return with_state([&](first_edition& state) {
    const int result = state.get_key(key_handle->bytes, key_buffer);
    return result == QKD004_V1_TIMEOUT ? int{QKD004_V1_INSUFFICIENT_KEY}
                                       : result;  // there is a connection, and no key
  });
}

QKD_result_t QKD_close(const QKD_key_handle_t* key_handle) {
  if (key_handle == nullptr) return QKD_RESULT_NOT_SUPPORTED;
  return with_state([&](first_edition& state) { return state.close(key_handle->bytes); });
}
