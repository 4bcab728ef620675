// SPDX-License-Identifier: Apache-2.0
#include "key.hpp"

#include <structmember.h>

#include <cstddef>
#include <span>
#include <string>

namespace qkd004::python {

namespace {

struct key_object {
  PyObject_HEAD std::byte* at;  ///< null once it was wiped
  key_memory::slab* in;
  std::uint64_t index;
  PyObject* vendor;  ///< bytes or null
  PyObject* stream_id;
  std::uint32_t age_ms;
  std::uint32_t hops;
  std::uint32_t size;
  Py_ssize_t exports;  ///< buffers that were not released
};

PyTypeObject* key_type = nullptr;

key_object* as_key(PyObject* self) noexcept { return reinterpret_cast<key_object*>(self); }

/// The octets, while nobody closes it.
std::span<const std::byte> octets(key_object* k) {
  if (k->at == nullptr) raise_closed("the key was wiped");
  if (k->in->owner().forked())
    raise_closed("the key is the parent's: it does not exist in a child of fork()");
  return {k->at, k->size};
}

void wipe_now(key_object* k) noexcept {
  if (k->at == nullptr) return;
  key_memory::give(k->in, k->at);
  k->at = nullptr;
}

void key_dealloc(PyObject* self) noexcept {
  key_object* const k = as_key(self);
  wipe_now(k);
  Py_XDECREF(k->vendor);
  Py_DECREF(k->stream_id);
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

int key_get_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
  return slot(
      [&] {
        const auto bytes = octets(as_key(self));
        // PyBuffer_FillInfo refuses a writable view
        const int r = PyBuffer_FillInfo(view, self, const_cast<std::byte*>(bytes.data()),
                                        static_cast<Py_ssize_t>(bytes.size()), 1, flags);
        if (r == 0) ++as_key(self)->exports;
        return r;
      },
      -1);
}

void key_release_buffer(PyObject* self, Py_buffer*) noexcept { --as_key(self)->exports; }

PyObject* key_close(PyObject* self, PyObject*) noexcept {
  key_object* const k = as_key(self);
  if (k->exports > 0) {
    PyErr_SetString(PyExc_BufferError, "a buffer of this key is in use: release its memoryviews first");
    return nullptr;
  }
  wipe_now(k);
  Py_RETURN_NONE;
}

PyObject* key_enter(PyObject* self, PyObject*) noexcept {
  return slot([&] {
    (void)octets(as_key(self));
    Py_INCREF(self);
    return self;
  });
}

PyObject* key_exit(PyObject* self, PyObject* const*, Py_ssize_t) noexcept { return key_close(self, nullptr); }

PyObject* key_hex(PyObject* self, PyObject*) noexcept {
  return slot([&] {
    const auto bytes = octets(as_key(self));
    PyObject* const text = PyUnicode_New(static_cast<Py_ssize_t>(2 * bytes.size()), 127);
    if (text == nullptr) throw py::error_already_set{};
    Py_UCS1* out = PyUnicode_1BYTE_DATA(text);
    // no table: the time must not depend on the octets
    const auto digit = [](unsigned v) { return static_cast<Py_UCS1>('0' + v + (((9 - v) >> 8) & 39)); };
    for (const std::byte b : bytes) {
      *out++ = digit(std::to_integer<unsigned>(b) >> 4);
      *out++ = digit(std::to_integer<unsigned>(b) & 15);
    }
    return text;
  });
}

PyObject* key_compare(PyObject* self, PyObject* other, int op) noexcept {
  if ((op != Py_EQ && op != Py_NE) || (!Py_IS_TYPE(other, key_type) && !PyObject_CheckBuffer(other))) {
    Py_RETURN_NOTIMPLEMENTED;
  }
  return slot([&]() -> PyObject* {
    const auto mine = octets(as_key(self));
    bool equal = false;
    if (Py_IS_TYPE(other, key_type)) {
      equal = equal_in_constant_time(mine, octets(as_key(other)));
    } else {
      Py_buffer view;
      if (PyObject_GetBuffer(other, &view, PyBUF_SIMPLE) != 0) throw py::error_already_set{};
      equal = equal_in_constant_time(
          mine, {static_cast<const std::byte*>(view.buf), static_cast<std::size_t>(view.len)});
      PyBuffer_Release(&view);
    }
    return PyBool_FromLong((op == Py_EQ) == equal ? 1 : 0);
  });
}

PyObject* key_repr(PyObject* self) noexcept {
  const key_object* const k = as_key(self);
  if (k->at == nullptr) return PyUnicode_FromFormat("<qkd004.Key %llu, wiped>", k->index);
  return PyUnicode_FromFormat("<qkd004.Key %llu, %u octets hidden>", k->index, k->size);
}

Py_ssize_t key_length(PyObject* self) noexcept {
  return slot([&] { return static_cast<Py_ssize_t>(octets(as_key(self)).size()); }, Py_ssize_t{-1});
}

/// It exists, open or not: `if key` asks that, not for its length.
int key_bool(PyObject*) noexcept { return 1; }

PyObject* key_refuse_copy(PyObject*, PyObject*) noexcept {
  PyErr_SetString(PyExc_TypeError,
                  "a Key is neither copied nor pickled: pass it on, or its stream and index");
  return nullptr;
}

PyObject* key_index(PyObject* self, void*) noexcept {
  return PyLong_FromUnsignedLongLong(as_key(self)->index);
}
PyObject* key_age(PyObject* self, void*) noexcept {
  return PyFloat_FromDouble(as_key(self)->age_ms / 1000.0);
}
PyObject* key_stream_id_of(PyObject* self, void*) noexcept {
  PyObject* const id = as_key(self)->stream_id;
  Py_INCREF(id);
  return id;
}
PyObject* key_closed(PyObject* self, void*) noexcept {
  return PyBool_FromLong(as_key(self)->at == nullptr ? 1 : 0);
}

/// What the key manager says beside: it may be anybody's, and say anything.
py::dict vendor_members(PyObject* sent) {
  try {
    const py::object members = from_module("json", "loads")(py::reinterpret_borrow<py::object>(sent));
    if (py::isinstance<py::dict>(members)) return members;
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_RecursionError)) throw;
  }
  raise(status::protocol_error, "the key manager's metadata of this key are not a JSON object");
}

PyObject* key_metadata_of(PyObject* self, void*) noexcept {
  return slot([&] {
    const key_object* const k = as_key(self);
    py::dict members;
    members["age"] = k->age_ms;
    members["hops"] = k->hops;
    if (k->vendor != nullptr) {
      for (const auto& [name, value] : vendor_members(k->vendor)) {
        if (name.attr("startswith")("x_").cast<bool>()) members[name] = value;
      }
    }
    return members.release().ptr();
  });
}

constexpr const char* key_doc =
    "One key: GET_KEY's answer (GS QKD 004 V2.1.1, 6.1).\n"
    "\n"
    "Its octets lie in locked memory, out of core dumps, and are wiped by close(), by leaving a\n"
    "``with`` block, and when the last reference goes. They are read through the buffer protocol,\n"
    "without a copy: ``memoryview(key)``, ``numpy.frombuffer(key, numpy.uint8)``; views are\n"
    "read-only and keep the key alive. ``bytes(key)`` and ``hex()`` make copies in ordinary memory\n"
    "that nobody wipes.\n"
    "\n"
    "``==`` with another Key or bytes takes a time that depends on the length alone. A Key is not\n"
    "hashed, copied, pickled or printed, and is not made by hand. In a child of fork() it raises\n"
    "Closed.\n"
    "\n"
    "Threads: any number may read; close() while another reads is its caller's mistake unless the\n"
    "other holds a buffer, which close() refuses to take away (BufferError).";

PyMethodDef key_methods[] = {
    {"close", key_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Wipes the octets. May be repeated.\n\n"
     "Raises BufferError, and wipes nothing, while a memoryview of it is in use."},
    {"hex", key_hex, METH_NOARGS,
     "hex($self, /)\n--\n\n"
     "The octets as hexadecimal digits: a copy that nobody wipes, for tests and tools.\n\n"
     "Raises Closed."},
    {"__enter__", key_enter, METH_NOARGS, "__enter__($self, /)\n--\n\n"},
    {"__exit__", as_method(key_exit), METH_FASTCALL, "__exit__($self, /, *exception)\n--\n\nclose()."},
    {"__reduce__", key_refuse_copy, METH_NOARGS, "__reduce__($self, /)\n--\n\nRaises TypeError."},
    {"__reduce_ex__", key_refuse_copy, METH_O, "__reduce_ex__($self, protocol, /)\n--\n\nRaises TypeError."},
    {"__copy__", key_refuse_copy, METH_NOARGS, "__copy__($self, /)\n--\n\nRaises TypeError."},
    {"__deepcopy__", key_refuse_copy, METH_O, "__deepcopy__($self, memo, /)\n--\n\nRaises TypeError."},
    {}};

PyGetSetDef key_properties[] = {
    {"index", key_index, nullptr, "Where it stands in its stream: the same at both ends for the same octets.",
     nullptr},
    {"age", key_age, nullptr,
     "Seconds for which it had been ready at this side when it was handed over; of keys that came\n"
     "together, that of the first.",
     nullptr},
    {"metadata", key_metadata_of, nullptr,
     "What is said of it: ``age`` in milliseconds and ``hops``, the relays between the sites; beside\n"
     "them, where the key manager tells, members ``x_...`` of where the key comes from.\n\n"
     "Raises ProtocolError if what it tells is not a JSON object.",
     nullptr},
    {"key_stream_id", key_stream_id_of, nullptr, "uuid.UUID of its stream.", nullptr},
    {"closed", key_closed, nullptr, "Whether it was wiped.", nullptr},
    {}};

PyType_Slot key_slots[] = {{Py_tp_doc, const_cast<char*>(key_doc)},
                           {Py_tp_dealloc, reinterpret_cast<void*>(key_dealloc)},
                           {Py_tp_repr, reinterpret_cast<void*>(key_repr)},
                           {Py_tp_hash, reinterpret_cast<void*>(PyObject_HashNotImplemented)},
                           {Py_tp_richcompare, reinterpret_cast<void*>(key_compare)},
                           {Py_tp_methods, key_methods},
                           {Py_tp_getset, key_properties},
                           {Py_sq_length, reinterpret_cast<void*>(key_length)},
                           {Py_nb_bool, reinterpret_cast<void*>(key_bool)},
                           {Py_bf_getbuffer, reinterpret_cast<void*>(key_get_buffer)},
                           {Py_bf_releasebuffer, reinterpret_cast<void*>(key_release_buffer)},
                           {0, nullptr}};

PyType_Spec key_spec{"qkd004.Key", sizeof(key_object), 0, type_flags, key_slots};

}  // namespace

void add_key(py::module_& m) { key_type = add_type(m, key_spec); }

booking::booking(key_memory::place p) : place_{p} {
  if (p.at == nullptr) {
    raise(status::resource_limit,
          "no locked memory for another key: let keys go, or raise the limit of memory (also ulimit -l)");
  }
}

booking::~booking() {
  if (used_ == place_.count) return;
  const gil_held held;
  if (!held) return;
  for (std::size_t i = used_; i < place_.count; ++i) key_memory::give(place_.in, at(i));
}

py::object booking::key(const key_label& label) {
  std::byte* const here = at(used_++);  // make_key() answers for it from now on
  PyObject* const made = make_key(place_.in, here, label);
  if (made == nullptr) throw py::error_already_set{};
  return py::reinterpret_steal<py::object>(made);
}

PyObject* make_key(key_memory::slab* in, std::byte* at, const key_label& label) noexcept {
  key_object* const k = PyObject_New(key_object, key_type);
  if (k == nullptr) {
    key_memory::give(in, at);
    return nullptr;
  }
  k->at = at;
  k->in = in;
  k->index = label.index;
  k->vendor = label.vendor;
  Py_XINCREF(k->vendor);
  k->stream_id = in->owner().stream_id();
  Py_INCREF(k->stream_id);
  k->age_ms = label.metadata.age_ms;
  k->hops = label.metadata.hops;
  k->size = in->owner().chunk_size();
  k->exports = 0;
  return reinterpret_cast<PyObject*>(k);
}

}  // namespace qkd004::python
