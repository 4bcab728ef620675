// additive_fft_implementations: what the source files of the additive FFT, one for each set of instructions, share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "software/additive_fft.hpp"

namespace qkd004::software {

extern const additive_fft portable_additive_fft;
#if defined(__x86_64__)
extern const additive_fft avx2_additive_fft;
extern const additive_fft avx512_additive_fft;
#endif

}  // namespace qkd004::software
