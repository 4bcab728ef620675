# SPDX-License-Identifier: Apache-2.0
"""The same for asyncio: calls are awaited, and the event loop does their work; no thread waits for a key.

::

    import asyncio
    from qkd004 import aio

    async def main():
        async with aio.connect("qkd004://127.0.0.1:25575") as km:
            async with km.open_connect("qkd://alice@site-a", "qkd://bob@site-b") as stream:
                async for key in stream:
                    ...

    asyncio.run(main())

Names, arguments and exceptions are those of :mod:`qkd004`. A call that is cancelled has consumed no key: what had come for it
by then, the next call of that stream gets.

Threads: a client and its streams belong to the event loop in which they were opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Generic, Optional, TypeVar, Union, final

from . import _qkd004
from ._qkd004 import Key
from .client import _LOCKED, TLS, _connect_options, _pair_options
from .errors import Closed, InsufficientKey, InvalidArgument, QKDError, Status, StreamExhausted
from .messages import QoS
from .source import KeySource, SoftwareLink, SoftwareLinkEnd

__all__ = ["Client", "KeyStream", "connect", "pair"]

_AT_ONCE = 32
_T = TypeVar("_T")
_Done = Callable[[Any, Optional[BaseException]], None]


class _Way:
    """An event loop's hold on a client of C++: drives it when its descriptor has input or its time has come."""

    def __init__(self, way: _qkd004.AsyncWay) -> None:
        self.way = way
        self.loop = asyncio.get_running_loop()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._soon = False
        self._descriptor = way.descriptor()
        if self._descriptor >= 0:
            self.loop.add_reader(self._descriptor, self._drive)
        self.wake()

    def wake(self) -> None:
        """Something was started."""
        if not self._soon:
            self._soon = True
            self.loop.call_soon(self._drive)

    def _drive(self) -> None:
        self._soon = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.closed:
            return
        seconds = self.way.drive()
        if seconds >= 0 and not self.closed:
            self._timer = self.loop.call_later(seconds, self._drive)

    closed = False

    def close(self) -> None:
        """Ends the calls that are left, which nobody would drive any more."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0:
            self.loop.remove_reader(self._descriptor)
        with contextlib.suppress(Closed):  # in a child of fork()
            self.way.drive()  # what was started last, a CLOSE say, is sent
        self.way.close()

    def start(self, begin: Callable[[_Done], int], late: Callable[[Any], None]) -> _Call:
        if self.closed:
            raise Closed("the client was closed")
        call = _Call(self, late)
        call.number = begin(call.done)
        self.wake()
        return call


class _Call:
    """One call: a future, and what becomes of a value that comes when nobody waits for it any more."""

    number = 0
    ended = False

    def __init__(self, way: _Way, late: Callable[[Any], None]) -> None:
        self._way = way
        self._late = late
        self.future: asyncio.Future[Any] = way.loop.create_future()

    def done(self, value: Any, error: Optional[BaseException]) -> None:
        self.ended = True
        if self.future.done():
            if error is None:
                self._late(value)
        elif error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)

    async def result(self) -> Any:
        try:
            return await self.future
        except asyncio.CancelledError:
            if self.future.done() and not self.future.cancelled():
                # it had come, and then whoever awaits it was cancelled
                if self.future.exception() is None:
                    self._late(self.future.result())
            elif not self._way.closed:
                self._way.way.cancel(self.number)
                self._way.wake()
            raise


def _nobody(_: Any) -> None:
    """A value without key."""


@final
class KeyStream:
    """A key stream, as :class:`qkd004.KeyStream`: ``async with`` closes it, ``async for key in stream`` takes keys until
    it is closed or exhausted."""

    def __init__(self, way: _Way, stream: _qkd004.AsyncStream, at_once: int) -> None:
        self._way = way
        self._stream = stream
        self._at_once = at_once  # keys of one call
        self._returned: list[Key] = []
        self._closed = False
        self._calls: weakref.WeakSet[_Call] = weakref.WeakSet()
        # a key manager has half a window of a stream's calls wait at the most, and refuses more
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def key_stream_id(self) -> uuid.UUID:
        """UUID of the stream; no secret: tell it to the other end."""
        return self._stream.key_stream_id

    @property
    def qos(self) -> QoS:
        """QoS that was granted."""
        return self._stream.qos

    @property
    def status(self) -> Status:
        """What OPEN_CONNECT said: SUCCESS, or PEER_NOT_CONNECTED if the other end was not there yet."""
        return self._stream.status

    @property
    def closed(self) -> bool:
        """Whether it was closed or detached here."""
        return self._closed

    async def get_key(self, index: Optional[int] = None, *, wait: bool = True) -> Key:
        """GET_KEY: the key at ``index``, or the next one of this side. See :meth:`qkd004.KeyStream.get_key`; with
        ``wait=False`` there is no index."""
        self._check()
        for kept in self._returned:
            if index is None or kept.index == index:
                self._returned.remove(kept)
                return kept
        if not wait and self._turns.locked():
            raise InsufficientKey("as many calls wait for a key of this stream as may")
        async with self._turns:
            key: Key = await self._ask(lambda done: self._stream.get_key(index, wait, done), self._keep)
        return key

    async def take(self, count: int) -> list[Key]:
        """The next ``count`` keys, each waited for up to QoS Timeout; if no more come, those that did, at least one.
        Cancelled, it keeps what it has for the next call."""
        self._check()
        if not isinstance(count, int):
            raise TypeError("count is a whole number")
        if not 0 <= count < 2**32:
            raise InvalidArgument("count is from 0 to 2**32 - 1")
        keys: list[Key] = []
        try:
            while len(keys) < count:
                if self._returned:
                    keys.append(self._returned.pop(0))
                    continue
                if self._at_once == 1:
                    keys.append(await self.get_key())
                    continue
                missing = min(self._at_once, count - len(keys))
                async with self._turns:
                    keys += await self._ask(lambda done: self._stream.next_keys(missing, done), self._keep_all)
        except QKDError:
            if not keys:
                raise
        except BaseException:
            self._keep_all(keys)
            raise
        return keys

    async def wait_for_peer(self, timeout: Optional[float] = None) -> None:
        """Waits until the peer application has opened the stream: ``timeout`` seconds, or QoS Timeout."""
        self._check()
        if timeout is not None and not isinstance(timeout, (int, float)):
            raise TypeError("timeout is a number of seconds")
        if timeout is not None and not 0 <= timeout <= 4_294_967:
            raise InvalidArgument("timeout is from 0 to 4294967 seconds")
        seconds = 0.0 if timeout is None else max(0.001, float(timeout))
        await self._ask(lambda done: self._stream.wait_for_peer(seconds, done), _nobody)

    def prefetch(self, keys: int) -> None:
        """Over a network: has up to ``keys`` keys sent ahead of those who ask; 0 stops it. Does not wait.

        Raises InvalidArgument while another call of this stream waits, and as :meth:`qkd004.KeyStream.prefetch`."""
        self._check()
        if any(not call.ended for call in self._calls):
            self._way.way.drive()  # those that were cancelled end
        if any(not call.ended for call in self._calls):
            raise InvalidArgument("prefetch() while another call of this stream waits")
        self._stream.prefetch(keys)
        self._way.wake()

    async def close(self) -> None:
        """CLOSE: gives the stream up, and ends the calls that wait (Closed). May be repeated."""
        if self._closed:
            return
        self._closed = True
        if self._way.closed:
            self._returned.clear()
            return
        call = self._way.start(self._stream.close, _nobody)

        def ended(future: asyncio.Future[Any]) -> None:
            if future.cancelled() or future.exception() is None:
                self._returned.clear()
            else:
                self._closed = False  # it may be asked for again, and what is kept can be had

        call.future.add_done_callback(ended)
        await asyncio.shield(call.future)

    def detach(self) -> None:
        """Lets go of the stream without closing it: who opens its key_stream_id again reads on.

        Raises InvalidArgument while keys that a cancelled call took are kept for the next: take them before, they do
        not come again."""
        if self._closed:
            return
        if self._returned:
            raise InvalidArgument("detach() while keys that a cancelled call took wait to be taken")
        self._closed = True
        self._stream.detach()

    def __del__(self) -> None:
        if self._closed or self._way.closed:
            return
        del self._stream  # starts CLOSE, which wants the loop once more; whatever thread this is
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._way.loop.call_soon_threadsafe(self._way.wake)

    def _check(self) -> None:
        if self._closed:
            raise Closed("the stream was closed")

    async def _ask(self, begin: Callable[[_Done], int], late: Callable[[Any], None]) -> Any:
        call = self._way.start(begin, late)
        self._calls.add(call)
        try:
            return await call.result()
        except QKDError as error:
            if self._closed or self._way.closed:
                raise Closed("the stream was closed while this call waited") from error
            raise

    def _keep(self, key: Key) -> None:
        self._keep_all([key])

    def _keep_all(self, keys: list[Key]) -> None:
        self._returned = sorted(self._returned + keys, key=lambda key: key.index)

    def __aiter__(self) -> AsyncIterator[Key]:
        return self

    async def __anext__(self) -> Key:
        if self._closed:
            raise StopAsyncIteration
        try:
            return await self.get_key()
        except StreamExhausted:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> KeyStream:
        self._check()
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            await self.close()
        except QKDError:
            if kind is None:  # else the exception that ends the block says more
                raise

    def __repr__(self) -> str:
        return f"<qkd004.aio.KeyStream {self.key_stream_id}{', closed' if self._closed else ''}>"


class _Opening(Generic[_T]):
    """What can be awaited, or entered: its result is what is entered."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._opened: Any = None

    def __await__(self) -> Generator[Any, None, _T]:
        made: Generator[Any, None, _T] = self._begin().__await__()
        return made

    async def __aenter__(self) -> _T:
        self._opened = await self._begin()
        opened: _T = await self._opened.__aenter__()
        return opened

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self._opened.__aexit__(kind, value, trace)


@final
class Client:
    """A way to one key manager, as :class:`qkd004.Client`; ``async with`` closes it."""

    def __init__(self, way: _Way) -> None:
        self._way = way
        self._streams: weakref.WeakSet[KeyStream] = weakref.WeakSet()

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._way.closed

    def open_connect(
        self,
        source: str,
        destination: str,
        qos: Optional[QoS] = None,
        key_stream_id: Optional[uuid.UUID] = None,
        *,
        strict_once: bool = False,
        wait: bool = True,
        vendor_metadata: bool = False,
    ) -> _Opening[KeyStream]:
        """OPEN_CONNECT, to be awaited or entered: ``async with km.open_connect(...) as stream``. Arguments and errors
        are those of :meth:`qkd004.Client.open_connect`."""

        async def begin() -> KeyStream:
            options = {
                "wait": bool(wait),
                "strict_once": bool(strict_once),
                "vendor_metadata": bool(vendor_metadata),
            }
            call = self._way.start(
                lambda done: self._way.way.open_connect(
                    source, destination, QoS() if qos is None else qos, key_stream_id, {**options, "done": done}
                ),
                _nobody,  # a stream that nobody holds is closed
            )
            try:
                opened = await call.result()
            except QKDError as error:
                if self._way.closed:
                    raise Closed("the client was closed while this call waited") from error
                raise
            if self._way.closed:
                raise Closed("the client was closed while this call waited")
            stream = KeyStream(self._way, opened, 1 if vendor_metadata else 64)
            self._streams.add(stream)
            return stream

        return _Opening(begin)

    async def close(self) -> None:
        """Closes the streams that were opened here and are still held, ends the calls that wait (Closed), and lets go
        of the connection. May be repeated."""
        if self._way.closed:
            return
        failed: Optional[QKDError] = None
        try:
            for stream in list(self._streams):
                try:
                    await stream.close()
                except QKDError as error:
                    failed = error
        finally:
            self._way.close()
            self._streams.clear()
        if failed is not None:
            raise failed

    async def __aenter__(self) -> Client:
        if self._way.closed:
            raise Closed("the client was closed")
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            await self.close()
        except QKDError:
            if kind is None:
                raise

    def __repr__(self) -> str:
        return "<qkd004.aio.Client, closed>" if self._way.closed else "<qkd004.aio.Client>"


def connect(
    uri: str,
    *,
    tls: Optional[TLS] = None,
    connect_timeout: float = 5.0,
    allow_insecure: bool = False,
    plain: bool = False,
    per_call: bool = False,
    memory_bytes: int = _LOCKED,
    allow_unlocked: bool = False,
) -> _Opening[Client]:
    """Connects to a key manager, to be awaited or entered: ``async with aio.connect(uri) as km``. Arguments and errors
    are those of :func:`qkd004.connect`; a :class:`qkd004.Transport` blocks, and is refused.

    The first connection is made by the event loop's executor, which looks the name up; all that follows is the loop's.
    """
    if not isinstance(uri, str):
        raise TypeError("aio.connect() wants a URI")
    options = _connect_options(
        tls=tls,
        connect_timeout=connect_timeout,
        allow_insecure=allow_insecure,
        plain=plain,
        per_call=per_call,
        memory_bytes=memory_bytes,
        allow_unlocked=allow_unlocked,
    )

    async def begin() -> Client:
        loop = asyncio.get_running_loop()
        return Client(_Way(await loop.run_in_executor(None, _qkd004.async_connect, uri, options)))

    return _Opening(begin)


async def pair(
    source: Union[SoftwareLink, tuple[Union[KeySource, SoftwareLinkEnd], Union[KeySource, SoftwareLinkEnd]], None] = None,
    *,
    nodes: tuple[str, str] = ("A", "B"),
    rate_bps: int = 0,
    memory_bytes: int = _LOCKED,
    allow_unlocked: bool = False,
) -> tuple[Client, Client]:
    """Two linked sites in this process, and a client of each: ``a, b = await aio.pair()``. See :func:`qkd004.pair`."""
    options = _pair_options(source, nodes, rate_bps, memory_bytes, allow_unlocked)
    way_a, way_b = _qkd004.async_pair(options)
    return Client(_Way(way_a)), Client(_Way(way_b))
