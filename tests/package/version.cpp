// A program over the headers, as small as can be: it prints which version it was compiled with.
// SPDX-License-Identifier: Apache-2.0
#include <qkd004/key_stream_id.hpp>
#include <qkd004/version.hpp>

#include <cstdio>

int main() { return std::puts(QKD004_VERSION_STRING) < 0 || sizeof(qkd004::key_stream_id) != 16; }
