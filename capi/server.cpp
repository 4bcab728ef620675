// SPDX-License-Identifier: Apache-2.0
#include "serve/server.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "guard.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "serve/config.hpp"
#include "source.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {

/// What a qkd004_server stands for.
class server_object final : public object {
 public:
  server_object(std::unique_ptr<serve::server_thread> t, domain managers)
      : calls{std::move(managers)}, thread{std::move(t)} {}

  gate calls;
  const std::unique_ptr<serve::server_thread> thread;
};

namespace {

qkd004_log_level to_c(net::log_level level) noexcept {
  switch (level) {
    case net::log_level::debug: return QKD004_LOG_DEBUG;
    case net::log_level::info:
    case net::log_level::notice: return QKD004_LOG_INFO;
    case net::log_level::warning: return QKD004_LOG_WARNING;
    case net::log_level::error: break;
  }
  return QKD004_LOG_ERROR;
}

/// The key sources that the application gives; they are its again if no server comes about.
class given_sources {
 public:
  given_sources() = default;
  // by way of the other constructor, so that what throws here gives back what was taken
  given_sources(const qkd004_server_options& o, const domain& managers, serve::server_options& to)
      : given_sources{} {
    if (o.source_count != 0) static_cast<void>(needed(o.sources));
    for (std::size_t i = 0; i != o.source_count; ++i) {
      auto source = use(o.sources[i].source);
      std::string link = text(o.sources[i].link);
      if (to.sources.contains(link)) throw refusal{QKD004_INVALID_ARGUMENT, "a link has two key sources"};
      taken_.reserve(taken_.size() + 1);
      auto& place = to.sources[std::move(link)];
      place = source->taken_by(managers);
      taken_.push_back(std::move(source));
    }
  }
  given_sources(const given_sources&) = delete;
  given_sources& operator=(const given_sources&) = delete;
  ~given_sources() {
    for (const auto& s : taken_) s->give_back();
  }
  void keep() noexcept { taken_.clear(); }

 private:
  std::vector<std::shared_ptr<source_object>> taken_;
};

result<serve::site_config> configuration(const qkd004_server_options& o, std::string& why) {
  if ((o.file == nullptr) == (o.config == nullptr)) {
    throw refusal{QKD004_INVALID_ARGUMENT, "there is a file or a text, and not both"};
  }
  // no folder before the name: paths in the text are taken from the working directory
  return o.file != nullptr ? serve::read_config(text(o.file), &why)
                           : serve::parse_config(text(o.config), "config", &why);
}

answer start(const qkd004_server_options* options, qkd004_server** server) {
  qkd004_server*& out = needed(server);
  const qkd004_server_options o = read(needed(options));
  std::string why;
  auto config = configuration(o, why);
  if (!config) return {config.error(), why};

  new_handle<qkd004_server> handle;
  const domain managers = std::make_shared<const char>('\0');
  serve::server_options with;
  if (o.log != nullptr) {
    with.log = [managers, log = o.log, context = o.log_context](net::log_level level, std::string_view line) {
      const frame in{managers.get()};
      const auto said = [&] {
        const std::string text{line};
        return log(context, to_c(level), text.c_str()), 0;
      };
      called_back(said, 0);
    };
  }
  given_sources taken{o, managers, with};
  auto thread = serve::server_thread::start(*std::move(config), std::move(with), &why);
  if (!thread) return {thread.error(), why};
  taken.keep();
  out = handle.publish(std::make_shared<server_object>(*std::move(thread), managers));
  return 0;
}

answer address(qkd004_server* server, std::size_t number, buffer<char> uri) {
  const auto s = use(server);
  const gate::visit visit{s->calls};
  const auto all = s->thread->addresses();
  if (number >= all.size()) return {status::invalid_argument, "there are not so many listeners"};
  uri.put({all[number].c_str(), all[number].size() + 1});
  return 0;
}

answer stop(qkd004_server* server) {
  const auto s = use(server);
  auto shut = s->calls.shut([] {});
  s->thread->stop();
  end(server);
  shut.keep();
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_server_start(const qkd004_server_options* options, qkd004_server** server) {
  return guarded("qkd004_server_start", [&] { return start(options, server); });
}

int qkd004_server_address(qkd004_server* server, size_t number, char* uri, size_t* size) {
  return guarded("qkd004_server_address", [&] { return address(server, number, {uri, size}); });
}

int qkd004_server_stop(qkd004_server* server) {
  return guarded("qkd004_server_stop", [&] { return stop(server); });
}
