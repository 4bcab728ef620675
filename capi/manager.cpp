// SPDX-License-Identifier: Apache-2.0
#include "manager.hpp"

#include <bit>
#include <string>
#include <utility>

#include "client.hpp"
#include "guard.hpp"
#include "nouns.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "source.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {
namespace {

constexpr qkd004_manager_options manager_defaults = QKD004_MANAGER_OPTIONS_INIT;

pair_options options_of(const qkd004_manager_options& o) {
  pair_options options;
  options.first_node = text_or(o.first_node, "A");
  options.second_node = text_or(o.second_node, "B");
  if (options.first_node.empty() || options.first_node == options.second_node ||
      options.second_node.empty()) {
    throw refusal{QKD004_INVALID_ARGUMENT, "the sites need two names"};
  }
  options.memory = memory_of(o.memory_bytes, o.allow_unlocked);
  if (o.ring_chunks != 0) {
    if (o.ring_chunks < 2 || !std::has_single_bit(o.ring_chunks)) {
      throw refusal{QKD004_INVALID_ARGUMENT, "ring_chunks is a power of two from 2 on"};
    }
    options.limits.ring_chunks = o.ring_chunks;
  }
  if (o.max_streams != 0) options.limits.max_streams = o.max_streams;
  return options;
}

/// The two ends of a link's key, or none.
class sources {
 public:
  sources() = default;
  // by way of the other constructor, so that what throws here gives back what was taken
  sources(const qkd004_manager_options& o, const domain& managers, pair_options& to) : sources{} {
    if ((o.first == nullptr) != (o.second == nullptr)) {
      throw refusal{QKD004_INVALID_ARGUMENT, "a link has two key sources or none"};
    }
    if (o.first == nullptr) return;
    const auto first = use(o.first);
    const auto second = use(o.second);
    to.first_source = first->taken_by(managers);
    first_ = first;
    to.second_source = second->taken_by(managers);
    second_ = second;
  }
  sources(const sources&) = delete;
  sources& operator=(const sources&) = delete;
  ~sources() {
    if (first_) first_->give_back();
    if (second_) second_->give_back();
  }
  void keep() noexcept {
    first_.reset();
    second_.reset();
  }

 private:
  std::shared_ptr<source_object> first_;
  std::shared_ptr<source_object> second_;
};

std::shared_ptr<in_process_link> make_link(const qkd004_manager_options& o, const domain& managers) {
  pair_options options = options_of(o);
  sources taken{o, managers, options};
  taken.keep();
  return std::make_shared<in_process_link>(std::move(options));
}

answer open(const qkd004_manager_options* options, qkd004_manager** manager) {
  qkd004_manager*& out = needed(manager);
  const qkd004_manager_options o = read_or(options, manager_defaults);
  new_handle<qkd004_manager> handle;
  const domain managers = std::make_shared<const char>('\0');
  auto link = make_link(o, managers);
  out = handle.publish(std::make_shared<manager_object>(std::move(link), managers));
  return 0;
}

void give_client(const std::shared_ptr<in_process_link>& link, std::size_t site, std::string principal,
                 const domain& managers, qkd004_client*& out) {
  give(std::make_shared<in_process_exchange>(link, site, std::move(principal)), link->arena(site), managers,
       out);
}

answer connect(qkd004_manager* manager, int site, const char* principal, qkd004_client** client) {
  qkd004_client*& out = needed(client);
  const auto m = use(manager);
  const gate::visit visit{m->calls};
  if (site != 0 && site != 1) return {status::invalid_argument, "the site is 0 or 1"};
  give_client(m->link, static_cast<std::size_t>(site), text_or(principal, anonymous_principal),
              m->calls.managers(), out);
  return 0;
}

answer pair(qkd004_client** a, qkd004_client** b) {
  qkd004_client*& first = needed(a);
  qkd004_client*& second = needed(b);
  const domain managers = std::make_shared<const char>('\0');
  const auto link = make_link(manager_defaults, managers);
  qkd004_client* one = nullptr;
  give_client(link, 0, std::string{anonymous_principal}, managers, one);
  try {
    give_client(link, 1, std::string{anonymous_principal}, managers, second);
  } catch (...) {
    end(one);
    throw;
  }
  first = one;
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_manager_open(const qkd004_manager_options* options, qkd004_manager** manager) {
  return guarded("qkd004_manager_open", [&] { return open(options, manager); });
}

int qkd004_manager_connect(qkd004_manager* manager, int site, const char* principal, qkd004_client** client) {
  return guarded("qkd004_manager_connect", [&] { return connect(manager, site, principal, client); });
}

int qkd004_manager_close(qkd004_manager* manager) {
  return guarded("qkd004_manager_close", [&]() -> answer {
    const auto m = use(manager);
    auto shut = m->calls.shut([] {});
    end(manager);
    shut.keep();
    return 0;
  });
}

int qkd004_pair(qkd004_client** a, qkd004_client** b) {
  return guarded("qkd004_pair", [&] { return pair(a, b); });
}
