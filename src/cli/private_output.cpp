// SPDX-License-Identifier: Apache-2.0
#include "cli/private_output.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <system_error>
#include <utility>

namespace qkd004::cli {

namespace {

std::error_code last_error() { return {errno, std::generic_category()}; }

}  // namespace

private_output::private_output(private_output&& other) noexcept
    : descriptor_{std::exchange(other.descriptor_, -1)} {}

private_output& private_output::operator=(private_output&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

private_output::~private_output() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

result<private_output> private_output::create(const std::string& path, std::string* why) {
  private_output file;
  file.descriptor_ =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file.descriptor_ >= 0) return file;
  const auto error = last_error();
  if (why != nullptr) *why = path + ": " + error.message();
  return error;
}

result<void> private_output::write(std::span<const std::byte> octets) {
  while (!octets.empty()) {
    const ssize_t written = ::write(descriptor_, octets.data(), octets.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return last_error();
    }
    octets = octets.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

result<void> private_output::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  const bool synced =
      ::fsync(descriptor) == 0 || errno == EINVAL;  // what is no file on a disk cannot be synced
  const auto error = last_error();
  if (::close(descriptor) != 0) return last_error();
  if (!synced) return error;
  return {};
}

}  // namespace qkd004::cli
