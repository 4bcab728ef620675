// SPDX-License-Identifier: Apache-2.0
#include "software/additive_fft.hpp"

#include <array>

#include "software/additive_fft_implementations.hpp"

namespace qkd004::software {

std::span<const additive_fft> additive_ffts() noexcept {
  static const std::array all {
#if defined(__x86_64__)
    avx512_additive_fft, avx2_additive_fft,
#endif
        portable_additive_fft,
  };
  return all;
}

const additive_fft& best_additive_fft() noexcept {
  const auto all = additive_ffts();
  std::size_t i = 0;
  while (!all[i].supported()) ++i;  // the last always is
  return all[i];
}

}  // namespace qkd004::software
