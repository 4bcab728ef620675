# SPDX-License-Identifier: Apache-2.0
#
# Run by CPack when the components are installed and before they are packed: what Debian's policy wants beside them.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
find_program(strip strip REQUIRED)
find_program(gzip gzip REQUIRED)

# Without a time in it, so that the same input makes the same package.
function(compress file)
  execute_process(COMMAND ${gzip} -9n "${file}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(changelog "qkd004 (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium\n\n")
string(APPEND changelog "  * Packages of version ${CPACK_PACKAGE_VERSION}.\n\n -- ${CPACK_PACKAGE_CONTACT}  ")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH, if it is set
string(APPEND changelog "${date}\n")

foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  set(name ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  set(root "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${component}${CPACK_PACKAGING_INSTALL_PREFIX}")
  set(doc "${root}/share/doc/${name}")
  file(MAKE_DIRECTORY "${doc}")
  if(EXISTS "${root}/share/doc/qkd004/examples")
    file(RENAME "${root}/share/doc/qkd004/examples" "${doc}/examples")
  endif()
  file(REMOVE_RECURSE "${root}/share/doc/qkd004") # the licence, which Debian has once for all
  configure_file("${CPACK_QKD004_COPYRIGHT}" "${doc}/copyright" COPYONLY)
  file(WRITE "${doc}/changelog.Debian" "${changelog}")
  compress("${doc}/changelog.Debian")
  file(GLOB pages "${root}/share/man/man*/*.[0-9]")
  foreach(page IN LISTS pages)
    compress("${page}")
  endforeach()
  file(GLOB_RECURSE archives "${root}/*.a")
  foreach(archive IN LISTS archives)
    execute_process(COMMAND ${strip} --strip-debug --enable-deterministic-archives "${archive}"
      COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endforeach()
