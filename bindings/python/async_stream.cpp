// SPDX-License-Identifier: Apache-2.0
#include "async_stream.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "client.hpp"
#include "key.hpp"
#include "key_memory.hpp"
#include "qkd004/async_client.hpp"
#include "stream.hpp"

namespace qkd004::python {

namespace {

using std::chrono::milliseconds;

/// The Python callable that a call ends in: done(value, exception). It is called from drive(), once.
class completion {
 public:
  explicit completion(py::object f) : f_{std::move(f)} {}

  /// Ends the call with what `make_value` returns, or with what it raises.
  /// Requires: the GIL.
  template <class MakeValue>
  void end(MakeValue&& make_value) const noexcept {
    py::object value = py::none();
    py::object exception = py::none();
    try {
      try {
        value = make_value();
      } catch (py::error_already_set& error) {
        exception = error.value();
      } catch (const std::bad_alloc&) {
        exception = py::handle{PyExc_MemoryError}();
      } catch (const std::exception& error) {
        exception = py::handle{PyExc_RuntimeError}(error.what());
      }
      f_(value, exception);
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("qkd004.aio");
    } catch (...) {  // no memory
    }
  }
  /// Requires: the GIL.
  void fail(std::error_code why) const noexcept {
    end([&]() -> py::object { raise(why); });
  }

 private:
  shared_callable f_;
};

/// Threads: that of the event loop.
class async_way : public std::enable_shared_from_this<async_way> {
 public:
  async_way(std::shared_ptr<exchange> via, secret_arena arena)
      : arena_{std::move(arena)}, client_{new async_client{std::move(via), arena_}} {}
  async_way(const async_way&) = delete;
  async_way& operator=(const async_way&) = delete;
  ~async_way() {
    if (forked()) (void)client_.release();
  }

  [[nodiscard]] bool forked() const noexcept { return generation_ != fork_generation(); }
  [[nodiscard]] async_client& use() const {
    if (forked()) raise_closed("the client is the parent's: connect again after fork()");
    if (!client_) raise_closed("the client was closed");
    return *client_;
  }
  [[nodiscard]] const secret_arena& arena() const noexcept { return arena_; }

  [[nodiscard]] int descriptor() const { return use().descriptor(); }

  /// Seconds until it is due again; negative: when something is started.
  [[nodiscard]] double drive() const {
    async_client& c = use();
    const gil_released released;
    const time_point due = c.drive();
    if (due == time_point::max()) return -1;
    const std::chrono::duration<double> left = due - boot_clock::now();
    return std::clamp(left.count(), 0.0, 3600.0);
  }

  void cancel(async_call_id id) const {
    async_client& c = use();
    const gil_released released;
    c.cancel(id);
  }

  /// Ends every call, those of streams as well, before it returns.
  void close() {
    if (!forked()) client_.reset();
  }

 private:
  const secret_arena arena_;
  outside_ptr<async_client> client_;  ///< null once it was closed
  const unsigned generation_ = fork_generation();
};

/// A completion of a call that has no value.
auto without_value(const py::object& done) {
  return [to = completion{done}](const result<void>& r) {
    const gil_held held;
    if (!held) return;
    if (!r) return to.fail(r.error());
    to.end([] { return py::none(); });
  };
}

/// A key where the booking has room for it.
py::object key(booking& place, std::span<const std::byte> octets, const key_label& label) {
  std::memcpy(place.room().data(), octets.data(), octets.size());
  return place.key(label);
}

/// Threads: that of the event loop.
class async_stream {
 public:
  async_stream(std::shared_ptr<async_way> way, async_key_stream&& stream)
      : way_{std::move(way)},
        stream_{new async_key_stream{std::move(stream)}},
        id_{to_python(stream_->id())},
        quality_{to_python(stream_->quality())},
        memory_{key_memory::make(way_->arena(), stream_->quality().key_chunk_size, id_.ptr())} {}
  async_stream(const async_stream&) = delete;
  async_stream& operator=(const async_stream&) = delete;
  ~async_stream() {
    if (way_->forked()) {
      (void)stream_.release();
      return;
    }
    memory_->let_go();
  }

  [[nodiscard]] const py::object& id() const noexcept { return id_; }
  [[nodiscard]] const py::object& quality() const noexcept { return quality_; }
  [[nodiscard]] py::object outcome() const {
    return from_module("qkd004.errors", "Status")(static_cast<unsigned>(stream_->outcome()));
  }

  async_call_id get_key(const py::object& index, bool wait, const py::object& done) {
    std::optional<std::uint64_t> wanted;
    if (!index.is_none() && !wait) {
      raise(status::invalid_argument,
            "a key by its index is waited for here: wait=False is for the next one");
    }
    if (!index.is_none()) wanted = whole_number(index.ptr(), "index", last_index);
    auto ended = [place = std::make_shared<booking>(memory_->take()),
                  to = completion{done}](result<key_chunk> r) mutable {
      const gil_held held;
      if (!held) return;
      if (!r) return to.fail(r.error());
      to.end([&] {
        py::object vendor;
        if (!r->vendor_metadata.empty()) vendor = py::bytes(r->vendor_metadata);
        return key(*place, r->bytes(), {r->index, r->metadata, vendor.ptr()});
      });
    };
    return start([&](async_key_stream& s) {
      if (wanted) return s.get_key(*wanted, std::move(ended));
      return wait ? s.next_key(std::move(ended)) : s.try_next_key(std::move(ended));
    });
  }

  async_call_id next_keys(std::size_t most, const py::object& done) {
    auto place = std::make_shared<booking>(memory_->take_run(most));
    const std::size_t fit = place->count();
    auto ended = [place, to = completion{done}](result<key_batch> r) mutable {
      const gil_held held;
      if (!held) return;
      if (!r) return to.fail(r.error());
      to.end([&] {
        py::list keys;
        for (std::size_t i = 0; i < r->count; ++i)
          keys.append(key(*place, r->bytes(i), {r->first + i, {}, nullptr}));
        return keys;
      });
    };
    place.reset();
    return start([&](async_key_stream& s) { return s.next_keys(fit, std::move(ended)); });
  }

  async_call_id wait_for_peer(double seconds, const py::object& done) {
    const milliseconds timeout{static_cast<std::int64_t>(seconds * 1000)};
    auto ended = without_value(done);
    return start([&](async_key_stream& s) { return s.wait_for_peer(timeout, std::move(ended)); });
  }
  async_call_id close(const py::object& done) {
    auto ended = without_value(done);
    return start([&](async_key_stream& s) { return s.close(std::move(ended)); });
  }
  void detach() {
    if (!way_->forked()) stream_->detach();
  }
  void prefetch(const py::object& keys) {
    const auto count = static_cast<std::uint32_t>(whole_number(keys.ptr(), "keys", 0xffff'ffff));
    (void)way_->use();
    result<void> r;
    {
      const gil_released released;
      r = stream_->prefetch(count);
    }
    if (!r) raise(r.error());
  }

 private:
  template <class Start>
  async_call_id start(Start&& what) {
    (void)way_->use();
    const gil_released released;
    return what(*stream_);
  }

  const std::shared_ptr<async_way> way_;
  outside_ptr<async_key_stream> stream_;
  const py::object id_;
  const py::object quality_;
  key_memory* const memory_;
};

async_call_id open_connect(const std::shared_ptr<async_way>& way, py::handle source, py::handle destination,
                           py::handle quality, const py::object& id, const py::dict& more) {
  const open_connect_request request = request_from(source, destination, quality, id, more);
  auto ended = [way = std::weak_ptr<async_way>{way}, to = completion{more["done"]},
                described = more["vendor_metadata"].cast<bool>()](result<async_key_stream> r) mutable {
    const gil_held held;
    if (!held) return;
    if (!r) return to.fail(r.error());
    const auto alive = way.lock();
    if (!alive) return to.fail(std::make_error_code(std::errc::operation_canceled));
    to.end([&]() -> py::object {
      if (r->outcome() == status::qos_not_met) {
        const py::object exception = qos_not_met(r->quality());
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
        throw py::error_already_set{};
      }
      if (described) r->want_vendor_metadata();
      return py::cast(std::make_shared<async_stream>(alive, std::move(*r)));
    });
  };
  async_client& c = way->use();
  const gil_released released;
  return c.open_connect(request, std::move(ended));
}

}  // namespace

void add_async(py::module_& m) {
  py::class_<async_way, std::shared_ptr<async_way>>(m, "AsyncWay",
                                                    "The way to one key manager, for an event loop.")
      .def("descriptor", &async_way::descriptor, "What to watch for input; -1: nothing.")
      .def("drive", &async_way::drive, "Does what is ready; returns the seconds until it is due again.")
      .def("cancel", &async_way::cancel, "One call, by its number.")
      .def("close", &async_way::close, "Ends every call.")
      .def("open_connect", &open_connect, "Returns the number of the call.");
  py::class_<async_stream, std::shared_ptr<async_stream>>(m, "AsyncStream",
                                                          "A key stream, for an event loop.")
      .def_property_readonly("key_stream_id", &async_stream::id)
      .def_property_readonly("qos", &async_stream::quality)
      .def_property_readonly("status", &async_stream::outcome)
      .def("get_key", &async_stream::get_key)
      .def("next_keys", &async_stream::next_keys)
      .def("wait_for_peer", &async_stream::wait_for_peer)
      .def("prefetch", &async_stream::prefetch)
      .def("close", &async_stream::close)
      .def("detach", &async_stream::detach);
  m.def(
      "async_connect",
      [](const py::object& to, const py::dict& options) {
        way_to way = connect_to(to, options);
        return std::make_shared<async_way>(std::move(way.via), way.arena);
      },
      "An AsyncWay to a URI; waits for the connection.");
  m.def(
      "async_pair",
      [](const py::dict& options) {
        auto [a, b] = ways_of_pair(options);
        return std::pair{std::make_shared<async_way>(std::move(a.via), a.arena),
                         std::make_shared<async_way>(std::move(b.via), b.arena)};
      },
      "Two sites in this process: an AsyncWay to each.");
}

}  // namespace qkd004::python
