# SPDX-License-Identifier: Apache-2.0
"""What is dropped or closed where locks are held: inside a key source, and inside a handler of a server's log. Programs
of their own, since what goes wrong there never ends, or ends the process."""

import pytest

from conftest import run

SHARED = """
import gc, hashlib, logging, os, signal, threading, time, uuid, weakref
import qkd004

class Shared(qkd004.KeySource):
    security = qkd004.SecurityClass.SIMULATED_INSECURE
    blocks = []
    next = 0
    inside = None
    def start(self, session):
        self.next = 0
        return hashlib.sha256(session.lower + session.higher).digest()
    def poll(self):
        act, Shared.inside = Shared.inside, None
        if act is not None: act()
        while len(self.blocks) <= self.next: self.blocks.append(os.urandom(512))
        self.next += 1
        return self.blocks[self.next - 1]

def both(**more):
    a, b = qkd004.pair((Shared(), Shared()), **more)
    stream = a.open_connect("qkd://alice@A", "qkd://bob@B")
    return a, b, stream, b.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=stream.key_stream_id)

def until(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)

def closed(client, id):
    '''Whether the stream is closed: then its id does not come back.'''
    try:
        client.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=id, wait=False).detach()
    except qkd004.KeyStreamInUse:
        return True
    return False
"""


def test_the_last_reference_of_a_stream_goes_inside_a_source():
    run(
        SHARED
        + """
a, b, stream, other = both()
held = [a.open_connect("qkd://alice@A", "qkd://bob@B")]
id, gone = held[0].key_stream_id, weakref.ref(held[0])
Shared.inside = held.clear
while Shared.inside: stream.get_key(); other.get_key()
assert gone() is None
until(lambda: closed(a, id))
assert stream.get_key() == other.get_key()
"""
    )


def test_the_garbage_collector_runs_inside_a_source():
    run(
        SHARED
        + """
a, b, stream, other = both()
class Ring: pass
ring = Ring()
ring.me, ring.stream, ring.way = ring, a.open_connect("qkd://alice@A", "qkd://bob@B"), qkd004.pair((Shared(), Shared()))
id = ring.stream.key_stream_id
gc.disable()
del ring
Shared.inside = gc.collect
while Shared.inside: stream.get_key(); other.get_key()
until(lambda: closed(a, id))
assert stream.get_key() == other.get_key()
"""
    )


@pytest.mark.parametrize("call", ["a.close()", "stream.detach()", "stream.close()", "a.report()"])
def test_calls_inside_a_source_are_refused(call):
    run(
        SHARED
        + f"""
a, b, stream, other = both()
seen = []
def act():
    try: {call}
    except qkd004.InvalidArgument as error: seen.append(error)
Shared.inside = act
while Shared.inside: stream.get_key(); other.get_key()
assert len(seen) == 1 and not a.closed and not stream.closed
assert stream.get_key() == other.get_key()
a.close()
assert stream.closed
"""
    )


def test_the_last_reference_of_a_stream_of_aio_goes_inside_a_source():
    run(
        SHARED
        + """
import asyncio
from qkd004 import aio
async def main():
    a, b = await aio.pair((Shared(), Shared()))
    async with a, b, a.open_connect("qkd://alice@A", "qkd://bob@B") as stream:
        async with b.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=stream.key_stream_id) as other:
            held = [await a.open_connect("qkd://alice@A", "qkd://bob@B")]
            Shared.inside = held.clear
            while Shared.inside: await stream.get_key(); await other.get_key()
            assert await stream.get_key() == await other.get_key()
asyncio.run(main())
"""
    )


SERVED = (
    SHARED
    + """
def config(node, peer, address):
    return {"node": node, "listen": ["qkd004://127.0.0.1:0"], "peer": [
        {"node": peer, "link": "a-b", "address": address, "source": {"kind": "given"}}]}
b = qkd004.serve(config("B", "A", "qkd004://127.0.0.1:9"), sources={"a-b": Shared()})
"""
)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_server_ends_inside_its_own_source(how):
    run(
        SERVED
        + f"""
held, seen = [], []
def act():
    if "{how}" == "drop": return held.clear()
    try: held[0].close()
    except qkd004.InvalidArgument as error: seen.append(error)
Shared.inside = lambda: None
a = qkd004.serve(config("A", "B", b.addresses[0]), sources={{"a-b": Shared()}})
held.append(a)
gone = weakref.ref(a)
km = qkd004.connect(a.addresses[0])
stream = km.open_connect("qkd://alice@A", "qkd://bob@B", qkd004.QoS(timeout_ms=30_000))
there = qkd004.connect(b.addresses[0])
other = there.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=stream.key_stream_id)
stream.get_key()
if "{how}" == "drop": del a
Shared.inside = act
try:
    while Shared.inside: stream.get_key(); other.get_key()  # both: no end gets further ahead than its window
except qkd004.QKDError: assert "{how}" == "drop"
if "{how}" == "drop":
    until(lambda: gone() is None and not any(t.name == "qkd004" for t in threading.enumerate()))
else:
    assert len(seen) == 1 and not a.closed
    a.close()
    assert a.closed
"""
    )


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_server_ends_inside_a_handler_of_its_log(how):
    run(
        SERVED
        + f"""
held, seen, lines = [], [], []
class Handler(logging.Handler):
    def emit(self, record):
        lines.append(record)
        if not held: return
        if "{how}" == "drop": return held.clear()
        try: held[0].close()
        except qkd004.InvalidArgument as error: seen.append(error)
logging.getLogger("qkd004.server").addHandler(Handler())
logging.getLogger("qkd004.server").setLevel(logging.DEBUG)
a = qkd004.serve({{"node": "C", "listen": ["qkd004://127.0.0.1:0"], "self_link": True}})
uri, gone = a.addresses[0], weakref.ref(a)
held.append(a)
if "{how}" == "drop": del a
lines.clear()
import socket
host, port = uri.removeprefix("qkd004://").split(":")
with socket.create_connection((host, int(port))) as s:
    s.sendall(b"what is this?")  # a line
    until(lambda: lines)
if "{how}" == "drop":
    until(lambda: gone() is None and not any(t.name == "qkd004" for t in threading.enumerate()))
else:
    until(lambda: seen)
    assert not a.closed
    held.clear()
    a.close()
    assert a.closed
"""
    )


def test_open_connect_that_is_interrupted_as_it_succeeds():
    """The stream that nobody gets is closed, without the GIL: who holds the key manager's lock may be waiting for that."""
    run(
        SHARED
        + """
starve, end = threading.Event(), threading.Event()
class Slow(Shared):
    def poll(self):
        if not starve.is_set(): return super().poll()
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.001)  # in the key manager's lock, without the GIL
    def pause(self): return 0.004
a, b = qkd004.pair((Slow(), Slow()))
stream = a.open_connect("qkd://alice@A", "qkd://bob@B", qkd004.QoS(timeout_ms=200))
def read():
    while not end.is_set():
        try: stream.get_key()
        except qkd004.QKDTimeout: pass
class Stop(Exception): pass
def stop(_, frame):
    if frame.f_code.co_name in ("poll", "pause"): return signal.setitimer(signal.ITIMER_REAL, 0.005)
    b.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=id, wait=False).detach()
    raise Stop
signal.signal(signal.SIGALRM, stop)
starve.set()
readers = [threading.Thread(target=read) for _ in range(2)]
for reader in readers: reader.start()
for _ in range(6):
    id = uuid.uuid4()
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        a.open_connect("qkd://alice@A", "qkd://bob@B", qkd004.QoS(timeout_ms=30_000), id)
        raise SystemExit("not interrupted")
    except Stop: pass
    assert closed(a, id)
end.set()
for reader in readers: reader.join()
"""
    )
