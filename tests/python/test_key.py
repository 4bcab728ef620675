# SPDX-License-Identifier: Apache-2.0
"""Key: locked memory with an index."""

import copy
import gc
import pickle
import uuid

import numpy
import pytest

import qkd004


def test_both_ends_get_equal_keys(streams):
    at_a, at_b = streams
    for _ in range(300):
        key = at_a.get_key()
        assert key == at_b.get_key(key.index)


def test_properties(streams):
    key = streams[0].get_key()
    assert key.index == 0
    assert isinstance(key.key_stream_id, uuid.UUID)
    assert key.key_stream_id == streams[0].key_stream_id == streams[1].key_stream_id
    assert key.metadata["hops"] == 0
    assert key.metadata["age"] >= 0
    assert 0 <= key.age < 5
    assert len(key) == 32
    assert key
    assert not key.closed


def test_the_buffer_is_the_key_itself_and_read_only(streams):
    key = streams[0].get_key()
    view = memoryview(key)
    assert view.readonly
    assert view.nbytes == 32
    array = numpy.frombuffer(key, numpy.uint8)
    assert not array.flags.writeable
    assert array.__array_interface__["data"][0] == numpy.frombuffer(view, numpy.uint8).__array_interface__["data"][0]
    assert bytes(view) == bytes(key) == bytes.fromhex(key.hex())
    with pytest.raises(TypeError):
        view[0] = 0


def test_an_exported_buffer_keeps_the_key_alive(streams):
    key = streams[0].get_key()
    octets = bytes(key)
    view = memoryview(key)
    with pytest.raises(BufferError):
        key.close()
    with pytest.raises(BufferError), key:
        pass
    assert bytes(key) == octets
    del key
    gc.collect()
    assert bytes(view) == octets


def test_close_wipes_and_everything_after_it_is_an_error(streams):
    key = streams[0].get_key()
    key.close()
    key.close()
    assert key.closed
    for use in (memoryview, bytes, len, qkd004.Key.hex, qkd004.Key.__enter__, lambda k: k == b""):
        with pytest.raises(qkd004.Closed):
            use(key)
    assert key.index == 0


def test_the_memory_is_wiped_when_the_key_is_closed_or_goes(streams):
    for let_go in ("close", "del", "with"):
        first, second = streams[0].take(2)
        # its neighbour keeps the slab mapped while the freed place is looked at
        where = numpy.frombuffer(memoryview(second), numpy.uint8).__array_interface__["data"][0]
        base = numpy.frombuffer(memoryview(first), numpy.uint8).__array_interface__["data"][0]
        assert abs(where - base) == 32
        assert _read(where) == bytes(second) != bytes(32)
        if let_go == "close":
            second.close()
        elif let_go == "with":
            with second:
                pass
        else:
            del second
        assert _read(where) == bytes(32)
        assert bytes(first) != bytes(32)


def _read(address):
    import ctypes

    return ctypes.string_at(address, 32)


def test_comparison(streams):
    at_a, at_b = streams
    first, second = at_a.take(2)
    assert first != second
    assert not first == second
    assert first == at_b[first.index]
    assert first == bytes(first) == bytearray(bytes(first))
    assert first != bytes(first)[:31]
    assert first != "text"
    assert first != None  # noqa: E711
    with pytest.raises(TypeError):
        first < second
    with pytest.raises(TypeError):
        hash(first)


def test_neither_copied_nor_pickled_nor_made_nor_derived_from(streams):
    key = streams[0].get_key()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, lambda k: pickle.dumps(k, 0)):
        with pytest.raises(TypeError):
            attempt(key)
    for make in (qkd004.Key, lambda: object.__new__(qkd004.Key), lambda: type("Mine", (qkd004.Key,), {})):
        with pytest.raises(TypeError):
            make()
    with pytest.raises((TypeError, AttributeError)):
        key.index = 1


def test_no_text_shows_the_key(streams):
    key = streams[0].get_key()
    digits = key.hex()
    for text in (repr(key), str(key), f"{key}", "%s" % key, repr([key]), repr(key.metadata)):
        assert digits[:8] not in text
    assert "hidden" in repr(key)
    key.close()
    assert "wiped" in repr(key)


def test_sizes(sites):
    for size in (1, 16, 31, 64, 4096, 65536):
        with sites[0].open_connect("qkd://a@A", "qkd://b@B", qkd004.QoS(key_chunk_size=size)) as stream:
            keys = stream.take(3)
            assert [len(k) for k in keys] == [size] * 3


def test_keys_outlive_stream_and_client():
    a, b = qkd004.pair()
    with a, b, a.open_connect("qkd://a@A", "qkd://b@B") as stream:
        key = stream.get_key()
        octets = bytes(key)
    del a, b, stream
    gc.collect()
    assert bytes(key) == octets
    assert key.key_stream_id.version == 4


def test_locked_memory_is_bounded_and_comes_back():
    a, b = qkd004.pair(memory_bytes=3 << 20)
    size = qkd004.QoS(key_chunk_size=4096)
    with a, b, a.open_connect("qkd://a@A", "qkd://b@B", size) as at_a:
        at_b = b.open_connect("qkd://a@A", "qkd://b@B", size, at_a.key_stream_id)
        held = []
        with pytest.raises(qkd004.ResourceLimit) as refused:
            while len(held) < 1000:
                held.append(at_a.get_key())
                at_b.get_key().close()
        assert refused.value.status == qkd004.Status.RESOURCE_LIMIT
        expected = held[-1].index + 1
        held.clear()
        assert at_a.get_key().index == expected, "a refused call consumed a key"
