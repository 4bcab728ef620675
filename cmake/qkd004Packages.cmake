# SPDX-License-Identifier: Apache-2.0
#
# Debian packages by CPack, one for each component of qkd004Install.cmake: libqkd004-0, libqkd004-dev, qkd004-tools.
# `cpack --preset deb` makes those to be shipped; what a package of Debian holds beside them (copyright, changelog)
# comes from debian/finish.cmake.
set(QKD004_PACKAGE_CONTACT "qkd004 maintainers <qkd004@localhost>"
  CACHE STRING "Maintainer of the packages: who publishes them, with an address")
set(QKD004_PACKAGE_REVISION 1 CACHE STRING "Revision of the packages of one version")
mark_as_advanced(QKD004_PACKAGE_CONTACT QKD004_PACKAGE_REVISION)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has its own: the first line of its description
set(CPACK_PACKAGE_CONTACT "${QKD004_PACKAGE_CONTACT}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/debian/finish.cmake")
set(CPACK_POST_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/debian/mend.cmake")
set(CPACK_QKD004_COPYRIGHT "${CMAKE_CURRENT_LIST_DIR}/debian/copyright")
set(CPACK_COMPONENTS_ALL Runtime Development Tools)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_VERBATIM_VARIABLES ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${QKD004_PACKAGE_REVISION})
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Shared libraries of one package that need one another.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}/capi")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(version "${PROJECT_VERSION}-${QKD004_PACKAGE_REVISION}")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libqkd004-0)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION
"keys from quantum key distribution: shared libraries
The application interface of ETSI GS QKD 004 V2.1.1: OPEN_CONNECT reserves a
key stream between two sites, GET_KEY hands both ends the identical chunk of
key for an index, CLOSE ends it.

This package has libqkd004.so.0, the interface for C and for whatever calls C.")

# The static library holds compiled Asio, and goes with that version only.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libqkd004-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libqkd004-0 (= ${version}), libasio-dev, libsimdjson-dev, libssl-dev (>= 3.0)")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
"keys from quantum key distribution: C and C++ development files
The application interface of ETSI GS QKD 004 V2.1.1, for programs in C
(qkd004.h, libqkd004.so) and in C++20 (headers, and the static library
libqkd004-cxx.a), with files for CMake and pkg-config.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME qkd004-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TOOLS_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_LIST_DIR}/debian/tools/postinst"
  "${CMAKE_CURRENT_LIST_DIR}/debian/tools/prerm" "${CMAKE_CURRENT_LIST_DIR}/debian/tools/postrm")
set(CPACK_DEBIAN_TOOLS_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)
set(CPACK_COMPONENT_TOOLS_DESCRIPTION
"keys from quantum key distribution: key manager and command line
The program qkd004: a key manager after ETSI GS QKD 004 V2.1.1, commands that
open key streams and take keys, a demonstration with a simulated QKD link, and
an examination of any server of the standard. As a service of systemd each site
is an instance of qkd004@.service; none is started by this package.")

include(CPack)
