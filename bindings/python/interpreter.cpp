// SPDX-License-Identifier: Apache-2.0
#include "interpreter.hpp"

#include <pthread.h>
#include <unistd.h>

#include <utility>

#include "qkd004/status.hpp"

namespace qkd004::python {

namespace {

unsigned generation = 0;

/// The exception that a callback on this thread left, while a blocking call waits for it.
thread_local PyObject* left_behind = nullptr;
thread_local bool by_signal = false;  ///< and not by a callback
thread_local unsigned calls_of_this_thread = 0;
thread_local bool in_callback = false;
thread_local std::uint32_t metadata_needed = 0;

PyObject* take_exception() noexcept {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace != nullptr) PyException_SetTraceback(value, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  return value;
}

void set_exception(PyObject* owned) noexcept {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(owned)), owned);
  Py_DECREF(owned);
}

/// The call came to a good end, whose value must not be lost for an exception.
void report_late(PyObject* owned) noexcept {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);  // the one that the call itself raises
  if (PyErr_GivenExceptionMatches(owned, PyExc_KeyboardInterrupt) != 0) {
    Py_DECREF(owned);
    PyErr_SetInterrupt();  // again, for the code after the call
  } else {
    set_exception(owned);
    PyErr_WriteUnraisable(nullptr);
  }
  PyErr_Restore(type, value, trace);
}

[[noreturn]] void sleep_for_ever() noexcept {
  for (;;) ::pause();
}

}  // namespace

unsigned fork_generation() noexcept {
  static const int registered = ::pthread_atfork(nullptr, nullptr, [] { ++generation; });
  (void)registered;
  return generation;
}

gil_released::~gil_released() {
  try {
    PyEval_RestoreThread(state_);
  } catch (...) {  // abi::__forced_unwind, or what another C library has for it
    sleep_for_ever();
  }
}

gil_held::gil_held() noexcept {
  if (Py_IsInitialized() == 0) return;
  try {
    state_ = PyGILState_Ensure();
    held_ = true;
  } catch (...) {
    sleep_for_ever();
  }
}

void on_another_thread(std::function<void()> work) noexcept {
  const gil_held held;
  if (!held) return;  // the process ends, and with it what the work is about
  const py::error_scope kept;
  try {
    const py::cpp_function run{[work = std::move(work)] {
      const gil_released released;
      work();
    }};
    from_module("threading", "Thread")(py::arg("target") = run, py::arg("name") = "qkd004").attr("start")();
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable("qkd004");
  } catch (...) {  // no memory: what the work would end stays
  }
}

void shared_callable::forget(py::object* f) {
  const gil_held held;
  if (!held) (void)f->release();
  delete f;
}

py::object from_module(const char* module, const char* name) {
  return py::module_::import(module).attr(name);
}

void raise(std::error_code error, const std::string& text) {
  const bool ours = error.category() == status_category();
  const py::object make = from_module("qkd004.errors", ours ? "_for_status" : "_for_errno");
  const std::string message = text.empty() ? error.message() : text;
  // other categories than the system's have numbers that errno does not know
  const int number =
      ours || error.category() == std::system_category() || error.category() == std::generic_category()
          ? error.value()
          : EIO;
  const py::object exception = make(number, message);
  const std::uint32_t needed = std::exchange(metadata_needed, 0);
  if (error == status::metadata_size_insufficient && needed != 0) exception.attr("needed") = needed;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw py::error_already_set{};
}

void raise_closed(const char* what) {
  PyErr_SetString(from_module("qkd004.errors", "Closed").ptr(), what);
  throw py::error_already_set{};
}

blocking_call::blocking_call() : exception_before_{nullptr}, by_signal_before_{false} {
  if (in_callback) {
    raise(status::invalid_argument,
          "called from inside a key source or a log, which the key manager waits for: use another thread");
  }
  metadata_needed = 0;
  exception_before_ = std::exchange(left_behind, nullptr);
  by_signal_before_ = std::exchange(by_signal, false);
  ++calls_of_this_thread;
}

blocking_call::~blocking_call() {
  --calls_of_this_thread;
  by_signal = by_signal_before_;
  if (PyObject* const late = std::exchange(left_behind, exception_before_)) report_late(late);
}

bool blocking_call::interrupted() const noexcept { return left_behind != nullptr && by_signal; }

bool blocking_call::see_to_signals() {
  const gil_held held;
  if (!held) return true;
  if (left_behind != nullptr && by_signal) return false;
  if (PyErr_CheckSignals() == 0) return true;
  PyObject* const raised = take_exception();
  if (left_behind != nullptr) report_late(std::exchange(left_behind, nullptr));
  left_behind = raised;
  by_signal = true;
  return false;
}

void blocking_call::raise_left() const {
  PyObject* const left = std::exchange(left_behind, nullptr);
  if (left == nullptr) return;
  set_exception(left);
  throw py::error_already_set{};
}

inside_callback::inside_callback() noexcept : before_{std::exchange(in_callback, true)} {}
inside_callback::~inside_callback() { in_callback = before_; }
bool inside_callback::is_set() noexcept { return in_callback; }

void note_metadata_needed(std::uint32_t octets) noexcept { metadata_needed = octets; }

std::error_code callback_failed(PyObject* where) noexcept {
  std::error_code told = status::no_qkd_connection;
  PyObject* const exception = take_exception();
  try {
    if (py::isinstance(exception, from_module("qkd004.errors", "QKDError"))) {
      const int code = py::handle{exception}.attr("status").cast<int>();
      if (code != 0) told = static_cast<status>(code);
    }
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable("qkd004");
  } catch (...) {  // no memory: what it was stays unknown
  }
  if (calls_of_this_thread > 0 && left_behind == nullptr) {
    left_behind = exception;
  } else {
    set_exception(exception);
    PyErr_WriteUnraisable(where);
  }
  return told;
}

PyTypeObject* add_type(py::module_& m, PyType_Spec& spec) {
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) throw py::error_already_set{};
  auto* const made = reinterpret_cast<PyTypeObject*>(type);
#if PY_VERSION_HEX < 0x030A0000
  made->tp_new = nullptr;  // not inherited from object either
#endif
  m.add_object(py::str{py::handle{type}.attr("__name__")}.cast<std::string>().c_str(), type);
  return made;
}

std::string text(py::handle value, const char* name) {
  if (!PyUnicode_Check(value.ptr())) {
    throw py::type_error(std::string{name} + " is text, not " + Py_TYPE(value.ptr())->tp_name);
  }
  Py_ssize_t size = 0;
  const char* const utf8 = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (utf8 == nullptr) throw py::error_already_set{};
  return {utf8, static_cast<std::size_t>(size)};
}

unsigned long long whole_number(PyObject* value, const char* name, unsigned long long most) {
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value));
  if (!number) throw py::error_already_set{};
  const unsigned long long n = PyLong_AsUnsignedLongLong(number.ptr());
  if ((n == static_cast<unsigned long long>(-1) && PyErr_Occurred() != nullptr) || n > most) {
    PyErr_Clear();
    raise(status::invalid_argument, std::string{name} + " is from 0 to " + std::to_string(most));
  }
  return n;
}

}  // namespace qkd004::python
