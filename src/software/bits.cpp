// SPDX-License-Identifier: Apache-2.0
#include "software/bits.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "qkd004/secret.hpp"

namespace qkd004::software {

namespace {

std::size_t mapped_octets(std::size_t count) noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return ((count + 63) / 64 * sizeof(std::uint64_t) + page - 1) / page * page;
}

}  // namespace

bits::bits(std::size_t count) {
  if (count == 0) return;
  const std::size_t size = mapped_octets(count);
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc{};
  static_cast<void>(::mlock(memory, size));  // a block may be larger than what may be locked
  static_cast<void>(::madvise(memory, size, MADV_DONTDUMP));
  static_cast<void>(::madvise(memory, size, MADV_WIPEONFORK));
  words_ = static_cast<std::uint64_t*>(memory);
  count_ = count;
}

bits::~bits() {
  if (words_ == nullptr) return;
  wipe(words_, (count_ + 63) / 64 * sizeof(std::uint64_t));
  ::munmap(words_, mapped_octets(count_));
}

bits bits::copy() const {
  bits same{count_};
  std::copy_n(words_, words().size(), same.words_);
  return same;
}

void bits::shorten(std::size_t count) noexcept {
  assert(count <= count_);
  if (count >= count_) return;
  if (count == 0) {
    *this = bits{};
    return;
  }
  const std::size_t before = mapped_octets(count_);
  const auto all = words();
  count_ = count;
  const auto kept = words();
  wipe(all.data() + kept.size(), (all.size() - kept.size()) * sizeof(std::uint64_t));
  if (count % 64 != 0) kept.back() &= (std::uint64_t{1} << (count % 64)) - 1;
  if (const std::size_t after = mapped_octets(count_); after < before) {
    ::munmap(reinterpret_cast<std::byte*>(words_) + after, before - after);
  }
}

}  // namespace qkd004::software
