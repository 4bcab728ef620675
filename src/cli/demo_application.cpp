// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_application.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "cli/demo_report.hpp"
#include "cli/key_origin.hpp"
#include "cli/print.hpp"
#include "cli/private_output.hpp"
#include "qkd004/client.hpp"

namespace qkd004::cli {

namespace {

constexpr std::size_t batch = 32;  ///< keys asked for at a time
constexpr int most_counters = 4;   ///< each of them was possible when it was made

class application {
 public:
  application(const application_options& o, dialled d)
      : options_{o}, dialled_{std::move(d)}, via_{std::make_shared<asking_for_origin>(dialled_.via)} {}

  exit_code run() {
    if (!options_.out.empty()) {
      std::string why;
      auto file = private_output::create(options_.out, &why);
      if (!file) return complain(exit_code::usage, why);
      file_ = std::move(*file);
    }
    open_connect_request request = options_.request;
    if (options_.join) {
      std::string line;
      std::getline(std::cin, line);
      const auto id = key_stream_id::parse(line);
      if (!id) return complain(exit_code::usage, "no Key_stream_ID on standard input");
      request.stream = *id;
    }
    client site{via_, dialled_.arena};
    auto opened = site.open_connect(request);
    for (int more = most_counters; options_.accept_counter && more > 0; --more) {
      if (!opened || opened->outcome() != status::qos_not_met) break;
      put(counter_line(opened->quality()));
      request.quality = opened->quality();
      opened = site.open_connect(request);
    }
    if (!opened) return complain("OPEN_CONNECT", opened.error());
    if (opened->outcome() == status::qos_not_met)
      return complain("OPEN_CONNECT", make_error_code(opened->outcome()));
    put(promised_line(opened->quality()) + stream_line(opened->id()));

    if (const auto taken = take(*opened); taken != exit_code::ok) return taken;
    // the other end may still wait for a key that needs this one
    if (options_.until_told) await_line();
    if (const auto closed = opened->close(); !closed) return complain("CLOSE", closed.error());
    if (file_) {
      if (const auto written = file_.close(); !written) return complain(options_.out, written.error());
    }
    return exit_code::ok;
  }

 private:
  using clock = std::chrono::steady_clock;

  static void await_line() {
    std::string line;
    std::getline(std::cin, line);
  }

  /// Also if whoever tells is gone.
  static bool is_told() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, 0) <= 0) return false;
    await_line();
    return true;
  }

  [[nodiscard]] bool has_enough(std::size_t taken) const {
    return options_.until_told ? is_told() : taken >= options_.count;
  }

  exit_code take(key_stream& stream) {
    const std::size_t size = stream.quality().key_chunk_size;
    auto memory = dialled_.arena.allocate(size * batch);
    if (!memory) return complain("memory for keys", memory.error());
    sha256 all;
    clock::time_point began;
    std::size_t taken = 0;
    std::size_t in_first_batch = 0;
    while (!has_enough(taken)) {
      // the time of a key that waited for others of its batch would say nothing about the rate
      const std::size_t wanted = options_.until_told ? 1 : std::min(batch, options_.count - taken);
      const auto keys = stream.next_keys_into(memory->span().first(wanted * size));
      if (!keys) return complain("GET_KEY", keys.error());
      const auto octets = std::span<const std::byte>{memory->span()}.first(keys->count * size);
      all.add(octets);
      const auto at = std::chrono::duration_cast<std::chrono::microseconds>(clock::now().time_since_epoch());
      std::string lines;
      // for each key by itself it would be more than the key is worth
      if (const auto origin = via_->take_news(); !origin.empty() && !options_.until_told) {
        lines += origin_line(origin);
      }
      for (std::size_t i = 0; i < keys->count; ++i) {
        const auto key = octets.subspan(i * size, size);
        lines += key_line({keys->first + i, sha256::of(key), at});
        if (taken + i < options_.show) lines += fmt::format("shown {} {}\n", keys->first + i, to_hex(key));
      }
      put(lines);
      if (file_) {
        if (const auto written = file_.write(octets); !written)
          return complain(options_.out, written.error());
      }
      if (taken == 0) {
        // until here the sites were still finding each other
        began = clock::now();
        in_first_batch = keys->count;
      }
      taken += keys->count;
    }
    const std::chrono::duration<double> seconds = clock::now() - began;
    const auto timed = static_cast<double>(taken - in_first_batch);
    put(done_line(all.finish(), seconds.count() > 0 ? timed / seconds.count() : 0));
    return exit_code::ok;
  }

  const application_options& options_;
  dialled dialled_;
  const std::shared_ptr<asking_for_origin> via_;
  private_output file_;
};

}  // namespace

exit_code demo_application(const application_options& o) {
  auto d = dial(o.server, std::size_t{4} << 20);
  if (!d.via) return d.failed;
  return application{o, std::move(d)}.run();
}

}  // namespace qkd004::cli
