#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles each header of a folder alone, with nothing but an include path; included twice, to see the guard.

    headers.py <compiler> <standard> <include path> <folder below it> [flag...]
"""
import concurrent.futures
import os
import subprocess
import sys

FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pthread", "-x", "c++", "-"]


def compile_alone(compiler, standard, include, header, flags):
    command = [compiler, "-std=" + standard, "-I", include, *flags, *FLAGS]
    source = f"#include <{header}>\n#include <{header}>\n"
    run = subprocess.run(command, input=source, text=True, stderr=subprocess.PIPE)
    return run.returncode == 0, run.stderr


def main():
    if len(sys.argv) < 5:
        print(__doc__)
        return 2
    compiler, standard, include, folder, *flags = sys.argv[1:]
    headers = sorted(f"{folder}/{name}" for name in os.listdir(os.path.join(include, folder))
                     if name.endswith(".hpp"))
    if not headers:
        print(f"no header in {folder}")
        return 1
    if compile_alone(compiler, standard, include, f"{folder}/no such header.hpp", flags)[0]:
        print(f"{compiler} compiles a header that does not exist: nothing is proven")
        return 1
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda h: compile_alone(compiler, standard, include, h, flags), headers)
        for header, (compiled, errors) in zip(headers, runs):
            if not compiled:
                failed += 1
                print(f"--- {header} does not compile alone\n{errors}")
    print(f"{os.path.basename(compiler)} -std={standard}: {len(headers) - failed} of {len(headers)} headers "
          "compile alone")
    return 1 if failed else 0


sys.exit(main())
