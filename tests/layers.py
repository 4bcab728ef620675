#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes point only down the layers.

    doors (capi, bindings/python, src/cli) -> conformance | serve -> client (src/*) | operations | push -> net | software
        -> wire | source | store -> core

A room may include any room below it and itself, never a sibling (wire does not include store). Core headers
(include/qkd004/*.hpp) need nothing but a compiler: standard library, POSIX and Linux, other core headers.
include/qkd004/net/*.hpp may add Asio. Other packages stay where ALLOWED_PACKAGES says. No cycle among headers.

    layers.py <root of the tree>    prints each violation as file:line, returns 1 if there is one
    layers.py --self-check          runs itself on a made-up tree in which each rule is broken once
"""
import os
import re
import sys
import tempfile

RANK = {"core": 0, "wire": 1, "source": 1, "software": 2, "store": 1, "net": 2, "client": 3, "operations": 3, "push": 3,
        "serve": 4, "conformance": 4, "cli": 5, "capi": 5, "python": 5}

# Which folder is which room; the first that matches counts.
ROOMS = [("include/qkd004/net/", "net"), ("include/qkd004/push/", "push"), ("src/push/", "push"), ("src/operations/", "operations"),
         ("include/qkd004/", "core"), ("src/wire/", "wire"),
         ("src/source/", "source"), ("src/software/", "software"), ("src/store/", "store"),
         ("src/net/", "net"), ("src/serve/", "serve"), ("src/conformance/", "conformance"), ("src/cli/", "cli"), ("src/", "client"),
         ("capi/", "capi"), ("bindings/python/", "python")]

# Package, how its includes look, which folders may have them.
PACKAGES = [
    ("Boost.Beast", r"boost/beast(/|\.hpp)", ["src/net/http"]),
    ("Boost", r"boost/", ["src/net/http"]),
    ("Asio", r"asio(/|\.hpp)", ["src/", "include/qkd004/net/", "include/qkd004/push/", "capi/", "bindings/python/"]),
    ("OpenSSL", r"openssl/", ["src/"]),
    ("fmt", r"fmt/", ["src/"]),
    ("simdjson", r"simdjson", ["src/wire/", "src/conformance/", "capi/text.cpp"]),
    ("CLI11", r"CLI/", ["src/cli/"]),
    ("toml++", r"toml(\+\+/|\.hpp)", ["src/serve/", "bindings/python/"]),
    ("pybind11", r"pybind11/", ["bindings/python/"]),
    ("Python", r"Python\.h", ["bindings/python/"]),
]

STANDARD = set("""
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes
climits clocale cmath codecvt compare complex concepts condition_variable coroutine csetjmp csignal cstdarg
cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception execution filesystem format
forward_list fstream functional future initializer_list iomanip ios iosfwd iostream istream iterator latch
limits list locale map memory memory_resource mutex new numbers numeric optional ostream queue random ranges
ratio regex scoped_allocator semaphore set shared_mutex source_location span sstream stack stdexcept stop_token
streambuf string string_view strstream syncstream system_error thread tuple type_traits typeindex typeinfo
unordered_map unordered_set utility valarray variant vector version
assert.h ctype.h errno.h fenv.h float.h inttypes.h limits.h locale.h math.h setjmp.h signal.h stdalign.h
stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h time.h uchar.h wchar.h wctype.h
""".split())
SYSTEM = re.compile(
    r"(sys|linux|netinet|net|arpa|asm|sanitizer)/[\w/]+\.h$"
    r"|(aio|dirent|dlfcn|endian|fcntl|fnmatch|ftw|glob|grp|ifaddrs|malloc|mqueue|netdb|poll|pthread|pwd|sched"
    r"|semaphore|spawn|strings|syslog|termios|ucontext|unistd|utime)\.h$"
    r"|((x86|imm|emm|xmm|wmm)intrin|cpuid|arm_neon|arm_acle)\.h$")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")')
EXTENSIONS = (".hpp", ".h", ".cpp", ".cc", ".ipp")


def room_of(path):
    return next((room for folder, room in ROOMS if path.startswith(folder)), None)


def includes_of(text):
    """Yields (line number, name) of each include, comments apart."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    for number, line in enumerate(text.split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) or match.group(2)


def resolve(name, path, files):
    """The file of the tree that the include means, or None."""
    for base in (os.path.dirname(path), "include", "src", "capi"):
        candidate = os.path.normpath(os.path.join(base, name)).replace(os.sep, "/")
        if candidate in files:
            return candidate
    return None


def read_tree(root):
    files = {}
    for top in ("include", "src", "capi", "bindings/python"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith(EXTENSIONS):
                    full = os.path.join(folder, name)
                    with open(full, encoding="utf-8") as file:
                        files[os.path.relpath(full, root).replace(os.sep, "/")] = file.read()
    return files


def violation_of(path, room, name, target):
    """What is wrong with one include, or None."""
    public = path.startswith("include/")
    if target:
        other = room_of(target)
        if public and not target.startswith("include/"):
            return f"a public header includes {target}, which is not public"
        if other is None:
            return f"{target} is in no room"
        if other != room and RANK[other] > RANK[room]:
            return f"{room} includes {other} ({target}): upwards"
        if other != room and RANK[other] == RANK[room]:
            return f"{room} includes {other} ({target}): sideways"
        return None
    for package, pattern, folders in PACKAGES:
        if re.match(pattern, name):
            if any(path.startswith(folder) for folder in folders):
                return None
            return f"{package} (<{name}>) is allowed only in {', '.join(folders)}"
    if name.startswith("qkd004/"):
        return f"<{name}> does not exist"
    if public and name not in STANDARD and not SYSTEM.match(name):
        return f"<{name}> is neither the standard library nor POSIX or Linux"
    return None


def cycles(graph):
    """Yields (file, line, path of files) once per include that closes a circle."""
    done, stack = set(), []

    def visit(path):
        stack.append(path)
        for number, target in graph.get(path, []):
            if target in stack:
                yield path, number, stack[stack.index(target):] + [target]
            elif target not in done:
                yield from visit(target)
        stack.pop()
        done.add(path)

    for start in sorted(graph):
        if start not in done:
            yield from visit(start)


def check(root):
    files = read_tree(root)
    found, graph = [], {}
    for path in sorted(files):
        room = room_of(path)
        if room is None:
            found.append((path, 1, "in no room: see ROOMS in tests/layers.py"))
            continue
        for number, name in includes_of(files[path]):
            target = resolve(name, path, files)
            if target:
                graph.setdefault(path, []).append((number, target))
            problem = violation_of(path, room, name, target)
            if problem:
                found.append((path, number, problem))
    for path, number, circle in cycles(graph):
        found.append((path, number, "include cycle: " + " -> ".join(circle)))
    return len(files), found


# --- Self-check -------------------------------------------------------------------------------------------

CLEAN = {
    "include/qkd004/a.hpp": "#include <unistd.h>\n#include <vector>\n#include <linux/futex.h>\n",
    "include/qkd004/b.hpp": '#include "qkd004/a.hpp"\n// #include <fmt/core.h>\n/*\n#include <asio.hpp>\n*/\n',
    "include/qkd004/net/tcp.hpp": "#include <asio.hpp>\n#include <qkd004/b.hpp>\n",
    "src/wire/frame.cpp": '#include "wire/frame.hpp"\n#include <fmt/core.h>\n#include <simdjson.h>\n',
    "src/wire/frame.hpp": '#include "qkd004/b.hpp"\n',
    "src/store/log.cpp": "#include <openssl/evp.h>\n",
    "src/net/server.cpp": '#include "wire/frame.hpp"\n#include "qkd004/net/tcp.hpp"\n',
    "src/net/http/syntax.cpp": "#include <boost/beast/http.hpp>\n",
    "src/client.cpp": '#include "qkd004/net/tcp.hpp"\n',
    "src/operations/page.cpp": '#include "wire/frame.hpp"\n#include "qkd004/net/tcp.hpp"\n',
    "src/conformance/probe.hpp": '#include "net/../wire/frame.hpp"\n',
    "src/cli/main.cpp": '#include <CLI/CLI.hpp>\n#include "net/../wire/frame.hpp"\n',
    "src/serve/config.cpp": "#include <toml++/toml.h>\n",
    "capi/qkd004.cpp": '#include "handle.hpp"\n#include <qkd004/a.hpp>\n',
    "capi/handle.hpp": "",
    "bindings/python/module.cpp": "#include <pybind11/pybind11.h>\n",
}

# Each entry: files to add, and the one place and word that must be reported.
BROKEN = [
    ({"include/qkd004/c.hpp": "\n#include <fmt/core.h>\n"}, "include/qkd004/c.hpp", 2, "fmt"),
    ({"include/qkd004/c.hpp": "#include <asio.hpp>\n"}, "include/qkd004/c.hpp", 1, "Asio"),
    ({"include/qkd004/c.hpp": "#include <gmp.h>\n"}, "include/qkd004/c.hpp", 1, "neither"),
    ({"include/qkd004/c.hpp": "#include <qkd004/net/tcp.hpp>\n"}, "include/qkd004/c.hpp", 1, "upwards"),
    ({"include/qkd004/c.hpp": "#include <qkd004/none.hpp>\n"}, "include/qkd004/c.hpp", 1, "does not exist"),
    ({"include/qkd004/net/c.hpp": "#include <openssl/ssl.h>\n"}, "include/qkd004/net/c.hpp", 1, "OpenSSL"),
    ({"include/qkd004/net/c.hpp": '#include "../../../src/wire/frame.hpp"\n'}, "include/qkd004/net/c.hpp", 1,
     "not public"),
    ({"src/wire/c.cpp": '#include "../store/c.hpp"\n', "src/store/c.hpp": ""}, "src/wire/c.cpp", 1, "sideways"),
    ({"src/source/c.cpp": '#include "wire/frame.hpp"\n'}, "src/source/c.cpp", 1, "sideways"),
    ({"src/software/c.cpp": '#include "qkd004/net/tcp.hpp"\n'}, "src/software/c.cpp", 1, "sideways"),
    ({"src/net/c.cpp": '#include "conformance/probe.hpp"\n'}, "src/net/c.cpp", 1, "upwards"),
    ({"src/net/c.cpp": '#include "cli/c.hpp"\n', "src/cli/c.hpp": ""}, "src/net/c.cpp", 1, "upwards"),
    ({"src/net/c.cpp": "#include <boost/beast/http.hpp>\n"}, "src/net/c.cpp", 1, "Beast"),
    ({"src/net/c.cpp": "#include <CLI/CLI.hpp>\n"}, "src/net/c.cpp", 1, "CLI11"),
    ({"src/cli/c.cpp": '#include "handle.hpp"\n'}, "src/cli/c.cpp", 1, "sideways"),
    ({"capi/c.cpp": "#  include <fmt/core.h>\n"}, "capi/c.cpp", 1, "fmt"),
    ({"include/other/c.hpp": ""}, "include/other/c.hpp", 1, "no room"),
    ({"include/qkd004/c.hpp": '\n\n#include "d.hpp"\n', "include/qkd004/d.hpp": '#include "c.hpp"\n'},
     "include/qkd004/d.hpp", 1, "cycle"),
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
    wrong = [f"a clean tree is refused: {found}" for found in check_made_up(CLEAN)]
    for files, path, number, word in BROKEN:
        found = check_made_up({**CLEAN, **files})
        if len(found) != 1 or found[0][:2] != (path, number) or word not in found[0][2]:
            wrong.append(f"expected only {path}:{number} with '{word}', got {found}")
    for line in wrong:
        print(line)
    print(f"{len(BROKEN)} broken trees tried, {len(wrong)} surprises")
    return 1 if wrong else 0


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    if sys.argv[1] == "--self-check":
        return self_check()
    count, found = check(sys.argv[1])
    for path, number, problem in found:
        print(f"{path}:{number}: {problem}")
    print(f"{count} files, {len(found)} violations")
    return 1 if found else 0


sys.exit(main())
