# SPDX-License-Identifier: Apache-2.0
"""What callers do that they should not: an exception each, no crash, no key lost."""

import array
import signal
import sys
import threading
import uuid

import pytest

import qkd004
from conftest import ALICE, BOB, run


WRONG_TYPES = [
    lambda s: s.get_key("0"),
    lambda s: s.get_key(0.5),
    lambda s: s.get_key(1, 2),
    lambda s: s.get_key(index=1, other=2),
    lambda s: s.get_key(1, index=1),
    lambda s: s[None],
    lambda s: s["0"],
    lambda s: s[1:2],
    lambda s: s.take(),
    lambda s: s.take(None),
    lambda s: s.take("3"),
    lambda s: s.take(1.0),
    lambda s: s.get_keys_into(None),
    lambda s: s.get_keys_into("text"),
    lambda s: s.get_keys_into(32),
    lambda s: s.prefetch(None),
    lambda s: s.wait_for_peer("1"),
    lambda s: s.wait_for_peer(1, 2),
    lambda s: s.wait_for_peer(seconds=1),
    lambda s: type(s)(),
    lambda s: object.__new__(type(s)),
]

OUT_OF_RANGE = [
    lambda s: s.get_key(-1),
    lambda s: s.get_key(2**32 - 1),
    lambda s: s.get_key(2**64),
    lambda s: s.get_key(10**100),
    lambda s: s[-1],
    lambda s: s.take(-1),
    lambda s: s.take(10**30),
    lambda s: s.prefetch(-1),
    lambda s: s.prefetch(2**32),
    lambda s: s.wait_for_peer(-1),
    lambda s: s.wait_for_peer(float("nan")),
    lambda s: s.wait_for_peer(1e30),
    lambda s: s.get_keys_into(bytearray()),
    lambda s: s.get_keys_into(bytearray(31)),
]


@pytest.mark.parametrize("n", range(len(WRONG_TYPES)))
def test_wrong_types_of_a_stream(streams, n):
    with pytest.raises(TypeError):
        WRONG_TYPES[n](streams[0])
    assert streams[0].get_key().index == 0, "the call consumed a key"


@pytest.mark.parametrize("n", range(len(OUT_OF_RANGE)))
def test_numbers_out_of_range_and_buffers_too_small(streams, n):
    with pytest.raises(qkd004.InvalidArgument) as refused:
        OUT_OF_RANGE[n](streams[0])
    assert refused.value.status == qkd004.Status.INVALID_ARGUMENT
    assert streams[0].get_key().index == 0, "the call consumed a key"


@pytest.mark.parametrize(
    "buffer", [bytes(64), memoryview(bytes(64)), memoryview(bytearray(128))[::2], memoryview(b"")]
)
def test_buffers_that_cannot_be_written(streams, buffer):
    with pytest.raises((BufferError, TypeError, ValueError)):
        streams[0].get_keys_into(buffer)
    with pytest.raises((BufferError, TypeError)):
        streams[0].get_keys_into(streams[1].get_key())
    assert streams[0].get_key().index == 0, "the call consumed a key"


def test_a_buffer_far_too_large_and_one_of_other_items(streams):
    large = bytearray(10 << 20)
    first, count = streams[0].get_keys_into(large)
    assert first == 0 and count >= 1
    assert bytes(large[32 * count :]) == bytes(len(large) - 32 * count)
    streams[1].take(count)
    words = array.array("L", [0] * 8)
    again, few = streams[0].get_keys_into(words)
    assert again == count and few in (1, 2)
    assert streams[1][count] == words.tobytes()[:32]


URIS = [None, 3, b"qkd://alice@A", ["qkd://alice@A"], object()]


@pytest.mark.parametrize("uri", URIS)
def test_uris_of_wrong_types(sites, uri):
    for call in (
        lambda: sites[0].open_connect(uri, BOB),
        lambda: sites[0].open_connect(ALICE, uri),
        lambda: qkd004.connect(uri),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("uri", ["qkd://\ud800@A", "\udcff"])
def test_uris_that_are_not_unicode(sites, uri):
    for call in (
        lambda: sites[0].open_connect(uri, BOB),
        lambda: sites[0].open_connect(ALICE, uri),
        lambda: qkd004.connect(uri),
        lambda: qkd004.QoS(metadata_mimetype=uri),
        lambda: qkd004.serve({"node": uri}),
        lambda: qkd004.pair(nodes=(uri, "B")),
    ):
        with pytest.raises(UnicodeEncodeError):
            call()


@pytest.mark.parametrize("uri", ["", "qkd://a@A" * 1000, "no uri", "\0", "http://", "qkd004://", "qkd004://h:99999999"])
def test_uris_that_say_nothing(sites, uri):
    with pytest.raises(qkd004.QKDError):
        sites[0].open_connect(uri, BOB)
    with pytest.raises(qkd004.QKDError):
        qkd004.connect(uri)


def test_arguments_of_open_connect(sites):
    a = sites[0]
    for wrong in ("qos", 3, {"key_chunk_size": 32}):
        with pytest.raises(TypeError):
            a.open_connect(ALICE, BOB, wrong)
    for wrong in ("no uuid", str(uuid.uuid4()), 3, bytes(16)):
        with pytest.raises(TypeError):
            a.open_connect(ALICE, BOB, key_stream_id=wrong)
        with pytest.raises(TypeError):
            a.report(wrong)


@pytest.mark.parametrize("field", ["key_chunk_size", "max_bps", "min_bps", "jitter", "priority", "timeout_ms", "ttl_s"])
def test_fields_of_qos(field):
    for wrong in ("32", 1.5, None, b"1"):
        with pytest.raises(TypeError):
            qkd004.QoS(**{field: wrong})
    for wrong in (-1, 2**32, 10**40):
        with pytest.raises(qkd004.InvalidArgument):
            qkd004.QoS(**{field: wrong})
    with pytest.raises(TypeError):
        qkd004.QoS(metadata_mimetype=1)
    with pytest.raises(qkd004.InvalidArgument):
        qkd004.QoS(metadata_mimetype="x" * 256)
    with pytest.raises(AttributeError):
        qkd004.QoS().ttl_s = 3


def test_qos_that_skipped_its_checks(sites):
    qos = qkd004.QoS()
    object.__setattr__(qos, "ttl_s", 2**40)
    with pytest.raises(qkd004.InvalidArgument):
        sites[0].open_connect(ALICE, BOB, qos)
    object.__setattr__(qos, "ttl_s", None)
    with pytest.raises(TypeError):
        sites[0].open_connect(ALICE, BOB, qos)


def test_arguments_of_connect():
    nobody = "qkd004://127.0.0.1:9"
    for wrong in (dict(tls="cert"), dict(connect_timeout="5"), dict(connect_timeout=None), dict(memory_bytes="1")):
        with pytest.raises(TypeError):
            qkd004.connect(nobody, **wrong)
    for wrong in (dict(connect_timeout=0), dict(connect_timeout=float("inf")), dict(connect_timeout=float("nan"))):
        with pytest.raises(qkd004.InvalidArgument):
            qkd004.connect(nobody, **wrong)
    with pytest.raises(qkd004.InvalidArgument):  # without tls
        qkd004.connect("qkd004s://127.0.0.1:9")
    with pytest.raises(qkd004.InvalidArgument):  # plain TCP off loopback
        qkd004.connect("qkd004://192.0.2.1:9")


def test_software_links_that_cannot_be():
    for wrong in (dict(block_bits=1), dict(km=-1), dict(proof="none"), dict(qber_limit=2), dict(sampling="x"),
                  dict(intensities=[(1, 1)])):
        with pytest.raises(qkd004.InvalidArgument):
            qkd004.SoftwareLink(**wrong)
    for wrong in (dict(block_bits="many"), dict(km="far"), dict(proof=3), dict(block_bits=2**40), dict(km=None)):
        with pytest.raises(TypeError):
            qkd004.SoftwareLink(**wrong)
    link = qkd004.SoftwareLink(block_bits=65_536)
    qkd004.pair(link)
    with pytest.raises(qkd004.InvalidArgument):
        qkd004.pair(link)
    with pytest.raises(qkd004.InvalidArgument):
        qkd004.pair((link.alice, link.alice))


def test_the_statuses_are_those_of_the_library():
    from qkd004 import _qkd004

    assert set(_qkd004.statuses) == {int(s) for s in qkd004.Status}


def test_each_status_has_its_exception():
    from qkd004 import errors

    named = {
        qkd004.Status.INSUFFICIENT_KEY: qkd004.InsufficientKey,
        qkd004.Status.GET_KEY_PEER_NOT_CONNECTED: qkd004.PeerNotConnected,
        qkd004.Status.NO_QKD_CONNECTION: qkd004.NoQKDConnection,
        qkd004.Status.KSID_IN_USE: qkd004.KeyStreamInUse,
        qkd004.Status.TIMEOUT: qkd004.QKDTimeout,
        qkd004.Status.QOS_NOT_MET: qkd004.QoSNotMet,
        qkd004.Status.METADATA_SIZE_INSUFFICIENT: qkd004.MetadataTooSmall,
    }
    for status in qkd004.Status:
        error = errors._for_status(int(status), "said")
        assert isinstance(error, qkd004.QKDError)
        assert error.status == status
        assert str(error) == "said"
        assert type(error) is named.get(status, type(error))
    assert errors._for_status(999, "new").status == qkd004.Status.PROTOCOL_ERROR
    assert issubclass(qkd004.QKDTimeout, TimeoutError)
    failed = errors._for_errno(104, "")
    assert isinstance(failed, OSError) and failed.errno == 104


def test_fork():
    """A child gets an error from everything it inherited, and may start anew."""
    out = run(
        """
        import gc, os, sys, threading, qkd004
        a, b = qkd004.pair()
        stream = a.open_connect("qkd://a@A", "qkd://b@B", qkd004.QoS(timeout_ms=200))
        other = b.open_connect("qkd://a@A", "qkd://b@B", key_stream_id=stream.key_stream_id)
        key, same = stream.get_key(), other.get_key()
        # another thread is inside a call, and holds what locks there are, while this one forks
        end = threading.Event()
        def busy():
            while not end.is_set(): other.get_key(); stream.get_key()
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for t in threads: t.start()
        failures = []
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                def refused(use):
                    try: use()
                    except qkd004.Closed as e: return e.status == 1025
                    except BaseException as e: print(repr(e), file=sys.stderr)
                    return False
                ok = all(refused(u) for u in (
                    stream.get_key, lambda: stream.take(1), lambda: stream[0], lambda: next(stream),
                    lambda: stream.get_keys_into(bytearray(64)), stream.wait_for_peer, stream.__enter__,
                    lambda: memoryview(key), lambda: bytes(key), lambda: key.hex(), lambda: key == same,
                    lambda: len(key), lambda: a.open_connect("qkd://a@A", "qkd://b@B"), a.report))
                stream.close(); a.close(); key.close()
                del key, same, stream, other, a, b
                gc.collect()
                c, d = qkd004.pair()
                s = c.open_connect("qkd://a@A", "qkd://b@B")
                ok = ok and len(s.get_key()) == 32
                os._exit(0 if ok else 1)
            failures.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        end.set()
        for t in threads: t.join()
        assert stream.get_key() is not None and bytes(key) == bytes(same)
        print(sum(1 for f in failures if f))
        """
    )
    assert out.strip() == "0"


def test_fork_while_the_locked_memory_is_in_use_and_a_stream_has_no_place_left():
    """The child asks for nothing that another thread may have been holding: it would wait for ever."""
    out = run(
        """
        import os, signal, threading, qkd004
        a, b = qkd004.pair()
        small = qkd004.QoS(key_chunk_size=4096)
        stream = a.open_connect("qkd://a@A", "qkd://b@B", small)
        kept = stream.take(4)  # all of a slab
        end = threading.Event()
        def busy():
            while not end.is_set(): a.open_connect("qkd://a@A", "qkd://b@B").close()
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for t in threads: t.start()
        closed = 0
        for _ in range(150):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                try: stream.get_key()
                except qkd004.Closed: os._exit(0)
                os._exit(1)
            closed += os.waitpid(pid, 0)[1] == 0
        end.set()
        for t in threads: t.join()
        print(closed)
        """
    )
    assert out.strip() == "150"


def test_the_other_way_to_leave_a_process(streams):
    """At the end of a process with open streams, waiting threads and a server: no crash, no hang."""
    run(
        """
        import threading, qkd004
        a, b = qkd004.pair()
        stream = a.open_connect("qkd://a@A", "qkd://b@B", qkd004.QoS(timeout_ms=60000))
        keys = stream.take(3)
        server = qkd004.serve({"node": "A", "listen": ["qkd004://127.0.0.1:0"], "self_link": True})
        def wait():
            while True: stream.get_key()
        threading.Thread(target=wait, daemon=True).start()
        """
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the private module has another name")
def test_sub_interpreters_are_refused():
    out = run(
        """
        import sys
        try:
            import _xxsubinterpreters as sub
        except ImportError:
            print("refused: no such module here"); sys.exit()
        import qkd004
        id = sub.create()
        sub.run_string(id, '''
        try:
            import qkd004
        except ImportError as error:
            print("refused:", error)
        '''.replace("\\n        ", "\\n"))
        a, b = qkd004.pair()
        """
    )
    assert out.startswith("refused:")


def test_a_stop_before_the_key_was_handed_over(streams):
    """A signal's handler that raises, while keys are there: it comes after the call, which returns its key."""

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    seen = []
    try:
        for _ in range(200):
            streams[1].get_key()
            try:
                signal.raise_signal(signal.SIGUSR1)
                seen.append(streams[0].get_key().index)
            except Stop:
                seen.append(streams[0].get_key().index)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == list(range(len(seen)))
