// The library's version numbers, and nothing else.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#define QKD004_VERSION_MAJOR 0
#define QKD004_VERSION_MINOR 1
#define QKD004_VERSION_PATCH 0
#define QKD004_VERSION_STRING "0.1.0"
