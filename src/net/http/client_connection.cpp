// SPDX-License-Identifier: Apache-2.0
#include "net/http/client_connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "qkd004/status.hpp"

namespace qkd004::net::http {

client_connection::client_connection(owner& o, secret_arena arena, std::size_t max_reply, target to)
    : client_socket{std::move(arena), std::move(to)}, owner_{o}, max_reply_{max_reply} {}

result<void> client_connection::ask(const outgoing& what) {
  if (is_over()) return error() ? error() : std::make_error_code(std::errc::connection_reset);
  fmt::memory_buffer head;  // a head holds no key
  const auto to = std::back_inserter(head);
  fmt::format_to(to, "{} {} HTTP/1.1\r\nHost: {}\r\n", what.method, what.path, whom().authority);
  if (!what.content_type.empty()) {
    fmt::format_to(to, "Content-Type: {}\r\nContent-Length: {}\r\n", what.content_type, what.body.size());
  }
  fmt::format_to(to, "\r\n");
  const auto room = out().grow(head.size() + what.body.size());
  if (!room) return room.error();
  std::memcpy(room->data(), head.data(), head.size());
  if (!what.body.empty()) std::memcpy(room->data() + head.size(), what.body.data(), what.body.size());
  asked_.push_back(what.method == "HEAD");
  return {};
}

void client_connection::on_ended() {
  chunks_.reset();
  asked_.clear();
  owner_.on_over();
}

/// The end of the connection may be the end of a body.
bool client_connection::on_end_of_input() {
  if (asked_.empty() || input().empty()) return false;
  const reading r = read_response(input(), asked_.front() ? "HEAD" : "", head_);
  if (r.is != reading::state::complete || head_.body != framing::until_end) return false;
  last_ = true;
  answer(head_, input().subspan(r.size));
  return true;
}

void client_connection::parse() {
  while (is_connected() && !input().empty()) {
    // a server that says something unasked is about to close: 408
    if (asked_.empty()) return end(std::make_error_code(std::errc::connection_reset));
    const std::size_t used = parse_one();
    if (used == 0 || !is_connected()) return;
    consume(used);
  }
}

/// One answer. Returns how many octets it had, or 0.
std::size_t client_connection::parse_one() {
  constexpr std::size_t most_head = syntax_limits::head;
  const reading r = read_response(input(), asked_.front() ? "HEAD" : "", head_);
  if (r.is == reading::state::refused) return refuse();
  if (r.is == reading::state::incomplete) return wait_for_more(max_reply_ + most_head);
  if (head_.status < 200) return head_.status == 101 ? refuse() : r.size;
  last_ = !head_.keep_alive;
  if (head_.body == framing::until_end) return wait_for_more(max_reply_ + most_head);
  if (head_.body == framing::length) {
    if (head_.length > max_reply_ + most_head - r.size) return refuse();
    if (input().size() < r.size + head_.length) return wait_for(r.size + head_.length);
    answer(head_, input().subspan(r.size, head_.length));
    return r.size + head_.length;
  }
  if (!chunks_) chunks_ = std::make_unique<chunked_body>(max_reply_);
  const reading b = chunks_->read(input().subspan(r.size + chunks_taken_));
  if (b.is == reading::state::refused) return refuse();
  chunks_taken_ += b.size;
  // what stands around chunks has a limit of its own there
  if (b.is == reading::state::incomplete) return wait_for_more(2 * (max_reply_ + most_head));
  const std::size_t used = r.size + std::exchange(chunks_taken_, 0);
  const auto chunks = std::move(chunks_);
  answer(head_, chunks->body());
  return used;
}

std::size_t client_connection::wait_for(std::size_t whole) {
  expect(whole);
  return 0;
}

/// How much more it is, nobody knows.
std::size_t client_connection::wait_for_more(std::size_t most) {
  if (input().size() >= most) return refuse();
  if (is_full()) expect(std::min(most, 2 * input().size()));
  return 0;
}

std::size_t client_connection::refuse() {
  end(status::protocol_error);
  return 0;
}

void client_connection::answer(const response_head& head, std::span<const std::byte> body) {
  asked_.pop_front();
  const auto fields = head.fields.all();
  owner_.on_answer({head.status, value_of(fields, "Content-Type"), value_of(fields, "Retry-After"), body});
  if (last_ && !is_over()) end(std::make_error_code(std::errc::connection_reset));
}

}  // namespace qkd004::net::http
