# SPDX-License-Identifier: Apache-2.0
"""Servers of ours in this process, over TCP; and peers that die."""

import logging
import pathlib
import socket
import threading

import pytest

import qkd004
from odd_manager import OddManager, octets

ALICE = "qkd://alice@A"
BOB = "qkd://bob@B"
PATIENT = qkd004.QoS(timeout_ms=30_000)


def test_keys_over_tcp(served):
    a, b = served
    with qkd004.connect(a.addresses[0]) as at_a, qkd004.connect(b.addresses[0]) as at_b:
        with at_a.open_connect(ALICE, BOB, PATIENT) as s, at_b.open_connect(ALICE, BOB, PATIENT, s.key_stream_id) as t:
            s.wait_for_peer()
            for key in s.take(100):
                assert key == t.get_key()
            assert s.get_key(wait=False).index == 100
            t.prefetch(16)
            assert [k.index for k in t.take(30)] == list(range(100, 130))
            t.prefetch(0)
            assert t.get_key().index == 130
            buffer = bytearray(320)
            first, count = s.get_keys_into(buffer)
            assert first == 101 and count >= 1
            report = at_a.report(s.key_stream_id)
            assert isinstance(report, dict)
            with pytest.raises(qkd004.IndexNotAvailable):
                s.get_key(0)


def test_metadata_say_where_keys_come_from(served):
    a, _ = served
    with qkd004.connect(a.addresses[0]) as km:
        with km.open_connect(ALICE, BOB, PATIENT, vendor_metadata=True) as stream:
            for members in (stream.get_key().metadata, stream.take(2)[1].metadata):
                assert members["hops"] == 0
                assert members["x_security_class"] == "simulated-insecure"
                assert 0 < members["x_qber"] < 0.1
                assert members["x_link"] == "a-b"
        with km.open_connect(ALICE, BOB, PATIENT) as stream:
            assert set(stream.get_key().metadata) == {"age", "hops"}


def test_metadata_are_those_that_may_be():
    vendor = b'{"x_a": 1, "age": "old", "hops": null, "other": 2, "\\ud800": 3}'
    with OddManager(vendor=vendor) as manager, qkd004.connect(manager.uri) as km:
        with km.open_connect(ALICE, BOB, vendor_metadata=True) as stream:
            assert stream.get_key().metadata == {"age": 0, "hops": 0, "x_a": 1}


@pytest.mark.parametrize("vendor", [b'{"x_a": "\xff"}', b"[1]", b"\0", b"{", b"[" * 3_000])
def test_metadata_that_are_none_cost_no_key(vendor):
    with OddManager(vendor=vendor) as manager, qkd004.connect(manager.uri) as km:
        with km.open_connect(ALICE, BOB, vendor_metadata=True) as stream:
            for index in range(2):
                key = stream.get_key()
                assert (key.index, bytes(key)) == (index, octets(index))
                with pytest.raises(qkd004.ProtocolError):
                    key.metadata


def test_a_mimetype_that_is_no_text():
    with OddManager(mimetype=b"\xff") as manager, qkd004.connect(manager.uri) as km:
        with pytest.raises(qkd004.ProtocolError):
            km.open_connect(ALICE, BOB)
        assert manager.closed.wait(10), "nobody closed the stream"


def test_strict_once_over_tcp(served):
    a, b = served
    with qkd004.connect(a.addresses[0]) as at_a, at_a.open_connect(ALICE, BOB, PATIENT, strict_once=True) as s:
        first = s.get_key()
        assert first.index == 0
        with pytest.raises(qkd004.IndexNotAvailable):
            s.get_key(0)


def test_a_client_closes_while_a_call_waits_over_tcp(served):
    a, _ = served
    km = qkd004.connect(a.addresses[0])
    stream = km.open_connect(ALICE, BOB, PATIENT)
    caught = []

    def wait():
        try:
            stream.wait_for_peer(30)
        except BaseException as error:
            caught.append(type(error))

    waiter = threading.Thread(target=wait)
    waiter.start()
    km.close()
    waiter.join(20)
    assert caught == [qkd004.Closed]


def test_a_server_that_is_gone(served):
    a, b = served
    km = qkd004.connect(a.addresses[0])
    stream = km.open_connect(ALICE, BOB, PATIENT)
    assert stream.get_key().index == 0
    a.close()
    a.close()
    with pytest.raises(qkd004.TransportError) as gone:
        stream.get_key()
    assert gone.value.errno
    assert isinstance(gone.value, OSError)
    with pytest.raises(qkd004.TransportError):
        stream.close()
    with pytest.raises(qkd004.TransportError):
        km.close()
    km.close()
    assert km.closed
    with pytest.raises(qkd004.Closed):
        a.addresses
    with pytest.raises(qkd004.Closed):
        a.__enter__()
    del stream


def test_a_peer_site_that_dies(served):
    a, b = served
    with qkd004.connect(a.addresses[0]) as km:
        stream = km.open_connect(ALICE, BOB, qkd004.QoS(timeout_ms=300))
        while True:
            try:
                stream.get_key(wait=True)
                break
            except qkd004.QKDTimeout:
                pass  # the first block is being distilled
        b.close()
        with pytest.raises(qkd004.QKDError):
            while True:
                stream.get_key()
        # at this side it ends like any other
        stream.close()


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(qkd004.TransportError) as refused:
            qkd004.connect(f"qkd004://127.0.0.1:{taken.getsockname()[1]}")
        assert refused.value.errno
    with pytest.raises(qkd004.TransportError):
        qkd004.connect("unix:/nonexistent/qkd004.sock")


def test_a_server_that_speaks_nonsense():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(qkd004.QKDError):
            qkd004.connect(f"qkd004://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=5).open_connect(ALICE, BOB)
        thread.join()


def test_configurations(tmp_path):
    toml = 'node = "A"\nlisten = ["qkd004://127.0.0.1:0"]\nself_link = true\n'
    file = tmp_path / "site.toml"
    file.write_text(toml)
    for config in (toml, file, str(file), {"node": "A", "listen": ("qkd004://127.0.0.1:0",), "self_link": True},
                   {"node": "A", "listen": [f"unix:{tmp_path}/socket"], "self_link": True}):
        with qkd004.serve(config) as server:
            assert len(server.addresses) == 1
            with qkd004.connect(server.addresses[0]) as km, km.open_connect("qkd://x@A", "qkd://y@A") as s:
                with km.open_connect("qkd://x@A", "qkd://y@A", key_stream_id=s.key_stream_id) as t:
                    assert s.get_key() == t.get_key()
        assert server.closed


@pytest.mark.parametrize(
    "config, error",
    [
        (None, TypeError), (3, TypeError), ({"node": object()}, TypeError), ({3: "A"}, TypeError),
        ({"node": b"A"}, TypeError), (b"site.toml", TypeError),
        ({}, qkd004.InvalidArgument), ({"node": "A", "unknown": 1}, qkd004.InvalidArgument),
        ("node = 'A", qkd004.InvalidArgument), ("a = \x00", qkd004.InvalidArgument),
        ({"node": "A", "listen": ["qkd004://192.0.2.1:1"], "self_link": True}, qkd004.InvalidArgument),
        ({"node": 2**80}, OverflowError),
        ("/", IsADirectoryError), ("/dev/zero", qkd004.InvalidArgument),
        ("/nonexistent/site.toml", FileNotFoundError), (pathlib.Path("/nonexistent/a=b.toml"), FileNotFoundError),
    ],
)
def test_configurations_that_are_refused(config, error):
    with pytest.raises(error):
        qkd004.serve(config)


def test_a_configuration_without_end():
    endless = {}
    endless["peer"] = endless
    with pytest.raises((ValueError, RecursionError)):
        qkd004.serve(endless)


def test_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"qkd004://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(qkd004.TransportError) as refused:
            qkd004.serve({"node": "A", "listen": [uri], "self_link": True})
        assert refused.value.errno == 98


def test_sources_that_are_wrong():
    given = {"node": "A", "listen": ["qkd004://127.0.0.1:0"],
             "peer": [{"node": "B", "link": "l", "address": "qkd004://127.0.0.1:9", "source": {"kind": "given"}}]}
    link = qkd004.SoftwareLink()
    for sources in (None, {}, {"other": link.alice}):
        with pytest.raises(qkd004.InvalidArgument):
            qkd004.serve(given, sources=sources)
    for sources in ({"l": 3}, {3: link.bob}, {"l": link}):
        with pytest.raises(TypeError):
            qkd004.serve(given, sources=sources)


def test_the_log_goes_to_logging(caplog):
    with caplog.at_level(logging.DEBUG, "qkd004.server"):
        with qkd004.serve({"node": "A", "listen": ["qkd004://127.0.0.1:0"], "self_link": True}) as server:
            port = server.addresses[0]
    assert any(port in record.getMessage() for record in caplog.records)
    assert {record.levelno for record in caplog.records} & {logging.INFO}
