#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the shared library exports what its header declares, and nothing else.

    symbols.py <libqkd004.so> <qkd004.h>    prints each difference, returns 1 if there is one
    symbols.py --self-check                 runs the comparison on made-up headers and symbol tables that are wrong
"""
import re
import subprocess
import sys


def declared(header):
    """The functions that the header declares: after comments and macros are gone, what is marked QKD004_API."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", " ", text, flags=re.M)
    return set(re.findall(r"QKD004_API[^;(]*?\b(\w+)\s*\(", text))


def exported(table):
    """The symbols of `nm -D --defined-only`, without their versions; the version itself is one of kind A."""
    symbols = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] != "A":
            symbols.add(fields[2].split("@")[0])
    return symbols


def compare(header, table):
    functions, symbols = declared(header), exported(table)
    if not functions:
        return ["the header declares nothing"]
    return ([f"{name} is declared and not exported" for name in sorted(functions - symbols)]
            + [f"{name} is exported and not declared" for name in sorted(symbols - functions)])


HEADER = """#define QKD004_API __attribute__((visibility("default")))
/* QKD004_API int qkd004_in_a_comment(void); */
/** Makes one. */
QKD004_API int qkd004_make(const char *name,
                           int (*callback)(void *context));
QKD004_API const char *qkd004_text(void);
"""
TABLE = "0000000000000000 A QKD004_0\n000000000001 T qkd004_make@@QKD004_0\n000000000002 T qkd004_text@@QKD004_0\n"
WRONG = [
    (HEADER, TABLE + "000000000003 T _ZN4asio6detail3runEv@@QKD004_0\n", "_ZN4asio"),
    (HEADER, TABLE + "000000000003 B qkd004_hidden_state@@QKD004_0\n", "qkd004_hidden_state"),
    (HEADER, TABLE.replace("qkd004_text", "qkd004_test"), "qkd004_text is declared"),
    (HEADER + "QKD004_API int qkd004_new(void);\n", TABLE, "qkd004_new is declared"),
    ("", TABLE, "nothing"),
]


def self_check():
    surprises = compare(HEADER, TABLE)
    for header, table, word in WRONG:
        found = compare(header, table)
        if not any(word in line for line in found):
            surprises.append(f"'{word}' was not found; got {found}")
    for line in surprises:
        print(line)
    print(f"{len(WRONG)} wrong pairs tried, {len(surprises)} surprises")
    return 1 if surprises else 0


def main():
    if sys.argv[1:] == ["--self-check"]:
        return self_check()
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    library, header = sys.argv[1:]
    table = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True, capture_output=True).stdout
    with open(header, encoding="utf-8") as file:
        text = file.read()
    found = compare(text, table)
    for line in found:
        print(line)
    print(f"{len(declared(text))} functions declared, {len(found)} differences")
    return 1 if found else 0


sys.exit(main())
