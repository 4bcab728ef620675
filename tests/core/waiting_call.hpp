// A call on a thread of its own, and the moment from which on it has been waiting.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include "qkd004/waiting.hpp"

namespace test {

class waiting_call {
 public:
  /// Returns when `ask` waits, or is done without that.
  template <class Call>
  explicit waiting_call(Call ask)
      : thread_{[this, ask] {
          const qkd004::waiting_hook hook{[this] {
            if (!std::exchange(told_, true)) waits_.set_value();
            return true;
          }};
          error_ = ask().error();
          if (!std::exchange(told_, true)) waits_.set_value();
        }} {
    waits_.get_future().wait();
  }
  std::error_code end() {
    thread_.join();
    return error_;
  }

 private:
  bool told_ = false;
  std::promise<void> waits_;
  std::error_code error_;
  std::thread thread_;
};

}  // namespace test
