// interpreter: how this extension stands to the Python around it: the GIL, forks, and exceptions that cross C++.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "qkd004/result.hpp"
#include "qkd004/waiting.hpp"

namespace qkd004::python {

namespace py = pybind11;

/// How many forks lie between the first process and this one. What was made under another number is the parent's: its
/// locks may be held by threads that are not here.
[[nodiscard]] unsigned fork_generation() noexcept;

/// While it lives, this thread does without the GIL.
/// A thread that wants the GIL back while the interpreter ends gets neither it nor out: before Python 3.14 it would be
/// unwound by force, which C++ cannot be everywhere; so it sleeps until the process is gone, as it does from 3.14 on.
class gil_released {
 public:
  gil_released() noexcept : state_{PyEval_SaveThread()} {}
  ~gil_released();
  gil_released(const gil_released&) = delete;
  gil_released& operator=(const gil_released&) = delete;

 private:
  PyThreadState* const state_;
};

/// While it lives, this thread has the GIL, if the interpreter is still there to give it.
class gil_held {
 public:
  gil_held() noexcept;
  ~gil_held() {
    if (held_) PyGILState_Release(state_);
  }
  gil_held(const gil_held&) = delete;
  gil_held& operator=(const gil_held&) = delete;
  explicit operator bool() const noexcept { return held_; }

 private:
  bool held_ = false;
  PyGILState_STATE state_{};
};

/// Raises the exception for an error. `text` says more than the error; it holds no key.
[[noreturn]] void raise(std::error_code error, const std::string& text = {});
[[noreturn]] void raise_closed(const char* what);

/// An attribute of one of the package's modules, looked up each time: for what is not hot.
[[nodiscard]] py::object from_module(const char* module, const char* name);

/// Marks the time in which this thread is inside a blocking call. Signals are seen to while it waits, and one whose handler
/// raises (KeyboardInterrupt) ends it; that exception, and one of a callback on this thread, waits for the end of the call.
/// Raises InvalidArgument inside a callback (inside_callback), whose caller holds what the call would wait for.
class blocking_call {
 public:
  blocking_call();
  ~blocking_call();
  blocking_call(const blocking_call&) = delete;
  blocking_call& operator=(const blocking_call&) = delete;

  /// The call has failed: raises the exception that a signal's handler or a callback left, if there is one.
  void raise_left() const;

  /// A signal's handler raised. If the call has succeeded nevertheless: see to its value, then call raise_left().
  [[nodiscard]] bool interrupted() const noexcept;

 private:
  static bool see_to_signals();

  PyObject* exception_before_;  ///< of a call outside this one, which runs a transport that calls
  bool by_signal_before_;
  waiting_hook hook_{see_to_signals};
};

/// While Python runs on this thread for somebody who holds locks meanwhile, or whom others wait for: a key source's methods,
/// and what a server's log goes to.
class inside_callback {
 public:
  inside_callback() noexcept;
  ~inside_callback();
  inside_callback(const inside_callback&) = delete;
  inside_callback& operator=(const inside_callback&) = delete;

  [[nodiscard]] static bool is_set() noexcept;

 private:
  bool before_;
};

/// Runs `work` without the GIL, on a thread that the end of the interpreter waits for.
void on_another_thread(std::function<void()> work) noexcept;

/// Ends what may wait when it ends, or take a lock under which Python is called: without the GIL. The last reference may be
/// dropped anywhere, by the garbage collector too: inside a callback, where this thread may hold that very lock, another
/// thread does it.
struct ends_outside {
  template <class Object>
  void operator()(Object* object) const noexcept {
    if (inside_callback::is_set()) return on_another_thread([object] { delete object; });
    std::optional<gil_released> released;
    if (PyGILState_Check() != 0) released.emplace();
    delete object;
  }
};
template <class Object>
using outside_ptr = std::unique_ptr<Object, ends_outside>;

/// A Python callable that any thread may let go of.
class shared_callable {
 public:
  explicit shared_callable(py::object f) : f_{new py::object{std::move(f)}, forget} {}

  /// Requires: the GIL.
  template <class... Arguments>
  void operator()(const Arguments&... arguments) const {
    (*f_)(arguments...);
  }

 private:
  static void forget(py::object* f);

  std::shared_ptr<py::object> f_;
};

/// Takes the exception that a callback left: to the blocking call of this thread, or, if there is none, to
/// sys.unraisablehook with the name of `where`. Requires: the GIL, and an exception that is set.
/// Returns what the C++ caller is told.
[[nodiscard]] std::error_code callback_failed(PyObject* where) noexcept;

/// What a transport in Python answered last on this thread with status 8: octets of metadata. raise() says it.
void note_metadata_needed(std::uint32_t octets) noexcept;

/// Runs `work`, which returns a result, without the GIL. Returns its value; raises what a signal's handler or a callback
/// left, or else has `refuse(error)` raise.
template <class Work, class Refuse>
auto wait_for(Work&& work, Refuse&& refuse) {
  blocking_call call;
  auto r = [&] {
    const gil_released released;
    return work();
  }();
  if (r && call.interrupted()) {  // nobody gets the value, which ends as ends_outside would have it
    const gil_released released;
    r = std::make_error_code(std::errc::operation_canceled);
  }
  if (!r) {
    call.raise_left();
    refuse(r.error());
  }
  if constexpr (!std::is_void_v<typename decltype(r)::value_type>) return std::move(*r);
}
template <class Work>
auto wait_for(Work&& work) {
  return wait_for(std::forward<Work>(work), [](std::error_code error) { raise(error); });
}

/// The body of a C slot: an exception of C++ becomes one of Python, and `failed` is returned.
template <class Body, class Failed = PyObject*>
Failed slot(Body&& body, Failed failed = {}) noexcept {
  try {
    return body();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return failed;
}

/// The octets of a str. Raises TypeError, UnicodeEncodeError for lone surrogates.
[[nodiscard]] std::string text(py::handle value, const char* name);

/// A whole number from 0 to `most`. Raises TypeError, InvalidArgument with the name.
[[nodiscard]] unsigned long long whole_number(PyObject* value, const char* name, unsigned long long most);

/// Of a type that only this extension makes objects of, and nobody derives from.
inline constexpr unsigned long type_flags = Py_TPFLAGS_DEFAULT
#if PY_VERSION_HEX >= 0x030A0000
                                            | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE
#endif
    ;
/// Makes the type and adds it to the module. Returns a reference that is never let go.
[[nodiscard]] PyTypeObject* add_type(py::module_& m, PyType_Spec& spec);

/// A PyMethodDef wants its function as if it had two parameters.
template <class Function>
[[nodiscard]] PyCFunction as_method(Function* f) noexcept {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

}  // namespace qkd004::python
