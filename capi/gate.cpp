// SPDX-License-Identifier: Apache-2.0
#include "gate.hpp"

namespace qkd004::capi {

thread_local const frame* frame::innermost = nullptr;

}  // namespace qkd004::capi
