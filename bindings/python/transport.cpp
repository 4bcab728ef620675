// SPDX-License-Identifier: Apache-2.0
#include "transport.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "stream.hpp"

namespace qkd004::python {

namespace {

/// Speaks GS QKD 004's three calls, and no extension. The method runs in wait(), on the thread of whoever asks.
class python_transport final : public exchange {
 public:
  explicit python_transport(py::object transport)
      : transport_{std::move(transport)}, generation_{fork_generation()} {}
  ~python_transport() override {
    if (generation_ == fork_generation()) {
      const gil_held held;
      if (held) transport_ = {};
    }
    (void)transport_.release();  // the parent's, or nobody's any more
  }

  void start(std::span<call* const>) override {}

  void wait(call& c) override {
    if (c.done()) return;
    if (generation_ != fork_generation()) {
      c.error = status::shutting_down;
      c.complete();
      return;
    }
    const gil_held held;
    if (!held) {
      c.error = status::shutting_down;
      c.complete();
      return;
    }
    try {
      std::visit([&](const auto& request) { ask(c, request); }, c.request);
    } catch (py::error_already_set& error) {
      error.restore();
      c.error = callback_failed(transport_.ptr());
    } catch (const py::builtin_exception& error) {
      error.set_error();
      c.error = callback_failed(transport_.ptr());
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
      c.error = callback_failed(transport_.ptr());
    }
    c.complete();
  }

  void cancel(call& c) noexcept override {
    if (c.done()) return;
    c.error = std::make_error_code(std::errc::operation_canceled);
    c.complete();
  }

 private:
  static double seconds_left(const call& c) {
    const std::chrono::duration<double> left = c.deadline - boot_clock::now();
    return std::clamp(left.count(), 0.0, 1e9);
  }

  /// What the method returned. Raises TypeError if it is not a `kind`.
  [[nodiscard]] py::object answer_to(const py::object& request, const char* kind) const {
    py::object answer = transport_.attr("call")(request);
    if (!py::isinstance(answer, from_module("qkd004.messages", kind))) {
      throw py::type_error(std::string{"call() of a transport returned something else than a "} + kind);
    }
    return answer;
  }

  static status status_of(const py::object& answer) {
    return static_cast<status>(
        whole_number(answer.attr("status").ptr(), "status", std::numeric_limits<std::uint32_t>::max()));
  }
  static std::uint32_t number_of(const py::object& answer, const char* name) {
    return static_cast<std::uint32_t>(
        whole_number(answer.attr(name).ptr(), name, std::numeric_limits<std::uint32_t>::max()));
  }

  void ask(call& c, const open_connect_request& r) const {
    if (r.strict_once) {
      c.error = status::invalid_argument;  // these three calls cannot say it, and it must not be forgotten
      return;
    }
    const py::object id = r.stream.is_null() ? py::object{py::none()} : to_python(r.stream);
    const py::object answer =
        answer_to(from_module("qkd004.messages", "OpenConnectRequest")(
                      r.source, r.destination, to_python(r.quality), id, seconds_left(c)),
                  "OpenConnectResponse");
    open_connect_response response;
    response.outcome = status_of(answer);
    if (is_answer(response.outcome, operation::open_connect)) {
      response.quality = qos_from(answer.attr("qos"));
      const py::object given = answer.attr("key_stream_id");
      if (response.outcome != status::qos_not_met) response.stream = key_stream_id_from(given);
    }
    c.response = response;
  }

  void ask(call& c, const get_key_request& r) const {
    const py::object answer =
        answer_to(from_module("qkd004.messages", "GetKeyRequest")(
                      to_python(r.stream), r.index, r.metadata_size, !r.no_wait, seconds_left(c)),
                  "GetKeyResponse");
    get_key_response response;
    response.outcome = status_of(answer);
    response.index = number_of(answer, "index");
    response.metadata_needed = number_of(answer, "metadata_needed");
    if (response.outcome == status::metadata_size_insufficient)
      note_metadata_needed(response.metadata_needed);
    if (response.outcome == status::success) {
      Py_buffer view;
      if (PyObject_GetBuffer(answer.attr("key").ptr(), &view, PyBUF_SIMPLE) != 0)
        throw py::error_already_set{};
      const auto size = static_cast<std::size_t>(view.len);
      const bool fits = size != 0 && size == c.key_buffer.size() && response.index == r.index;
      if (fits) std::memcpy(c.key_buffer.data(), view.buf, size);
      PyBuffer_Release(&view);
      if (!fits) {
        c.error = status::protocol_error;
        return;
      }
      response.key = c.key_buffer;
      response.has_metadata = true;
      response.metadata = {number_of(answer, "age_ms"), number_of(answer, "hops")};
    }
    c.response = response;
  }

  void ask(call& c, const close_request& r) const {
    const py::object answer =
        answer_to(from_module("qkd004.messages", "CloseRequest")(to_python(r.stream), seconds_left(c)),
                  "CloseResponse");
    c.response = close_response{status_of(answer)};
  }

  template <class Other>
  void ask(call& c, const Other&) const {
    c.error = std::make_error_code(std::errc::operation_not_supported);
  }

  py::object transport_;
  const unsigned generation_;
};

}  // namespace

std::shared_ptr<exchange> transport_of(const py::object& transport) {
  if (!py::isinstance(transport, from_module("qkd004.transport", "Transport"))) {
    throw py::type_error("connect() wants a URI or a qkd004.Transport");
  }
  return std::make_shared<python_transport>(transport);
}

}  // namespace qkd004::python
