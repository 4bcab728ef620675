// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <utility>

#include "net/http/syntax.hpp"
#include "qkd004/net/http.hpp"
#include "wire/json_text.hpp"

namespace qkd004::net::http {

std::string_view request::value_of(std::string_view name) const noexcept {
  return http::value_of(fields, name);
}

response problem(unsigned status, std::string_view detail) {
  std::string text = fmt::format(R"({{"type":"about:blank","title":{},"status":{})",
                                 wire::json_quoted(reason_of(status)), status);
  if (!detail.empty()) text += R"(,"detail":)" + wire::json_quoted(detail);
  return {status, "application/problem+json", text + '}'};
}

answer& answer::operator=(answer&& other) noexcept {
  if (this != &other) {
    answer dropped{std::exchange(to_, std::exchange(other.to_, {}))};
  }
  return *this;
}

answer::~answer() {
  if (const auto to = std::exchange(to_, {}); const auto where = to.where.lock()) {
    where->send(to.ticket, problem(500, {}));
  }
}

void answer::send(response r) {
  const auto to = std::exchange(to_, {});
  if (const auto where = to.where.lock()) where->send(to.ticket, std::move(r));
}

event_stream answer::stream(response r) {
  auto to = std::exchange(to_, {});
  if (const auto where = to.where.lock()) where->begin(to.ticket, std::move(r));
  return event_stream{std::move(to)};
}

bool answer::is_wanted() const {
  const auto where = to_.where.lock();
  return where && where->is_wanted(to_.ticket);
}

event_stream& event_stream::operator=(event_stream&& other) noexcept {
  if (this != &other) {
    end();
    to_ = std::exchange(other.to_, {});
  }
  return *this;
}

event_stream::~event_stream() { end(); }

bool event_stream::send(std::string_view text) {
  const auto where = to_.where.lock();
  return where && where->push(to_.ticket, text);
}

bool event_stream::is_open() const {
  const auto where = to_.where.lock();
  return where && where->is_wanted(to_.ticket);
}

void event_stream::end() {
  const auto to = std::exchange(to_, {});
  if (const auto where = to.where.lock()) where->end(to.ticket);
}

}  // namespace qkd004::net::http
