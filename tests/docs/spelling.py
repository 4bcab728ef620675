#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Spelling: common mistakes in sources and pages (codespell's own list), and in the pages American forms of words that
are British elsewhere (british.txt; what stands in `code` is not looked at).

    spelling.py <root of the tree> [<codespell>]     by default that of build/venv; exits with 77 without one
    spelling.py --self-check <codespell>
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import pages  # noqa: E402

PLACES = ("CMakeLists.txt", "CONTRIBUTING.md", "Makefile", "README.md", ".ci", "benchmarks", "bindings", "capi", "cmake",
          "docs", "examples", "include", "src", "tests")
# "nempty" is the end of "\nempty"; names in recorded octets are no words
IGNORED = "nempty"


def codespell(program, *arguments):
    return subprocess.run([program, "--ignore-words-list", IGNORED, "--skip",
                           "*.svg,*.hex,*.secret,british.txt,spelling.py,__pycache__,.git", *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def mistakes(program, places, markdown):
    said = codespell(program, *places)
    if markdown:
        said += codespell(program, "--dictionary", os.path.join(HERE, "british.txt"), "--ignore-regex", "`[^`]*`|\\]\\([^)]*\\)",
                          *markdown)
    return said


def self_check(program):
    with tempfile.TemporaryDirectory() as folder:
        def wrong(text):
            path = os.path.join(folder, "a.md")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return mistakes(program, [path], [path])

        assert wrong("the neighbour receives `optimize`") == ""
        assert wrong("the neighbour " + "reci" + "eves")
        assert wrong("the neighbor receives")


def main():
    root = sys.argv[1]
    program = sys.argv[2] if sys.argv[2:] else os.path.join(root, "build/venv/bin/codespell")
    if not os.path.exists(program):
        print(f"spelling: there is no {program}: .ci/docs")
        return 77
    if root == "--self-check":
        self_check(program)
        return 0
    said = mistakes(program, [os.path.join(root, name) for name in PLACES if os.path.exists(os.path.join(root, name))],
                    [os.path.join(root, name) for name in pages.markdown_files(root)])
    print(said, end="")
    return 1 if said else 0


sys.exit(main())
