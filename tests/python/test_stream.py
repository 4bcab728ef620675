# SPDX-License-Identifier: Apache-2.0
"""Client and KeyStream."""

import gc
import threading
import time
import uuid
import weakref

import pytest

import qkd004
from conftest import ALICE, BOB


def test_get_key_by_index_in_any_order(streams):
    at_a, at_b = streams
    keys = [at_a.get_key() for _ in range(5)]
    for index in (3, 0, 4, 1, 2):
        assert at_b[index] == keys[index]
    with pytest.raises(qkd004.IndexNotAvailable) as gone:
        at_b.get_key(index=3)
    assert isinstance(gone.value, IndexError)
    assert gone.value.status == qkd004.Status.INDEX_NOT_AVAILABLE
    assert at_b.get_key(5).index == 5


def test_take_gives_as_many_as_were_asked_for(streams):
    at_a, at_b = streams
    assert streams[0].take(0) == []
    keys = [k for k in at_a.take(10)]
    assert [k.index for k in keys] == list(range(10))
    assert all(x == y for x, y in zip(keys, at_b.take(10)))


def test_take_more_than_a_ring_holds(streams):
    at_a, at_b = streams
    got = []
    reader = threading.Thread(target=lambda: got.extend(at_b.take(1500)))
    reader.start()
    keys = at_a.take(1500)
    reader.join()
    assert [k.index for k in keys] == list(range(1500)) == [k.index for k in got]
    assert all(x == y for x, y in zip(keys, got))


def test_take_returns_what_came_before_the_timeout(open_pair):
    at_a, _ = open_pair(qkd004.QoS(timeout_ms=50))
    # the other side reads nothing: after one window there are no more
    keys = at_a.take(100_000)
    assert 0 < len(keys) < 100_000
    assert [k.index for k in keys] == list(range(len(keys)))
    with pytest.raises(qkd004.QKDTimeout) as late:
        at_a.take(1)
    assert isinstance(late.value, TimeoutError)
    assert late.value.status == qkd004.Status.TIMEOUT == 6


def test_without_wait_the_answer_comes_at_once(open_pair):
    at_a, at_b = open_pair(qkd004.QoS(timeout_ms=50))
    taken = len(at_a.take(100_000))
    with pytest.raises(qkd004.InsufficientKey) as none:
        at_a.get_key(wait=False)
    assert none.value.status == 2
    with pytest.raises(qkd004.InsufficientKey):
        at_a.get_key(taken, wait=False)
    at_b.take(taken)
    assert at_a.get_key().index == taken


def test_keys_into_a_buffer(streams):
    at_a, at_b = streams
    buffer = bytearray(32 * 8 + 5)
    first, count = at_a.get_keys_into(buffer)
    assert first == 0 and 1 <= count <= 8
    for i in range(count):
        assert at_b.get_key(i) == buffer[32 * i : 32 * i + 32]
    assert at_a.get_keys_into(memoryview(bytearray(32))) == (count, 1)


def test_iteration_ends_with_the_stream(streams):
    indices = []
    for key in streams[0]:
        indices.append(key.index)
        if len(indices) == 5:
            streams[0].close()
    assert indices == list(range(5))


def test_key_streams_are_uuids_and_may_be_predefined(sites):
    mine = uuid.uuid4()
    with sites[0].open_connect(ALICE, BOB, key_stream_id=mine, wait=False) as at_a:
        assert at_a.key_stream_id == mine
        assert at_a.status == qkd004.Status.PEER_NOT_CONNECTED
        with sites[1].open_connect(ALICE, BOB, key_stream_id=mine) as at_b:
            assert at_b.status == qkd004.Status.SUCCESS
            at_a.wait_for_peer()
            assert at_a.get_key() == at_b.get_key()


def test_wait_for_peer_times_out(sites):
    with sites[0].open_connect(ALICE, BOB) as stream:
        with pytest.raises(qkd004.QKDTimeout):
            stream.wait_for_peer(timeout=0.02)
        with pytest.raises(qkd004.QKDTimeout):
            stream.wait_for_peer(0)


def test_wait_for_peer_ends_when_the_peer_comes(sites):
    with sites[0].open_connect(ALICE, BOB) as at_a:
        done = []
        waiter = threading.Thread(target=lambda: done.append(at_a.wait_for_peer(30)))
        waiter.start()
        with sites[1].open_connect(ALICE, BOB, key_stream_id=at_a.key_stream_id):
            waiter.join(30)
        assert done == [None]


def test_qos_is_granted_or_countered(sites):
    asked = qkd004.QoS(key_chunk_size=64, timeout_ms=100, ttl_s=7, metadata_mimetype="application/json")
    with sites[0].open_connect(ALICE, BOB, asked) as stream:
        assert stream.qos.key_chunk_size == 64
        assert stream.qos.timeout_ms == 100
        assert stream.qos.ttl_s == 7
        assert stream.qos.max_bps > 0
    with pytest.raises(qkd004.QoSNotMet) as refused:
        sites[0].open_connect(ALICE, BOB, qkd004.QoS(key_chunk_size=1 << 20))
    assert refused.value.status == 7
    counter = refused.value.counter_proposal
    assert counter.key_chunk_size == 65536
    with sites[0].open_connect(ALICE, BOB, counter) as stream:
        assert stream.qos == counter


def test_a_stream_in_use(sites):
    with sites[0].open_connect(ALICE, BOB) as stream:
        ksid = stream.key_stream_id
    with pytest.raises(qkd004.KeyStreamInUse) as refused:
        sites[0].open_connect(ALICE, BOB, key_stream_id=ksid)
    assert refused.value.status == 5


def test_no_link(sites):
    with pytest.raises(qkd004.NoQKDConnection) as refused:
        sites[0].open_connect(ALICE, "qkd://carol@C")
    assert refused.value.status == 4


def test_a_newer_open_connect_fences_off_the_older(sites):
    with sites[0].open_connect(ALICE, BOB) as older:
        older.get_key()
        with sites[0].open_connect(ALICE, BOB, key_stream_id=older.key_stream_id) as newer:
            with pytest.raises(qkd004.NotAuthorized):
                older.get_key()
            assert newer.get_key().index == 1
            older.detach()


def test_strict_once(open_pair):
    at_a, at_b = open_pair(strict_once=True)
    assert at_a.get_key() == at_b.get_key()


def test_detach_lets_the_stream_live(sites):
    stream = sites[0].open_connect(ALICE, BOB)
    ksid = stream.key_stream_id
    stream.get_key()
    stream.detach()
    assert stream.closed
    with sites[0].open_connect(ALICE, BOB, key_stream_id=ksid) as again:
        assert again.get_key().index == 1


def test_a_stream_that_goes_is_closed(sites):
    stream = sites[0].open_connect(ALICE, BOB)
    ksid, alive = stream.key_stream_id, weakref.ref(stream)
    del stream
    gc.collect()
    assert alive() is None
    with pytest.raises(qkd004.KeyStreamInUse):  # a closed KSID does not come back
        sites[0].open_connect(ALICE, BOB, key_stream_id=ksid)


def test_close_of_the_client_closes_its_streams(sites):
    stream = sites[0].open_connect(ALICE, BOB)
    sites[0].close()
    sites[0].close()
    assert stream.closed
    with pytest.raises(qkd004.Closed):
        sites[0].open_connect(ALICE, BOB)
    with pytest.raises(qkd004.Closed):
        sites[0].report()
    with pytest.raises(qkd004.Closed):
        sites[0].__enter__()


def test_everything_after_close_is_an_error(streams):
    stream = streams[0]
    stream.close()
    stream.close()
    stream.detach()
    for use in (
        stream.get_key,
        stream.__enter__,
        stream.wait_for_peer,
        lambda: stream[0],
        lambda: stream.take(1),
        lambda: stream.prefetch(1),
        lambda: stream.get_keys_into(bytearray(32)),
    ):
        with pytest.raises(qkd004.Closed) as refused:
            use()
        assert isinstance(refused.value, ValueError)
    assert list(stream) == []
    assert stream.qos.key_chunk_size == 32
    assert "closed" in repr(stream)


@pytest.mark.parametrize("how", ["get_key", "take", "into", "next", "peer"])
def test_close_from_another_thread_ends_a_call_that_waits(sites, how):
    stream = sites[0].open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=60_000))
    while how != "peer":
        try:
            stream.get_key(wait=False)
        except qkd004.InsufficientKey:
            break
    waits = {
        "get_key": stream.get_key,
        "take": lambda: stream.take(1),
        "into": lambda: stream.get_keys_into(bytearray(320)),
        "next": lambda: next(stream),
        "peer": stream.wait_for_peer,
    }[how]
    caught = []
    about_to = threading.Event()

    def wait():
        about_to.set()
        try:
            waits()
        except BaseException as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    about_to.wait()
    time.sleep(0)  # whether it waits already makes no difference to what must hold
    begin = time.monotonic()
    stream.close()
    waiter.join(30)
    assert time.monotonic() - begin < 20
    assert [type(e) for e in caught] in ([qkd004.Closed], [StopIteration])


def test_the_gil_is_free_while_a_call_waits(open_pair):
    at_a, _ = open_pair(qkd004.QoS(timeout_ms=300))
    at_a.take(100_000)
    counted = 0
    waiter = threading.Thread(target=lambda: pytest.raises(qkd004.QKDTimeout, at_a.get_key))
    waiter.start()
    while waiter.is_alive():
        counted += 1
    waiter.join()
    assert counted > 10_000


def test_eight_threads_get_no_key_twice(streams):
    at_a, at_b = streams
    each = 2_000
    got = [[] for _ in range(8)]
    octets = [{}, {}]
    failed = []

    def read(n):
        stream = (at_a, at_b)[n % 2]
        try:
            while len(got[n]) < each:
                if n < 4:
                    keys = [stream.get_key()]
                else:
                    keys = stream.take(min(16, each - len(got[n])))
                for key in keys:
                    got[n].append(key.index)
                    octets[n % 2][key.index] = bytes(key)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for side in (0, 1):
        indices = sorted(i for n in range(side, 8, 2) for i in got[n])
        assert indices == list(range(4 * each)), "a key came twice, or was lost"
    assert octets[0] == octets[1]


def test_arguments_of_pair():
    a, b = qkd004.pair(nodes=("left", "right"), rate_bps=1_000_000, memory_bytes=1 << 20)
    with a, b, a.open_connect("qkd://a@left", "qkd://b@right", qkd004.QoS(key_chunk_size=512)) as s:
        assert len(s.get_key()) == 512
    for wrong in (dict(rate_bps=-1), dict(memory_bytes=-1), dict(memory_bytes=10**30), dict(rate_bps=2**70)):
        with pytest.raises(qkd004.InvalidArgument):
            qkd004.pair(**wrong)
    for wrong in (dict(rate_bps="1"), dict(memory_bytes=None), dict(source=3), dict(source=(1, 2)), dict(nodes=(1, 2))):
        with pytest.raises(TypeError):
            qkd004.pair(**wrong)
    with pytest.raises(qkd004.ResourceLimit):
        qkd004.pair(memory_bytes=64)[0].open_connect(ALICE, BOB)
