// SPDX-License-Identifier: Apache-2.0
#include "net/http/syntax.hpp"

// What Beast asserts of its input does not hold of every input (a last chunk that arrives octet by octet), and it goes
// on as it should.
#define BOOST_DISABLE_ASSERTS
#include <fmt/format.h>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include <time.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "net/wiped_octets.hpp"

namespace qkd004::net::http {

namespace {

namespace beast = boost::beast;
using beast_error = beast::http::error;

std::string_view view_of(beast::string_view text) noexcept { return {text.data(), text.size()}; }

std::string_view text_of(std::span<const std::byte> octets) noexcept {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

int hex_of(char c) noexcept {
  if (is_digit(c)) return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/// The lines so far: each ends in CR LF and none begins with a space; CR and LF are nowhere else, NUL nowhere. What is
/// refused here would be refused later: at once, so that nobody waits for the end of a head that cannot be one.
const char* fault_of_lines(std::string_view text) noexcept {
  if (text.find('\0') != std::string_view::npos) return "a NUL";
  std::size_t lines = 0;
  for (std::size_t at = text.find('\n'); at != std::string_view::npos;
       at = text.find('\n', at + 1), ++lines) {
    if (at == 0 || text[at - 1] != '\r') return "a line that ends in LF alone";
    if (at + 1 < text.size() && (text[at + 1] == ' ' || text[at + 1] == '\t')) return "a folded line";
  }
  std::size_t returns = 0;
  for (std::size_t at = text.find('\r'); at != std::string_view::npos; at = text.find('\r', at + 1))
    ++returns;
  if (!text.empty() && text.back() == '\r') --returns;
  return returns == lines ? nullptr : "a CR that ends no line";
}

constexpr std::string_view end_of_line = "\r\n";
constexpr std::string_view end_of_head = "\r\n\r\n";

/// Where a head ends, or why there is none.
struct head_place {
  reading found;
  std::size_t begin = 0;
};

/// `least`: the octets of the shortest first line.
head_place find_head(std::string_view text) noexcept {
  head_place place;
  // RFC 9112, 2.2: one empty line before a request is passed over
  if (text.starts_with(end_of_line)) place.begin = end_of_line.size();
  text.remove_prefix(place.begin);
  const std::size_t end = text.substr(0, syntax_limits::head).find(end_of_head);
  const bool whole = end != std::string_view::npos;
  const std::size_t size = whole ? end + end_of_head.size() : std::min(text.size(), syntax_limits::head);
  if (const char* const fault = fault_of_lines(text.substr(0, size)); fault != nullptr) {
    place.found = reading::refused(400, fault);
  } else if (whole) {
    place.found = reading::complete(size);
  } else if (text.substr(0, syntax_limits::target + 32).find(end_of_line) == std::string_view::npos &&
             text.size() >= syntax_limits::target + 32) {
    place.found = reading::refused(414, "a first line that is too long");
  } else if (text.size() >= syntax_limits::head) {
    place.found = reading::refused(431, "a head that is too long");
  }
  return place;
}

/// The part of Beast's parser that both directions have in common: fields are kept, bodies are none of its business.
template <bool IsRequest>
class head_parser final : public beast::http::basic_parser<IsRequest> {
 public:
  head_parser(field_list& fields) : fields_{fields} {
    this->header_limit(static_cast<std::uint32_t>(syntax_limits::head));
    // judged by whoever knows what the body is for
    this->body_limit(std::numeric_limits<std::uint64_t>::max());
  }

  std::string_view method;
  std::string_view target;
  int version = 0;
  unsigned status = 0;
  bool too_many = false;

 private:
  using text = beast::string_view;
  using error_code = beast::error_code;

  void on_request_impl(beast::http::verb, text m, text t, int v, error_code&) override {
    method = view_of(m);
    target = view_of(t);
    version = v;
  }
  void on_response_impl(int code, text, int v, error_code&) override {
    status = static_cast<unsigned>(code);
    version = v;
  }
  void on_field_impl(beast::http::field, text name, text value, error_code& error) override {
    if (fields_.add(view_of(name), view_of(value))) return;
    too_many = true;
    error = beast_error::header_limit;
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(text body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code&) override { return body.size(); }
  void on_finish_impl(error_code&) override {}

  field_list& fields_;
};

const char* words_of(const beast::error_code& error) noexcept {
  if (error == beast_error::bad_method) return "no method";
  if (error == beast_error::bad_target) return "no target";
  if (error == beast_error::bad_version) return "no version of HTTP that is spoken here";
  if (error == beast_error::bad_field) return "a field's name that is none";
  if (error == beast_error::bad_value) return "a field's value that is none";
  if (error == beast_error::bad_content_length) return "a length that is none";
  if (error == beast_error::bad_transfer_encoding) return "a transfer coding that is none";
  return "octets that are no HTTP";
}

/// What is said of the body, and by how many.
struct body_fields {
  std::size_t lengths = 0;
  std::string_view length;
  std::size_t codings = 0;
  std::string_view coding;
  std::size_t hosts = 0;
  std::string_view host;
  std::size_t expectations = 0;
  std::string_view expectation;
};

body_fields body_fields_of(const field_list& fields) noexcept {
  body_fields b;
  for (const auto& [name, value] : fields.all()) {
    if (same_name(name, "Content-Length")) {
      ++b.lengths;
      b.length = value;
    } else if (same_name(name, "Transfer-Encoding")) {
      ++b.codings;
      b.coding = value;
    } else if (same_name(name, "Host")) {
      ++b.hosts;
      b.host = value;
    } else if (same_name(name, "Expect")) {
      ++b.expectations;
      b.expectation = value;
    }
  }
  return b;
}

/// Fills `body` and `length`, or says why not: there is one word for where a body ends, or none.
template <class Head>
std::optional<reading> read_framing(const body_fields& b, int version, Head& into) noexcept {
  if (b.lengths + b.codings > 1) return reading::refused(400, "more than one word for where the body ends");
  if (b.codings == 1) {
    if (version < 11) return reading::refused(400, "a transfer coding in HTTP/1.0");
    if (!same_name(b.coding, "chunked")) return reading::refused(501, "a transfer coding that is unknown");
    into.body = framing::chunked;
  } else if (b.lengths == 1) {
    if (b.length.empty() || b.length.size() > 15 ||
        !std::all_of(b.length.begin(), b.length.end(), is_digit)) {
      return reading::refused(400, "a length that is none");
    }
    into.length = 0;
    for (const char c : b.length) into.length = into.length * 10 + static_cast<std::size_t>(c - '0');
  }
  return std::nullopt;
}

/// Clause: RFC 9112, 3.2.1 and 3.2.2.
const char* split_target(request_head& head) noexcept {
  std::string_view rest = head.target;
  if (rest.starts_with("http://") || rest.starts_with("https://")) {
    rest.remove_prefix(rest.find("//") + 2);
    const std::size_t slash = rest.find_first_of("/?");
    if (slash == 0 || slash == std::string_view::npos || rest[slash] != '/') return "a target without a path";
    rest.remove_prefix(slash);
  } else if (rest == "*") {
    if (head.method != "OPTIONS") return "a target that is no path";
  } else if (!rest.starts_with('/')) {
    return "a target that is no path";
  }
  for (std::size_t at = rest.find('%'); at != std::string_view::npos; at = rest.find('%', at + 1)) {
    if (rest.size() - at < 3) return "a % without two digits";
    const int high = hex_of(rest[at + 1]);
    const int low = hex_of(rest[at + 2]);
    if (high < 0 || low < 0) return "a % without two digits";
    const int octet = high * 16 + low;
    if (octet < 0x20 || octet == 0x7f) return "a control character in the target";
  }
  const auto odd = [](char c) { return c == '#' || c == '\\' || static_cast<unsigned char>(c) >= 0x80; };
  if (std::any_of(rest.begin(), rest.end(), odd)) return "a target that is no URI";
  const std::size_t question = rest.find('?');
  head.path = rest.substr(0, question);
  head.query = question == std::string_view::npos ? std::string_view{} : rest.substr(question + 1);
  return nullptr;
}

/// A host and port, loosely: nothing that could be taken for a path, a user or a second host.
bool is_host(std::string_view host) noexcept {
  return host.find_first_of("/@?#\\ \t,") == std::string_view::npos;
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view value_of(std::span<const field_view> fields, std::string_view name) noexcept {
  for (const auto& f : fields) {
    if (same_name(f.name, name)) return f.value;
  }
  return {};
}

reading read_request(std::span<const std::byte> input, request_head& into) {
  const std::string_view text = text_of(input);
  auto [found, begin] = find_head(text);
  if (found.is != reading::state::complete) return found;

  into.fields.clear();
  into.body = framing::length;
  into.length = 0;
  head_parser<true> parser{into.fields};
  beast::error_code error;
  const std::size_t used = parser.put(boost::asio::const_buffer{text.data() + begin, found.size}, error);
  if (parser.too_many) return reading::refused(431, "too many fields");
  if (error == beast_error::bad_version) {
    const std::string_view line = text.substr(begin, text.find(end_of_line, begin) - begin);
    const auto last = line.substr(line.rfind(' ') + 1);
    // RFC 9110, 15.6.6: a major version that is another one
    const bool other = last.size() == 8 && last.starts_with("HTTP/") && is_digit(last[5]) && last[5] != '1' &&
                       last[6] == '.' && is_digit(last[7]);
    return reading::refused(other ? 505 : 400, words_of(error));
  }
  if (error || used != found.size) return reading::refused(400, words_of(error));
  into.method = parser.method;
  into.target = parser.target;
  into.is_1_0 = parser.version < 11;
  into.keep_alive = parser.keep_alive();
  if (into.target.size() > syntax_limits::target) return reading::refused(414, "a target that is too long");

  const body_fields b = body_fields_of(into.fields);
  if (b.hosts > 1 || (b.hosts == 0 && !into.is_1_0)) return reading::refused(400, "not one Host");
  if (!is_host(b.host)) return reading::refused(400, "a Host that is none");
  if (const auto refused = read_framing(b, parser.version, into)) return *refused;
  if (const char* const fault = split_target(into); fault != nullptr) return reading::refused(400, fault);
  into.expects_continue = b.expectations > 0 && !into.is_1_0;
  if (b.expectations > 1 || (b.expectations == 1 && !same_name(b.expectation, "100-continue"))) {
    return reading::refused(417, "an expectation that is unknown");
  }
  found.size += begin;
  return found;
}

reading read_response(std::span<const std::byte> input, std::string_view asked, response_head& into) {
  const std::string_view text = text_of(input);
  auto [found, begin] = find_head(text);
  if (begin != 0) return reading::refused(502, "an empty line before an answer");
  if (found.is != reading::state::complete) return found;

  into.fields.clear();
  into.body = framing::length;
  into.length = 0;
  head_parser<false> parser{into.fields};
  beast::error_code error;
  const std::size_t used = parser.put(boost::asio::const_buffer{text.data(), found.size}, error);
  if (parser.too_many) return reading::refused(431, "too many fields");
  if (error || used != found.size) return reading::refused(502, words_of(error));
  into.status = parser.status;

  const body_fields b = body_fields_of(into.fields);
  if (const auto refused = read_framing(b, parser.version, into)) return *refused;
  const bool bodiless = into.status < 200 || into.status == 204 || into.status == 304 || asked == "HEAD";
  if (bodiless) {
    into.body = framing::length;
    into.length = 0;
  } else if (b.lengths + b.codings == 0) {
    into.body = framing::until_end;
  }
  // Beast takes HEAD's for an answer without an end
  const std::string_view connection = http::value_of(into.fields.all(), "Connection");
  into.keep_alive =
      bodiless ? parser.version >= 11 ? !same_name(connection, "close") : same_name(connection, "keep-alive")
               : parser.keep_alive();
  return found;
}

// --- Bodies in chunks ---

class chunked_body::parser final : public beast::http::basic_parser<true> {
 public:
  explicit parser(std::size_t limit) : limit_{limit} {
    this->header_limit(static_cast<std::uint32_t>(syntax_limits::head));
    this->body_limit(limit);
    // what is wanted of it is the body: this is the head that goes before
    static constexpr std::string_view head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    beast::error_code error;
    put(boost::asio::const_buffer{head.data(), head.size()}, error);
  }

  reading read(std::string_view input) {
    std::size_t used = 0;
    while (used < input.size() && !is_done()) {
      beast::error_code error;
      const std::size_t taken =
          put(boost::asio::const_buffer{input.data() + used, input.size() - used}, error);
      used += taken;
      if (error == beast_error::need_more) {
        // the line of a chunk, or the trailers
        const std::string_view rest = input.substr(used);
        for (std::size_t at = rest.find('\n'); at != std::string_view::npos; at = rest.find('\n', at + 1)) {
          if (at == 0 || rest[at - 1] != '\r') return reading::refused(400, "a line that ends in LF alone");
        }
        if (rest.size() > syntax_limits::head)
          return reading::refused(431, "a chunk's line that is too long");
        break;
      }
      if (error == beast_error::body_limit) return reading::refused(413, "a body that is too large");
      if (error) return reading::refused(400, "chunks that are none");
    }
    around_ += used;
    if (around_ > limit_ + body_.size() + syntax_limits::head) {
      return reading::refused(413, "too much around a body in chunks");
    }
    if (is_done()) return reading::complete(used);
    reading more;
    more.size = used;
    return more;
  }

  [[nodiscard]] const wiped_octets& body() const noexcept { return body_; }

 private:
  using text = beast::string_view;
  using error_code = beast::error_code;

  void on_request_impl(beast::http::verb, text, text, int, error_code&) override {}
  void on_response_impl(int, text, int, error_code&) override {}
  void on_field_impl(beast::http::field, text, text, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(text body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code&) override {
    const auto* const from = reinterpret_cast<const std::byte*>(body.data());
    body_.insert(body_.end(), from, from + body.size());
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  const std::size_t limit_;
  std::size_t around_ = 0;
  wiped_octets body_;
};

chunked_body::chunked_body(std::size_t limit) : parser_{std::make_unique<parser>(limit)} {}
chunked_body::~chunked_body() = default;
reading chunked_body::read(std::span<const std::byte> input) { return parser_->read(text_of(input)); }
std::span<const std::byte> chunked_body::body() const noexcept { return parser_->body(); }

// --- Heads ---

std::string_view reason_of(unsigned status) noexcept {
  if (status == 431) return "Request Header Fields Too Large";
  return view_of(beast::http::obsolete_reason(static_cast<beast::http::status>(status)));
}

bool is_name(std::string_view text) noexcept {
  const auto is_token = [](char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token);
}

bool may_stand_in_head(std::string_view text) noexcept {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
}

std::string date_of(std::int64_t seconds_since_1970) {
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto seconds = static_cast<time_t>(seconds_since_1970);
  tm t{};
  if (::gmtime_r(&seconds, &t) == nullptr) return {};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace qkd004::net::http
