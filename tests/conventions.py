#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what every file here promises.

- A header begins with a comment: a sentence that says what it is, then the SPDX line; then #pragma once.
- Headers never write to standard output or error.
- No coroutine in src/ or include/: g++ 12 miscompiles some of them into silent double frees.
- No postponed work in comments (the three usual words).
- A test's name is "noun: what it does when what", unique in its room, without the characters that ctest
  and doctest take for wildcards or separators.

    conventions.py <root of the tree>    prints each violation as file:line, returns 1 if there is one
    conventions.py --self-check          runs itself on made-up files in which each rule is broken once
"""
import os
import re
import sys
import tempfile

SPDX = "// SPDX-License-Identifier: Apache-2.0"
FOLDERS = ("include", "src", "capi", "bindings", "tests", "benchmarks", "examples", "cmake")
EXTENSIONS = (".hpp", ".ipp", ".h", ".c", ".cpp", ".py", ".cmake", "CMakeLists.txt")
POSTPONED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
TEST_NAME = re.compile(r'^[ \t]*(?:TEST_CASE|TEST_CASE_FIXTURE|TEST_CASE_TEMPLATE|SCENARIO)\w*\(\s*'
                       r'(?:\w+\s*,\s*)?"((?:[^"\\]|\\.)*)"', re.M)


def without_comments(text):
    """The text with comments and string contents blanked, lines kept."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"'
    return re.sub(pattern, lambda m: "\n" * m.group().count("\n"), text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_header_start(text):
    lines = text.split("\n")
    if not re.match(r"///? *\S", lines[0]) or "SPDX" in lines[0]:
        yield 1, "a header starts with a comment that says what it is"
    end = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("//")), len(lines))
    if SPDX not in lines[:end]:
        yield 1, f"the leading comment has no line '{SPDX}'"
    if end == len(lines) or lines[end].strip() != "#pragma once":
        yield min(end + 1, len(lines)), "after the leading comment comes #pragma once"


def check_file(path, text):
    cpp = path.endswith((".hpp", ".ipp", ".h", ".c", ".cpp"))
    if path.endswith(".hpp") and path.startswith(("include/", "src/")):
        yield from check_header_start(text)
    code = without_comments(text) if cpp else ""
    if path.startswith("include/"):
        for match in re.finditer(r"\bstd\s*::\s*(cout|cerr|clog)\b", code):
            yield line_of(code, match.start()), f"std::{match.group(1)} in a public header"
    if path.startswith(("include/", "src/")):
        for match in re.finditer(r"\bco_(await|return|yield)\b", code):
            yield line_of(code, match.start()), f"{match.group()}: no coroutines in our own sources"
    for match in POSTPONED.finditer(text):
        yield line_of(text, match.start()), f"{match.group()}: do it now or leave it out"


def check_test_names(root_files):
    seen = {}
    for path, text in root_files:
        if not (path.startswith("tests/") and path.endswith(".cpp")):
            continue
        room = path.split("/")[1]
        for match in TEST_NAME.finditer(text):
            name, line = match.group(1), line_of(text, match.start())
            if re.search(r"[\[\];*?\\]", name):
                yield path, line, f'the test name "{name}" has one of [ ] ; * ? \\'
            if not re.match(r"\S.*: \S", name):
                yield path, line, f'the test name "{name}" is not "noun: what it does when what"'
            first = seen.setdefault((room, name.lower()), f"{path}:{line}")
            if first != f"{path}:{line}":
                yield path, line, f'the test name "{name}" is taken by {first}'


def check(root):
    files = []
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith(EXTENSIONS):
                    full = os.path.join(folder, name)
                    with open(full, encoding="utf-8") as file:
                        files.append((os.path.relpath(full, root).replace(os.sep, "/"), file.read()))
    files.sort()
    found = [(path, line, problem) for path, text in files for line, problem in check_file(path, text)]
    found += check_test_names(files)
    return len(files), found


# --- Self-check -------------------------------------------------------------------------------------------

GOOD = f"// ring: a ring of keys.\n{SPDX}\n#pragma once\n\n// co_await in a comment, std::cout too.\n"
CLEAN = {
    "include/qkd004/ring.hpp": GOOD,
    "src/wire/frame.cpp": 'const char* text = "co_await";\n',
    "tests/core/ring.cpp": 'TEST_CASE("ring: takes a key when there is one, and (index) too") {}\n',
    "tests/wire/ring.cpp": 'TEST_CASE("ring: takes a key when there is one, and (index) too") {}\n',
}
BROKEN = [
    ("include/qkd004/a.hpp", f"{SPDX}\n#pragma once\n", 1, "what it is"),
    ("include/qkd004/a.hpp", "// a: nothing.\n#pragma once\n", 1, "SPDX"),
    ("src/wire/a.hpp", f"// a: nothing.\n{SPDX}\n\n#include <vector>\n#pragma once\n", 4, "#pragma once"),
    ("include/qkd004/a.hpp", GOOD + "void f() { std::cout << 1; }\n", 6, "std::cout"),
    ("src/net/a.cpp", "\nvoid f() { co_return; }\n", 2, "co_return"),
    ("include/qkd004/a.ipp", "\nvoid f() { co_return; }\n", 2, "co_return"),
    ("examples/a.c", "int a;  /* FIX" + "ME */\n", 1, "do it"),
    ("include/qkd004/a.hpp", GOOD + "void f() { co_await g(); }\n", 6, "co_await"),
    ("examples/a.cpp", "// TO" + "DO: later\n", 1, "do it"),
    ("src/cli/a.cpp", "int a;  /* FIX" + "ME */\n", 1, "do it"),
    ("tests/core/a.cpp", 'TEST_CASE("ring: takes [index]") {}\n', 1, "has one of"),
    ("tests/core/a.cpp", '\nTEST_CASE("takes") {}\n', 2, "noun"),
    ("tests/core/ring2.cpp", CLEAN["tests/core/ring.cpp"], 1, "taken by tests/core/ring.cpp:1"),
]


def check_made_up(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        return check(root)[1]


def self_check():
    wrong = [f"clean files are refused: {found}" for found in check_made_up(CLEAN)]
    for path, text, line, word in BROKEN:
        found = check_made_up({**CLEAN, path: text})
        if len(found) != 1 or found[0][:2] != (path, line) or word not in found[0][2]:
            wrong.append(f"expected only {path}:{line} with '{word}', got {found}")
    for text in wrong:
        print(text)
    print(f"{len(BROKEN)} broken files tried, {len(wrong)} surprises")
    return 1 if wrong else 0


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    if sys.argv[1] == "--self-check":
        return self_check()
    count, found = check(sys.argv[1])
    for path, line, problem in found:
        print(f"{path}:{line}: {problem}")
    print(f"{count} files, {len(found)} violations")
    return 1 if found else 0


sys.exit(main())
