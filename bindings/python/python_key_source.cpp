// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "key_source.hpp"

namespace qkd004::python {

namespace {

/// Called by whatever thread runs the key manager, which holds the manager's lock meanwhile: hence no thread waits for
/// that lock with the GIL in its hands.
class python_key_source final : public key_source {
 public:
  explicit python_key_source(py::object source) : source_{std::move(source)}, generation_{fork_generation()} {
    capabilities_.kind = source_.attr("kind").cast<std::string>();
    const auto security = source_.attr("security").attr("value").cast<std::string>();
    for (const auto c :
         {security_class::simulated_insecure, security_class::simulated_over_tls, security_class::hardware}) {
      if (security == to_string(c)) capabilities_.security = c;
    }
    capabilities_.rate_bps = source_.attr("rate_bps").cast<std::uint64_t>();
    capabilities_.jitter_bps = source_.attr("jitter_bps").cast<std::uint32_t>();
    capabilities_.hops = source_.attr("hops").cast<std::uint32_t>();
  }

  ~python_key_source() override {
    if (generation_ == fork_generation()) {
      const gil_held held;
      if (held) {
        kept_ = {};
        source_ = {};
      }
    }
    // the parent's, or nobody's any more
    (void)kept_.release();
    (void)source_.release();
  }

  const key_source_capabilities& capabilities() const noexcept override { return capabilities_; }

  std::uint64_t position() const noexcept override {
    std::uint64_t position = 0;
    call([&] { position = source_.attr("position")().cast<std::uint64_t>(); });
    return position;
  }

  result<key_source_check> start(const key_source_session& session, time_point) override {
    number_ = session.first_block;
    key_source_check check{};
    const std::error_code failed = call([&] {
      kept_ = {};
      const auto octets = [](const instance_id& id) {
        return py::bytes{reinterpret_cast<const char*>(id.data()), id.size()};
      };
      const py::object told = from_module("qkd004.source", "Session")(
          session.link, octets(session.lower), octets(session.higher), session.first_block);
      const py::object answer = source_.attr("start")(told);
      const octets_of given{answer};
      if (given.size() != check.size()) throw py::value_error("start() of a key source returns 32 octets");
      std::memcpy(check.data(), given.data(), check.size());
    });
    if (failed) return failed;
    return check;
  }

  result<std::optional<key_block>> poll(const secret_arena& arena, time_point) override {
    std::optional<key_block> block;
    std::error_code failed;
    const std::error_code raised = call([&] {
      if (!kept_) {
        kept_ = source_.attr("poll")();
        if (kept_.is_none()) {
          kept_ = {};
          return;
        }
      }
      const py::object answer = std::exchange(kept_, {});
      const octets_of given{answer};
      if (given.size() == 0) throw py::value_error("poll() of a key source returns None or a block of key");
      auto bytes = arena.allocate(given.size());
      if (!bytes) {
        failed = bytes.error();  // asked for again, and then it is still here
        kept_ = answer;
        return;
      }
      std::memcpy(bytes->data(), given.data(), given.size());
      block.emplace(key_block{number_++, std::move(*bytes)});
    });
    if (raised) return raised;
    if (failed) return failed;
    return block;
  }

  time_point ready_at(time_point now) const noexcept override {
    double seconds = 0.01;
    call([&] { seconds = source_.attr("pause")().cast<double>(); });
    if (!(seconds >= 0.001)) seconds = 0.001;
    return now + std::chrono::microseconds{std::llround(std::min(seconds, 60.0) * 1e6)};
  }

  void stop() noexcept override {
    call([&] {
      kept_ = {};
      source_.attr("stop")();
    });
  }

 private:
  class octets_of {
   public:
    explicit octets_of(const py::object& from) {
      if (PyObject_GetBuffer(from.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set{};
    }
    ~octets_of() { PyBuffer_Release(&view_); }
    octets_of(const octets_of&) = delete;
    octets_of& operator=(const octets_of&) = delete;
    [[nodiscard]] const void* data() const noexcept { return view_.buf; }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(view_.len); }

   private:
    Py_buffer view_{};
  };

  /// Runs `work` with the GIL; what it raises becomes an error.
  template <class Work>
  std::error_code call(Work&& work) const noexcept {
    if (generation_ != fork_generation()) return status::shutting_down;
    try {
      const gil_held held;
      if (!held) return status::shutting_down;
      const inside_callback inside;
      try {
        work();
      } catch (py::error_already_set& error) {
        error.restore();
        return callback_failed(source_.ptr());
      } catch (const py::builtin_exception& error) {
        error.set_error();
        return callback_failed(source_.ptr());
      } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return callback_failed(source_.ptr());
      }
    } catch (...) {
      return status::no_qkd_connection;
    }
    return {};
  }

  py::object source_;
  const unsigned generation_;
  key_source_capabilities capabilities_{.kind = {}, .security = security_class::simulated_insecure};
  std::uint64_t number_ = 0;
  py::object kept_;  ///< a block for which there was no room
};

}  // namespace

std::shared_ptr<key_source> make_python_key_source(py::object source) {
  return std::make_shared<python_key_source>(std::move(source));
}

}  // namespace qkd004::python
