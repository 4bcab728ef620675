// asio_version: the version of Asio as a part of the names that a program links to.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/version.hpp>

// The library holds compiled Asio, whose names are the same in every version and whose classes are not: a program with
// another Asio would link and crash. So what is compiled in src/net/ and called by programs stands in
//
//     namespace qkd004::net::inline QKD004_ASIO_VERSION {
//
// which is asio_102201 for Asio 1.22.1. Programs write qkd004::net as ever; one with another Asio fails to link, and the
// linker names the version that it asks for.
#define QKD004_ASIO_VERSION QKD004_ASIO_NAME(ASIO_VERSION)
#define QKD004_ASIO_NAME(version) QKD004_ASIO_NAME_OF(version)
#define QKD004_ASIO_NAME_OF(version) asio_##version
