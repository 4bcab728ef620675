# SPDX-License-Identifier: Apache-2.0
#
# cmake -DFILE=<text> -DINTO=<source> -DHEADER=<declares it> -DFUNCTION=<name> -DNAMESPACE=<a::b> -P EmbedText.cmake
#
# Writes a C++ source with `std::string_view FUNCTION() noexcept` that returns the text of the file.
file(READ "${FILE}" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," octets "${hex}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" octets "${octets}")
file(WRITE "${INTO}" "// Made by cmake/EmbedText.cmake: not to be edited.
#include \"${HEADER}\"

namespace ${NAMESPACE} {

namespace {
constexpr unsigned char text[] = {
${octets}
};
}  // namespace

std::string_view ${FUNCTION}() noexcept {
  return {reinterpret_cast<const char*>(text), ${size}};
}

}  // namespace ${NAMESPACE}
")
