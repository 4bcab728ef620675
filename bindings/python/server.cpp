// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <pybind11/stl.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "key_source.hpp"
#include "serve/config.hpp"
#include "serve/server.hpp"
#include "toml_text.hpp"

namespace qkd004::python {

namespace {

/// A Python callable that lines of the log go to, by any thread.
class log_to {
 public:
  explicit log_to(py::object f) : f_{std::move(f)} {}

  void operator()(net::log_level level, std::string_view line) const {
    const gil_held held;
    if (!held) return;
    const inside_callback inside;
    try {
      // lines may quote what a stranger sent
      const py::object text = py::reinterpret_steal<py::object>(
          PyUnicode_DecodeUTF8(line.data(), static_cast<Py_ssize_t>(line.size()), "backslashreplace"));
      if (!text) throw py::error_already_set{};
      f_(static_cast<int>(level), text);
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("the log of a qkd004.Server");
    } catch (...) {  // no memory for the line
    }
  }

 private:
  shared_callable f_;
};

class server_object {
 public:
  explicit server_object(std::unique_ptr<serve::server_thread> s) : server_{s.release()} {}
  ~server_object() {
    if (generation_ != fork_generation()) (void)server_.release();  // the parent's
  }
  server_object(const server_object&) = delete;
  server_object& operator=(const server_object&) = delete;

  void stop() {
    if (generation_ != fork_generation()) return;
    const blocking_call call;  // for the check: the server's thread would wait for itself
    const gil_released released;
    server_->stop();
  }

  [[nodiscard]] std::vector<std::string> addresses() const {
    if (generation_ != fork_generation()) raise_closed("the server is the parent's");
    const gil_released released;
    return server_->addresses();
  }

 private:
  outside_ptr<serve::server_thread> server_;
  const unsigned generation_ = fork_generation();
};

/// Of a file's path, or of TOML text.
serve::site_config config_of(const py::object& toml, const py::object& file) {
  std::string why;
  auto config = toml.is_none() ? serve::read_config(text(file, "config"), &why)
                               : serve::parse_config(text(toml, "config"), "config", &why);
  if (config) return std::move(*config);
  if (config.error().category() == std::generic_category()) {  // the file cannot be read
    errno = config.error().value();
    PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, file.ptr());
    throw py::error_already_set{};
  }
  raise(config.error(), why);
}

/// One of `toml` and `file` is None.
std::unique_ptr<server_object> start(const py::object& toml, const py::object& file, const py::dict& sources,
                                     const py::object& log) {
  auto config = config_of(toml, file);
  serve::server_options options;
  for (const auto& [link, source] : sources) {
    options.sources.emplace(text(link, "the name of a link"),
                            key_source_of(py::reinterpret_borrow<py::object>(source)));
  }
  if (!log.is_none()) options.log = log_to{log};
  std::string why;
  return std::make_unique<server_object>(wait_for(
      [&] {
        auto started = serve::server_thread::start(std::move(config), std::move(options), &why);
        options = {};  // what it holds of Python's may be let go of by a thread without the GIL
        return started;
      },
      [&](std::error_code error) { raise(error, why); }));
}

}  // namespace

void add_server(py::module_& m) {
  py::class_<server_object>(m, "ServerThread", "A site on a thread of its own; qkd004.Server stands on it.")
      .def("stop", &server_object::stop, "Returns when the thread has ended.")
      .def("addresses", &server_object::addresses, "The listeners as URIs.");
  m.def("serve", &start, "A ServerThread from TOML text, or else from a file.");
  m.def("toml_text", &toml_text, "A dict as TOML.");
}

}  // namespace qkd004::python
