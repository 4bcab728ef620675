// survey: what there is to be known of a server before it is examined: whether it is one, its dialect, whether both
// ends of a stream can be opened, and between which URIs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "conformance/bench.hpp"
#include "conformance/dialect.hpp"

namespace qkd004::conformance {

/// What is known beforehand; what is empty is found out.
struct survey_options {
  std::string uri;
  std::string peer;  ///< the server of the other end; empty: there is none, or the server is its own peer
  std::optional<dialect> spoken;
  std::string source;
  std::string destination;
  milliseconds patience{5'000};
  connector connect = connect_plain;
  connector connect_b;          ///< as the application of the other end; empty: the same
  bool two_principals = false;  ///< the servers can tell these from one another
};

struct survey_result {
  /// bad_uri: a URI cannot be read; unreachable: no connection, or one that the server ends for who this end is;
  /// not_004: somebody listens who does not answer in a dialect that was tried; no_stream: he answers, and opens no
  /// stream between these URIs, or the server of the other end, if it was named, does not join it.
  enum class outcome : std::uint8_t { found, bad_uri, unreachable, not_004, no_stream };
  outcome what = outcome::unreachable;
  std::string why;  ///< unless found
  target whom;
  std::string name_a;  ///< that the server says in HELLO; empty if it says none
  std::string name_b;
};

/// Asks. Opens and closes a stream. A server that greets is asked between `qkd://doctor-a@NAME` and
/// `qkd://doctor-b@NAME` with the names it and its peer give, one that does not between `qkd://doctor-a@site-a` and
/// `qkd://doctor-b@site-b`.
[[nodiscard]] survey_result survey(const survey_options& o);

}  // namespace qkd004::conformance
