// SPDX-License-Identifier: Apache-2.0
#include "qkd004/version.hpp"

#include "qkd004.h"

uint32_t qkd004_version(void) {
  return QKD004_VERSION_NUMBER(QKD004_VERSION_MAJOR, QKD004_VERSION_MINOR, QKD004_VERSION_PATCH);
}

const char* qkd004_version_text(void) { return QKD004_VERSION_STRING; }
