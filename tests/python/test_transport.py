# SPDX-License-Identifier: Apache-2.0
"""Transports written in Python."""

import os
import threading
import uuid

import pytest

import qkd004
from qkd004 import CloseResponse, GetKeyRequest, GetKeyResponse, OpenConnectRequest, OpenConnectResponse, Status
from conftest import ALICE, BOB


class Toy(qkd004.Transport):
    """A key manager in one class, that keeps every key."""

    def __init__(self):
        self.requests = []
        self.keys = {}
        self.lock = threading.Lock()

    def call(self, request):
        with self.lock:
            self.requests.append(request)
            if isinstance(request, OpenConnectRequest):
                return OpenConnectResponse(
                    Status.SUCCESS, qkd004.QoS(key_chunk_size=request.qos.key_chunk_size or 32, timeout_ms=1000),
                    request.key_stream_id or uuid.uuid4(),
                )
            if isinstance(request, GetKeyRequest):
                key = self.keys.setdefault(request.index, os.urandom(32))
                return GetKeyResponse(index=request.index, key=key, age_ms=7, hops=2)
            return CloseResponse()


def test_keys_come_over_it():
    toy = Toy()
    with qkd004.connect(toy) as km, km.open_connect(ALICE, BOB, qkd004.QoS(priority=3)) as stream:
        key = stream.get_key()
        assert key == toy.keys[0]
        assert key.metadata == {"age": 7, "hops": 2}
        assert key.age == 0.007
        assert stream[5] == toy.keys[5]
        assert [k.index for k in stream.take(3)] == [1, 2, 3]
        buffer = bytearray(64)
        assert stream.get_keys_into(buffer)[0] == 4
    opened, closed = toy.requests[0], toy.requests[-1]
    assert (opened.source, opened.destination, opened.qos.priority) == (ALICE, BOB, 3)
    assert 0 < opened.timeout <= 10
    assert closed.key_stream_id == stream.key_stream_id
    assert isinstance(closed, qkd004.CloseRequest)


class Failing(Toy):
    """Fails GET_KEY once."""

    def __init__(self, failure):
        super().__init__()
        self.failure = failure

    def call(self, request):
        if isinstance(request, GetKeyRequest) and self.failure is not None:
            failure, self.failure = self.failure, None
            if isinstance(failure, BaseException):
                raise failure
            return failure
        return super().call(request)


@pytest.mark.parametrize(
    "failure", [ValueError("mine"), KeyboardInterrupt(), ConnectionResetError(104, "gone"), qkd004.NotAuthorized("no")]
)
def test_what_it_raises_the_caller_gets_and_no_key_is_lost(failure):
    with qkd004.connect(Failing(failure)) as km, km.open_connect(ALICE, BOB) as stream:
        with pytest.raises(type(failure)) as raised:
            stream.get_key()
        assert raised.value is failure
        assert stream.get_key().index == 0


@pytest.mark.parametrize(
    "answer, expected",
    [
        (None, TypeError),
        ("text", TypeError),
        (CloseResponse(), TypeError),
        (GetKeyResponse(key="text"), TypeError),
        (GetKeyResponse(key=None), TypeError),
        (GetKeyResponse(key=b""), qkd004.ProtocolError),
        (GetKeyResponse(key=bytes(31)), qkd004.ProtocolError),
        (GetKeyResponse(key=bytes(33)), qkd004.ProtocolError),
        (GetKeyResponse(key=bytes(1 << 20)), qkd004.ProtocolError),
        (GetKeyResponse(index=9, key=bytes(32)), qkd004.ProtocolError),
        (GetKeyResponse(index=-1, key=bytes(32)), qkd004.InvalidArgument),
        (GetKeyResponse(index=2**70, key=bytes(32)), qkd004.InvalidArgument),
        (GetKeyResponse(age_ms="old", key=bytes(32)), TypeError),
        (GetKeyResponse(Status.TIMEOUT), qkd004.QKDTimeout),
        (GetKeyResponse(Status.NO_QKD_CONNECTION), qkd004.NoQKDConnection),
        (GetKeyResponse(Status.GET_KEY_PEER_NOT_CONNECTED), qkd004.PeerNotConnected),
        (GetKeyResponse(Status.METADATA_SIZE_INSUFFICIENT, metadata_needed=40), qkd004.MetadataTooSmall),
        (GetKeyResponse(12345), qkd004.QKDError),
        (GetKeyResponse("0"), TypeError),
    ],
)
def test_answers_that_are_none(answer, expected):
    failing = Failing(None)
    with qkd004.connect(failing) as km, km.open_connect(ALICE, BOB) as stream:
        original = failing.call
        calls = []

        def call(request):
            if isinstance(request, GetKeyRequest) and not calls:
                calls.append(request)
                return answer
            return original(request)

        failing.call = call
        with pytest.raises(expected):
            stream.get_key()
        key = stream.get_key()
        assert key.index == 0 and key == failing.keys[0], "the failure consumed a key"


@pytest.mark.parametrize("answered, needed", [(40, 40), (0, None)])
def test_metadata_that_need_more_room_say_how_much(answered, needed):
    answer = GetKeyResponse(Status.METADATA_SIZE_INSUFFICIENT, metadata_needed=answered)
    with qkd004.connect(Failing(answer)) as km, km.open_connect(ALICE, BOB) as stream:
        with pytest.raises(qkd004.MetadataTooSmall) as small:
            stream.get_key()
        assert small.value.needed == needed
        assert stream.get_key().index == 0


@pytest.mark.parametrize(
    "answer, expected",
    [
        (None, TypeError),
        (OpenConnectResponse(), TypeError),
        (OpenConnectResponse(key_stream_id="no"), TypeError),
        (OpenConnectResponse(qos=None, key_stream_id=uuid.uuid4()), TypeError),
        (OpenConnectResponse(key_stream_id=uuid.uuid4()), qkd004.ProtocolError),
        (OpenConnectResponse(Status.QOS_NOT_MET, qkd004.QoS(ttl_s=9)), qkd004.QoSNotMet),
        (OpenConnectResponse(Status.KSID_IN_USE), qkd004.KeyStreamInUse),
        (OpenConnectResponse(77), qkd004.QKDError),
    ],
)
def test_answers_to_open_connect_that_are_none(answer, expected):
    class Odd(Toy):
        def call(self, request):
            return answer

    with qkd004.connect(Odd()) as km, pytest.raises(expected):
        km.open_connect(ALICE, BOB)


def test_strict_once_cannot_be_said_and_is_refused():
    with qkd004.connect(Toy()) as km, pytest.raises(qkd004.InvalidArgument):
        km.open_connect(ALICE, BOB, strict_once=True)


def test_what_is_no_transport():
    class Half(qkd004.Transport):
        pass

    with pytest.raises(TypeError):
        Half()
    with pytest.raises(TypeError):
        qkd004.connect(object())


def test_eight_threads_over_a_transport():
    toy = Toy()
    with qkd004.connect(toy) as km, km.open_connect(ALICE, BOB) as stream:
        got = []
        threads = [threading.Thread(target=lambda: got.extend(stream.get_key() for _ in range(50))) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(k.index for k in got) == list(range(400))
        assert all(k == toy.keys[k.index] for k in got)


def test_a_transport_may_use_another_client():
    """A call inside a call: what waits outside is not disturbed."""
    a, b = qkd004.pair()
    inner = a.open_connect(ALICE, BOB)
    other = b.open_connect(ALICE, BOB, key_stream_id=inner.key_stream_id)

    class Through(Toy):
        def call(self, request):
            if isinstance(request, GetKeyRequest):
                with inner.get_key(request.index) as key:
                    return GetKeyResponse(index=request.index, key=bytes(key))
            return super().call(request)

    with a, b, qkd004.connect(Through()) as km, km.open_connect(ALICE, BOB) as stream:
        for _ in range(100):
            assert stream.get_key() == other.get_key()
