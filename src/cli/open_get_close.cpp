// SPDX-License-Identifier: Apache-2.0
#include "cli/open_get_close.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "cli/digest.hpp"
#include "cli/print.hpp"
#include "cli/private_output.hpp"
#include "qkd004/client.hpp"
#include "serve/key_sources.hpp"

namespace qkd004::cli {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t client_bytes = std::size_t{1} << 20;
constexpr milliseconds ask_again{20};

exit_code no_memory(const secret_arena& arena) {
  return complain(exit_code::refused, arena.lock_refused()
                                          ? std::string{"no memory for key: "} + serve::lock_refused_help
                                          : "no memory for key of this size");
}

// --- open ---

exit_code refused(const open_options& o, std::error_code error) {
  if (o.json && error.category() == status_category()) put(to_json(to_status(error)) + "\n");
  return complain("OPEN_CONNECT", error);
}

}  // namespace

exit_code open_stream(const open_options& o) {
  auto d = dial(o.server, client_bytes);
  if (!d.via) return d.failed;
  client application{d.via, d.arena};
  auto opened = application.open_connect(o.request);
  if (!opened) return refused(o, opened.error());
  opened->detach();

  const status outcome = opened->outcome();
  const bool counter = outcome == status::qos_not_met;
  if (o.json) {
    put(to_json(outcome, opened->id(), opened->quality()) + "\n");
  } else if (!counter) {
    put(opened->id().to_string() + "\n");
  }
  if (counter) {
    std::string text = "OPEN_CONNECT: " + describe(outcome);
    if (!o.json) text += "; this would be:\n" + to_text(opened->quality());
    if (text.ends_with('\n')) text.pop_back();
    return complain(exit_code::refused, text);
  }
  if (!o.json) put_error(describe(outcome) + "\n" + to_text(opened->quality()));
  return exit_code::ok;
}

// --- get ---

namespace {

/// Takes keys of a stream that was opened before, by this end or the other.
class getter {
 public:
  getter(const get_options& o, dialled d) : options_{o}, dialled_{std::move(d)} {}

  exit_code run() {
    if (!options_.out.empty()) {
      std::string why;
      auto file = private_output::create(options_.out, &why);
      if (!file) return complain(exit_code::usage, why);
      file_ = std::move(*file);
    }
    exit_code done = open();
    if (done == exit_code::ok) done = get();
    if (file_) {
      if (const auto closed = file_.close(); !closed) {
        return complain(exit_code::usage, options_.out + ": " + closed.error().message());
      }
    }
    return done;
  }

 private:
  /// Asks for a QoS that no key manager can meet: a stream that is registered ignores it (D8), and one that is not is
  /// refused with status 7 and comes not into being by the question (D5).
  exit_code open() {
    using clock = std::chrono::steady_clock;
    open_connect_request request = options_.request;
    request.quality.max_bps = 1;
    request.quality.min_bps = 2;
    request.no_wait = true;
    const milliseconds timeout{options_.request.quality.timeout_ms};
    for (const auto deadline = clock::now() + timeout;;) {
      call c;
      c.request = request;
      if (const auto error = ask(*dialled_.via, c, timeout)) return complain("OPEN_CONNECT", error);
      stream_ = std::get<open_connect_response>(c.response);
      if (stream_.outcome != status::qos_not_met) break;
      if (clock::now() >= deadline) {
        return complain(exit_code::refused,
                        fmt::format("OPEN_CONNECT: {}; neither end opened it within {} ms",
                                    describe(status::unknown_key_stream), timeout.count()));
      }
      std::this_thread::sleep_for(
          ask_again);  // the other end has opened it perhaps, and word of it is on the way
    }
    if (!is_answer(stream_.outcome, operation::open_connect)) {
      return complain("OPEN_CONNECT", make_error_code(stream_.outcome));
    }
    next_ = options_.index.value_or(stream_.lowest_live_index);
    auto memory = dialled_.arena.allocate(stream_.quality.key_chunk_size);
    if (!memory) return no_memory(dialled_.arena);
    key_ = std::move(*memory);
    return exit_code::ok;
  }

  exit_code get() {
    for (std::uint64_t taken = 0; taken < options_.count;) {
      call c;
      get_key_request request;
      request.stream = stream_.stream;
      request.index = next_;
      request.metadata_size = stream_.quality.metadata_mimetype.empty() ? 0 : metadata_json_size;
      c.request = request;
      c.key_buffer = key_.span();
      const auto error = ask(*dialled_.via, c, milliseconds{stream_.quality.timeout_ms});
      if (error) return complain(fmt::format("GET_KEY {}", next_), error);
      const auto& r = std::get<get_key_response>(c.response);
      if (r.outcome == status::success) {
        if (const auto shown = show(r); shown != exit_code::ok) return shown;
        ++taken;
        ++next_;
      } else if (is_gone(r)) {
        next_ = r.index;
      } else {
        return complain(fmt::format("GET_KEY {}", next_), make_error_code(r.outcome));
      }
    }
    return exit_code::ok;
  }

  /// The next key expired, or somebody had it; the key manager named the lowest that is left.
  [[nodiscard]] bool is_gone(const get_key_response& r) const {
    return !options_.index && r.index > next_ &&
           (r.outcome == status::index_not_available || r.outcome == status::insufficient_key);
  }

  exit_code show(const get_key_response& r) {
    const std::string age = r.has_metadata ? fmt::format("{} ms", r.metadata.age_ms) : "-";
    std::string line = fmt::format("index {}  {} octets  age {}  sha256 {}", next_, r.key.size(), age,
                                   fingerprint(sha256::of(r.key)));
    if (options_.show_keys) line += "  key " + to_hex(r.key);
    line += '\n';
    put(line);
    wipe(line.data(), line.size());
    if (file_) {
      if (const auto written = file_.write(r.key); !written) {
        return complain(exit_code::usage, options_.out + ": " + written.error().message());
      }
    }
    return exit_code::ok;
  }

  const get_options& options_;
  dialled dialled_;
  open_connect_response stream_;
  std::uint64_t next_ = 0;
  secret_bytes key_;
  private_output file_;
};

}  // namespace

exit_code get_keys(const get_options& o) {
  auto d = dial(o.server, client_bytes);
  if (!d.via) return d.failed;
  return getter{o, std::move(d)}.run();
}

// --- close ---

exit_code close_stream(const close_options& o) {
  const auto d = dial(o.server, client_bytes);
  if (!d.via) return d.failed;
  call c;
  c.request = close_request{o.stream};
  if (const auto error = ask(*d.via, c, milliseconds{qos_defaults::timeout_ms})) {
    return complain("CLOSE", error);
  }
  const status outcome = std::get<close_response>(c.response).outcome;
  if (outcome != status::success) return complain("CLOSE", make_error_code(outcome));
  return exit_code::ok;
}

}  // namespace qkd004::cli
