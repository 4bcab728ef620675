// SPDX-License-Identifier: Apache-2.0
#include "source/private_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace qkd004::source {

namespace {

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

std::string octal(unsigned mode) {
  std::string text = "0000";
  for (std::size_t i = text.size(); i-- > 0; mode >>= 3) text[i] = static_cast<char>('0' + (mode & 7));
  return text;
}

}  // namespace

file_descriptor::~file_descriptor() {
  if (number_ >= 0) ::close(number_);
}

std::error_code complaint::operator()(std::error_code code, std::string_view text) const {
  if (why != nullptr) *why = path + ": " + std::string{text};
  return code;
}

std::error_code complaint::errno_of(std::string_view call) const {
  const auto code = last_error();
  return (*this)(code, std::string{call} + ": " + code.message());
}

result<private_file> open_private(const complaint& complain, int flags, others access) {
  // without O_NONBLOCK a named pipe would hold us here for ever
  private_file file{
      file_descriptor{::open(complain.path.c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)}};
  if (!file.descriptor) return complain.errno_of("open");
  struct stat facts {};
  if (::fstat(file.descriptor.get(), &facts) != 0) return complain.errno_of("fstat");
  if (!S_ISREG(facts.st_mode)) {
    return complain(make_error_code(status::invalid_argument), "not a regular file");
  }
  if (access == others::refused && (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return complain(
        std::make_error_code(std::errc::permission_denied),
        "group or others have access (mode " + octal(facts.st_mode & 07777) + "), chmod 600 helps");
  }
  file.size = static_cast<std::uint64_t>(facts.st_size);
  return file;
}

std::error_code read_at(int descriptor, std::span<std::byte> out, std::uint64_t offset) noexcept {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return last_error();
    if (got == 0) return std::make_error_code(std::errc::io_error);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

std::error_code write_at(int descriptor, std::span<const std::byte> from, std::uint64_t offset) noexcept {
  while (!from.empty()) {
    const ssize_t put = ::pwrite(descriptor, from.data(), from.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return last_error();
    from = from.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

std::error_code sync(int descriptor) noexcept {
  return ::fdatasync(descriptor) == 0 ? std::error_code{} : last_error();
}

}  // namespace qkd004::source
