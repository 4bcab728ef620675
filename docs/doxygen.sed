# SPDX-License-Identifier: Apache-2.0
# Doxygen's input filter (sed -E -f). Lines stay as many as they are, so that warnings name the right one.
#
# The parts of a doc comment begin a line of their own, their first word bold.
s,^( */// )(Requires|Threads|Lifetime|Clause|Errors|Order of calls|Returns|Throws)\b(:?),\1<br><b>\2</b>\3,
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
