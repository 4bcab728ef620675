// SPDX-License-Identifier: Apache-2.0
#include "qkd004/net/site.hpp"

#include <utility>

#include "net/site_core.hpp"

namespace qkd004::net::inline QKD004_ASIO_VERSION {

struct site::state final {
  std::shared_ptr<site_core> core;
};

site::site(asio::io_context& context, site_options options)
    : state_{std::make_shared<state>(state{std::make_shared<site_core>(context, std::move(options))})} {}

site::~site() { stop(); }

result<void> site::start(std::string* why) { return state_->core->start(why); }

void site::stop() { state_->core->stop(); }

result<void> site::add(http::resource what) { return state_->core->add(std::move(what)); }

std::vector<std::string> site::addresses() const { return state_->core->addresses(); }

site_report site::report() const { return state_->core->report(); }

void site::set_caller(site_caller* who) {
  state_->core->join([core = state_->core, who] { core->set_caller(who); });
}

void site::join(std::function<void()> body) { state_->core->join(std::move(body)); }

key_service& site::service() noexcept { return state_->core->service(); }

key_manager& site::manager() noexcept { return state_->core->manager(); }

}  // namespace qkd004::net::inline QKD004_ASIO_VERSION
