// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <pybind11/stl.h>

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

/// A Python callable that any thread may call, and let go of.
class log_to {
 public:
  explicit log_to(py::object f) : f_{new py::object{std::move(f)}, forget} {}

  void operator()(net::log_level level, std::string_view line) const {
    const gil_held held;
    if (!held) return;
    try {
      // lines may quote what a stranger sent
      const py::object text = py::reinterpret_steal<py::object>(
          PyUnicode_DecodeUTF8(line.data(), static_cast<Py_ssize_t>(line.size()), "backslashreplace"));
      if (!text) throw py::error_already_set{};
      (*f_)(static_cast<int>(level), text);
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("the log of a qkd004.Server");
    }
  }

 private:
  static void forget(py::object* f) {
    const gil_held held;
    if (!held) (void)f->release();
    delete f;
  }

  std::shared_ptr<py::object> f_;
};

class server_object {
 public:
  explicit server_object(std::unique_ptr<serve::server_thread> s) : server_{std::move(s)} {}
  ~server_object() {
    if (generation_ != fork_generation()) {
      (void)server_.release();  // the parent's
      return;
    }
    const gil_released released;
    server_.reset();
  }
  server_object(const server_object&) = delete;
  server_object& operator=(const server_object&) = delete;

  void stop() {
    if (generation_ != fork_generation()) return;
    const blocking_call call;  // refused inside a key source, which the server's thread would wait for
    const gil_released released;
    server_->stop();
  }

  [[nodiscard]] std::vector<std::string> addresses() const {
    if (generation_ != fork_generation()) raise_closed("the server is the parent's");
    const gil_released released;
    return server_->addresses();
  }

 private:
  std::unique_ptr<serve::server_thread> server_;
  const unsigned generation_ = fork_generation();
};

/// `toml` is what `file` says; paths in it are taken from that file's folder.
std::unique_ptr<server_object> start(const std::string& toml, const std::string& file,
                                     const py::dict& sources, const py::object& log) {
  std::string why;
  auto config = serve::parse_config(toml, file, &why);
  if (!config) raise(config.error(), why);
  serve::server_options options;
  for (const auto& [link, source] : sources) {
    options.sources.emplace(text(link, "the name of a link"),
                            key_source_of(py::reinterpret_borrow<py::object>(source)));
  }
  if (!log.is_none()) options.log = log_to{log};
  blocking_call call;
  auto r = [&] {
    const gil_released released;
    auto started = serve::server_thread::start(std::move(*config), std::move(options), &why);
    options = {};  // what it holds of Python's may be let go of by a thread without the GIL
    return started;
  }();
  if (!r) call.failed(r.error(), why);
  return std::make_unique<server_object>(std::move(*r));
}

}  // namespace

void add_server(py::module_& m) {
  py::class_<server_object>(m, "ServerThread", "A site on a thread of its own; qkd004.Server stands on it.")
      .def("stop", &server_object::stop, "Returns when the thread has ended.")
      .def("addresses", &server_object::addresses, "The listeners as URIs.");
  m.def("serve", &start, "A ServerThread from TOML text.");
  m.def("toml_text", &toml_text, "A dict as TOML.");
}

}  // namespace qkd004::python
