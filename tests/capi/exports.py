#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that a shared library of ours exports what its headers declare and nothing else, and needs of libqkd004 its C
interface alone.

    exports.py <nm> <library> <header>...
    exports.py --self-check
"""
import re
import subprocess
import sys


def declared(text):
    """Functions and objects that a header of ours declares."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", " ", text, flags=re.M)
    text = re.sub(r'extern "C" \{', " ", text)
    while re.search(r"\{[^{}]*\}", text):
        text = re.sub(r"\{[^{}]*\}", " ", text)  # members of structs and enumerations
    names = set()
    for statement in text.split(";"):
        statement = " ".join(statement.split())
        if statement.startswith("typedef"):
            continue
        function = re.search(r"(\w+) ?\(", statement)
        variable = re.match(r"extern .*?(\w+)$", statement)
        if function or variable:
            names.add((function or variable).group(1))
    return names


def violations(names, symbols):
    """`symbols`: lines of nm -D."""
    exported, found = set(), []
    for line in symbols.splitlines():
        kind, name = line.split()[-2:]
        if kind == "A":
            continue  # a version
        if kind in "Uwv":
            if kind == "U" and re.match(r"_Z.*6qkd004", name):
                found.append(f"{name} is needed: a C++ symbol of the library")
        else:
            exported.add(name.split("@")[0])
    found += [f"{name} is declared and not exported" for name in sorted(names - exported)]
    found += [f"{name} is exported and not declared" for name in sorted(exported - names)]
    return found


def self_check():
    header = """/* int in_comment(void); */
/** Makes one; int in_another(void). */
#define API __attribute__((visibility("default")))
#define M(x) \\
  f(x)
typedef struct s { int a; void (*member)(int); } s_t;
enum e { one, two };
#ifdef __cplusplus
extern "C" {
#endif
extern const s_t constant;
const char *first(int a,
                  s_t b);
API int second(const s_t *s, int (*callback)(void *context));
struct t { char c[64]; };
"""
    names = {"constant", "first", "second"}
    assert declared(header) == names, declared(header)
    good = "0000 A OURS_0\n0001 T first\n0002 R constant@@BASE\n0003 T second@@OURS_0\n  U qkd004_pair@QKD004_0\n  w __cxa_finalize"
    assert violations(names, good) == []
    assert violations(names, good + "\n0004 W other") == ["other is exported and not declared"]
    assert len(violations(names, good + "\n0004 T _ZN4asio6detail3runEv@@OURS_0")) == 1
    assert len(violations(names, good.replace("first", "third"))) == 2
    assert violations(names | {"third"}, good) == ["third is declared and not exported"]
    assert len(violations(names, good + "\n  U _ZN6qkd0046clientC1Ev")) == 1
    print("self-check passed")


def main():
    if sys.argv[1:] == ["--self-check"]:
        return self_check()
    nm, library, *headers = sys.argv[1:]
    names = set()
    for path in headers:
        with open(path, encoding="utf-8") as file:
            names |= declared(file.read())
    symbols = subprocess.run([nm, "-D", library], check=True, capture_output=True, text=True).stdout
    found = violations(names, symbols)
    for line in found:
        print(f"{library}: {line}")
    print(f"{len(names)} names, {len(found)} violations")
    return 1 if found or not names else 0


sys.exit(main())
