# SPDX-License-Identifier: Apache-2.0
"""The recipe for Conan 2: the headers, the static C++ library, and if wanted the C interface and the program."""
import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir


class Qkd004(ConanFile):
    name = "qkd004"
    description = "Quantum key distribution, application interface after ETSI GS QKD 004"
    license = "Apache-2.0"
    topics = ("qkd", "quantum-key-distribution", "etsi", "cryptography")
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"net": [True, False], "capi": [True, False], "cli": [True, False]}
    default_options = {"net": True, "capi": False, "cli": False, "boost/*:header_only": True}
    exports_sources = "CMakeLists.txt", "cmake/*", "include/*", "src/*", "capi/*", "examples/*", "LICENSE"

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include/qkd004/version.hpp"))
        self.version = re.search(r'VERSION_STRING "(.*)"', header).group(1)

    def configure(self):
        if not self.options.net:
            self.package_type = "header-library"

    def requirements(self):
        if not self.options.net:
            return
        # Compiled into the library: who uses it has to see the same version.
        self.requires("asio/[>=1.22 <2]", transitive_headers=True)
        self.requires("openssl/[>=3.0 <4]")
        self.requires("simdjson/[>=3.0 <4]")
        self.requires("fmt/[>=9 <12]", visible=False)
        self.requires("boost/[>=1.74 <2]", visible=False)
        if self.options.capi or self.options.cli:
            self.requires("tomlplusplus/[>=3.2 <4]", visible=False)
        if self.options.cli:
            self.requires("cli11/[>=2.2 <3]", visible=False)

    def validate(self):
        check_min_cppstd(self, 20)
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("qkd004 is for Linux")
        if not self.options.net and (self.options.capi or self.options.cli):
            raise ConanInvalidConfiguration("the C interface and the program need net=True")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        for option in ("net", "capi", "cli"):
            toolchain.cache_variables[f"QKD004_{option.upper()}"] = bool(self.options.get_safe(option))
        for option in ("tests", "benchmarks", "developer"):
            toolchain.cache_variables[f"QKD004_{option.upper()}"] = False
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        for generated in ("lib/cmake", "lib/pkgconfig", "share"):  # Conan's own generators make these
            rmdir(self, os.path.join(self.package_folder, generated))

    def package_id(self):
        if not self.info.options.net:
            self.info.clear()

    def package_info(self):
        # qkd004::qkd004 is the C++ library; Conan would give that name to all components together.
        self.cpp_info.set_property("cmake_target_name", "qkd004::all")
        self.cpp_info.components["core"].set_property("cmake_target_name", "qkd004::core")
        self.cpp_info.components["core"].set_property("pkg_config_name", "qkd004-core")
        self.cpp_info.components["core"].system_libs = ["pthread"]
        self.cpp_info.components["core"].libdirs = []
        self.cpp_info.components["core"].bindirs = []
        if self.options.net:
            net = self.cpp_info.components["net"]
            net.set_property("cmake_target_name", "qkd004::qkd004")
            net.set_property("pkg_config_name", "qkd004-cxx")
            net.libs = ["qkd004-cxx"]
            net.defines = ["ASIO_STANDALONE", "ASIO_SEPARATE_COMPILATION"]
            net.requires = ["core", "asio::asio", "openssl::ssl", "openssl::crypto", "simdjson::simdjson"]
        if self.options.capi:
            capi = self.cpp_info.components["capi"]
            capi.set_property("cmake_target_name", "qkd004::capi")
            capi.set_property("pkg_config_name", "qkd004")
            capi.libs = ["qkd004"]
