#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the documentation site: Doxygen reads the headers, Sphinx makes pages, and check_html.py looks at the result.
Every warning is an error.

    docs/build.py [build folder]      by default build/docs; the site is in html/ there

The Python module has to be there for its reference: see python_module(). Needs doxygen and the packages of
docs/requirements.txt in build/venv (.ci/docs); exits with 77 where they are missing.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPHINX = os.path.join(ROOT, "build/venv/bin/sphinx-build")

WITHOUT_A_PAGE = {"qkd004.hpp", "asio_version.hpp"}  # one only includes the others, one is for the linker


def run(command, **options):
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def doxygen(folder):
    """What is wrong with the comments; the XML goes to `folder`. Each type needs a sentence; a member whose name says
    all needs none."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(ROOT, "docs/Doxyfile"), encoding="utf-8") as file:
        settings = file.read() + f"\nOUTPUT_DIRECTORY = {folder}\n"
    said = run(["doxygen", "-"], input=settings).stdout.splitlines()
    without_private_parts(os.path.join(folder, "xml"))
    return [line for line in said if not re.search(r"(warning|error): Member .* is not documented", line)
            and line.strip() and not re.match(r"Exiting|Doxygen|Compound .*detail", line)]


def without_private_parts(folder):
    """Doxygen's XML has private members whatever is set, and the subclasses of a seam that are in `detail`."""
    private = re.compile(r'<sectiondef kind="(private|friend)[\w-]*">.*?</sectiondef>'
                         r'|<innerclass [^>]*prot="private"[^>]*>[^<]*</innerclass>'
                         r"|<derivedcompoundref[^>]*>[^<]*::detail::[^<]*</derivedcompoundref>", re.S)
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(private.sub("", text))


def headers_without_a_page():
    """Public headers that no page of the reference shows."""
    shown = ""
    for place, _, names in os.walk(os.path.join(ROOT, "docs/reference")):
        for name in names:
            with open(os.path.join(place, name), encoding="utf-8") as file:
                shown += file.read()
    paths = (glob.glob(os.path.join(ROOT, "include/qkd004/**/*.hpp"), recursive=True)
             + glob.glob(os.path.join(ROOT, "capi/*.h")))
    headers = sorted({os.path.basename(path) for path in paths} - WITHOUT_A_PAGE)
    return [f"{name}: no page of docs/reference shows it" for name in headers if f"}} {name}\n" not in shown]


def python_module(folder):
    """Where the Python reference takes the module from: $QKD004_PYTHON; else a build that has it, brought up to date;
    else one that is built for it, which takes minutes the first time."""
    if os.environ.get("QKD004_PYTHON"):
        return os.environ["QKD004_PYTHON"]
    built = [os.path.join(ROOT, "build", preset) for preset in ("dev", "release")]
    build = next((one for one in built if glob.glob(os.path.join(one, "python/qkd004/_qkd004*.so"))), None)
    if not build:
        build = os.path.join(folder, "module")
        print("docs: building the Python module", flush=True)
        options = [f"-DQKD004_{name}=OFF" for name in ("TESTS", "CLI", "CAPI", "DEVELOPER")]
        done = run(["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DQKD004_PYTHON=ON",
                    *options])
        if done.returncode:
            sys.exit(done.stdout)
    done = run(["cmake", "--build", build, "--target", "qkd004_python"])
    if done.returncode:
        sys.exit(done.stdout)
    return os.path.join(build, "python")


def main():
    folder = os.path.abspath(sys.argv[1]) if sys.argv[1:] else os.path.join(ROOT, "build/docs")
    if not shutil.which("doxygen") or not os.path.exists(SPHINX):
        print("docs: doxygen, or the packages of docs/requirements.txt, are not there: .ci/packages docs; .ci/docs")
        return 77
    if wrong := headers_without_a_page() + doxygen(os.path.join(folder, "doxygen")):
        print("\n".join(wrong))
        return 1
    os.environ["QKD004_PYTHON"] = python_module(folder)
    os.environ["QKD004_DOXYGEN"] = os.path.join(folder, "doxygen/xml")
    html = os.path.join(folder, "html")
    made = run([SPHINX, "-q", "-W", "--keep-going", "-n", "-c", "docs", "-d", os.path.join(folder, "doctrees"), ".", html])
    if made.returncode:
        print(made.stdout)
        return 1
    looked = run([sys.executable, "-B", os.path.join(ROOT, "tests/docs/check_html.py"), html])
    print(looked.stdout, end="")
    return looked.returncode


sys.exit(main())
