#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The code in the comments of the public headers, which the references show, compiles: each piece as a function, with
what it takes for granted from comments.hpp.

    comments.py <root of the tree> <compiler> [flag...]
    comments.py --self-check
"""
import os
import re
import subprocess
import sys

# Headers whose comments have drawings in the place of code.
DRAWINGS = {"parking.hpp", "key_ring.hpp"}


def pieces(text):
    """The runs of lines that a comment indents by four more, as (line, code)."""
    found, begun, before = [], 0, ""
    for number, line in enumerate(text.split("\n") + [""], 1):
        code = re.match(r"\s*///     (.*)$", line)
        if code and begun:
            found[-1][1].append(code[1])
        elif code and re.match(r"\s*///\s*$", before):  # after an empty line, as Markdown has it
            begun = number
            found.append((number, [code[1]]))
        elif not code:
            begun = 0
        before = line
    return [(number, "\n".join(code)) for number, code in found]


def translation_unit(headers):
    """`headers` has the text of each by its path below include/."""
    lines = ['#include "comments.hpp"']
    for name, text in sorted(headers.items()):
        if os.path.basename(name) in DRAWINGS:
            continue
        for number, code in pieces(text):
            lines += [f"[[maybe_unused]] static anything from_{re.sub('[^a-z0-9]', '_', name)}_{number}() {{",
                      "  using namespace taken_for_granted;", f'#line {number} "{name}"', code, "  return {};", "}"]
    return "\n".join(lines) + "\n"


def self_check():
    text = "/// Words.\n///\n///     int x = 1;\n///     use(x);\n///\n/// More.\n///     no code: a line that goes on\n"
    assert pieces(text) == [(3, "int x = 1;\nuse(x);")]
    assert "from_a_b_hpp_3" in translation_unit({"a/b.hpp": text}) and '#line 3 "a/b.hpp"' in translation_unit({"a/b.hpp": text})
    assert "from_" not in translation_unit({"qkd004/parking.hpp": text})


def main():
    if sys.argv[1:] == ["--self-check"]:
        self_check()
        return 0
    root = os.path.join(sys.argv[1], "include")
    headers = {}
    for place, _, names in os.walk(root):
        for name in (name for name in names if name.endswith(".hpp")):
            path = os.path.join(place, name)
            with open(path, encoding="utf-8") as file:
                headers[os.path.relpath(path, root)] = file.read()
    command = [*sys.argv[2:], "-std=c++20", "-w", "-fsyntax-only", "-I", root,
               "-I", os.path.dirname(os.path.abspath(__file__)), "-x", "c++", "-"]
    return subprocess.run(command, input=translation_unit(headers), text=True).returncode


sys.exit(main())
