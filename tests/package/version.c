/*
 * A C program over the installed C interface, as small as can be: it prints which version it runs with.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <qkd004.h>

#include <stdio.h>

int main(void) {
  return puts(qkd004_version_text()) < 0;
}
