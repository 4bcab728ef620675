# SPDX-License-Identifier: Apache-2.0
"""Key sources: the software link, and those written in Python."""

import hashlib
import os
import sys
import threading

import pytest

import qkd004
from conftest import ALICE, BOB


class Shared(qkd004.KeySource):
    """Both ends in this process: the first that comes to a block makes it."""

    security = qkd004.SecurityClass.SIMULATED_INSECURE
    kind = "shared"

    def __init__(self, blocks, size=512):
        self.blocks, self.size = blocks, size
        self.next = 0
        self.calls = []

    def start(self, session):
        assert isinstance(session, qkd004.Session)
        assert len(session.lower) == len(session.higher) == 16
        assert session.lower != session.higher
        self.calls.append("start")
        self.next = 0
        return hashlib.sha256(session.link.encode() + session.lower + session.higher).digest()

    def poll(self):
        while len(self.blocks) <= self.next:
            self.blocks.append(os.urandom(self.size))
        self.next += 1
        return self.blocks[self.next - 1]

    def stop(self):
        self.calls.append("stop")


def two(kind=Shared, **more):
    blocks = []
    return kind(blocks, **more), kind(blocks, **more)


def open_both(a, b, qos=None):
    at_a = a.open_connect(ALICE, BOB, qos)
    return at_a, b.open_connect(ALICE, BOB, qos, at_a.key_stream_id)


@pytest.fixture
def unraisable(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: seen.append(u.exc_value))
    return seen


def test_a_source_in_python_makes_the_keys():
    first, second = two()
    a, b = qkd004.pair((first, second))
    with a, b:
        at_a, at_b = open_both(a, b)
        made = b"".join(bytes(at_a.get_key()) for _ in range(40))
        assert made == b"".join(bytes(at_b.get_key()) for _ in range(40))
        assert any(block[:32] in made for block in first.blocks)
    assert first.calls[0] == second.calls[0] == "start"


def test_a_source_serves_from_several_threads():
    a, b = qkd004.pair(two())
    with a, b:
        at_a, at_b = open_both(a, b)
        sides = [[], []]

        def read(n):
            for _ in range(500):
                sides[n].append(bytes((at_a, at_b)[n].get_key()))

        threads = [threading.Thread(target=read, args=(n,)) for n in (0, 1)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sides[0] == sides[1]


@pytest.mark.parametrize("error", [ValueError("of the callback"), qkd004.ProtocolError("out of step")])
def test_an_exception_in_poll_reaches_somebody(unraisable, error):
    class Broken(Shared):
        def poll(self):
            raise error

    a, b = qkd004.pair(two(Broken))
    with a, b:
        seen = []
        try:
            stream = a.open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=200))
            stream.get_key()
        except BaseException as raised:
            seen.append(raised)
        assert len(seen) == 1
        assert error in seen + unraisable
        assert isinstance(seen[0], (type(error), qkd004.QKDError))


@pytest.mark.parametrize("answer", [3, "text", b"", object(), [b"k"]])
def test_what_poll_may_not_return(unraisable, answer):
    class Wrong(Shared):
        def poll(self):
            return answer

    a, b = qkd004.pair(two(Wrong))
    with a, b, pytest.raises((TypeError, ValueError, qkd004.QKDError)):
        a.open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=100)).get_key()


@pytest.mark.parametrize("answer", [None, b"short", "x" * 32, 7])
def test_what_start_may_not_return(unraisable, answer):
    class Wrong(Shared):
        def start(self, session):
            return answer

    a, b = qkd004.pair(two(Wrong))
    with a, b, pytest.raises((TypeError, ValueError, qkd004.QKDError)):
        a.open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=100)).get_key()
    assert unraisable


def test_exceptions_everywhere_crash_nothing(unraisable):
    class Wild(Shared):
        def fail(self, *_):
            raise RuntimeError("wild")

        start = poll = pause = position = stop = fail

    a, b = qkd004.pair(two(Wild))
    with a, b, pytest.raises((RuntimeError, qkd004.QKDError)):
        a.open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=100)).get_key()


def test_a_source_with_nothing_yet_is_waited_for():
    class Slow(Shared):
        def poll(self):
            return super().poll() if gate.is_set() else None

        def pause(self):
            return 0.001

    gate = threading.Event()
    a, b = qkd004.pair(two(Slow))
    with a, b:
        at_a, _ = open_both(a, b, qkd004.QoS(timeout_ms=30_000))
        got = []
        waiter = threading.Thread(target=lambda: got.append(at_a.get_key()))
        waiter.start()
        assert got == []
        gate.set()
        waiter.join(30)
        assert got[0].index == 0


def test_a_call_from_inside_a_source_is_refused_and_does_not_hang():
    refused = []

    class Inside(Shared):
        stream = None

        def poll(self):
            if self.stream is not None:
                # a key that is there already would be taken without a lock
                with pytest.raises(qkd004.InvalidArgument) as error:
                    self.stream.get_key(100_000)
                refused.append(error.value)
            return super().poll()

    first, second = two(Inside)
    a, b = qkd004.pair((first, second))
    with a, b:
        at_a, at_b = open_both(a, b)
        first.stream = second.stream = at_b
        while not refused:
            assert at_a.get_key() == at_b.get_key()
        first.stream = second.stream = None
        assert at_a.get_key() == at_b.get_key()


def test_sources_say_how_far_they_may_be_trusted():
    with pytest.raises(TypeError):

        class Silent(qkd004.KeySource):
            def start(self, session):
                return bytes(32)

            def poll(self):
                return None

        Silent()

    class Odd(Shared):
        security = "hardware"

    with pytest.raises((TypeError, AttributeError)):
        qkd004.pair(two(Odd))


def test_one_source_serves_one_site():
    first, second = two()
    with pytest.raises(qkd004.InvalidArgument):
        qkd004.pair((first, first))
    qkd004.pair((first, second))


def test_software_link():
    link = qkd004.SoftwareLink(km=5, block_bits=262_144)
    a, b = qkd004.pair(link)
    with a, b:
        at_a, at_b = open_both(a, b, qkd004.QoS(timeout_ms=30_000))
        for key in at_a.take(100):
            assert key == at_b.get_key()
        alice, bob = link.alice.report(), link.bob.report()
        assert alice["accepted"] >= 1 and bob["accepted"] >= 1
        assert alice["secret"] > 3_200
        assert 0 < bob["qber"] < 0.08
        assert alice["failure"] == ""


def test_nobody_gets_key_of_a_link_that_is_listened_to():
    link = qkd004.SoftwareLink(km=5, block_bits=65_536, intercept_resend=1.0)
    a, b = qkd004.pair(link)
    with a, b:
        at_a, _ = open_both(a, b, qkd004.QoS(timeout_ms=500))
        with pytest.raises(qkd004.QKDError):
            at_a.get_key()
        assert link.bob.report()["accepted"] == 0
        assert link.bob.report()["qber"] > 0.2


def test_metadata_in_this_process():
    link = qkd004.SoftwareLink(km=5, block_bits=262_144)
    a, b = qkd004.pair(link)
    with a, b, a.open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=30_000), vendor_metadata=True) as stream:
        for key in stream.take(3):
            assert key.metadata["x_backend"]
            assert key.metadata["x_eps_sec"] > 0


def test_the_ends_of_a_software_link_from_files(tmp_path):
    secret = os.urandom(4096)

    def end(role, **more):
        key = tmp_path / f"{role}.key"
        key.write_bytes(secret)
        key.chmod(0o600)
        return qkd004.SoftwareLinkEnd.from_files(
            role, auth_key=key, auth_state=tmp_path / f"{role}.state", km=5, block_bits=262_144, **more
        )

    def config(node, peer, address):
        return {"node": node, "listen": ["qkd004://127.0.0.1:0"],
                "peer": [{"node": peer, "link": "a-b", "address": address, "source": {"kind": "given"}}]}

    with pytest.raises(TypeError, match="kilometres"):
        end("alice", kilometres=5)
    bob = end("bob")
    with qkd004.serve(config("B", "A", "qkd004://127.0.0.1:9"), sources={"a-b": bob}) as b:
        with qkd004.serve(config("A", "B", b.addresses[0]), sources={"a-b": end("alice")}) as a:
            with qkd004.connect(a.addresses[0]) as km_a, qkd004.connect(b.addresses[0]) as km_b:
                at_a, at_b = open_both(km_a, km_b, qkd004.QoS(timeout_ms=30_000))
                assert at_a.get_key() == at_b.get_key()
    assert bob.report()["accepted"] >= 1
