// SPDX-License-Identifier: Apache-2.0
#include "software/auth_pool.hpp"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <optional>
#include <utility>

#include "qkd004/random.hpp"
#include "software/verify.hpp"
#include "source/private_file.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

using source::complaint;
using source::file_descriptor;
using source::private_file;

constexpr std::size_t least_bootstrap_octets = least_bootstrap_bits / 8;
constexpr std::uint64_t reserved_part = 8;  ///< of what is left, this part is marked as used ahead

/// What the file says of itself. Two tags of 64 bits is all that it tells of pads that were overwritten.
struct pool_record {
  std::uint64_t sequence = 0;       ///< counts what was written here
  verification_key key{};           ///< public: of the tags
  block128 identity{};              ///< public
  std::uint64_t bootstrap_tag = 0;  ///< of the octets the pool was made from
  std::uint64_t position = 0;       ///< octets below may have been used
  std::uint64_t end = 0;
  std::uint64_t content_tag = 0;  ///< of the octets from position to end

  friend bool operator==(const pool_record&, const pool_record&) = default;
};

/// On disk: magic, the record, SHA-256 of all that.
constexpr char record_magic[] = "qkd004p2";
constexpr std::size_t record_checked_octets = 8 + 8 + 32 + 16 + 4 * 8;
constexpr std::size_t digest_octets = 32;
using record_octets = std::array<std::byte, record_checked_octets + digest_octets>;

/// Two copies in pages of their own, written one after the other: at any time one of them is whole. A pad is handed out
/// only when both are on the disk: each of them alone is never too low.
constexpr std::array<std::uint64_t, 2> record_places{0, 4096};
/// Behind them a ring: the octet at position p is at p modulo its size.
constexpr std::uint64_t ring_place = 8192;
constexpr std::uint64_t file_octets = ring_place + most_pool_octets;

constexpr std::array<std::byte, 64 * 1024> zeros{};

bool append_digest(record_octets& octets) noexcept {
  return EVP_Digest(octets.data(), record_checked_octets,
                    reinterpret_cast<unsigned char*>(octets.data() + record_checked_octets), nullptr,
                    EVP_sha256(), nullptr) == 1;
}

std::optional<record_octets> encode(const pool_record& record) noexcept {
  record_octets octets{};
  wire::octet_writer out{octets};
  out.text({record_magic, 8});
  out.u64(record.sequence);
  out.octets(record.key);
  out.octets(record.identity);
  for (const auto value : {record.bootstrap_tag, record.position, record.end, record.content_tag})
    out.u64(value);
  if (!append_digest(octets)) return std::nullopt;
  return octets;
}

std::optional<pool_record> decode(const record_octets& octets) noexcept {
  record_octets right = octets;
  if (std::memcmp(octets.data(), record_magic, 8) != 0 || !append_digest(right) || right != octets) {
    return std::nullopt;
  }
  wire::octet_reader in{std::span{octets}.subspan(8)};
  pool_record record;
  record.sequence = in.u64();
  record.key = in.array<32>();
  record.identity = in.array<16>();
  for (auto* value : {&record.bootstrap_tag, &record.position, &record.end, &record.content_tag})
    *value = in.u64();
  if (record.position > record.end || record.end - record.position > most_pool_octets) return std::nullopt;
  return record;
}

std::error_code write_copy(int descriptor, const pool_record& record, std::uint64_t place) noexcept {
  const auto octets = encode(record);
  if (!octets) return make_error_code(status::resource_limit);
  if (const auto error = source::write_at(descriptor, *octets, place)) return error;
  return source::sync(descriptor);
}

std::error_code write_record(int descriptor, const pool_record& record) noexcept {
  for (const auto place : record_places) {
    if (const auto error = write_copy(descriptor, record, place)) return error;
  }
  return {};
}

/// Calls `each(octets, place in the file)` for `all`, which has the positions from `position` on: once or, where the ring
/// ends in between, twice.
template <class Octets, class Each>
std::error_code in_ring(Octets all, std::uint64_t position, Each each) {
  const std::uint64_t at = position % most_pool_octets;
  const auto before = static_cast<std::size_t>(std::min<std::uint64_t>(all.size(), most_pool_octets - at));
  if (before != 0) {
    if (const auto error = each(all.first(before), ring_place + at)) return error;
  }
  if (before == all.size()) return {};
  return each(all.subspan(before), ring_place);
}

/// Overwrites the positions from `from` to `to`.
std::error_code overwrite(int descriptor, std::uint64_t from, std::uint64_t to) noexcept {
  while (from < to) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), to - from));
    const auto error = in_ring(std::span{zeros}.first(now), from, [&](auto octets, std::uint64_t place) {
      return source::write_at(descriptor, octets, place);
    });
    if (error) return error;
    from += now;
  }
  return {};
}

/// Overwrites what is not zero between the positions: what a crash has left there.
std::error_code overwrite_remains(int descriptor, std::uint64_t from, std::uint64_t to) noexcept {
  std::array<std::byte, zeros.size()> found;
  std::error_code error;
  while (from < to && !error) {
    const auto now = std::span{found}.first(std::min<std::uint64_t>(found.size(), to - from));
    error = in_ring(now, from, [&](auto octets, std::uint64_t place) {
      return source::read_at(descriptor, octets, place);
    });
    if (!error && std::memcmp(now.data(), zeros.data(), now.size()) != 0)
      error = overwrite(descriptor, from, from + now.size());
    from += now.size();
  }
  wipe(found.data(), found.size());
  return error;
}

std::error_code invalid() noexcept { return make_error_code(status::invalid_argument); }
std::error_code busy() noexcept { return std::make_error_code(std::errc::device_or_resource_busy); }

bool is_missing(const std::string& path) noexcept {
  return ::access(path.c_str(), F_OK) != 0 && errno == ENOENT;
}

/// A lock that ends with the descriptor.
std::error_code lock(int descriptor, const complaint& complain) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return complain.errno_of("flock");
  return complain(busy(), "another process, or another pool of this one, has it");
}

result<secret_bytes> read_bootstrap(const complaint& complain, const secret_arena& arena) {
  const auto file = source::open_private(complain, O_RDONLY, source::others::refused);
  if (!file) return file.error();
  if (file->size < least_bootstrap_octets || file->size > most_pool_octets) {
    return complain(invalid(), "has " + std::to_string(file->size) + " octets, a bootstrap has " +
                                   std::to_string(least_bootstrap_octets) + " to " +
                                   std::to_string(most_pool_octets));
  }
  auto octets = arena.allocate(static_cast<std::size_t>(file->size));
  if (!octets) return complain(octets.error(), "no locked memory for it");
  if (const auto error = source::read_at(file->descriptor.get(), octets->span(), 0)) {
    return complain(error, "read: " + error.message());
  }
  const auto& found = octets->span();
  if (std::all_of(found.begin(), found.end(), [](std::byte octet) { return octet == std::byte{0}; })) {
    return complain(invalid(), "is nothing but zeros");
  }
  return octets;
}

/// The last octets of a bootstrap are no pads.
block128 identity_of(std::span<const std::byte> bootstrap) noexcept {
  block128 identity{};
  std::copy_n(bootstrap.end() - std::ssize(identity), identity.size(), identity.begin());
  return identity;
}
std::span<const std::byte> pads_of(std::span<const std::byte> bootstrap) noexcept {
  return bootstrap.first(bootstrap.size() - std::tuple_size_v<block128>);
}

/// All of a new file: records, pads, zeros for the rest, which is then there whatever else fills the disk.
std::error_code write_new(int descriptor, std::span<const std::byte> bootstrap) {
  const auto pads = pads_of(bootstrap);
  pool_record record{.sequence = 1, .identity = identity_of(bootstrap), .end = pads.size()};
  system_random(record.key);
  record.bootstrap_tag = verification_tag(bootstrap, record.key);
  record.content_tag = verification_tag(pads, record.key);
  for (std::uint64_t at = 0; at < file_octets; at += zeros.size()) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), file_octets - at));
    if (const auto error = source::write_at(descriptor, std::span{zeros}.first(now), at)) return error;
  }
  if (::ftruncate(descriptor, static_cast<off_t>(file_octets)) != 0) return {errno, std::generic_category()};
  if (const auto error = source::write_at(descriptor, pads, ring_place)) return error;
  return write_record(descriptor, record);
}

std::error_code sync_folder_of(const complaint& complain) {
  const auto slash = complain.path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : complain.path.substr(0, slash + 1);
  const file_descriptor directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory || ::fsync(directory.get()) != 0) return complain.errno_of("fsync of the folder");
  return {};
}

/// Makes the file under another name and gives it its own when it is whole. Whoever comes second finds a file there and
/// leaves it: a pool never takes the place of another.
std::error_code create(const complaint& complain, std::span<const std::byte> bootstrap) {
  const complaint complain_new{complain.path + ".new", complain.why};
  const std::string& name = complain_new.path;
  const file_descriptor made{
      ::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  if (!made) return complain_new.errno_of("create");
  const auto file = source::open_private(complain_new, O_RDWR | O_NOFOLLOW, source::others::refused);
  if (!file) {
    // whoever had it in between has given it its own name
    return file.error() == std::errc::no_such_file_or_directory && !is_missing(complain.path)
               ? complain_new(busy(), "another process has just made it")
               : file.error();
  }
  const int descriptor = file->descriptor.get();
  if (const auto error = lock(descriptor, complain_new)) return error;
  // whoever had the lock before may have given this very file its name, and used it
  struct stat named {};
  struct stat opened {};
  if (::stat(name.c_str(), &named) != 0 || ::fstat(descriptor, &opened) != 0 ||
      named.st_ino != opened.st_ino || named.st_dev != opened.st_dev) {
    return complain_new(busy(), "another process has just made it");
  }
  if (const auto error = write_new(descriptor, bootstrap)) {
    ::unlink(name.c_str());
    return complain_new(error, "write: " + error.message());
  }
  const auto linked = [&] {  // for file systems that cannot rename so
    return (errno == EINVAL || errno == ENOSYS) && ::link(name.c_str(), complain.path.c_str()) == 0 &&
           ::unlink(name.c_str()) == 0;
  };
  if (::renameat2(AT_FDCWD, name.c_str(), AT_FDCWD, complain.path.c_str(), RENAME_NOREPLACE) != 0 &&
      !linked()) {
    if (errno != EEXIST) return complain.errno_of("rename");
    ::unlink(name.c_str());
  }
  return sync_folder_of(complain);
}

/// The newer of two copies that are whole; where one was not written to its end, it is written again.
result<pool_record> read_record(int descriptor, const complaint& complain) {
  std::array<std::optional<pool_record>, record_places.size()> copies;
  for (std::size_t i = 0; i < copies.size(); ++i) {
    record_octets octets{};
    if (const auto error = source::read_at(descriptor, octets, record_places[i])) {
      return complain(error, "read: " + error.message());
    }
    copies[i] = decode(octets);
  }
  const bool second = copies[1] && (!copies[0] || copies[1]->sequence > copies[0]->sequence);
  const auto& newer = copies[second ? 1 : 0];
  if (!newer) return complain(invalid(), "damaged: how far its pads were used is not known");
  if (copies[0] != copies[1]) {
    if (const auto error = write_copy(descriptor, *newer, record_places[second ? 0 : 1])) {
      return complain(error, "write: " + error.message());
    }
  }
  return *newer;
}

}  // namespace

struct auth_pool::state {
  explicit state(secret_arena from) : arena{std::move(from)} {}
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() {
    if (!in_file() || forked() || failed) return;
    // should it fail, the disk has a position that is higher than needed
    if (record.position != position || record.end != end) static_cast<void>(store({position, position, end}));
  }

  /// Where the pool is going to be.
  struct places {
    std::uint64_t position;  ///< exactly
    std::uint64_t reserved;  ///< what is stored
    std::uint64_t end;
  };

  [[nodiscard]] bool in_file() const noexcept { return static_cast<bool>(file); }
  [[nodiscard]] bool forked() const noexcept { return ::getpid() != owner; }

  /// The octets from one position to another; all of them in memory.
  [[nodiscard]] std::span<std::byte> octets(std::uint64_t from, std::uint64_t to) noexcept {
    assert(first <= from && from <= to && to - first <= memory.size());
    return memory.span().subspan(static_cast<std::size_t>(from - first), static_cast<std::size_t>(to - from));
  }

  void forget(std::uint64_t from, std::uint64_t to) noexcept {
    const auto gone = octets(from, to);
    wipe(gone.data(), gone.size());
  }

  std::error_code make_room(std::size_t count);
  std::error_code load(const complaint& complain);
  std::error_code store(const places& to) noexcept;

  const pid_t owner = ::getpid();
  secret_arena arena;
  secret_bytes memory;      ///< zeros where there are no pads
  std::uint64_t first = 0;  ///< position of the first octet of the memory
  std::uint64_t position = 0;
  std::uint64_t end = 0;

  file_descriptor file;           ///< none: in memory
  pool_record record;             ///< as both copies are; record.position is never below position
  std::uint64_t overwritten = 0;  ///< positions below are zeros in the file
  std::error_code failed;         ///< what is stored is not known
};

/// Room for so many octets behind the end.
std::error_code auth_pool::state::make_room(std::size_t count) {
  if (count <= memory.size() - static_cast<std::size_t>(end - first)) return {};
  const auto left = static_cast<std::size_t>(end - position);
  const auto old = octets(position, end);
  if (left + count <= memory.size() / 2) {
    std::memmove(memory.data(), old.data(), left);
    wipe(memory.data() + left, static_cast<std::size_t>(end - first) - left);
  } else {
    auto larger = arena.allocate(2 * (left + count));
    if (!larger) return larger.error();
    if (left != 0) std::memcpy(larger->data(), old.data(), left);
    memory = std::move(*larger);
  }
  first = position;
  return {};
}

/// The octets that the record names, and no others are left in the file.
std::error_code auth_pool::state::load(const complaint& complain) {
  first = position = record.position;
  end = record.end;
  auto room = arena.allocate(static_cast<std::size_t>(end - position));
  if (!room) return complain(room.error(), "no locked memory for what is left in it");
  memory = std::move(*room);
  const int descriptor = file.get();
  const auto read = [descriptor](auto octets, std::uint64_t place) {
    return source::read_at(descriptor, octets, place);
  };
  if (const auto error = in_ring(memory.span(), position, read)) {
    return complain(error, "read: " + error.message());
  }
  if (verification_tag(memory.span(), record.key) != record.content_tag) {
    return complain(invalid(), "damaged: the pads that are left are not those that were stored");
  }
  if (const auto error = overwrite_remains(descriptor, end, position + most_pool_octets)) {
    return complain(error, "overwrite: " + error.message());
  }
  return {};
}

/// Nothing that the record on the disk names is overwritten before both copies of the next are there.
std::error_code auth_pool::state::store(const places& to) noexcept {
  if (failed) return failed;
  const int descriptor = file.get();
  const auto run = [&]() -> std::error_code {
    if (record.end < to.end) {
      const auto write = [descriptor](auto octets, std::uint64_t place) {
        return source::write_at(descriptor, octets, place);
      };
      // behind what the record names, and not on it: from the position to the end are most_pool_octets at most
      if (const auto error = in_ring(octets(record.end, to.end), record.end, write)) return error;
      if (const auto error = source::sync(descriptor)) return error;
    }
    pool_record next = record;
    next.sequence += 1;
    next.position = to.reserved;
    next.end = to.end;
    next.content_tag = verification_tag(octets(to.reserved, to.end), next.key);
    if (const auto error = write_record(descriptor, next)) return error;
    const std::uint64_t old_end = std::exchange(record, next).end;
    // not where the ring has come round already
    const std::uint64_t kept = to.end - std::min<std::uint64_t>(to.end, most_pool_octets);
    if (const auto error = overwrite(descriptor, std::max(overwritten, kept), to.position)) return error;
    overwritten = to.position;
    return overwrite(descriptor, to.end, old_end);
  };
  return failed = run();
}

auth_pool::auth_pool(std::unique_ptr<state> s) noexcept : state_{std::move(s)} {}
auth_pool::auth_pool(auth_pool&&) noexcept = default;
auth_pool& auth_pool::operator=(auth_pool&&) noexcept = default;
auth_pool::~auth_pool() = default;

result<auth_pool> auth_pool::in_memory(secret_bytes bootstrap) {
  if (bootstrap.size() < least_bootstrap_octets || bootstrap.size() > most_pool_octets) {
    return status::invalid_argument;
  }
  // for what is appended: two runs of twice the most at a time, when one takes the place of the other
  auto made = std::make_unique<state>(secret_arena{{.bytes = 8 * most_pool_octets, .allow_unlocked = true}});
  made->record.identity = identity_of(bootstrap.span());
  made->end = pads_of(bootstrap.span()).size();
  made->memory = std::move(bootstrap);
  wipe(made->memory.data() + made->end, made->memory.size() - made->end);
  return auth_pool{std::move(made)};
}

result<auth_pool> auth_pool::open(const std::string& path, const std::string& bootstrap_file,
                                  const secret_arena& arena, std::string* why) {
  const complaint complain{path, why};
  const complaint complain_bootstrap{bootstrap_file, why};
  secret_bytes bootstrap;
  if (is_missing(path) || !is_missing(bootstrap_file)) {
    auto read = read_bootstrap(complain_bootstrap, arena);
    if (!read) return read.error();
    bootstrap = std::move(*read);
  }
  if (is_missing(path)) {
    if (const auto error = create(complain, bootstrap.span())) return error;
  }
  auto file = source::open_private(complain, O_RDWR, source::others::refused);
  if (!file) return file.error();
  auto made = std::make_unique<state>(arena);
  made->failed = busy();  // until all is known: nothing may be stored on the way out
  made->file = std::move(file->descriptor);
  const int descriptor = made->file.get();
  if (const auto error = lock(descriptor, complain)) return error;
  if (file->size != file_octets) {
    return complain(invalid(), "damaged: has " + std::to_string(file->size) + " octets instead of " +
                                   std::to_string(file_octets));
  }
  const auto record = read_record(descriptor, complain);
  if (!record) return record.error();
  if (!bootstrap.empty() && verification_tag(bootstrap.span(), record->key) != record->bootstrap_tag) {
    return complain(invalid(), "was made from another bootstrap than " + bootstrap_file);
  }
  made->record = *record;
  if (const auto error = made->load(complain)) return error;
  made->overwritten = made->position;
  made->failed = {};
  return auth_pool{std::move(made)};
}

const block128& auth_pool::identity() const noexcept { return state_->record.identity; }
std::uint64_t auth_pool::position() const noexcept { return state_->position; }
std::uint64_t auth_pool::end() const noexcept { return state_->end; }

result<void> auth_pool::begin_session(std::uint64_t position, std::uint64_t end) {
  auto& s = *state_;
  if (s.forked()) return status::no_qkd_connection;
  if (position > end) return status::invalid_argument;
  const std::uint64_t higher = std::max(position, s.position);
  const state::places to{higher, higher, std::min(end, s.end)};
  if (to.position >= to.end) return status::invalid_argument;
  if (s.in_file()) {
    if (const auto error = s.store(to)) return error;
  }
  s.forget(s.position, to.position);
  s.forget(to.end, s.end);
  s.position = to.position;
  s.end = to.end;
  return {};
}

result<void> auth_pool::take(std::span<std::byte> out) {
  auto& s = *state_;
  if (s.forked()) return status::no_qkd_connection;
  if (s.failed) return s.failed;
  if (out.size() > s.end - s.position) return status::resource_limit;
  const std::uint64_t next = s.position + out.size();
  if (s.in_file() && next > s.record.position) {
    if (const auto error = s.store({next, next + (s.end - next) / reserved_part, s.end})) return error;
  }
  const auto taken = s.octets(s.position, next);
  std::copy(taken.begin(), taken.end(), out.begin());
  s.forget(s.position, next);
  s.position = next;
  return {};
}

result<void> auth_pool::append(std::span<const std::byte> fresh) {
  auto& s = *state_;
  if (s.forked()) return status::no_qkd_connection;
  if (fresh.size() > most_pool_octets - (s.end - s.position)) return status::resource_limit;
  if (const auto error = s.make_room(fresh.size())) return error;
  const auto room = s.octets(s.end, s.end + fresh.size());
  std::copy(fresh.begin(), fresh.end(), room.begin());
  s.end += fresh.size();
  return {};
}

}  // namespace qkd004::software
