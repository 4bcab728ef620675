#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the shared library with the dump of its binary interface that is kept in capi/abi (libabigail).

    abi.py check <libqkd004.so> <folder of qkd004.h> <dump>    returns 1 and shows what differs
    abi.py renew <libqkd004.so> <folder of qkd004.h> <dump>    writes the dump anew, after a change that is meant
    abi.py self-check ...                                      a dump that was spoilt in several ways must not pass

Returns 77 where abidw or abidiff is missing. A program that was linked against an older library goes on working if the
difference is functions or struct members that were added, and not otherwise.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

DUMP = ["abidw", "--exported-interfaces-only", "--drop-private-types", "--no-show-locs", "--no-corpus-path",
        "--no-comp-dir-path"]


def dump_of(library, headers):
    return subprocess.run([*DUMP, "--headers-dir", headers, library], text=True, capture_output=True, check=True).stdout


def difference(old, new):
    """Of two dumps: abidiff's status (4: something differs, 8: and a program would break) and what it says."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("old.abi", "new.abi")]
        for path, text in zip(paths, (old, new)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        run = subprocess.run(["abidiff", *paths], text=True, capture_output=True)
        return run.returncode, run.stdout + run.stderr


def spoilt(text):
    """What it is, and the dump with it."""
    member = r"(<data-member access='public' layout-offset-in-bits=')(\d+)('>\s*<var-decl name='%s')"
    yield "a member that moved", re.sub(member % "max_bps", lambda m: m[1] + str(int(m[2]) + 32) + m[3], text, 1)
    yield "a function that is gone", text.replace("qkd004_next_key", "qkd004_next_kex")
    yield "a parameter of another type", re.sub(r"(<function-decl name='qkd004_prefetch'.*?<parameter type-id=')[^']*"
                                                r"('.*?<parameter type-id=')([^']*)(')", r"\1\3\2\3\4", text, 1, re.S)
    yield "an enumerator with another number", re.sub(r"(name='QKD004_LOG_ERROR' value=')3'", r"\g<1>9'", text, 1)


def self_check(text):
    surprises = 0
    for what, other in spoilt(text):
        if other == text or difference(other, text)[0] == 0:
            surprises += 1
            print(f"not found: {what}")
    print(f"{surprises} surprises")
    return 1 if surprises else 0


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in ("check", "renew", "self-check"):
        print(__doc__)
        return 2
    if not shutil.which("abidw") or not shutil.which("abidiff"):
        print("abidw and abidiff are not there (Debian: abigail-tools)")
        return 77
    what, library, headers, dump = sys.argv[1:]
    if what == "renew":
        text = dump_of(library, headers)
        with open(dump, "w", encoding="utf-8") as file:
            file.write(text)
        return 0
    with open(dump, encoding="utf-8") as file:
        kept = file.read()
    if what == "self-check":
        return self_check(kept)
    status, report = difference(kept, dump_of(library, headers))
    print(report)
    if status != 0:
        print("If that is meant: cmake --build --preset dev --target abi")
    return 1 if status else 0


sys.exit(main())
