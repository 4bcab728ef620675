// SPDX-License-Identifier: Apache-2.0
#include "stream.hpp"

#include <structmember.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "key.hpp"
#include "key_memory.hpp"

namespace qkd004::python {

namespace {

using std::chrono::milliseconds;

/// What a KeyStream holds. Under the GIL, but for what `stream` does while a caller waits.
struct open_stream {
  open_stream(outside_ptr<key_stream> s, key_ring* r, const secret_arena& arena)
      : stream{std::move(s)},
        id{to_python(stream->id())},
        quality{to_python(stream->quality())},
        memory{key_memory::make(arena, stream->quality().key_chunk_size, id.ptr())},
        ring{r} {}
  open_stream(const open_stream&) = delete;
  open_stream& operator=(const open_stream&) = delete;

  ~open_stream() {
    if (generation != fork_generation()) {
      (void)stream.release();  // the parent's: its locks may be held for ever
      return;
    }
    memory->let_go();
  }

  outside_ptr<key_stream> stream;
  const py::object id;
  const py::object quality;
  key_memory* const memory;
  key_ring* const ring;  ///< null over a wire
  const tick_clock clock;
  const unsigned generation = fork_generation();
  std::deque<py::object> returned;  ///< keys that were taken by a call which then had to raise
  std::size_t waiting = 0;          ///< callers inside `stream`
  bool closed = false;
  bool described = false;  ///< with vendor metadata, which the ring does not have
};

struct stream_object {
  PyObject_HEAD open_stream* open;
  PyObject* weak_references;
};

PyTypeObject* stream_type = nullptr;

open_stream& of(PyObject* self) noexcept { return *reinterpret_cast<stream_object*>(self)->open; }

/// Raises Closed where nothing may be asked any more.
open_stream& usable(PyObject* self) {
  open_stream& o = of(self);
  if (o.generation != fork_generation())
    raise_closed("the stream is the parent's: open it again after fork()");
  if (o.closed) raise_closed("the stream was closed");
  return o;
}

/// One caller inside `stream`; while there is one, nobody changes it.
class visit {
 public:
  explicit visit(open_stream& o) noexcept : o_{o} { ++o_.waiting; }
  ~visit() { --o_.waiting; }
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;

 private:
  open_stream& o_;
};

/// wait_for(), where close() by another thread is Closed for this one. If a signal's handler raised at the moment in which
/// the call succeeded, `keep` is given the value before that is raised; if it cannot keep it, the call returns it.
template <class Work, class Keep>
auto ask(open_stream& o, Work&& work, Keep&& keep) {
  const visit inside{o};
  blocking_call call;
  auto r = [&] {
    const gil_released released;
    return work(*o.stream);
  }();
  if (call.interrupted() && (!r || keep(r))) call.raise_left();
  if (!r) {
    if (o.closed) raise_closed("the stream was closed while this call waited");
    call.raise_left();
    raise(r.error());
  }
  if constexpr (!std::is_void_v<typename decltype(r)::value_type>) return std::move(*r);
}

constexpr auto nothing_to_keep = [](const auto&) { return true; };

bool has_ready(const open_stream& o) noexcept {
  return o.ring != nullptr && !o.closed && !o.described && o.returned.empty() &&
         o.ring->epoch() == o.stream->epoch();
}

/// The next key if the ring of this process has it: no lock, no system call. Else null, without an exception.
PyObject* ready_key(open_stream& o) noexcept {
  if (!has_ready(o)) return nullptr;
  const key_memory::place p = o.memory->take();
  if (p.at == nullptr) return nullptr;
  const time_point now = o.clock.now();
  const auto taken = o.ring->take_next({p.at, o.memory->chunk_size()}, now);
  if (taken.outcome != status::success || taken.index > last_index) {
    key_memory::give(p.in, p.at);
    return nullptr;
  }
  return make_key(p.in, p.at, {taken.index, {age_of(taken.since, now), 0}, nullptr});
}

py::object one_key(open_stream& o, std::optional<std::uint64_t> index, bool wait) {
  const auto found = std::find_if(o.returned.begin(), o.returned.end(), [&](const py::object& k) {
    return !index || k.attr("index").cast<std::uint64_t>() == *index;
  });
  if (found != o.returned.end()) {
    py::object key = std::move(*found);
    o.returned.erase(found);
    return key;
  }
  booking place{o.memory->take()};
  key_chunk described;
  py::object vendor;
  const auto label = [&](std::uint64_t index_of_it) {
    if (!described.vendor_metadata.empty()) vendor = py::bytes(described.vendor_metadata);
    return key_label{index_of_it, described.metadata, vendor.ptr()};
  };
  const std::uint64_t at = ask(
      o,
      [&](key_stream& s) {
        return wait ? s.key_into(place.room(), described, index)
                    : s.try_key_into(place.room(), described, index);
      },
      [&](const result<std::uint64_t>& r) {
        o.returned.push_back(place.key(label(*r)));
        return true;
      });
  return place.key(label(at));
}

PyObject* stream_get_key(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                         PyObject* names) noexcept {
  if (count == 0 && names == nullptr) [[likely]] {
    if (PyObject* const key = ready_key(of(self))) return key;
    if (PyErr_Occurred() != nullptr) return nullptr;
  }
  return slot([&] {
    open_stream& o = usable(self);
    PyObject* index = count > 0 ? arguments[0] : nullptr;
    PyObject* wait = nullptr;
    if (count > 1) throw py::type_error("get_key() takes one positional argument, the index");
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; ++i) {
      PyObject* const name = PyTuple_GET_ITEM(names, i);
      if (PyUnicode_CompareWithASCIIString(name, "index") == 0 && index == nullptr) {
        index = arguments[count + i];
      } else if (PyUnicode_CompareWithASCIIString(name, "wait") == 0) {
        wait = arguments[count + i];
      } else {
        throw py::type_error("get_key() takes index and wait");
      }
    }
    std::optional<std::uint64_t> wanted;
    if (index != nullptr && index != Py_None) wanted = whole_number(index, "index", last_index);
    const int patient = wait == nullptr ? 1 : PyObject_IsTrue(wait);
    if (patient < 0) throw py::error_already_set{};
    return one_key(o, wanted, patient == 1).release().ptr();
  });
}

PyObject* stream_item(PyObject* self, PyObject* index) noexcept {
  return slot([&] {
    open_stream& o = usable(self);
    return one_key(o, whole_number(index, "index", last_index), true).release().ptr();
  });
}

/// A list that is filled from the front; what is not filled is cut off.
class key_list {
 public:
  explicit key_list(std::size_t wanted) : wanted_{wanted} {
    list_ = py::reinterpret_steal<py::object>(
        PyList_New(static_cast<Py_ssize_t>(std::min(wanted, made_at_once))));
    if (!list_) throw py::error_already_set{};
  }
  [[nodiscard]] std::size_t missing() const noexcept { return wanted_ - count_; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

  void add(py::object key) {
    if (count_ < made_at_once) {
      PyList_SET_ITEM(list_.ptr(), static_cast<Py_ssize_t>(count_), key.release().ptr());
    } else if (PyList_Append(list_.ptr(), key.ptr()) != 0) {
      throw py::error_already_set{};
    }
    ++count_;
  }
  [[nodiscard]] py::object take() {
    if (count_ < made_at_once) {
      PyList_SetSlice(list_.ptr(), static_cast<Py_ssize_t>(count_), PyList_GET_SIZE(list_.ptr()), nullptr);
    }
    return std::move(list_);
  }

 private:
  static constexpr std::size_t made_at_once = 1024;
  const std::size_t wanted_;
  std::size_t count_ = 0;
  py::object list_;
};

/// Adds what the ring of this process has; nothing if it has none.
void add_ready(open_stream& o, key_list& keys) {
  while (keys.missing() > 0 && has_ready(o)) {
    const key_memory::place p = o.memory->take_run(keys.missing());
    booking place{p};
    const time_point now = o.clock.now();
    const auto run = o.ring->take_run(place.room(), now);
    if (run.outcome != status::success || run.first > last_index) return;
    key_label label{run.first, {age_of(run.since, now), 0}, nullptr};
    for (std::uint32_t i = 0; i < run.count; ++i, ++label.index) keys.add(place.key(label));
  }
}

/// Adds at least one key, which is waited for.
void add_waiting(open_stream& o, key_list& keys) {
  if (o.ring != nullptr || o.described || keys.missing() == 1) {
    keys.add(one_key(o, std::nullopt, true));
    return;
  }
  booking place{o.memory->take_run(keys.missing())};
  const auto each = [&](const key_stream::run& run, const auto& put) {
    key_label label{run.first, {}, nullptr};
    for (std::size_t i = 0; i < run.count; ++i, ++label.index) put(place.key(label));
  };
  const auto run = ask(
      o, [&](key_stream& s) { return s.next_keys_into(place.room()); },
      [&](const result<key_stream::run>& r) {
        each(*r, [&](py::object key) { o.returned.push_back(std::move(key)); });
        return true;
      });
  each(run, [&](py::object key) { keys.add(std::move(key)); });
}

PyObject* stream_take(PyObject* self, PyObject* count) noexcept {
  return slot([&] {
    open_stream& o = usable(self);
    key_list keys{static_cast<std::size_t>(whole_number(count, "count", last_index + 1))};
    try {
      while (keys.missing() > 0) {
        while (keys.missing() > 0 && !o.returned.empty()) keys.add(one_key(o, std::nullopt, false));
        add_ready(o, keys);
        if (keys.missing() > 0) add_waiting(o, keys);
        usable(self);
      }
    } catch (py::error_already_set& error) {
      if (keys.size() == 0) throw;
      if (!error.matches(from_module("qkd004.errors", "QKDError"))) {
        // say, KeyboardInterrupt: the keys are for the next call
        for (const py::handle k : keys.take()) o.returned.push_back(py::reinterpret_borrow<py::object>(k));
        throw;
      }
    }
    return keys.take().release().ptr();
  });
}

/// A writable buffer of the caller's, held as long as this lives.
class caller_buffer {
 public:
  explicit caller_buffer(PyObject* from) {
    if (PyObject_GetBuffer(from, &view_, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) != 0)
      throw py::error_already_set{};
  }
  ~caller_buffer() { PyBuffer_Release(&view_); }
  caller_buffer(const caller_buffer&) = delete;
  caller_buffer& operator=(const caller_buffer&) = delete;
  [[nodiscard]] std::span<std::byte> octets() const noexcept {
    return {static_cast<std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

/// Keys that a call took which then has to raise: they are for the next. Returns false, and they are where they were, if
/// there is no room for all of them.
bool take_back(open_stream& o, std::span<std::byte> from, const key_stream::run& run) {
  const std::size_t size = o.memory->chunk_size();
  std::vector<booking> places;
  for (std::size_t missing = run.count; missing > 0; missing -= places.back().count()) {
    const key_memory::place p = o.memory->take_run(missing);
    if (p.at == nullptr) return false;
    places.emplace_back(p);
  }
  key_label label{run.first, {}, nullptr};
  for (booking& place : places) {
    for (std::size_t n = place.count(); n > 0; --n, ++label.index, from = from.subspan(size)) {
      std::memcpy(place.room().data(), from.data(), size);
      wipe(from.data(), size);
      o.returned.push_back(place.key(label));
    }
  }
  return true;
}

PyObject* stream_get_keys_into(PyObject* self, PyObject* buffer) noexcept {
  return slot([&] {
    open_stream& o = usable(self);
    const caller_buffer to{buffer};
    const std::size_t size = o.memory->chunk_size();
    if (to.octets().size() < size) {
      raise(status::invalid_argument, "the buffer has " + std::to_string(to.octets().size()) +
                                          " octets, and a key of this stream has " + std::to_string(size));
    }
    std::uint64_t first = 0;
    std::size_t count = 0;
    if (!o.returned.empty()) {
      // they need not follow one another: one at a time
      const py::object key = one_key(o, std::nullopt, false);
      const py::buffer_info octets = py::buffer{key}.request();
      std::memcpy(to.octets().data(), octets.ptr, size);
      first = key.attr("index").cast<std::uint64_t>();
      count = 1;
    }
    if (count == 0 && has_ready(o)) {
      const auto run = o.ring->take_run(to.octets(), o.clock.now());
      if (run.outcome == status::success) {
        first = run.first;
        count = run.count;
      }
    }
    if (count == 0) {
      const auto run = ask(
          o, [&](key_stream& s) { return s.next_keys_into(to.octets()); },
          [&](const result<key_stream::run>& r) { return take_back(o, to.octets(), *r); });
      first = run.first;
      count = run.count;
    }
    PyObject* const pair = PyTuple_New(2);
    if (pair == nullptr) throw py::error_already_set{};
    PyTuple_SET_ITEM(pair, 0, PyLong_FromUnsignedLongLong(first));
    PyTuple_SET_ITEM(pair, 1, PyLong_FromSize_t(count));
    return pair;
  });
}

PyObject* stream_wait_for_peer(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                               PyObject* names) noexcept {
  return slot([&] {
    open_stream& o = usable(self);
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    if (count + named > 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "timeout") != 0)) {
      throw py::type_error("wait_for_peer() takes timeout");
    }
    milliseconds timeout{0};
    if (count + named == 1 && arguments[0] != Py_None) {
      const double seconds = PyFloat_AsDouble(arguments[0]);
      if (seconds == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set{};
      if (!(seconds >= 0 && seconds <= 4'294'967)) {
        raise(status::invalid_argument, "timeout is from 0 to 4294967 seconds");
      }
      // 0 means the stream's Timeout below
      timeout = std::max(milliseconds{std::llround(seconds * 1000)}, milliseconds{1});
    }
    ask(
        o, [&](key_stream& s) { return s.wait_for_peer(timeout); }, nothing_to_keep);
    Py_INCREF(Py_None);
    return Py_None;
  });
}

PyObject* stream_prefetch(PyObject* self, PyObject* keys) noexcept {
  return slot([&] {
    open_stream& o = usable(self);
    const auto count = static_cast<std::uint32_t>(whole_number(keys, "keys", 0xffff'ffff));
    if (o.waiting > 0) raise(status::invalid_argument, "prefetch() while another call of this stream waits");
    ask(
        o, [&](key_stream& s) { return s.prefetch(count); }, nothing_to_keep);
    Py_INCREF(Py_None);
    return Py_None;
  });
}

void close_stream(PyObject* self) {
  open_stream& o = of(self);
  if (o.closed) return;
  if (o.generation != fork_generation()) {
    o.closed = true;  // here; the parent's stays as it is
    return;
  }
  o.closed = true;
  try {
    wait_for([&] { return o.stream->close(); });
  } catch (...) {
    o.closed = false;  // it may be asked for again, and what is kept can be had
    throw;
  }
  o.returned.clear();
}

PyObject* stream_close(PyObject* self, PyObject*) noexcept {
  return slot([&] {
    close_stream(self);
    Py_INCREF(Py_None);
    return Py_None;
  });
}

PyObject* stream_detach(PyObject* self, PyObject*) noexcept {
  return slot([&] {
    open_stream& o = of(self);
    if (!o.closed && o.generation == fork_generation()) {
      if (!o.returned.empty())
        raise(status::invalid_argument, "detach() while keys that an interrupted call took wait to be taken");
      const blocking_call call;  // for the check: over a wire it waits
      o.closed = true;
      const gil_released released;
      o.stream->detach();
    }
    Py_INCREF(Py_None);
    return Py_None;
  });
}

PyObject* stream_enter(PyObject* self, PyObject*) noexcept {
  return slot([&] {
    (void)usable(self);
    Py_INCREF(self);
    return self;
  });
}

PyObject* stream_exit(PyObject* self, PyObject* const* arguments, Py_ssize_t count) noexcept {
  return slot([&] {
    try {
      close_stream(self);
    } catch (py::error_already_set& error) {
      // the exception that ends the block says more than that the key manager could not be told
      if (count == 0 || arguments[0] == Py_None) throw;
    }
    Py_INCREF(Py_None);
    return Py_None;
  });
}

PyObject* stream_iter(PyObject* self) noexcept {
  Py_INCREF(self);
  return self;
}

PyObject* stream_next(PyObject* self) noexcept {
  if (PyObject* const key = ready_key(of(self))) return key;
  if (PyErr_Occurred() != nullptr) return nullptr;
  return slot([&]() -> PyObject* {
    if (of(self).closed && of(self).generation == fork_generation()) return nullptr;  // the end
    try {
      return one_key(usable(self), std::nullopt, true).release().ptr();
    } catch (py::error_already_set& error) {
      if (error.matches(from_module("qkd004.errors", "StreamExhausted"))) return nullptr;
      throw;
    }
  });
}

PyObject* stream_repr(PyObject* self) noexcept {
  const open_stream& o = of(self);
  return PyUnicode_FromFormat("<qkd004.KeyStream %S%s>", o.id.ptr(), o.closed ? ", closed" : "");
}

PyObject* new_reference(const py::object& o) noexcept {
  Py_INCREF(o.ptr());
  return o.ptr();
}
PyObject* stream_id(PyObject* self, void*) noexcept { return new_reference(of(self).id); }
PyObject* stream_qos(PyObject* self, void*) noexcept { return new_reference(of(self).quality); }
PyObject* stream_closed(PyObject* self, void*) noexcept { return PyBool_FromLong(of(self).closed ? 1 : 0); }
PyObject* stream_status(PyObject* self, void*) noexcept {
  return slot([&] {
    return from_module("qkd004.errors", "Status")(static_cast<unsigned>(of(self).stream->outcome()))
        .release()
        .ptr();
  });
}

void stream_dealloc(PyObject* self) noexcept {
  auto* const s = reinterpret_cast<stream_object*>(self);
  if (s->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);  // an exception that is under way is not this object's business
  delete s->open;
  PyErr_Restore(type, value, trace);
  PyTypeObject* const own_type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(own_type);
}

constexpr const char* stream_doc =
    "A key stream: what OPEN_CONNECT returned (GS QKD 004 V2.1.1, 6.1), and the keys that come of it.\n"
    "\n"
    "Client.open_connect() makes it. Leaving its ``with`` block closes it, and so does its end unless\n"
    "detach() was called. ``for key in stream`` takes keys until the stream is closed or exhausted;\n"
    "``stream[5]`` is the key with index 5.\n"
    "\n"
    "A call that waits does so up to QoS Timeout, without the GIL, and then raises QKDTimeout. A call\n"
    "that raises has consumed no key: the same call again gets what this one would have got.\n"
    "Of every call: a QKDError of the status the key manager gave, TransportError, and Closed after\n"
    "close() or in a child of fork().\n"
    "\n"
    "Threads: any number may ask for keys, and no key comes twice; close() may come from another thread,\n"
    "and ends the calls that wait (Closed).";

PyMethodDef stream_methods[] = {
    {"get_key", as_method(stream_get_key), METH_FASTCALL | METH_KEYWORDS,
     "get_key($self, /, index=None, *, wait=True)\n--\n\n"
     "GET_KEY: the key at `index`, or the next one of this side.\n\n"
     "Keys that expired before are skipped. With wait=False InsufficientKey is raised at once where\n"
     "there is none.\n"
     "Raises IndexNotAvailable for a key that was acknowledged, expired or consumed, ResourceLimit when\n"
     "there is no locked memory for a Key."},
    {"take", stream_take, METH_O,
     "take($self, count, /)\n--\n\n"
     "A list of the next `count` keys, each waited for up to QoS Timeout.\n\n"
     "If no more come, those that did are returned, at least one; the next call says what is wrong.\n"
     "Quicker than so many calls of get_key()."},
    {"get_keys_into", stream_get_keys_into, METH_O,
     "get_keys_into($self, buffer, /)\n--\n\n"
     "Writes the next keys into a writable buffer, one after another, as many as follow one another and\n"
     "fit; waits for the first only. Returns (index of the first, how many).\n\n"
     "The memory is the caller's: it is neither locked nor wiped for him.\n"
     "Raises InvalidArgument, and consumes nothing, when not one key fits."},
    {"wait_for_peer", as_method(stream_wait_for_peer), METH_FASTCALL | METH_KEYWORDS,
     "wait_for_peer($self, /, timeout=None)\n--\n\n"
     "Waits until the peer application has opened the stream: `timeout` seconds, or QoS Timeout.\n\n"
     "Raises QKDTimeout; PeerNotConnected if it has come and gone; TransportError (errno EOPNOTSUPP)\n"
     "from a key manager that cannot be asked."},
    {"prefetch", stream_prefetch, METH_O,
     "prefetch($self, keys, /)\n--\n\n"
     "Over a network: has up to `keys` keys sent ahead of those who ask; 0 stops it. Elsewhere nothing\n"
     "changes.\n\n"
     "With strict_once what was sent ahead and not taken is burned when the connection breaks.\n"
     "Raises ResourceLimit when there is no locked memory for so many, InvalidArgument while another\n"
     "call of this stream waits."},
    {"close", stream_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "CLOSE: gives the stream up. What this side has not read is destroyed; the other side reads on\n"
     "what it has. May be repeated. Keys that were handed out stay."},
    {"detach", stream_detach, METH_NOARGS,
     "detach($self, /)\n--\n\n"
     "Lets go of the stream without closing it: who opens its key_stream_id again reads on.\n\n"
     "Raises InvalidArgument while keys that an interrupted call took are kept for the next: take them\n"
     "before, they do not come again."},
    {"__enter__", stream_enter, METH_NOARGS, "__enter__($self, /)\n--\n\n"},
    {"__exit__", as_method(stream_exit), METH_FASTCALL, "__exit__($self, /, *exception)\n--\n\nclose()."},
    {}};

PyGetSetDef stream_properties[] = {
    {"key_stream_id", stream_id, nullptr, "uuid.UUID of the stream; no secret: tell it to the other end.",
     nullptr},
    {"qos", stream_qos, nullptr, "QoS that was granted.", nullptr},
    {"status", stream_status, nullptr,
     "What OPEN_CONNECT said: Status.SUCCESS, or PEER_NOT_CONNECTED if the other end was not there yet.",
     nullptr},
    {"closed", stream_closed, nullptr, "Whether it was closed or detached here.", nullptr},
    {}};

PyMemberDef stream_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(stream_object, weak_references), READONLY, nullptr}, {}};

PyType_Slot stream_slots[] = {{Py_tp_doc, const_cast<char*>(stream_doc)},
                              {Py_tp_dealloc, reinterpret_cast<void*>(stream_dealloc)},
                              {Py_tp_repr, reinterpret_cast<void*>(stream_repr)},
                              {Py_tp_iter, reinterpret_cast<void*>(stream_iter)},
                              {Py_tp_iternext, reinterpret_cast<void*>(stream_next)},
                              {Py_mp_subscript, reinterpret_cast<void*>(stream_item)},
                              {Py_tp_methods, stream_methods},
                              {Py_tp_getset, stream_properties},
                              {Py_tp_members, stream_members},
                              {0, nullptr}};

PyType_Spec stream_spec{"qkd004.KeyStream", sizeof(stream_object), 0, type_flags, stream_slots};

}  // namespace

void add_stream(py::module_& m) { stream_type = add_type(m, stream_spec); }

py::object make_stream(outside_ptr<key_stream> stream, key_ring* ring, const secret_arena& arena,
                       vendor_members wanted) {
  auto open = std::make_unique<open_stream>(std::move(stream), ring, arena);
  open->described = wanted == vendor_members::wanted;
  if (open->described) open->stream->want_vendor_metadata();
  stream_object* const s = PyObject_New(stream_object, stream_type);
  if (s == nullptr) throw py::error_already_set{};
  s->open = open.release();
  s->weak_references = nullptr;
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(s));
}

py::object to_python(const qos& q) {
  const auto mimetype = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      q.metadata_mimetype.data(), static_cast<Py_ssize_t>(q.metadata_mimetype.size()), nullptr));
  if (!mimetype) {
    PyErr_Clear();
    raise(status::protocol_error, "the key manager's Metadata_mimetype is not text");
  }
  return from_module("qkd004.messages", "QoS")(q.key_chunk_size, q.max_bps, q.min_bps, q.jitter, q.priority,
                                               q.timeout_ms, q.ttl_s, mimetype);
}

qos qos_from(py::handle q) {
  if (!py::isinstance(q, from_module("qkd004.messages", "QoS"))) throw py::type_error("qos is a qkd004.QoS");
  qos wanted;
  const auto number = [&q](const char* name, std::uint32_t& field) {
    field = static_cast<std::uint32_t>(whole_number(q.attr(name).ptr(), name, 0xffff'ffff));
  };
  number("key_chunk_size", wanted.key_chunk_size);
  number("max_bps", wanted.max_bps);
  number("min_bps", wanted.min_bps);
  number("jitter", wanted.jitter);
  number("priority", wanted.priority);
  number("timeout_ms", wanted.timeout_ms);
  number("ttl_s", wanted.ttl_s);
  wanted.metadata_mimetype = text(q.attr("metadata_mimetype"), "metadata_mimetype");
  return wanted;
}

py::object to_python(const key_stream_id& id) {
  const auto octets = id.octets();
  py::dict named;
  named["bytes"] = py::bytes{reinterpret_cast<const char*>(octets.data()), octets.size()};
  return from_module("uuid", "UUID")(**named);
}

key_stream_id key_stream_id_from(py::handle uuid) {
  if (!py::isinstance(uuid, from_module("uuid", "UUID")))
    throw py::type_error("key_stream_id is a uuid.UUID");
  const std::string octets = uuid.attr("bytes").cast<std::string>();
  if (octets.size() != key_stream_id::size) throw py::type_error("key_stream_id is a uuid.UUID");
  return key_stream_id{std::span<const std::byte, key_stream_id::size>{
      reinterpret_cast<const std::byte*>(octets.data()), octets.size()}};
}

}  // namespace qkd004::python
