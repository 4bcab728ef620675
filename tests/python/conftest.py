# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Python package share. They run on the package of the build tree: PYTHONPATH=build/dev/python."""

import contextlib
import faulthandler
import subprocess
import sys
import textwrap

import pytest

import qkd004

faulthandler.enable()

ALICE = "qkd://alice@A"
BOB = "qkd://bob@B"


def run(program, *arguments):
    """Runs a program of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program), *arguments],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def sites():
    """Clients of two sites in this process."""
    a, b = qkd004.pair()
    with a, b:
        yield a, b


@pytest.fixture
def open_pair(sites):
    """Opens a stream at both ends."""
    with contextlib.ExitStack() as stack:

        def open_both(qos=None, **more):
            at_a = stack.enter_context(sites[0].open_connect(ALICE, BOB, qos, **more))
            at_b = stack.enter_context(sites[1].open_connect(ALICE, BOB, qos, at_a.key_stream_id, **more))
            return at_a, at_b

        yield open_both


@pytest.fixture
def streams(open_pair):
    """One stream of 32-octet keys, open at both ends; a call waits for 5 seconds."""
    return open_pair()


@pytest.fixture
def served():
    """Two sites on threads of their own, linked over TCP on loopback, with key of a software link."""
    link = qkd004.SoftwareLink(km=5, block_bits=262_144)

    def config(node, peer, address):
        return {
            "node": node,
            "listen": ["qkd004://127.0.0.1:0"],
            "peer": [{"node": peer, "link": "a-b", "address": address, "source": {"kind": "given"}}],
        }

    # of two sites the one with the lower name dials
    with qkd004.serve(config("B", "A", "qkd004://127.0.0.1:9"), sources={"a-b": link.bob}) as b:
        with qkd004.serve(config("A", "B", b.addresses[0]), sources={"a-b": link.alice}) as a:
            yield a, b
