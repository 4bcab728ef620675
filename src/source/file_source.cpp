// SPDX-License-Identifier: Apache-2.0
#include "qkd004/file_source.hpp"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/file.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "source/block_pace.hpp"
#include "source/private_file.hpp"
#include "source/session_octets.hpp"

namespace qkd004 {

namespace {

using source::complaint;
using source::file_descriptor;

constexpr std::size_t smallest_block = 32;  // the check value's key is one block: 256 bit
constexpr std::size_t largest_block = std::size_t{1} << 20;
constexpr std::array<std::byte, 64 * 1024> zeros{};

/// What the offset file says. It says nothing about the key, not even a hash of it.
struct offset_record {
  std::uint64_t file_bytes = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t offset = 0;  ///< blocks below may have been handed out
  std::uint64_t erased = 0;  ///< blocks below were overwritten
};

/// On disk: magic, the four numbers in big-endian order, the first 24 octets of the SHA-256 of all that.
constexpr std::size_t record_bytes = 64;
constexpr std::size_t record_checked_bytes = 40;
constexpr char record_magic[] = "qkd004o1";
/// Two copies, in pages of their own, so that no single failed write damages both. A block is handed out only
/// when both are on the disk: each of them alone is never too low.
constexpr std::array<std::uint64_t, 2> record_places{0, 4096};
constexpr std::uint64_t offset_file_bytes = 4096 + record_bytes;

using record_octets = std::array<std::byte, record_bytes>;

bool append_checksum(record_octets& octets) noexcept {
  std::array<std::byte, EVP_MAX_MD_SIZE> digest{};
  if (EVP_Digest(octets.data(), record_checked_bytes, reinterpret_cast<unsigned char*>(digest.data()),
                 nullptr, EVP_sha256(), nullptr) != 1) {
    return false;
  }
  std::memcpy(octets.data() + record_checked_bytes, digest.data(), record_bytes - record_checked_bytes);
  return true;
}

std::optional<record_octets> encode(const offset_record& record) noexcept {
  record_octets octets{};
  std::memcpy(octets.data(), record_magic, 8);
  std::size_t at = 8;
  for (const auto value : {record.file_bytes, record.block_bytes, record.offset, record.erased}) {
    for (unsigned shift = 64; shift > 0;) octets[at++] = static_cast<std::byte>(value >> (shift -= 8));
  }
  if (!append_checksum(octets)) return std::nullopt;
  return octets;
}

std::optional<offset_record> decode(const record_octets& octets) noexcept {
  record_octets right = octets;
  if (std::memcmp(octets.data(), record_magic, 8) != 0 || !append_checksum(right) || right != octets) {
    return std::nullopt;
  }
  offset_record record;
  std::size_t at = 8;
  for (auto* value : {&record.file_bytes, &record.block_bytes, &record.offset, &record.erased}) {
    for (int i = 0; i < 8; ++i) *value = *value << 8 | std::to_integer<std::uint64_t>(octets[at++]);
  }
  return record;
}

std::error_code write_record(int descriptor, const offset_record& record) noexcept {
  const auto octets = encode(record);
  if (!octets) return make_error_code(status::resource_limit);
  for (const auto place : record_places) {
    if (const auto error = source::write_at(descriptor, *octets, place)) return error;
  }
  return source::sync(descriptor);
}

/// A lock that ends with the descriptor.
std::error_code lock(int descriptor, const complaint& complain) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return complain.errno_of("flock");
  return complain(std::make_error_code(std::errc::device_or_resource_busy), "another key source has it");
}

/// A new offset file at block 0. Nobody else makes one: the key file is locked.
std::error_code create_offset_file(const offset_record& record, const complaint& complain) {
  const std::string& path = complain.path;
  const file_descriptor file{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  if (!file) return complain.errno_of("create");
  if (const auto error = write_record(file.get(), record)) {
    ::unlink(path.c_str());  // no block was handed out yet
    return complain(error, "write: " + error.message());
  }
  // the name has to last as well
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const file_descriptor directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory || ::fsync(directory.get()) != 0) return complain.errno_of("fsync of the folder");
  return {};
}

/// Opens and locks the offset file, and makes it where there is none; `record` has what is wanted and gets
/// what is.
result<file_descriptor> open_offset_file(offset_record& record, const complaint& complain) {
  if (::access(complain.path.c_str(), F_OK) != 0 && errno == ENOENT) {
    if (const auto error = create_offset_file(record, complain)) return error;
  }
  auto file = source::open_private(complain, O_RDWR, source::others::refused);
  if (!file) return file.error();
  const int descriptor = file->descriptor.get();
  if (const auto error = lock(descriptor, complain)) return error;

  const auto damaged = make_error_code(status::invalid_argument);
  if (file->size != offset_file_bytes) {
    return complain(damaged, "damaged: has " + std::to_string(file->size) + " octets instead of " +
                                 std::to_string(offset_file_bytes) +
                                 "; how far the key was used is not known");
  }
  std::optional<offset_record> found;
  for (const auto place : record_places) {
    record_octets octets{};
    if (const auto error = source::read_at(descriptor, octets, place)) {
      return complain(error, "read: " + error.message());
    }
    const auto copy = decode(octets);
    if (!copy) continue;
    if (copy->file_bytes != record.file_bytes || copy->block_bytes != record.block_bytes) {
      return complain(make_error_code(status::invalid_argument),
                      "belongs to a key file of " + std::to_string(copy->file_bytes) +
                          " octets in blocks of " + std::to_string(copy->block_bytes));
    }
    if (!found || copy->offset > found->offset) found = copy;
  }
  if (!found || found->offset > record.file_bytes / record.block_bytes || found->erased > found->offset) {
    return complain(damaged, "damaged; how far the key was used is not known");
  }
  record = *found;
  return std::move(file->descriptor);
}

/// Zeros are no key but what was erased, or a hole in the file: whoever lost the offset file must not get
/// them.
bool is_erased(std::span<const std::byte> block) noexcept {
  return std::all_of(block.begin(), block.end(), [](std::byte octet) { return octet == std::byte{0}; });
}

struct key_file {
  file_descriptor key;
  file_descriptor offset;
  offset_record record;
};

class file_source final : public key_source {
 public:
  file_source(const file_source_options& options, key_file file)
      : file_{std::move(file)},
        count_{file_.record.file_bytes / file_.record.block_bytes},
        reserve_blocks_{options.reserve_blocks},
        erase_{options.erase},
        next_{file_.record.offset},
        pace_{options.block_bytes, options.rate_bps},
        capabilities_{.kind = "file", .security = options.security, .rate_bps = options.rate_bps} {}
  file_source(const file_source&) = delete;
  file_source& operator=(const file_source&) = delete;
  ~file_source() override = default;  // no stop(): whoever leaves without it loses the reserved blocks

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return next_; }

  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point now) override {
    started_ = false;
    if (forked()) return status::no_qkd_connection;
    if (session.first_block < next_) return status::invalid_argument;
    if (count_ - std::min(count_, session.first_block) < 2) return status::insufficient_key;
    next_ = session.first_block + 1;  // the block before is spent on the check value
    if (const auto error = reserve()) return error;
    key_source_check check{};
    if (const auto error = check_of(session, check)) return error;
    if (const auto error = erase_used()) return error;
    started_ = true;
    pace_.start(now);
    return check;
  }

  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    if (!started_) return status::invalid_argument;
    if (forked() || arena.forked()) return status::no_qkd_connection;
    if (next_ == count_) return status::insufficient_key;
    if (!pace_.ready(now)) return std::optional<key_block>{};
    auto bytes = arena.allocate(block_bytes());
    if (!bytes) return bytes.error();
    std::error_code error;
    if (next_ == file_.record.offset) {
      error = reserve();
      if (!error) error = erase_used();
    }
    if (!error) error = source::read_at(file_.key.get(), bytes->span(), next_ * block_bytes());
    if (!error && is_erased(bytes->span())) error = make_error_code(status::insufficient_key);
    if (error) {
      started_ = false;
      return error;
    }
    pace_.taken(now);
    // numbers count from first_block although the block of that place went into the check value
    return std::optional<key_block>{key_block{next_++ - 1, std::move(*bytes)}};
  }

  [[nodiscard]] time_point ready_at(time_point now) const noexcept override { return pace_.ready_at(now); }

  void stop() noexcept override {
    if (!started_) return;
    started_ = false;
    if (forked()) return;  // where the parent is now, its child does not know
    if (erase_used()) return;
    // gives the reserved blocks back; should it fail, the disk has the old offset or the new, and both will
    // do
    auto exact = file_.record;
    exact.offset = next_;
    if (!write_record(file_.offset.get(), exact)) file_.record = exact;
  }

  /// Overwrites what is below next_, if the options say so. The record learns of it when it is written again:
  /// after a crash some is overwritten a second time.
  std::error_code erase_used() noexcept {
    if (!erase_) return {};
    const std::uint64_t end = next_ * block_bytes();
    for (std::uint64_t at = file_.record.erased * block_bytes(); at < end; at += zeros.size()) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), end - at));
      if (const auto error = source::write_at(file_.key.get(), std::span{zeros}.first(size), at))
        return error;
    }
    if (const auto error = source::sync(file_.key.get())) return error;
    file_.record.erased = next_;
    return {};
  }

 private:
  [[nodiscard]] bool forked() const noexcept { return ::getpid() != owner_; }

  [[nodiscard]] std::size_t block_bytes() const noexcept {
    return static_cast<std::size_t>(file_.record.block_bytes);
  }

  /// Marks the blocks from next_ on as used, on the disk, before any of them is read.
  std::error_code reserve() noexcept {
    auto further = file_.record;
    further.offset = next_ + std::min<std::uint64_t>(reserve_blocks_, count_ - next_);
    if (const auto error = write_record(file_.offset.get(), further)) return error;
    file_.record = further;
    return {};
  }

  /// HMAC-SHA256(SHA-256(block first_block), session and configuration).
  std::error_code check_of(const key_source_session& session, key_source_check& check) const {
    struct passing {
      std::array<std::byte, 4096> octets{};
      std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
      passing() = default;
      passing(const passing&) = delete;
      passing& operator=(const passing&) = delete;
      ~passing() {
        OPENSSL_cleanse(octets.data(), octets.size());
        OPENSSL_cleanse(digest.data(), digest.size());
      }
    } key;
    const auto failed = make_error_code(status::resource_limit);
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
    if (!hash || EVP_DigestInit_ex2(hash.get(), EVP_sha256(), nullptr) != 1) return failed;
    bool erased = true;
    for (std::size_t at = 0; at < block_bytes(); at += key.octets.size()) {
      const auto part = std::span{key.octets}.first(std::min(key.octets.size(), block_bytes() - at));
      const std::uint64_t place = session.first_block * block_bytes() + at;
      if (const auto error = source::read_at(file_.key.get(), part, place)) return error;
      erased = erased && is_erased(part);
      if (EVP_DigestUpdate(hash.get(), part.data(), part.size()) != 1) return failed;
    }
    if (erased) return make_error_code(status::insufficient_key);
    unsigned size = 0;
    if (EVP_DigestFinal_ex(hash.get(), key.digest.data(), &size) != 1) return failed;
    const auto text = source::session_octets(
        "qkd004 file source check 1", session,
        {session.first_block, file_.record.file_bytes, file_.record.block_bytes, capabilities_.rate_bps});
    auto* out = reinterpret_cast<unsigned char*>(check.data());
    if (HMAC(EVP_sha256(), key.digest.data(), static_cast<int>(size), text.data(), text.size(), out,
             nullptr) == nullptr) {
      return failed;
    }
    return {};
  }

  key_file file_;
  const std::uint64_t count_;  ///< blocks in the file
  const std::uint64_t reserve_blocks_;
  const bool erase_;
  std::uint64_t next_;  ///< place in the file; below record.offset whenever a block is read
  bool started_ = false;
  const pid_t owner_ = ::getpid();
  source::block_pace pace_;
  key_source_capabilities capabilities_;
};

}  // namespace

result<std::unique_ptr<key_source>> make_file_source(const file_source_options& options, std::string* why) {
  const complaint complain{options.path, why};
  const auto invalid = make_error_code(status::invalid_argument);
  if (options.block_bytes < smallest_block || options.block_bytes > largest_block) {
    return complain(invalid, "a block has 32 to 1048576 octets, not " + std::to_string(options.block_bytes));
  }
  if (options.reserve_blocks == 0) return complain(invalid, "reserve_blocks is 0");

  auto key = source::open_private(complain, options.erase ? O_RDWR : O_RDONLY,
                                  options.allow_readable ? source::others::allowed : source::others::refused);
  if (!key) return key.error();
  if (const auto error = lock(key->descriptor.get(), complain)) return error;
  if (key->size / options.block_bytes < 2) {
    return complain(invalid, "has " + std::to_string(key->size) + " octets, less than two blocks");
  }

  const complaint complain_offset{
      options.offset_path.empty() ? options.path + ".offset" : options.offset_path, why};
  offset_record record{.file_bytes = key->size, .block_bytes = options.block_bytes};
  auto offset = open_offset_file(record, complain_offset);
  if (!offset) return offset.error();
  key_file file{std::move(key->descriptor), std::move(*offset), record};
  auto made = std::make_unique<file_source>(options, std::move(file));
  if (const auto error = made->erase_used()) return complain(error, "erase: " + error.message());
  return std::unique_ptr<key_source>{std::move(made)};
}

}  // namespace qkd004
