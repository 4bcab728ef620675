// SPDX-License-Identifier: Apache-2.0
#include "toml_text.hpp"

#include <toml++/toml.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <utility>

namespace qkd004::python {

namespace {

/// Where a value goes: to a key of a table, or to the end of a list.
class target {
 public:
  target(toml::table& table, std::string key) : table_{&table}, key_{std::move(key)} {}
  explicit target(toml::array& list) : list_{&list} {}

  template <class Node>
  void put(Node&& node) {
    if (table_ != nullptr) {
      table_->insert_or_assign(key_, std::forward<Node>(node));
    } else {
      list_->push_back(std::forward<Node>(node));
    }
  }

 private:
  toml::table* table_ = nullptr;
  std::string key_;
  toml::array* list_ = nullptr;
};

toml::table table_of(const py::dict& from, int depth);

void convert(py::handle value, int depth, target to) {
  if (depth > 8) throw py::value_error("a configuration is nested deeper than 8 levels");
  if (py::isinstance<py::bool_>(value)) {
    to.put(value.cast<bool>());
  } else if (py::isinstance<py::int_>(value)) {
    const std::int64_t number = PyLong_AsLongLong(value.ptr());
    if (number == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set{};
    to.put(number);
  } else if (py::isinstance<py::float_>(value)) {
    to.put(value.cast<double>());
  } else if (py::isinstance<py::str>(value)) {
    to.put(text(value, "a value"));
  } else if (py::isinstance<py::dict>(value)) {
    to.put(table_of(py::reinterpret_borrow<py::dict>(value), depth + 1));
  } else if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    toml::array list;
    for (const py::handle element : value) convert(element, depth + 1, target{list});
    to.put(std::move(list));
  } else if (py::hasattr(value, "__fspath__")) {
    to.put(text(value.attr("__fspath__")(), "a path"));
  } else {
    throw py::type_error(
        std::string{"a configuration holds text, numbers, True, False, lists and dicts, no "} +
        Py_TYPE(value.ptr())->tp_name);
  }
}

toml::table table_of(const py::dict& from, int depth) {
  toml::table table;
  for (const auto& [key, value] : from) {
    convert(value, depth, target{table, text(key, "a key")});
  }
  return table;
}

}  // namespace

std::string toml_text(const py::dict& table) {
  std::ostringstream out;
  out << table_of(table, 0);
  return out.str();
}

}  // namespace qkd004::python
