# SPDX-License-Identifier: Apache-2.0
#
# Finds standalone Asio, which comes without a CMake package. Set Asio_ROOT or Asio_INCLUDE_DIR to use
# another copy than the system's.
#
#   asio::asio     imported target: include path, ASIO_STANDALONE, threads
#   Asio_VERSION   such as 1.22.1
find_path(Asio_INCLUDE_DIR asio.hpp DOC "Folder that holds asio.hpp")
mark_as_advanced(Asio_INCLUDE_DIR)

if(Asio_INCLUDE_DIR AND EXISTS "${Asio_INCLUDE_DIR}/asio/version.hpp")
  # ASIO_VERSION is major * 100000 + minor * 100 + patch (asio/version.hpp).
  file(STRINGS "${Asio_INCLUDE_DIR}/asio/version.hpp" asio_version_line
    REGEX "^#define ASIO_VERSION [0-9]+")
  if(asio_version_line MATCHES "ASIO_VERSION ([0-9]+)")
    math(EXPR asio_major "${CMAKE_MATCH_1} / 100000")
    math(EXPR asio_minor "${CMAKE_MATCH_1} / 100 % 1000")
    math(EXPR asio_patch "${CMAKE_MATCH_1} % 100")
    set(Asio_VERSION "${asio_major}.${asio_minor}.${asio_patch}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Asio
  REQUIRED_VARS Asio_INCLUDE_DIR
  VERSION_VAR Asio_VERSION
  REASON_FAILURE_MESSAGE "Standalone Asio is Debian's package libasio-dev.")

if(Asio_FOUND AND NOT TARGET asio::asio)
  include(CMakeFindDependencyMacro)
  find_dependency(Threads)
  add_library(asio::asio INTERFACE IMPORTED)
  set_target_properties(asio::asio PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${Asio_INCLUDE_DIR}"
    INTERFACE_COMPILE_DEFINITIONS ASIO_STANDALONE
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
