#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles each header of a folder alone, with nothing but an include path; included twice, to see the guard.

    headers.py <compiler> <standard> <include path> <folder below it> [--together] [flag...]

With --together, all of them in one: for a standard whose headers were seen alone in another.
"""
import concurrent.futures
import os
import subprocess
import sys

FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pthread", "-x", "c++", "-"]


def compile_alone(compiler, standard, include, header, flags):
    return compile_all(compiler, standard, include, [header, header], flags)


def compile_all(compiler, standard, include, headers, flags):
    command = [compiler, "-std=" + standard, "-I", include, *flags, *FLAGS]
    source = "".join(f"#include <{header}>\n" for header in headers)
    run = subprocess.run(command, input=source, text=True, stderr=subprocess.PIPE)
    return run.returncode == 0, run.stderr


def main():
    if len(sys.argv) < 5:
        print(__doc__)
        return 2
    compiler, standard, include, folder, *flags = sys.argv[1:]
    together = "--together" in flags
    flags = [flag for flag in flags if flag != "--together"]
    headers = sorted(f"{folder}/{name}" for name in os.listdir(os.path.join(include, folder))
                     if name.endswith(".hpp"))
    if not headers:
        print(f"no header in {folder}")
        return 1
    if compile_alone(compiler, standard, include, f"{folder}/no such header.hpp", flags)[0]:
        print(f"{compiler} compiles a header that does not exist: nothing is proven")
        return 1
    if together:
        compiled, errors = compile_all(compiler, standard, include, headers, flags)
        print(errors if not compiled else f"{os.path.basename(compiler)} -std={standard}: {len(headers)} headers compile")
        return 0 if compiled else 1
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
