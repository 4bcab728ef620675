#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What README.md shows is what is tested: its first C++ block is examples/pair.cpp without the opening comment, has at
most 25 lines, and every file and make target it names exists.

    readme.py <root of the tree>
    readme.py --self-check
"""
import os
import re
import sys


def violations(readme, example, exists, makefile):
    found = []
    block = re.search(r"```cpp\n(.*?)```", readme, re.S)
    if not block:
        return ["README.md has no C++ block"]
    code = "\n".join(line for line in example.splitlines() if not line.startswith("//")).strip()
    if block.group(1).strip() != code:
        found.append("README.md: its first C++ block is not examples/pair.cpp")
    if len(code.splitlines()) > 25:
        found.append("examples/pair.cpp: more than 25 lines")
    for path in re.findall(r"`((?:examples|src|include|tests|benchmarks)/[\w./-]+)`", readme):
        if not exists(path):
            found.append(f"README.md names {path}, which is not there")
    for target in re.findall(r"\bmake (\w+)", readme):
        if not re.search(rf"^{target}:", makefile, re.M):
            found.append(f"README.md names make {target}, which the Makefile does not know")
    return found


def self_check():
    good = "```cpp\nint x;\n```\n`src/a.md` make demo"
    make = "demo:\n"
    here = {"src/a.md"}.__contains__
    assert violations(good, "// c\nint x;\n", here, make) == []
    assert violations(good, "int y;\n", here, make)
    assert violations("", "int x;\n", here, make)
    assert violations(good, "// c\nint x;\n", set().__contains__, make)
    assert violations(good, "// c\nint x;\n", here, "")
    long = "\n".join(["int x;"] * 26)
    assert violations(f"```cpp\n{long}\n```", long, here, make)


def main():
    if sys.argv[1:] == ["--self-check"]:
        self_check()
        return 0
    root = sys.argv[1]

    def read(name):
        with open(os.path.join(root, name), encoding="utf-8") as file:
            return file.read()

    found = violations(read("README.md"), read("examples/pair.cpp"),
                       lambda path: os.path.exists(os.path.join(root, path)), read("Makefile"))
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
