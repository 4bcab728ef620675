# SPDX-License-Identifier: Apache-2.0
# Doxygen's input filter (sed -E -f).
#
# The parts of a doc comment are paragraphs of their own, their first word bold. (Each adds a line, so that warnings may
# name a line further down.)
s,^( */// )(Requires|Threads|Lifetime|Clause|Errors|Order of calls|Returns|Throws)\b(:?),\1\n\1<b>\2</b>\3,
# How a symbol is exported is no part of the interface.
s,^#define QKD004_API$|^#define QKD004_API .*,,
# A namespace that only the linker sees.
s,::inline QKD004_ASIO_VERSION \{, {,
# Specialisations of templates of std: Doxygen 1.9 does not find the namespace, and nobody looks them up.
/^template <>$/ {
  N
  /\nstruct std::/ {
    :more
    /(\n|\{)\};/! {
      N
      b more
    }
    s/[^\n]//g
  }
}
# The version of Asio is part of the names that are linked, and not of those that are written.
s/^(namespace qkd004::net)::inline QKD004_ASIO_VERSION/\1/
