# SPDX-License-Identifier: Apache-2.0
"""python -m qkd004 demo."""

import re
import subprocess
import sys

import pytest

from qkd004 import __main__ as program


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "qkd004", *arguments], capture_output=True, text=True, timeout=120)


def test_equal_keys_and_none_is_shown():
    done = run("demo", "--km", "5", "--block-bits", "262144", "--keys", "300")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 of 32 octets at each end, 300 equal" in done.stdout
    assert "simulat" in done.stdout and "NOT QUANTUM-SECURE" in done.stdout
    # but for the id of the stream nothing that looks like octets
    assert [len(run) for run in re.findall(r"[0-9a-f]{9,}", done.stdout)] == [12]


def test_no_key_while_somebody_listens(capsys):
    assert program.main(["demo", "--km", "5", "--block-bits", "65536", "--eve", "1"]) == 0
    out = capsys.readouterr().out
    assert "0 of 32 octets" in out
    assert "status 6" in out
    assert "there must be no key" in out


@pytest.mark.parametrize("arguments", [["demo", "--km", "-3"], ["demo", "--km", "far"], [], ["nothing"]])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
