// manager: what a qkd004_manager stands for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "gate.hpp"
#include "handle.hpp"
#include "qkd004/in_process.hpp"

namespace qkd004::capi {

class manager_object final : public object {
 public:
  manager_object(std::shared_ptr<in_process_link> l, domain managers)
      : link{std::move(l)}, calls{std::move(managers)} {}

  const std::shared_ptr<in_process_link> link;
  gate calls;
};

}  // namespace qkd004::capi
