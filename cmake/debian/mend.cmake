# SPDX-License-Identifier: Apache-2.0
#
# Run by CPack when the packages are made, for what it has no settings for: the loader's cache is renewed by a trigger
# and not by scripts (Debian's policy 8.1.1), and libraries of several architectures may stand side by side.
find_program(dpkg_deb dpkg-deb REQUIRED)
foreach(package IN LISTS CPACK_PACKAGE_FILES)
  if(NOT package MATCHES "/lib[^/]*[.]deb$")
    continue()
  endif()
  set(tree "${package}.tree")
  file(REMOVE_RECURSE "${tree}")
  execute_process(COMMAND ${dpkg_deb} --raw-extract "${package}" "${tree}" COMMAND_ERROR_IS_FATAL ANY)
  if(EXISTS "${tree}/DEBIAN/shlibs")
    file(REMOVE "${tree}/DEBIAN/postinst" "${tree}/DEBIAN/postrm")
    file(WRITE "${tree}/DEBIAN/triggers" "activate-noawait ldconfig\n")
  endif()
  file(GLOB by_architecture "${tree}/usr/lib/*-linux-gnu*")
  file(READ "${tree}/DEBIAN/control" control)
  if(by_architecture AND NOT control MATCHES "Multi-Arch:")
    string(REGEX REPLACE "(Architecture: [^\n]*)" "\\1\nMulti-Arch: same" control "${control}")
    file(WRITE "${tree}/DEBIAN/control" "${control}")
  endif()
  execute_process(COMMAND ${dpkg_deb} --root-owner-group --build "${tree}" "${package}"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE "${tree}")
endforeach()
