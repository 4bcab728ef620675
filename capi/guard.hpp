// guard: the wall of the C interface: what a call throws becomes its result, and its thread's last error.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cxxabi.h>
#include <errno.h>

#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "error.hpp"
#include "qkd004.h"

namespace qkd004::capi {

/// Runs the body of the call of this name, which returns an answer. What an exception says is not passed on where it may
/// be somebody else's, as it could hold anything.
template <class Body>
int guarded(const char* call, Body&& body) {
  try {
    const answer a = std::forward<Body>(body)();
    return a.result == 0 ? 0 : fail(call, a.result, a.detail, a.words);
  } catch (const refusal& r) {
    return fail(call, r.result, r.detail);
  } catch (const std::bad_alloc&) {
    return fail(call, QKD004_RESOURCE_LIMIT, "out of memory");
  } catch (const std::system_error& e) {
    const int number = number_of(e.code());
    return fail(call, number == 0 ? -EIO : number, {});
  } catch (const abi::__forced_unwind&) {
    throw;  // the thread ends (pthread_exit): nobody returns from here
  } catch (...) {
    return fail(call, -EIO, "unexpected exception");
  }
}

/// The same for callbacks of the application, which must not throw: what one throws becomes `otherwise`.
template <class Callback, class Result>
Result called_back(Callback&& callback, Result otherwise) {
  try {
    return std::forward<Callback>(callback)();
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return otherwise;
  }
}

}  // namespace qkd004::capi
