# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` puts where. Components: Runtime (shared libraries), Development (headers, the static C++
# library, CMake and pkg-config files), Tools (the program). docs/package.md is the page for those who use it.
#
# The C ABI is libqkd004.so and the C++ library libqkd004-cxx.a: two interfaces, two names. As libqkd004.a the latter
# would be what a linker takes for -lqkd004 with -static, or where the shared library is missing.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/qkd004")
set(built "${CMAKE_CURRENT_BINARY_DIR}/package")

# --- Targets: an export file for each component of find_package ---------------------------------

# qkd004_install(<export> <target>...)
function(qkd004_install export)
  foreach(target IN LISTS ARGN)
    set(header_sets)
    get_target_property(sets ${target} INTERFACE_HEADER_SETS)
    foreach(set IN LISTS sets)
      if(set)
        list(APPEND header_sets FILE_SET ${set} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT Development)
      endif()
    endforeach()
    install(TARGETS ${target} EXPORT ${export}
      LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT Runtime NAMELINK_COMPONENT Development
      ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT Development
      ${header_sets})
  endforeach()
  install(EXPORT ${export} NAMESPACE qkd004:: DESTINATION "${package_dir}" COMPONENT Development)
endfunction()

set(pkg_config_files qkd004-core)
qkd004_install(qkd004CoreTargets qkd004_core)
if(TARGET qkd004_qkd004)
  qkd004_install(qkd004NetTargets qkd004_qkd004)
  # What includes our net headers needs Asio, which has no CMake package: the module that finds it comes along.
  install(FILES "${CMAKE_CURRENT_LIST_DIR}/FindAsio.cmake" DESTINATION "${package_dir}" COMPONENT Development)
  list(APPEND pkg_config_files qkd004-cxx)
endif()
if(TARGET qkd004_capi)
  get_property(compat GLOBAL PROPERTY QKD004_COMPAT_TARGETS)
  qkd004_install(qkd004CapiTargets qkd004_capi ${compat})
  list(APPEND pkg_config_files qkd004)
endif()
if(TARGET qkd004_cli)
  install(TARGETS qkd004_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT Tools)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/examples/" DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples"
    COMPONENT Tools FILES_MATCHING PATTERN "*.toml" PATTERN certs EXCLUDE)
  # As a service of systemd, docs/service.md. Units of packages stand in lib, wherever libraries do.
  set(units "${PROJECT_SOURCE_DIR}/src/cli/systemd")
  install(FILES "${units}/qkd004@.service" "${units}/qkd004@.socket" DESTINATION lib/systemd/system COMPONENT Tools)
  install(FILES "${units}/qkd004.sysusers" DESTINATION lib/sysusers.d RENAME qkd004.conf COMPONENT Tools)
  # The manual page is what the program says of itself.
  find_program(QKD004_HELP2MAN help2man DOC "Makes the manual page from --help")
  mark_as_advanced(QKD004_HELP2MAN)
  if(QKD004_HELP2MAN AND NOT CMAKE_CROSSCOMPILING AND NOT QKD004_SANITIZE)
    add_custom_command(OUTPUT "${built}/qkd004.1"
      COMMAND ${QKD004_HELP2MAN} --no-info --section 1 --name "keys from quantum key distribution"
        --output "${built}/qkd004.1" "$<TARGET_FILE:qkd004_cli>"
      DEPENDS qkd004_cli VERBATIM)
    add_custom_target(qkd004_man ALL DEPENDS "${built}/qkd004.1")
    install(FILES "${built}/qkd004.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT Tools)
  endif()
endif()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT Development)

# --- CMake's package ----------------------------------------------------------------------------

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/qkd004Config.cmake.in" "${built}/qkd004Config.cmake"
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatibility SameMinorVersion) # a minor version may still change anything
else()
  set(compatibility SameMajorVersion)
endif()
write_basic_package_version_file("${built}/qkd004ConfigVersion.cmake" COMPATIBILITY ${compatibility})
install(FILES "${built}/qkd004Config.cmake" "${built}/qkd004ConfigVersion.cmake"
  DESTINATION "${package_dir}" COMPONENT Development)

# --- pkg-config ---------------------------------------------------------------------------------

# Folders are given from the .pc file, so that the tree can be moved; folders outside of the prefix as they are.
set(pkg_config_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${pkg_config_dir}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH up "/prefix/${pkg_config_dir}" "/prefix")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
endif()
foreach(kind IN ITEMS INCLUDE LIB)
  string(TOLOWER ${kind} lower)
  set(pc_${lower}dir "${CMAKE_INSTALL_${kind}DIR}")
  if(NOT IS_ABSOLUTE "${pc_${lower}dir}")
    string(PREPEND pc_${lower}dir "\${prefix}/")
  endif()
endforeach()
foreach(name IN LISTS pkg_config_files)
  configure_file("${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in" "${built}/${name}.pc" @ONLY)
  install(FILES "${built}/${name}.pc" DESTINATION "${pkg_config_dir}" COMPONENT Development)
endforeach()
get_property(families GLOBAL PROPERTY QKD004_COMPAT_FAMILIES)
foreach(family IN LISTS families)
  configure_file("${PROJECT_SOURCE_DIR}/capi/compat/qkd004-compat.pc.in" "${built}/qkd004-${family}.pc" @ONLY)
  install(FILES "${built}/qkd004-${family}.pc" DESTINATION "${pkg_config_dir}" COMPONENT Development)
endforeach()
