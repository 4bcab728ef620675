# SPDX-License-Identifier: Apache-2.0
"""The Python that the pages show, run as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def blocks():
    for page in ("README.md", "bindings/python/README.md"):
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)):
            yield pytest.param(code, id=f"{page}-{number}")


@pytest.fixture
def two_daemons(served):
    return {f"qkd004://127.0.0.1:{port}": server.addresses[0] for port, server in zip((25575, 25576), served)}


@pytest.mark.parametrize("code", list(blocks()))
def test_a_block(code, two_daemons, tmp_path):
    """Each is a program of its own; where it connects to the ports of the examples, two sites are there."""
    for shown, there in two_daemons.items():
        code = code.replace(shown, there)
    code = code.replace("site-a", "A").replace("site-b", "B")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_blocks():
    assert len(list(blocks())) >= 4
