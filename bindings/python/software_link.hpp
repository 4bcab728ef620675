// software_link: the ends of a QKD link in software as Python objects.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "interpreter.hpp"
#include "qkd004/software_link.hpp"

namespace qkd004::python {

/// One end; a site takes it once.
class link_end {
 public:
  explicit link_end(std::shared_ptr<software_link_end> end) : end_{std::move(end)} {}
  ~link_end();
  link_end(const link_end&) = delete;
  link_end& operator=(const link_end&) = delete;

  /// Raises InvalidArgument the second time.
  [[nodiscard]] std::shared_ptr<software_link_end> take();
  /// Raises Closed in a child of fork().
  [[nodiscard]] const software_link_end& use() const;

 private:
  std::shared_ptr<software_link_end> end_;
  bool taken_ = false;
  const unsigned generation_ = fork_generation();
};

/// Adds the class and the functions that make ends.
void add_software_link(py::module_& m);

}  // namespace qkd004::python
