// SPDX-License-Identifier: Apache-2.0
#include "net/http/server_connection.hpp"

#include <fmt/format.h>
#include <asio/ip/address_v4.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <iterator>
#include <system_error>
#include <utility>

#include "net/site_core.hpp"

namespace qkd004::net::http {

namespace {

/// A stream whose reader has so much to read yet takes no more.
constexpr std::size_t most_unread = 64 * 1024;

/// What is known to be a method; the rest is 501.
constexpr std::array<std::string_view, 9> methods = {"GET",   "HEAD",    "POST",  "PUT",    "DELETE",
                                                     "PATCH", "OPTIONS", "TRACE", "CONNECT"};

constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view last_chunk = "0\r\n\r\n";

std::string_view without_port(std::string_view host) noexcept {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

/// This host's own names for itself.
bool is_loopback(std::string_view host) {
  std::error_code is_name;
  const auto number = asio::ip::make_address_v4(host, is_name);
  return (!is_name && number.is_loopback()) || host == "[::1]" || same_name(host, "localhost");
}

bool has_no_body(unsigned status) noexcept { return status < 200 || status == 204 || status == 304; }

}  // namespace

server_connection::server_connection(std::shared_ptr<site_core> core, channel c)
    : transport{core, std::move(c)}, core_{*core} {
  wipe_input();
}

void server_connection::on_open() {}

void server_connection::on_refused(const std::string& why) {
  core_.log(log_level::warning, log_line{"refused"}.with("remote", remote()).with("why", why));
}

// --- Requests ---

std::size_t server_connection::on_input(std::span<const std::byte> input) {
  if (in_flight() > 0 && queue_.front().is_stream) {
    // nobody would hear the answer; and who passes over octets does not know where the next request begins
    queue_.front().is_last = true;
    return input.size();
  }
  request_head& head = core_.http().head();
  const reading r = read_request(input, head);
  if (r.is == reading::state::refused) return refuse(r.status, r.why);
  if (r.is == reading::state::incomplete) return await(site().wait().http_head);

  if (!is_host_of_ours(head)) return refuse(421, "a Host that is not this one");
  const auto found = core_.http().resources().find(head.method == "HEAD" ? "GET" : head.method, head.path);
  const std::size_t limit = found.serves != nullptr ? found.serves->what.max_body : resource{}.max_body;
  if (head.body == framing::length && head.length > limit) return refuse(413, "a body that is too large");
  if (!std::exchange(has_head_, true)) expect_by(time_point::max());  // the body has a time of its own
  const auto behind = input.subspan(r.size);

  std::span<const std::byte> body;
  std::size_t used = r.size + head.length;
  if (head.body == framing::chunked) {
    if (!chunks_) chunks_ = std::make_unique<chunked_body>(limit);
    const reading b = chunks_->read(behind.subspan(chunks_taken_));
    if (b.is == reading::state::refused) return refuse(b.status, b.why);
    chunks_taken_ += b.size;
    if (b.is == reading::state::incomplete) return await(site().wait().http_body);
    body = chunks_->body();
    used = r.size + chunks_taken_;
  } else if (behind.size() < head.length) {
    return await(site().wait().http_body);
  } else {
    body = behind.first(head.length);
  }
  has_head_ = false;
  said_continue_ = false;
  chunks_taken_ = 0;
  const auto chunks = std::move(chunks_);  // the body lies there
  serve(head, body, found);
  return used;
}

/// The request is not all there: says when it has to be. 100 Continue goes to who waits for it.
std::size_t server_connection::await(std::chrono::milliseconds patience) {
  if (!expects()) expect_by(site().now() + patience);
  const request_head& head = core_.http().head();
  if (has_head_ && head.expects_continue && in_flight() == 0 && !std::exchange(said_continue_, true)) {
    if (const auto room = out().grow(continue_line.size()); room) {
      std::memcpy(room->data(), continue_line.data(), continue_line.size());
    }
  }
  return 0;
}

/// Answers what is no request, in its turn, and ends. Nothing of the rest is looked at.
std::size_t server_connection::refuse(unsigned status, std::string_view why) {
  core_.log(log_level::warning,
            log_line{"refused"}.with("remote", remote()).with("http_status", status).with("why", why));
  closing_ = true;
  has_head_ = false;
  chunks_.reset();
  outstanding o;
  o.is_last = true;
  queue_.push(std::move(o));
  write(next_reply_ + in_flight() - 1, problem(status, why));
  return 1;  // more than nothing: what follows is never read
}

/// A page of somebody else's, in a browser on this host, must not be able to ask under another name than this host's.
bool server_connection::is_host_of_ours(const request_head& head) const {
  if (carrier().kind() != scheme::plain || core_.options().allow_insecure) return true;
  const std::string_view host = without_port(http::value_of(head.fields.all(), "Host"));
  if (host.empty()) return head.is_1_0;
  return is_loopback(host);
}

void server_connection::serve(const request_head& head, std::span<const std::byte> body,
                              const resources::found& found) {
  const std::uint64_t ticket = expect(head);
  if (found.serves != nullptr && found.serves->call != call_004::none) {
    return ask_004(head, body, found.serves->call);
  }
  if (found.serves != nullptr) return ask(head, body, found.serves->what);
  if (std::find(methods.begin(), methods.end(), head.method) == methods.end()) {
    return write(ticket, problem(501, "a method that is unknown"));
  }
  response r = problem(404, {});
  if (head.method == "OPTIONS" && (found.is_path || head.path == "*")) {
    r = response{204};
  } else if (found.is_path) {
    r = problem(405, {});
  }
  if (r.status != 404) {
    const std::string allowed = core_.http().resources().allowed(head.path);
    r.fields.push_back(
        {"Allow", head.path == "*" ? "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS" : allowed});
  }
  write(ticket, r);
}

void server_connection::ask(const request_head& head, std::span<const std::byte> body, const resource& what) {
  const std::uint64_t ticket = next_reply_ + in_flight() - 1;
  request asked;
  asked.method = what.method;
  asked.path = head.path;
  asked.query = head.query;
  asked.fields = head.fields.all();
  asked.body = body;
  const std::string principal = carrier().principal();
  asked.principal = principal;
  asked.remote = remote();
  std::shared_ptr<detail::answering> me{shared_from_this(), this};
  try {
    what.serve(asked, http::answer{{me, ticket}});
  } catch (const std::exception& error) {
    core_.log(log_level::error, log_line{"a resource failed"}
                                    .with("method", what.method)
                                    .with("path", what.path)
                                    .with("why", error.what()));
  }
}

std::uint64_t server_connection::expect(const request_head& head) {
  outstanding o;
  o.is_head = head.method == "HEAD";
  o.is_1_0 = head.is_1_0;
  o.is_last = !head.keep_alive;
  o.at = site().now();
  if (o.is_last) closing_ = true;
  queue_.push(std::move(o));
  return next_reply_ + in_flight() - 1;
}

bool server_connection::has_room() const {
  return !closing_ && in_flight() < site().bounds().max_in_flight && early_octets() < site().most_unsent();
}

time_point server_connection::rests_until() const {
  return in_flight() > 0 ? time_point::max() : site().now() + site().wait().http_idle;
}

void server_connection::on_late() {
  if (!holds_input()) {  // between two requests: no fault
    return finish("has not said anything");
  }
  static_cast<void>(refuse(408, "has not completed its request"));
}

void server_connection::on_end(const std::string&) {
  is_over_ = true;
  queue_.clear();
  chunks_.reset();
  count_early(0);
  if (id_ != 0) core_.remove_application(std::exchange(id_, 0));
}

// --- Answers ---

void server_connection::send(std::uint64_t ticket, response&& r) {
  site().join([this, self = shared_from_this(), ticket, r = std::move(r)]() mutable { write(ticket, r); });
}

void server_connection::begin(std::uint64_t ticket, response&& head) {
  site().join([this, self = shared_from_this(), ticket, r = std::move(head)]() mutable {
    outstanding* const o = find(ticket);
    if (o == nullptr || o->is_done || o->is_stream) return;
    if (o->is_head) return write(ticket, r);
    o->is_stream = true;
    if (o->is_1_0) o->is_last = closing_ = true;
    if (!append(ticket, head_of(r, *o, true)) || r.text.empty()) return;
    stream_unsent_ += r.text.size();
    static_cast<void>(
        append(ticket, o->is_1_0 ? r.text : fmt::format("{:x}\r\n{}\r\n", r.text.size(), r.text)));
  });
}

bool server_connection::push(std::uint64_t ticket, std::string_view text) {
  if (is_over_ || text.empty()) return !is_over_;
  const auto update = [this] { stream_unsent_ = is_over_ ? 0 : unsent() + early_octets(); };
  if (stream_queued_ + stream_unsent_ > most_unread) {
    site().join([self = shared_from_this(), update] { update(); });  // it may have read meanwhile
    return false;
  }
  stream_queued_ += text.size();
  site().join([this, self = shared_from_this(), update, ticket, text = std::string{text}] {
    stream_queued_ -= text.size();
    const outstanding* const o = find(ticket);
    if (o == nullptr || !o->is_stream || o->is_done) return;
    if (append(ticket, o->is_1_0 ? text : fmt::format("{:x}\r\n{}\r\n", text.size(), text))) update();
  });
  return true;
}

void server_connection::end(std::uint64_t ticket) {
  site().join([this, self = shared_from_this(), ticket] {
    const outstanding* const o = find(ticket);
    if (o == nullptr || !o->is_stream || o->is_done) return;
    if (!o->is_1_0 && !append(ticket, last_chunk)) return;
    finish_reply(ticket);
  });
}

bool server_connection::is_wanted(std::uint64_t) { return !is_over_; }

server_connection::outstanding* server_connection::find(std::uint64_t ticket) noexcept {
  if (!is_open() || ticket - next_reply_ >= in_flight()) return nullptr;
  return &queue_[static_cast<std::size_t>(ticket - next_reply_)];
}

wire::out_buffer* server_connection::place_of(std::uint64_t ticket, std::size_t at_most) {
  outstanding* const o = find(ticket);
  if (o == nullptr || o->is_done) return nullptr;
  if (is_first(ticket)) return &out();
  if (!o->reply) {
    const std::size_t bound = o->is_stream ? std::max(at_most, 2 * most_unread) : at_most;
    o->reply = std::make_unique<wire::out_buffer>(site().arena(), bound);
  }
  return o->reply.get();
}

bool server_connection::append(std::uint64_t ticket, std::string_view text) {
  wire::out_buffer* const to = place_of(ticket, text.size());
  if (to == nullptr) return false;
  const std::size_t before = is_first(ticket) ? 0 : to->capacity();
  const auto room = to->grow(text.size());
  if (!room) {
    fail("no room for an answer: " + room.error().message());
    return false;
  }
  if (!text.empty()) std::memcpy(room->data(), text.data(), text.size());
  if (is_first(ticket)) {
    relieve();
  } else {
    count_early(early_octets() + to->capacity() - before);
  }
  return is_open();
}

/// The whole answer to a request.
void server_connection::write(std::uint64_t ticket, const response& r) {
  const outstanding* const o = find(ticket);
  if (o == nullptr || o->is_done || o->is_stream) return;
  const std::string head = head_of(r, *o, false);
  const auto body = r.secret.empty() ? std::as_bytes(std::span{r.text}) : r.secret.span();
  const bool has_body = !o->is_head && !has_no_body(r.status) && !body.empty();
  wire::out_buffer* const to = place_of(ticket, head.size() + body.size());
  const auto room = to->grow(head.size() + (has_body ? body.size() : 0));
  if (!room) return fail("no room for an answer: " + room.error().message());
  std::memcpy(room->data(), head.data(), head.size());
  if (has_body) std::memcpy(room->data() + head.size(), body.data(), body.size());
  finish_reply(ticket);
}

std::string server_connection::head_of(const response& r, const outstanding& o, bool is_stream) const {
  std::string head;
  const auto to = std::back_inserter(head);
  fmt::format_to(to, "HTTP/1.1 {} {}\r\n{}", r.status, reason_of(r.status), core_.http().date(site().now()));
  if (!r.content_type.empty() && may_stand_in_head(r.content_type)) {
    fmt::format_to(to, "Content-Type: {}\r\n", r.content_type);
  }
  for (const field& f : r.fields) {
    if (is_name(f.name) && may_stand_in_head(f.value)) fmt::format_to(to, "{}: {}\r\n", f.name, f.value);
  }
  if (is_stream && !o.is_1_0) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (!is_stream && !has_no_body(r.status)) {
    fmt::format_to(to, "Content-Length: {}\r\n", r.secret.empty() ? r.text.size() : r.secret.size());
  }
  if (o.is_last) {
    head += "Connection: close\r\n";
  } else if (o.is_1_0) {
    head += "Connection: keep-alive\r\n";
  }
  return head += "\r\n";
}

/// The answer is whole: it is gone if it is its turn, and kept if not.
void server_connection::finish_reply(std::uint64_t ticket) {
  outstanding* const o = find(ticket);
  if (o == nullptr) return;
  o->is_done = true;
  if (!is_first(ticket)) return count_early(early_octets() + (o->is_stream ? 0 : o->reply->capacity()));
  pop();
  send_ready();
  relieve();
}

/// What was there early and has its turn now.
void server_connection::send_ready() {
  while (is_open() && in_flight() > 0 && queue_.front().reply) {
    outstanding& o = queue_.front();
    const auto early = std::as_const(*o.reply).pending();
    const auto room = out().grow(early.size());
    if (!room) return fail("no room for an answer: " + room.error().message());
    if (!early.empty()) std::memcpy(room->data(), early.data(), early.size());
    count_early(early_octets() - o.reply->capacity());
    o.reply.reset();
    if (!o.is_done) return;  // a stream: it goes on from here
    pop();
  }
}

/// The oldest answer is out.
void server_connection::pop() {
  const bool last = queue_.front().is_last;
  queue_.pop();
  ++next_reply_;
  if (queue_.empty() && !holds_input() && !expects()) expect_by(rests_until());
  if (last) finish("its last request was answered");
}

}  // namespace qkd004::net::http
