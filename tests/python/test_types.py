# SPDX-License-Identifier: Apache-2.0
"""The types that the package states: mypy --strict, and stubtest, which compares the stubs with what is there; and what
help() shows."""

import inspect
import os
import pathlib
import pydoc
import subprocess
import sys

import pytest

import qkd004

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = pathlib.Path(qkd004.__file__).parent.parent


def mypy(*arguments, tmp_path):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(PACKAGE), "PYTHONPATH": str(PACKAGE), "MYPY_CACHE_DIR": str(tmp_path)},
    )


def test_the_package_and_a_program_that_uses_it(tmp_path):
    (tmp_path / "user.py").write_text(
        "import uuid\n"
        "import qkd004\n"
        "def get(uri: str, ksid: uuid.UUID) -> bytes:\n"
        "    with qkd004.connect(uri) as km:\n"
        "        with km.open_connect('a@A', 'b@B', qkd004.QoS(ttl_s=3), ksid) as stream:\n"
        "            view: memoryview = memoryview(stream.get_key(5))\n"
        "            return b''.join(bytes(k) for k in stream.take(3)) + bytes(view)\n"
    )
    good = mypy("-m", "mypy", "--strict", "-p", "qkd004", tmp_path=tmp_path)
    assert good.returncode == 0, good.stdout
    good = mypy("-m", "mypy", "--strict", "user.py", tmp_path=tmp_path)
    assert good.returncode == 0, good.stdout
    (tmp_path / "user.py").write_text("import qkd004\nqkd004.connect(3)\nqkd004.pair()[0].open_connect('a').get_key('x')\n")
    bad = mypy("-m", "mypy", "--strict", "user.py", tmp_path=tmp_path)
    assert bad.stdout.count("error:") == 3, bad.stdout


def test_the_stubs_say_what_is_there(tmp_path):
    same = mypy(
        "-m", "mypy.stubtest", "qkd004", "--mypy-config-file", str(ROOT / "pyproject.toml"),
        "--allowlist", str(ROOT / "bindings/python/stubtest.allow"), "--ignore-unused-allowlist", tmp_path=tmp_path,
    )
    assert same.returncode == 0, same.stdout + same.stderr


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "qkd004/py.typed").exists()


@pytest.mark.parametrize("name", [n for n in qkd004.__all__ if not n.startswith("__") and n not in ("Request", "Response")])
def test_everything_public_is_documented(name):
    thing = getattr(qkd004, name)
    assert inspect.getdoc(thing), name
    if inspect.isclass(thing) and name not in ("Status", "SecurityClass"):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"


def test_help_reads_like_documentation():
    text = pydoc.plain(pydoc.render_doc(qkd004))
    for part in ("GS QKD 004", "get_key(self, /, index=None, *, wait=True)", "take(self, count, /)", "QoS Timeout",
                 "Seconds", "fork", "connect(uri:", "Raises"):
        assert part in text, part
    assert "arg0" not in text
    assert "_qkd004.ClientWay" not in pydoc.plain(pydoc.render_doc(qkd004.connect))
