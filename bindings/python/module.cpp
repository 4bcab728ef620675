// SPDX-License-Identifier: Apache-2.0
//
// _qkd004: the part of the Python package that is C++. Its face is bindings/python/src/qkd004.
#include "async_stream.hpp"
#include "client.hpp"
#include "interpreter.hpp"
#include "key.hpp"
#include "qkd004/version.hpp"
#include "server.hpp"
#include "software_link.hpp"
#include "stream.hpp"

PYBIND11_MODULE(_qkd004_in_the_first_interpreter, m, pybind11::multiple_interpreters::not_supported()) {
  using namespace qkd004::python;
  m.doc() = "The part of qkd004 that is C++; import qkd004.";
  (void)fork_generation();  // forks count from now
  add_key(m);
  add_stream(m);
  add_client(m);
  add_async(m);
  add_software_link(m);
  add_server(m);
  m.attr("version") = QKD004_VERSION_STRING;
  // the Python side has a list of its own: a test compares the two
  py::dict statuses;
  for (unsigned s = 0; s < 2048; ++s) {
    const auto text = qkd004::to_string(static_cast<qkd004::status>(s));
    if (text != "unknown status") statuses[py::int_(s)] = py::str(text.data(), text.size());
  }
  m.attr("statuses") = statuses;
}

/// Keys, streams and their locks are one process's, and no interpreter but the first is told of its end: others are refused,
/// and before pybind11 asks for a GIL that it would wait for, for ever.
extern "C" PYBIND11_EXPORT PyObject* PyInit__qkd004() {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError, "qkd004 does not run in sub-interpreters");
    return nullptr;
  }
  return PyInit__qkd004_in_the_first_interpreter();
}
