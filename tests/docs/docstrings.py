#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The code in the docstrings of the Python package, which its reference shows: each piece compiles, and whatever it
takes from qkd004 is public there. Every public name is on the page of the reference.

    docstrings.py <root of the tree>
    docstrings.py --self-check
"""
import ast
import os
import re
import sys
import textwrap

PACKAGE = "bindings/python/src/qkd004"
REFERENCE = "docs/reference/python.md"
ALIASES = {"Request", "Response", "__version__"}  # unions of what is on the page, and a text


def pieces(docstring):
    """The literal blocks of a docstring: what is indented after a paragraph that ends in "::"."""
    lines = docstring.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.rstrip().endswith("::"):
            continue
        indent = len(line) - len(line.lstrip())
        block = []
        while at < len(lines) and (not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > indent):
            block.append(lines[at])
            at += 1
        yield textwrap.dedent("\n".join(block)).strip("\n")


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if text := ast.get_docstring(node):
                yield getattr(node, "name", "the module"), text


def public_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def violations(files, reference):
    """`files` has the text of each file of the package by its name."""
    found = []
    public = public_names(ast.parse(files["__init__.py"])) | {name[:-3] for name in files if not name.startswith("_")}
    for name, text in sorted(files.items()):
        for where, docstring in docstrings(ast.parse(text)):
            for piece in pieces(docstring):
                try:
                    compile(piece, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                except SyntaxError as error:
                    found.append(f"{name}, {where}: {error}")
                for used in set(re.findall(r"\bqkd004\.(\w+)", piece)) - public:
                    found.append(f"{name}, {where}: there is no qkd004.{used}")
    for one in sorted(public_names(ast.parse(files["__init__.py"])) - ALIASES):
        if not re.search(rf":: qkd004\.{one}$", reference, re.M):
            found.append(f"{REFERENCE}: does not have {one}")
    return found


def self_check():
    def wrong(code, reference=":: qkd004.A\n"):
        return violations({"__init__.py": f'"""Words::\n\n    {code}\n\nMore."""\n__all__ = ["A"]\n'}, reference)

    assert wrong("a = qkd004.A()") == [] and wrong("await qkd004.A()") == []
    assert wrong("a = = 1") and wrong("qkd004.B()") and wrong("qkd004.A()", "")
    assert list(pieces("a::\n\n    b\n\n    c\nd")) == ["b\n\nc"] and list(pieces("a: b")) == []


def main():
    if sys.argv[1:] == ["--self-check"]:
        self_check()
        return 0

    def read(name):
        with open(os.path.join(sys.argv[1], name), encoding="utf-8") as file:
            return file.read()

    names = [name for name in os.listdir(os.path.join(sys.argv[1], PACKAGE)) if name.endswith(".py")]
    found = violations({name: read(f"{PACKAGE}/{name}") for name in names}, read(REFERENCE))
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
