// SPDX-License-Identifier: Apache-2.0
#include "software_link.hpp"

#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "key_source.hpp"

namespace qkd004::python {

namespace {

void read(const py::dict& from, const char* name, std::string& value) { value = text(from[name], name); }

template <class Value>
void read(const py::dict& from, const char* name, Value& value) {
  try {
    value = from[name].cast<Value>();
  } catch (const py::cast_error&) {
    throw py::type_error(std::string{name} + " of a software link is of another type, or out of its range");
  }
}

template <class Value>
Value word(const py::dict& from, const char* name,
           std::initializer_list<std::pair<std::string_view, Value>> words) {
  std::string given;
  read(from, name, given);
  std::string known;
  for (const auto& [text, value] : words) {
    if (given == text) return value;
    known += (known.empty() ? "" : ", ") + std::string{text};
  }
  raise(status::invalid_argument, std::string{name} + " of a software link is one of " + known);
}

software_link_options options_from(const py::dict& d) {
  software_link_options o;
  o.system.proof = word<decoy_proof>(d, "proof", {{"lim14", decoy_proof::lim14}, {"w24", decoy_proof::w24}});
  read(d, "km", o.system.km);
  read(d, "loss_db_per_km", o.system.loss_db_per_km);
  read(d, "efficiency", o.system.efficiency);
  read(d, "dark_count", o.system.dark_count);
  read(d, "afterpulse", o.system.afterpulse);
  read(d, "misalignment", o.system.misalignment);
  read(d, "dead_pulses", o.system.dead_pulses);
  read(d, "x_basis", o.system.x_basis);
  read(d, "eps_sec", o.system.eps_sec);
  read(d, "eps_cor", o.system.eps_cor);
  const py::object intensities = d["intensities"];
  if (!intensities.is_none()) {
    std::vector<std::pair<double, double>> given;
    read(d, "intensities", given);
    const std::size_t wanted = o.system.intensity_count();
    if (given.size() != wanted) {
      raise(status::invalid_argument, "intensities of a software link are " + std::to_string(wanted) +
                                          " pairs (mean photons, probability) with this proof");
    }
    for (std::size_t i = 0; i < given.size(); ++i)
      o.system.intensities[i] = {given[i].first, given[i].second};
  }
  o.sampling = word<photon_sampling>(
      d, "sampling", {{"events", photon_sampling::events}, {"blocks", photon_sampling::blocks}});
  o.leak = word<leak_account>(
      d, "leak",
      {{"alice_only", leak_account::alice_only}, {"both_directions", leak_account::both_directions}});
  read(d, "block_bits", o.block_bits);
  read(d, "qber_limit", o.qber_limit);
  read(d, "intercept_resend", o.intercept_resend);
  read(d, "pulse_rate", o.pulse_rate);
  read(d, "blocks_in_flight", o.blocks_in_flight);
  return o;
}

using two_ends = std::pair<std::unique_ptr<link_end>, std::unique_ptr<link_end>>;

two_ends make_link(const py::dict& d) {
  const software_link_options o = options_from(d);
  std::string why;
  auto [alice, bob] = wait_for([&] { return make_software_link(o, &why); },
                               [&](std::error_code error) { raise(error, why); });
  return {std::make_unique<link_end>(std::move(alice)), std::make_unique<link_end>(std::move(bob))};
}

std::unique_ptr<link_end> make_end(const py::dict& d) {
  const software_link_options o = options_from(d);
  software_link_end_options end{
      software_link_end_options::role::alice, security_class::simulated_insecure, {}, {}};
  end.which = word<software_link_end_options::role>(
      d, "role",
      {{"alice", software_link_end_options::role::alice}, {"bob", software_link_end_options::role::bob}});
  end.security = word<security_class>(d, "security",
                                      {{"simulated-insecure", security_class::simulated_insecure},
                                       {"simulated-over-tls", security_class::simulated_over_tls}});
  read(d, "auth_key", end.auth_key);
  read(d, "auth_state", end.auth_state);
  std::string why;
  return std::make_unique<link_end>(wait_for([&] { return make_software_link_end(o, end, &why); },
                                             [&](std::error_code error) { raise(error, why); }));
}

py::dict report(const link_end& end) {
  const software_link_end& e = end.use();
  const software_link_report r = [&] {
    const gil_released released;
    return e.report();
  }();
  py::dict d;
  d["sessions"] = r.sessions;
  d["pulses"] = r.pulses;
  d["detections"] = r.detections;
  d["sifted"] = r.sifted;
  d["secret"] = r.secret;
  d["errors"] = r.errors;
  d["leak_alice"] = r.leak_alice;
  d["leak_bob"] = r.leak_bob;
  d["rounds"] = r.rounds;
  d["accepted"] = r.accepted;
  d["over_limit"] = r.over_limit;
  d["no_key"] = r.no_key;
  d["unequal"] = r.unequal;
  d["cut_off"] = r.cut_off;
  d["forged"] = r.forged;
  d["auth_used"] = r.auth_used;
  d["auth_returned"] = r.auth_returned;
  d["auth_left"] = r.auth_left;
  d["qber"] = r.qber;
  d["efficiency"] = r.efficiency;
  d["failure"] = r.failure;
  d["progress"] = r.progress;
  return d;
}

}  // namespace

link_end::~link_end() {
  if (generation_ != fork_generation()) {
    new std::shared_ptr<software_link_end>{std::move(end_)};  // the parent's: never ended here
    return;
  }
  const gil_released released;  // the thread that distils ends with the last end
  end_.reset();
}

std::shared_ptr<software_link_end> link_end::take() {
  (void)use();
  if (std::exchange(taken_, true))
    raise(status::invalid_argument, "this end of a software link serves a site already");
  return end_;
}

const software_link_end& link_end::use() const {
  if (generation_ != fork_generation()) raise_closed("the software link is the parent's");
  return *end_;
}

void add_software_link(py::module_& m) {
  py::class_<link_end>(m, "LinkEnd", "One end of a software link.")
      .def("report", &report, "Counts of this end.");
  m.def("software_link", &make_link, "Both ends in this process.");
  m.def("software_link_end", &make_end, "One end of a link between processes.");
}

std::shared_ptr<key_source> key_source_of(const py::object& source) {
  if (py::isinstance<link_end>(source)) return source.cast<link_end&>().take();
  const py::object way = py::getattr(source, "_end", py::none());
  if (py::isinstance<link_end>(way)) return way.cast<link_end&>().take();
  if (!py::isinstance(source, from_module("qkd004.source", "KeySource"))) {
    throw py::type_error("a key source is a qkd004.KeySource or an end of a qkd004.SoftwareLink");
  }
  return make_python_key_source(source);
}

}  // namespace qkd004::python
