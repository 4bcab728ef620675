// stream: the Python type KeyStream. Its hot methods are plain C slots, and take a key that is there without letting go of
// the GIL.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "interpreter.hpp"
#include "qkd004/client.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::python {

/// Adds the type to the module. Requires: once.
void add_stream(py::module_& m);

/// Whether keys say where they come from (D14).
enum class vendor_members : bool { not_wanted, wanted };

/// A KeyStream; its keys live in `arena`. `ring` is the stream's: to look it up takes locks, which may wait for the GIL.
[[nodiscard]] py::object make_stream(outside_ptr<key_stream> stream, key_ring* ring,
                                     const secret_arena& arena, vendor_members wanted);

/// qkd004.QoS, and from it. Raises TypeError, InvalidArgument; ProtocolError if the key manager's words are none.
[[nodiscard]] py::object to_python(const qos& q);
[[nodiscard]] qos qos_from(py::handle q);

/// uuid.UUID, and from it. Raises TypeError.
[[nodiscard]] py::object to_python(const key_stream_id& id);
[[nodiscard]] key_stream_id key_stream_id_from(py::handle uuid);

}  // namespace qkd004::python
