# SPDX-License-Identifier: Apache-2.0
"""qkd004.aio: calls that are awaited, no thread that waits for a key, no key lost by cancellation."""

import asyncio
import contextlib
import gc
import os
import threading
import uuid
import weakref

import pytest

import qkd004
from qkd004 import aio
from conftest import ALICE, BOB
from odd_manager import OddManager, octets

PATIENT = qkd004.QoS(timeout_ms=30_000)


def run(main):
    """Runs a coroutine in a loop of its own, in debug mode; nothing may be left behind."""

    async def checked():
        threads = threading.active_count()
        await asyncio.wait_for(main(), 60)
        assert threading.active_count() <= threads + 2  # the executor's, which connected

    asyncio.run(checked(), debug=True)


@contextlib.asynccontextmanager
async def both(qos=None, **more):
    a, b = await aio.pair()
    async with a, b, a.open_connect(ALICE, BOB, qos, **more) as at_a:
        async with b.open_connect(ALICE, BOB, qos, at_a.key_stream_id, **more) as at_b:
            yield at_a, at_b


@contextlib.asynccontextmanager
async def both_over_tcp(served, **more):
    a, b = served
    async with aio.connect(a.addresses[0]) as at_a, aio.connect(b.addresses[0]) as at_b:
        async with at_a.open_connect(ALICE, BOB, PATIENT, **more) as s:
            async with at_b.open_connect(ALICE, BOB, PATIENT, s.key_stream_id, **more) as t:
                yield s, t


def test_keys_are_equal():
    async def main():
        async with both() as (at_a, at_b):
            assert at_b.status == qkd004.Status.SUCCESS
            assert at_a.qos.key_chunk_size == 32
            await at_a.wait_for_peer()
            for _ in range(200):
                key = await at_a.get_key()
                assert isinstance(key, qkd004.Key)
                assert key == await at_b.get_key(key.index)
            assert [k.index for k in await at_a.take(100)] == list(range(200, 300))
            count = 0
            async for key in at_b:
                assert key.index == 200 + count
                count += 1
                if count == 50:
                    break

    run(main)


def test_keys_over_tcp(served):
    async def main():
        async with both_over_tcp(served) as (s, t):
            keys = await s.take(100)
            assert [k.index for k in keys] == list(range(100))
            for key in keys:
                assert key == await t.get_key()
            t.prefetch(32)
            assert [(await t.get_key()).index for _ in range(50)] == list(range(100, 150))

    run(main)


def test_many_at_once_each_get_a_key_of_their_own(served):
    async def main():
        async with both_over_tcp(served) as (s, t):
            # also while there are none yet, which a key manager does not let all of them wait for
            keys = await asyncio.gather(*(s.get_key() for _ in range(100)))
            assert sorted(k.index for k in keys) == list(range(100))
            by_index = {k.index: k for k in keys}
            for _ in range(100):
                other = await t.get_key()
                assert other == by_index[other.index]

    run(main)


def test_the_loop_goes_on_while_a_call_waits():
    async def main():
        async with both(qkd004.QoS(timeout_ms=300)) as (at_a, _):
            await at_a.take(100_000)
            turns = 0
            waits = asyncio.ensure_future(at_a.get_key())
            while not waits.done():
                turns += 1
                await asyncio.sleep(0)
            with pytest.raises(qkd004.QKDTimeout):
                await waits
            assert turns > 100

    run(main)


def test_without_wait():
    async def main():
        async with both(qkd004.QoS(timeout_ms=100)) as (at_a, _):
            taken = len(await at_a.take(100_000))
            assert taken > 0
            with pytest.raises(qkd004.InsufficientKey):
                await at_a.get_key(wait=False)
            with pytest.raises(qkd004.InvalidArgument):
                await at_a.get_key(taken, wait=False)

    run(main)


def test_errors_are_those_of_the_blocking_calls():
    async def main():
        a, b = await aio.pair()
        async with a, b:
            with pytest.raises(qkd004.QoSNotMet) as refused:
                await a.open_connect(ALICE, BOB, qkd004.QoS(key_chunk_size=1 << 20))
            assert refused.value.counter_proposal.key_chunk_size == 65536
            with pytest.raises(qkd004.NoQKDConnection):
                await a.open_connect(ALICE, "qkd://x@Z")
            for wrong in (dict(source=3), dict(destination=None), dict(qos="q"), dict(key_stream_id="i")):
                with pytest.raises(TypeError):
                    await a.open_connect(**{"source": ALICE, "destination": BOB, **wrong})
            async with a.open_connect(ALICE, BOB) as stream:
                await stream.get_key()
                with pytest.raises(qkd004.IndexNotAvailable):
                    await stream.get_key(0)
                for wrong in (-1, 2**32, 10**30):
                    with pytest.raises(qkd004.InvalidArgument):
                        await stream.get_key(wrong)
                    with pytest.raises(qkd004.InvalidArgument):
                        await stream.take(wrong)
                for wrong in ("1", 1.5):
                    with pytest.raises(TypeError):
                        await stream.get_key(wrong)
                    with pytest.raises(TypeError):
                        await stream.take(wrong)
                with pytest.raises(qkd004.QKDTimeout):
                    await stream.wait_for_peer(0.01)
                assert (await stream.get_key()).index == 1
        for wrong in (3, None, object()):
            with pytest.raises(TypeError):
                aio.connect(wrong)
        with pytest.raises(qkd004.TransportError):
            await aio.connect("unix:/nonexistent/socket")

    run(main)


def test_after_close():
    async def main():
        a, b = await aio.pair()
        async with a, b:
            stream = await a.open_connect(ALICE, BOB)
            await stream.close()
            await stream.close()
            stream.detach()
            for use in (stream.get_key, stream.wait_for_peer, lambda: stream.take(1), stream.__aenter__):
                with pytest.raises(qkd004.Closed):
                    await use()
            assert [k async for k in stream] == []
            with pytest.raises(qkd004.KeyStreamInUse):
                await a.open_connect(ALICE, BOB, key_stream_id=stream.key_stream_id)
            kept = await a.open_connect(ALICE, BOB)
        assert a.closed and kept.closed
        await a.close()
        with pytest.raises(qkd004.Closed):
            await a.open_connect(ALICE, BOB)

    run(main)


def test_close_ends_a_call_that_waits():
    async def main():
        async with both(PATIENT) as (at_a, _):
            with contextlib.suppress(qkd004.InsufficientKey):
                while True:
                    await at_a.get_key(wait=False)
            waits = [asyncio.ensure_future(c) for c in (at_a.get_key(), at_a.take(3))]
            await asyncio.sleep(0)
            await at_a.close()
            for call in waits:
                with pytest.raises(qkd004.Closed):
                    await call

    run(main)


def test_cancelled_calls_consume_no_key():
    async def main():
        async with both(PATIENT) as (at_a, at_b):
            taken = 0
            with contextlib.suppress(qkd004.InsufficientKey):
                while True:
                    await at_a.get_key(wait=False)
                    taken += 1
            for what in (lambda: at_a.get_key(), lambda: at_a.take(5), lambda: at_a.get_key(taken + 2)):
                task = asyncio.ensure_future(what())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await at_b.take(taken)
            assert [k.index for k in await at_a.take(10)] == list(range(taken, taken + 10))

    run(main)


@contextlib.asynccontextmanager
async def starving(take, **odd):
    """A stream at a manager that gives so many keys; ``starved`` is set when another was asked for."""
    loop, starved = asyncio.get_running_loop(), asyncio.Event()
    with OddManager(give=take, starved=lambda: loop.call_soon_threadsafe(starved.set), **odd) as manager:
        async with aio.connect(manager.uri) as km:
            yield manager, await km.open_connect(ALICE, BOB), starved


async def take_some_and_cancel(stream, starved):
    """take() that got what there is and waits for more, cancelled."""
    task = asyncio.ensure_future(stream.take(10))
    await starved.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_take_that_is_cancelled_half_way_keeps_what_it_has():
    async def main():
        async with starving(5) as (_, stream, starved):
            await take_some_and_cancel(stream, starved)
            key = await stream.get_key(3)
            assert (key.index, bytes(key)) == (3, octets(3))
            assert [(k.index, bytes(k)) for k in await stream.take(4)] == [(i, octets(i)) for i in (0, 1, 2, 4)]

    run(main)


def test_a_close_that_fails_keeps_what_a_cancelled_call_took():
    async def main():
        async with starving(3, closes=[False, True]) as (manager, stream, starved):
            await take_some_and_cancel(stream, starved)
            with pytest.raises(qkd004.TransportError):
                await stream.close()
            assert not stream.closed
            assert [(k.index, bytes(k)) for k in await stream.take(3)] == [(i, octets(i)) for i in range(3)]
            await stream.close()
            assert stream.closed and manager.closed.is_set()

    run(main)


def test_detach_loses_nothing_that_a_cancelled_call_took():
    async def main():
        async with starving(3) as (manager, stream, starved):
            await take_some_and_cancel(stream, starved)
            with pytest.raises(qkd004.InvalidArgument):
                stream.detach()
            assert not stream.closed
            assert [k.index for k in await stream.take(3)] == [0, 1, 2]
            stream.detach()
            assert stream.closed and not manager.closed.is_set()

    run(main)


def test_the_end_of_the_client_ends_calls_of_no_open_stream():
    """An OPEN_CONNECT that waits for the peer, and a call of a stream that was detached."""

    async def main():
        a, b = await aio.pair()
        async with b:
            opening = asyncio.ensure_future(_await(a.open_connect(ALICE, BOB, PATIENT, uuid.uuid4())))
            stream = await a.open_connect(ALICE, BOB, PATIENT)
            detached = asyncio.ensure_future(stream.get_key(100_000))
            await asyncio.sleep(0)
            stream.detach()
            await a.close()
            for task in (opening, detached):
                with pytest.raises(qkd004.Closed):
                    await asyncio.wait_for(task, 10)
            with pytest.raises(qkd004.Closed):
                await a.open_connect(ALICE, BOB)

    run(main)


def test_the_end_of_the_client_ends_calls_over_a_network():
    async def main():
        async with starving(1) as (_, stream, starved):
            tasks = [asyncio.ensure_future(stream.get_key()) for _ in range(3)]
            await starved.wait()
            stream.detach()
            stream._way.close()
            got = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
            assert [type(g) for g in got] == [qkd004.Key, qkd004.Closed, qkd004.Closed]

    run(main)


def test_prefetch_while_a_call_waits():
    async def main():
        async with starving(0) as (_, stream, starved):
            waits = asyncio.ensure_future(stream.get_key())
            await starved.wait()
            with pytest.raises(qkd004.InvalidArgument):
                stream.prefetch(3)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            stream.prefetch(3)

    run(main)


def test_without_wait_while_as_many_wait_as_may():
    async def main():
        async with starving(0) as (_, stream, starved):
            waits = [asyncio.ensure_future(stream.get_key()) for _ in range(32)]
            await starved.wait()
            with pytest.raises(qkd004.InsufficientKey):
                await asyncio.wait_for(stream.get_key(wait=False), 10)
            assert not any(w.done() for w in waits)
            await stream.close()
            for call in waits:
                with pytest.raises(qkd004.Closed):
                    await call

    run(main)


def test_a_stream_that_goes_is_closed():
    async def main():
        with OddManager() as manager:
            async with aio.connect(manager.uri) as km:
                stream = await km.open_connect(ALICE, BOB)
                assert bytes(await stream.get_key()) == octets(0)
                gone = weakref.ref(stream)
                del stream
                gc.collect()
                assert gone() is None, "its client keeps it"
                closed = asyncio.get_running_loop().run_in_executor(None, manager.closed.wait, 10)
                assert await closed

    run(main)


@pytest.mark.parametrize("vendor", [b'{"x_a": "\xff"}', b"[1]", b"\0", b"{", b"[" * 3_000])
def test_metadata_that_are_none_cost_no_key(vendor):
    async def main():
        with OddManager(vendor=vendor) as manager:
            async with aio.connect(manager.uri) as km, km.open_connect(ALICE, BOB, vendor_metadata=True) as stream:
                for index in range(2):
                    key = await asyncio.wait_for(stream.get_key(), 10)
                    assert (key.index, bytes(key)) == (index, octets(index))
                    with pytest.raises(qkd004.ProtocolError):
                        key.metadata

    run(main)


def test_a_mimetype_that_is_no_text():
    async def main():
        with OddManager(mimetype=b"\xff") as manager:
            async with aio.connect(manager.uri) as km:
                with pytest.raises(qkd004.ProtocolError):
                    await asyncio.wait_for(_await(km.open_connect(ALICE, BOB)), 10)
                closed = asyncio.get_running_loop().run_in_executor(None, manager.closed.wait, 10)
                assert await closed

    run(main)


@pytest.mark.parametrize("where", ["pair", "tcp", "tcp, strict once"])
def test_no_key_is_lost_or_doubled_by_cancellation(served, where):
    """Calls are cancelled after any number of turns of the loop; in the end each index was got once, with equal octets."""

    async def main():
        more = {"strict_once": True} if "strict" in where else {}
        open_both = both(PATIENT) if where == "pair" else both_over_tcp(served, **more)
        async with open_both as (at_a, at_b):
            got, cancelled, wanted = {}, 0, 400
            theirs = {}

            async def other():
                while len(theirs) < wanted:
                    key = await at_b.get_key()
                    theirs[key.index] = bytes(key)

            reader = asyncio.ensure_future(other())
            turn = 0
            while len(got) < wanted - 50:
                turn += 1
                task = asyncio.ensure_future(at_a.get_key() if turn % 3 else at_a.take(4))
                for _ in range(turn % 17):
                    await asyncio.sleep(0)
                if turn % 4:
                    task.cancel()
                try:
                    keys = await task
                except asyncio.CancelledError:
                    cancelled += 1
                    continue
                for key in keys if isinstance(keys, list) else [keys]:
                    assert key.index not in got, "a key came twice"
                    got[key.index] = bytes(key)
            while set(range(max(got))) - set(got):
                key = await asyncio.wait_for(at_a.get_key(), 10)
                assert key.index not in got
                got[key.index] = bytes(key)
            await at_a.take(max(0, wanted - max(got) - 1))
            await reader
            assert cancelled > 20
            assert all(theirs[i] == octets for i, octets in got.items() if i in theirs)

    run(main)


def test_a_timeout_of_asyncio():
    async def main():
        async with both(PATIENT) as (at_a, at_b):
            taken = 0
            with contextlib.suppress(qkd004.InsufficientKey):
                while True:
                    await at_a.get_key(wait=False)
                    taken += 1
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(at_a.get_key(), 0.05)
            await at_b.take(taken)
            assert (await at_a.get_key()).index == taken

    run(main)


def test_a_cancelled_open_connect():
    async def main():
        a, b = await aio.pair()
        async with a, b:
            opening = asyncio.ensure_future(_await(a.open_connect(ALICE, BOB, PATIENT, uuid.uuid4())))
            await asyncio.sleep(0.02)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            async with a.open_connect(ALICE, BOB) as stream:
                assert (await stream.get_key()).index == 0

    run(main)


async def _await(what):
    return await what


def test_a_server_that_is_gone(served):
    async def main():
        a, _ = served
        km = await aio.connect(a.addresses[0])
        stream = await km.open_connect(ALICE, BOB, PATIENT)
        await stream.get_key()
        await asyncio.get_running_loop().run_in_executor(None, a.close)
        with pytest.raises(qkd004.QKDError):
            await stream.get_key()
        with pytest.raises(qkd004.QKDError):
            await km.close()
        assert km.closed

    run(main)


def test_metadata_say_where_keys_come_from(served):
    async def main():
        async with both_over_tcp(served, vendor_metadata=True) as (s, _):
            members = (await s.get_key()).metadata
            assert members["x_security_class"] == "simulated-insecure"
            assert 0 < members["x_qber"] < 0.1
            assert len(await s.take(3)) == 3

    run(main)


def test_fork():
    async def main():
        async with both() as (at_a, _):
            await at_a.get_key()
            pid = os.fork()
            if pid == 0:
                try:
                    at_a._stream.get_key(None, True, print)
                except qkd004.Closed:
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0
            assert (await at_a.get_key()).index == 1

    run(main)


def test_a_loop_that_ends_with_calls_that_wait():
    """asyncio.run() cancels what is left; nothing hangs and nothing crashes."""

    async def main():
        a, b = await aio.pair()
        stream = await a.open_connect(ALICE, BOB, PATIENT)
        await stream.take(10)
        for _ in range(5):
            asyncio.ensure_future(stream.get_key(10_000))
        await asyncio.sleep(0)
        main.kept = a, b, stream

    asyncio.run(main())
    del main.kept
