# SPDX-License-Identifier: Apache-2.0
"""A key manager that says what one of ours never would: src/wire/README.md's frames over a socket, one client."""

import contextlib
import socket
import struct
import threading
import uuid

HELLO, OPEN, KEYS, ACK, CLOSE = 0x40, 0x42, 0x46, 0x48, 0x08
_FEATURES = 2 | 4  # GET_KEYS, ACK


def octets(index):
    """The key at an index."""
    return struct.pack(">I", index) * 8


class OddManager:
    """Gives out keys of 32 octets below ``give``; a question for later ones has no answer until something else is asked,
    and ``starved`` hears of it. ``closes`` says for each CLOSE whether it is answered: else the connection is cut."""

    def __init__(self, *, mimetype=b"", vendor=b"", give=2**32, starved=lambda: None, closes=()):
        self.mimetype, self.vendor, self.give, self.closes = mimetype, vendor, give, list(closes)
        self.starved = starved
        self.closed = threading.Event()  # CLOSE was answered
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"qkd004://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for s in (self._listener, *self._connections):
            s.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection):
        open_questions = 0

        def say(service, answer):
            connection.sendall(bytes((2, 1, 1, service + 1)) + struct.pack(">I", len(answer)) + answer)

        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while len(header := stream.read(8)) == 8:
                service, size = header[3], struct.unpack(">I", header[4:])[0]
                answer = self._answer(service, stream.read(size))
                if answer is None:
                    return connection.shutdown(socket.SHUT_RDWR)
                if not answer:
                    open_questions += 1
                    self.starved()
                    continue
                for _ in range(open_questions):  # answers come in the order of the questions
                    say(KEYS, struct.pack(">IIHII", 6, 0, 0, 0, 0))
                open_questions = 0
                say(service, answer)

    def _answer(self, service, payload):
        """None: the connection is cut; empty: not now."""
        if service == HELLO:
            return struct.pack(">HIQH", 2, _FEATURES, 7, 3) + b"odd"
        if service == OPEN:
            qos = struct.pack(">7I", 32, 1_000_000, 0, 0, 0, 30_000, 3_600) + self.mimetype + b"\0"
            return struct.pack(">I", 0) + qos + uuid.uuid4().bytes + struct.pack(">QI", 1, 0)
        if service == KEYS:
            first, count = struct.unpack(">IH", payload[24:30])
            count = min(count, self.give - first)
            if count <= 0:
                return b""
            keys = b"".join(octets(first + i) for i in range(count))
            return (struct.pack(">IIHI", 0, first, count, 32) + keys + bytes(8 * count)
                    + struct.pack(">I", len(self.vendor)) + self.vendor)
        if service == ACK:
            return struct.pack(">I", 0)
        if service == CLOSE:
            if self.closes and not self.closes.pop(0):
                return None
            self.closed.set()
            return struct.pack(">I", 0)
        return None
