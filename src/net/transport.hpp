// transport: one connection of a site: hands over what came, and sends what was appended, in one write per turn. Knows
// nothing of what the octets say.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/channel.hpp"
#include "net/turn.hpp"
#include "net/wiped_octets.hpp"
#include "qkd004/clock.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::net {

/// Threads: everything inside a turn of its site.
/// Order of calls: `open (out send)* [finish] [fail]`.
class transport : public std::enable_shared_from_this<transport> {
 public:
  transport(std::shared_ptr<turns> site, channel c);
  transport(const transport&) = delete;
  transport& operator=(const transport&) = delete;
  virtual ~transport();

  /// Begins with the handshake, if the channel has one, and to read.
  void open();

  /// Where to append messages; they are sent when the turn ends.
  wire::out_buffer& out();

  /// Ends the connection when the turn ends; what was appended and not written yet is lost.
  void fail(std::string why);
  /// Takes no octet any more, sends what was appended, and ends.
  void finish(std::string why);

  [[nodiscard]] bool is_open() const noexcept { return step_ == step::open; }
  /// The other end, as a URI; empty when it is not known.
  [[nodiscard]] const std::string& remote() const noexcept { return remote_; }

 protected:
  /// What the connection is for decides how its memory is treated: peers' messages hold no key, but must not get lost
  /// when they come in a flood; answers may hold key, and whoever does not read them has to stop asking.
  enum class content : std::uint8_t { secret, open_text };
  void set_content(content c) noexcept { content_ = c; }
  [[nodiscard]] turns& site() const noexcept { return *site_; }
  /// Sends already what was appended, if it has become much.
  void relieve();
  /// Octets of secret memory in answers whose turn has not come; they count as parked.
  void count_early(std::size_t octets) {
    if (!failed_) site_->count_parked(early_, octets);
  }
  [[nodiscard]] std::size_t early_octets() const noexcept { return early_; }
  /// Input of this connection may be key: it is wiped behind whoever has read it.
  void wipe_input() noexcept { wipes_input_ = true; }
  /// The rest of a message is due by then, or on_late() follows.
  void expect_by(time_point deadline) {
    read_deadline_ = deadline;
    site_->watch(deadline);
  }
  [[nodiscard]] bool expects() const noexcept { return read_deadline_ != time_point::max(); }
  /// Whether a message has begun.
  [[nodiscard]] bool holds_input() const noexcept { return !held_.empty(); }
  /// Ends the connection because the other end is late, with a line in the log.
  void drop(const std::string& why);
  /// Octets that wait for the other end to take them.
  [[nodiscard]] std::size_t unsent() const noexcept {
    return (out_ ? out_->size() : 0) + backlog_.size() - backlog_sent_;
  }
  [[nodiscard]] int descriptor() const noexcept { return channel_.descriptor(); }
  [[nodiscard]] const channel& carrier() const noexcept { return channel_; }

 private:
  friend class turns;

  /// Once, before any input: the other end is who it says.
  virtual void on_open() = 0;
  /// The handshake came to nothing; on_end() follows.
  virtual void on_refused(const std::string& why) = 0;
  /// What has come, from the start of a message on. Returns how many octets the message had, or 0 while it is not all
  /// there: then it has said by when it expects it.
  [[nodiscard]] virtual std::size_t on_input(std::span<const std::byte> input) = 0;
  /// What was expected by then has not come.
  virtual void on_late();
  /// When a connection that has said all for now has to say something again.
  [[nodiscard]] virtual time_point rests_until() const { return time_point::max(); }
  /// Whether another message may be handed over now. Asked again at the end of each turn in which something was sent.
  [[nodiscard]] virtual bool has_room() const = 0;
  /// Once, when the connection is of no more use. Not from inside out(), fail() or finish().
  virtual void on_end(const std::string& why) = 0;

  enum class step : std::uint8_t { securing, open, finishing, lingering, closed };

  void on_ready(std::uint32_t events);
  void secure();
  void on_readable();
  void show_interest();
  void take(std::span<const std::byte> input);
  [[nodiscard]] std::size_t parse(std::span<const std::byte> input);
  void settle();
  void flush();
  void keep_open_text();
  [[nodiscard]] bool may_read() const;
  void end(const std::string& why);
  void close();

  std::shared_ptr<turns> site_;
  channel channel_;
  std::uint32_t interest_ = 0;  ///< events asked for
  std::string remote_;

  wiped_octets held_;                      ///< input: an incomplete message, or messages there is no room for
  std::unique_ptr<wire::out_buffer> out_;  ///< lent by the site while something is to be sent
  std::vector<std::byte> backlog_;         ///< open text that the socket did not take; before out_
  std::size_t backlog_sent_ = 0;
  std::size_t early_ = 0;
  std::size_t parked_ = 0;  ///< octets of secret memory kept because the socket took less than there was

  time_point read_deadline_ = time_point::max();
  time_point write_deadline_ = time_point::max();
  std::string why_;  ///< of finish() or fail()
  content content_ = content::secret;
  step step_ = step::open;
  bool failed_ = false;
  bool ended_ = false;
  bool blocked_ = false;  ///< the socket took less than there was
  bool unsettled_ = false;
  bool half_closed_ = false;  ///< the other end has said all, and still takes answers
  bool silent_ = true;        ///< no octet came yet
  bool wipes_input_ = false;
};

}  // namespace qkd004::net
