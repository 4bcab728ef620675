# SPDX-License-Identifier: Apache-2.0
"""A signal ends a call that waits, if its handler raises, and no key is consumed by that."""

import contextlib
import itertools
import signal
import sys
import threading
import time

import pytest

import qkd004
from conftest import ALICE, BOB
from odd_manager import OddManager, octets


@contextlib.contextmanager
def alarm_in(seconds, handler):
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt(*_):
    raise KeyboardInterrupt


def empty(stream):
    """Takes what is there; returns how many."""
    count = 0
    with contextlib.suppress(qkd004.InsufficientKey):
        while True:
            stream.get_key(wait=False)
            count += 1
    return count


@pytest.mark.parametrize("how", ["get_key", "index", "take", "into", "next", "peer"])
def test_an_interrupt_ends_each_call_that_waits(sites, how):
    with sites[0].open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=60_000)) as at_a:
        taken = 0 if how == "peer" else empty(at_a)
        call = {
            "get_key": at_a.get_key,
            "index": lambda: at_a[taken],
            "take": lambda: at_a.take(2),
            "into": lambda: at_a.get_keys_into(bytearray(64)),
            "next": lambda: next(at_a),
            "peer": lambda: at_a.wait_for_peer(60),
        }[how]
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt), alarm_in(0.05, interrupt):
            call()
        assert time.monotonic() - begin < 10
        with sites[1].open_connect(ALICE, BOB, key_stream_id=at_a.key_stream_id) as at_b:
            for index in range(taken):
                at_b.get_key()
            key = at_a.get_key()
            assert key.index == taken, "the interrupted call consumed a key"
            assert key == at_b.get_key()


def test_an_interrupt_in_the_middle_of_take_keeps_what_was_taken(open_pair):
    at_a, at_b = open_pair(qkd004.QoS(timeout_ms=60_000))
    with pytest.raises(KeyboardInterrupt), alarm_in(0.05, interrupt):
        at_a.take(100_000)  # more than a window: waits for the other side
    again = at_a.take(20)
    assert [k.index for k in again] == list(range(20))
    assert [k.index for k in (at_a[30], at_a.get_key(), at_a.get_key(21))] == [30, 20, 21]
    buffer = bytearray(64)
    first, count = at_a.get_keys_into(buffer)
    assert first == 22 and count == 1
    octets = [bytes(at_b.get_key()) for _ in range(31)]
    assert all(key == octets[key.index] for key in again)
    assert buffer[:32] == octets[22]
    assert [at_a.get_key().index for _ in range(8)] == [23, 24, 25, 26, 27, 28, 29, 31]


@pytest.mark.parametrize("how", ["get_key", "take", "into"])
def test_a_key_that_comes_in_the_moment_of_the_interrupt_is_kept(open_pair, how):
    at_a, at_b = open_pair(qkd004.QoS(timeout_ms=60_000))
    taken = empty(at_a)

    class Stop(Exception):
        pass

    def stop(*_):
        at_b.take(taken)  # makes room for what at_a waits for
        at_b.get_key()
        raise Stop

    buffer = bytearray(64)
    call = {"get_key": at_a.get_key, "take": lambda: at_a.take(1), "into": lambda: at_a.get_keys_into(buffer)}[how]
    with pytest.raises(Stop), alarm_in(0.05, stop):
        call()
    assert buffer == bytes(64), "the buffer has a key that was not handed over"
    key = at_a.get_key()
    assert key.index == taken, "the interrupted call consumed a key"
    assert at_a.get_key() == at_b.get_key(taken + 1)


def test_a_key_for_which_there_is_no_place_is_returned_in_spite_of_the_interrupt(monkeypatch):
    large = qkd004.QoS(key_chunk_size=16_384, timeout_ms=60_000)
    a, b = qkd004.pair(memory_bytes=4 << 20)
    with a, b:
        at_a = a.open_connect(ALICE, BOB, large)
        at_b = b.open_connect(ALICE, BOB, large, at_a.key_stream_id)
        more_a = a.open_connect(ALICE, BOB, qkd004.QoS(key_chunk_size=16_384, timeout_ms=100))
        more_b = b.open_connect(ALICE, BOB, more_a.qos, more_a.key_stream_id)
        buffer = bytearray(16_384)
        held, theirs, reported = [], [], []

        class Stop(Exception):
            pass

        def stop(*_):
            left = taken
            while left:  # makes room for what at_a waits for
                left -= at_b.get_keys_into(bytearray(16_384 * left))[1]
            theirs.append(at_b.get_key())
            with pytest.raises(qkd004.ResourceLimit):
                while True:
                    held.append(more_a.get_key())
                    more_b.get_key()
            raise Stop

        monkeypatch.setattr(sys, "unraisablehook", lambda u: reported.append(u.exc_type))
        taken = 0
        with alarm_in(0.3, stop):
            while not theirs:
                assert at_a.get_keys_into(buffer) == (taken, 1)
                taken += 1
        assert reported == [Stop]
        assert theirs[0].index == taken - 1 and theirs[0] == buffer


@contextlib.contextmanager
def interrupted_take(count, **odd):
    """A stream that keeps so many keys for the next call, since a signal ended the one that took them."""

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    me = threading.get_ident()
    try:
        with OddManager(give=count, starved=lambda: signal.pthread_kill(me, signal.SIGUSR1), **odd) as manager:
            with qkd004.connect(manager.uri) as km:
                stream = km.open_connect(ALICE, BOB)
                with pytest.raises(Stop):
                    stream.take(10)
                yield manager, stream
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_close_that_fails_keeps_what_an_interrupted_call_took():
    with interrupted_take(3, closes=[False, True]) as (manager, stream):
        with pytest.raises(qkd004.TransportError):
            stream.close()
        assert not stream.closed
        assert [(k.index, bytes(k)) for k in stream.take(3)] == [(i, octets(i)) for i in range(3)]
        stream.close()
        assert stream.closed and manager.closed.is_set()


def test_detach_loses_nothing_that_an_interrupted_call_took():
    with interrupted_take(3) as (manager, stream):
        with pytest.raises(qkd004.InvalidArgument):
            stream.detach()
        assert not stream.closed
        assert [k.index for k in stream.take(3)] == [0, 1, 2]
        stream.detach()
        assert stream.closed and not manager.closed.is_set()


def test_an_interrupt_ends_open_connect(sites):
    import uuid

    wait = qkd004.QoS(timeout_ms=60_000)
    with pytest.raises(KeyboardInterrupt), alarm_in(0.05, interrupt):
        sites[0].open_connect(ALICE, BOB, wait, uuid.uuid4())


def test_a_handler_that_does_not_raise_does_not_end_the_call(sites):
    called = []
    with sites[0].open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=400)) as stream:
        empty(stream)
        with pytest.raises(qkd004.QKDTimeout), alarm_in(0.05, lambda *_: called.append(1)):
            stream.get_key()
    assert called == [1]


def test_a_handler_may_close_the_stream(sites):
    stream = sites[0].open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=60_000))
    empty(stream)
    with pytest.raises(qkd004.Closed), alarm_in(0.05, lambda *_: stream.close()):
        stream.get_key()


def test_no_key_is_lost_when_interrupts_rain(open_pair):
    """Interrupts at any moment, also that in which a key has come: each key is got once."""
    at_a, at_b = open_pair(qkd004.QoS(timeout_ms=60_000))
    end = threading.Event()
    theirs = []
    reader = threading.Thread(target=lambda: [theirs.append(at_b.get_key()) or end.wait(0.0002) for _ in range(2_800)])

    class Stop(Exception):
        pass

    armed = False

    def stop(*_):
        nonlocal armed
        if armed:
            armed = False
            raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    reader.start()
    mine, stops = [], 0
    try:
        while len(mine) < 2_800:
            try:
                armed = True
                # no bytecode runs between a key's return and its place in the list: only get_key() sees to signals
                mine.extend(itertools.islice(iter(at_a.get_key, None), 2_800 - len(mine)))
                armed = False
            except Stop:
                armed = False
                stops += 1
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    reader.join()
    assert stops > 0
    assert sorted(k.index for k in mine) == list(range(2_800)), "a key was lost, or came twice"
    by_index = {k.index: k for k in theirs}
    assert all(k == by_index[k.index] for k in mine)
