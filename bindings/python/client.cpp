// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <pybind11/stl.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "key_source.hpp"
#include "qkd004/in_process.hpp"
#include "qkd004/net/connect.hpp"
#include "stream.hpp"
#include "transport.hpp"

namespace qkd004::python {

namespace {

/// What connect() and pair() say of locked memory.
secret_options memory_of(std::size_t bytes, bool allow_unlocked) { return {bytes, allow_unlocked}; }

/// wait_for(), where close() by another thread is Closed for this one.
template <class Work>
auto ask(const client_way& way, Work&& work) {
  client& c = way.use();
  return wait_for([&] { return work(c); },
                  [&](std::error_code error) {
                    if (way.closed()) raise_closed("the client was closed while this call waited");
                    raise(error);
                  });
}

py::object open_connect(const client_way& way, py::handle source, py::handle destination, py::handle quality,
                        const py::object& id, const py::dict& more) {
  const open_connect_request request = request_from(source, destination, quality, id, more);
  const bool described = more["vendor_metadata"].cast<bool>();
  key_ring* ring = nullptr;
  auto opened = ask(way, [&](client& c) -> result<outside_ptr<key_stream>> {
    auto r = c.open_connect(request);
    if (!r) return r.error();
    ring = r->ring();
    return outside_ptr<key_stream>{new key_stream{std::move(*r)}};
  });
  if (opened->outcome() == status::qos_not_met) {
    const py::object exception = qos_not_met(opened->quality());
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
    throw py::error_already_set{};
  }
  return make_stream(std::move(opened), ring, way.arena(),
                     described ? vendor_members::wanted : vendor_members::not_wanted);
}

std::string report(const client_way& way, const py::object& id) {
  const key_stream_id stream = id.is_none() ? key_stream_id{} : key_stream_id_from(id);
  return ask(way, [&](client& c) { return c.report(stream); });
}

std::unique_ptr<client_way> client_of(way_to way) {
  return std::make_unique<client_way>(client{std::move(way.via), way.arena}, way.arena);
}

}  // namespace

way_to connect_to(const py::object& to, const py::dict& options) {
  const secret_arena arena{
      memory_of(options["memory_bytes"].cast<std::size_t>(), options["allow_unlocked"].cast<bool>())};
  if (!py::isinstance<py::str>(to)) return {transport_of(to), arena};
  const std::string uri = text(to, "uri");
  net::connect_options o;
  o.connect_timeout =
      std::chrono::milliseconds{std::llround(options["connect_timeout"].cast<double>() * 1000)};
  o.allow_insecure = options["allow_insecure"].cast<bool>();
  o.plain = options["plain"].cast<bool>();
  o.per_call = options["per_call"].cast<bool>();
  if (const py::object tls = options["tls"]; !tls.is_none()) {
    o.tls.emplace();
    o.tls->certificate = text(tls.attr("certificate"), "TLS.certificate");
    o.tls->key = text(tls.attr("key"), "TLS.key");
    o.tls->authority = text(tls.attr("authority"), "TLS.authority");
    o.tls->allow_tls_1_2 = tls.attr("allow_tls_1_2").cast<bool>();
    o.server = text(tls.attr("server"), "TLS.server");
  }
  std::string why;
  return {wait_for([&] { return net::connect(uri, arena, o, &why); },
                   [&](std::error_code error) { raise(error, why); }),
          arena};
}

std::pair<way_to, way_to> ways_of_pair(const py::dict& options) {
  pair_options o;
  o.first_node = text(options["first_node"], "the name of a site");
  o.second_node = text(options["second_node"], "the name of a site");
  o.memory = memory_of(options["memory_bytes"].cast<std::size_t>(), options["allow_unlocked"].cast<bool>());
  o.source.rate_bps = options["rate_bps"].cast<std::uint64_t>();
  const py::object first = options["first_source"];
  const py::object second = options["second_source"];
  if (!first.is_none()) {
    o.first_source = key_source_of(first);
    o.second_source = key_source_of(second);
  }
  return wait_for(
      [&]() -> result<std::pair<way_to, way_to>> {
        try {
          const auto link = std::make_shared<in_process_link>(std::move(o));
          const auto way = [&link](std::size_t site) {
            return way_to{std::make_shared<in_process_exchange>(link, site, std::string{anonymous_principal}),
                          link->arena(site)};
          };
          return std::pair{way(0), way(1)};
        } catch (const std::system_error& error) {
          return error.code();
        }
      },
      [](std::error_code error) { raise(error, "a pair of sites cannot be made: " + error.message()); });
}

open_connect_request request_from(py::handle source, py::handle destination, py::handle quality,
                                  const py::object& id, const py::dict& more) {
  open_connect_request request;
  request.source = text(source, "source");
  request.destination = text(destination, "destination");
  request.quality = qos_from(quality);
  if (!id.is_none()) request.stream = key_stream_id_from(id);
  request.no_wait = !more["wait"].cast<bool>();
  request.strict_once = more["strict_once"].cast<bool>();
  return request;
}

py::object qos_not_met(const qos& counter_proposal) {
  return from_module("qkd004.errors", "QoSNotMet")("the requested QoS cannot be met: counter_proposal can",
                                                   to_python(counter_proposal));
}

void client_way::close() {
  if (generation_ != fork_generation()) {
    closed_ = true;
    return;
  }
  const blocking_call call;  // for the check: to cancel takes the lock that a key source is called under
  closed_ = true;
  const gil_released released;
  client_->cancel();
}

client& client_way::use() const {
  if (generation_ != fork_generation())
    raise_closed("the client is the parent's: connect again after fork()");
  if (closed_) raise_closed("the client was closed");
  return *client_;
}

void add_client(py::module_& m) {
  py::class_<client_way>(m, "ClientWay", "The way to one key manager; qkd004.Client stands on it.")
      .def("open_connect", &open_connect, "The key stream; a status that is not an answer is raised.")
      .def("close", &client_way::close, "Ends the calls that wait.")
      .def("report", &report, "How the caller's streams stand, as JSON.")
      .def_property_readonly(
          "locked", [](const client_way& w) { return std::make_pair(w.arena().used(), w.arena().mapped()); },
          "Octets of locked memory in use, and mapped.");
  m.def(
      "connect",
      [](const py::object& to, const py::dict& options) { return client_of(connect_to(to, options)); },
      "A ClientWay to a URI or over a Transport.");
  m.def(
      "pair",
      [](const py::dict& options) {
        auto [a, b] = ways_of_pair(options);
        return std::pair{client_of(std::move(a)), client_of(std::move(b))};
      },
      "Two sites in this process: a ClientWay to each.");
}

}  // namespace qkd004::python
