# SPDX-License-Identifier: Apache-2.0
"""What an application holds: a client of one key manager."""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
import weakref
from types import TracebackType
from typing import Any, Optional, Union

from . import _qkd004
from ._qkd004 import KeyStream
from .errors import Closed, InvalidArgument
from .messages import QoS
from .source import KeySource, SoftwareLink, SoftwareLinkEnd
from .transport import Transport

__all__ = ["TLS", "Client", "connect", "pair"]

_LOCKED = 8 << 20
"""Octets: what an unprivileged process may commonly lock."""


@dataclasses.dataclass(frozen=True)
class TLS:
    """Which certificate this end shows over ``qkd004s://``, and whose it believes. Paths of PEM files."""

    certificate: Union[str, os.PathLike[str]]
    """Of this end, and after it those between it and its authority; with clientAuth in its extended key usage."""
    key: Union[str, os.PathLike[str]]
    """Its private key; nobody but its owner may read the file."""
    authority: Union[str, os.PathLike[str]]
    """The authorities that the server's certificate may come from."""
    server: str = ""
    """SAN URI that the server's certificate must have; "": it must name the URI's host."""
    allow_tls_1_2: bool = False
    """Else TLS 1.3 only."""

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "authority"):
            object.__setattr__(self, name, os.fspath(getattr(self, name)))
        if not isinstance(self.server, str):
            raise TypeError("TLS.server is text")


class Client:
    """A way to one key manager; :func:`connect` and :func:`pair` make it. Leaving its ``with`` block closes it.

    Threads: any number may call.
    """

    def __init__(self, way: _qkd004.ClientWay) -> None:
        self._way: Optional[_qkd004.ClientWay] = way
        self._streams: weakref.WeakSet[KeyStream] = weakref.WeakSet()

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
    ) -> KeyStream:
        """OPEN_CONNECT (GS QKD 004 V2.1.1, 6.1): reserves a key stream from ``source`` to ``destination``, URIs of
        the applications at either end, and returns it.

        Without ``key_stream_id`` the key manager makes one: tell it to the other end, which opens the same one. The
        first to open a predefined one waits for the other end up to QoS Timeout, unless ``wait`` is False.
        With ``strict_once`` a key is erased when it is handed out, and cannot be asked for again. With
        ``vendor_metadata`` the metadata of each key say how it came to be, as far as the key manager knows it
        (``x_qber``, ``x_eps_sec``, ``x_security_class``, ...); then keys are asked for one at a time.

        Raises QoSNotMet with a counter-proposal; KeyStreamInUse; NoQKDConnection; QKDTimeout; NotAuthorized;
        ResourceLimit; InvalidArgument; TransportError; Closed after close() or in a child of fork().
        """
        if not isinstance(source, str) or not isinstance(destination, str):
            raise TypeError("source and destination are text")
        options = {
            "wait": bool(wait),
            "strict_once": bool(strict_once),
            "vendor_metadata": bool(vendor_metadata),
        }
        opened = self._open().open_connect(
            source, destination, QoS() if qos is None else qos, key_stream_id, options
        )
        self._streams.add(opened)
        return opened

    def report(self, key_stream_id: Optional[uuid.UUID] = None) -> dict[str, Any]:
        """How the caller's streams at this site stand, or one of them, for the people who operate it; members may be
        added.

        Raises UnknownKeyStream; TransportError (errno EOPNOTSUPP) where this cannot be asked."""
        told: dict[str, Any] = json.loads(self._open().report(key_stream_id))
        return told

    def close(self) -> None:
        """Closes the streams that were opened here and are still held, and lets go of the connection. May be
        repeated. Calls that wait on other threads end (Closed).

        Raises what the last stream that could not be closed raised; the client is closed all the same."""
        way = self._way
        if way is None:
            return
        way.close()
        self._way = None
        failed: Optional[Exception] = None
        for stream in list(self._streams):
            try:
                stream.close()
            except Exception as error:
                failed = error
        self._streams.clear()
        if failed is not None:
            raise failed

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._way is None

    def _open(self) -> _qkd004.ClientWay:
        if self._way is None:
            raise Closed("the client was closed")
        return self._way

    def __enter__(self) -> Client:
        self._open()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            self.close()
        except Exception:
            if kind is None:  # else the exception that ends the block says more
                raise

    def __repr__(self) -> str:
        return "<qkd004.Client, closed>" if self._way is None else "<qkd004.Client>"


def _bytes_of_memory(value: int) -> int:
    if not isinstance(value, int):
        raise TypeError("memory_bytes is a whole number")
    if not 0 <= value <= 2**48:
        raise InvalidArgument("memory_bytes is from 0 to 2**48")
    return value


def _connect_options(
    *,
    tls: Optional[TLS],
    connect_timeout: float,
    allow_insecure: bool,
    plain: bool,
    per_call: bool,
    memory_bytes: int,
    allow_unlocked: bool,
) -> dict[str, Any]:
    if tls is not None and not isinstance(tls, TLS):
        raise TypeError("tls is a qkd004.TLS")
    if not isinstance(connect_timeout, (int, float)):
        raise TypeError("connect_timeout is a number of seconds")
    if not 0.001 <= connect_timeout <= 86400:
        raise InvalidArgument("connect_timeout is from 0.001 to 86400 seconds")
    return {
        "tls": tls,
        "connect_timeout": float(connect_timeout),
        "allow_insecure": bool(allow_insecure),
        "plain": bool(plain),
        "per_call": bool(per_call),
        "memory_bytes": _bytes_of_memory(memory_bytes),
        "allow_unlocked": bool(allow_unlocked),
    }


_Source = Union[
    SoftwareLink, tuple[Union[KeySource, SoftwareLinkEnd], Union[KeySource, SoftwareLinkEnd]], None
]


def _pair_options(
    source: _Source, nodes: tuple[str, str], rate_bps: int, memory_bytes: int, allow_unlocked: bool
) -> dict[str, Any]:
    if isinstance(source, SoftwareLink):
        source = (source.alice, source.bob)
    if source is not None and (not isinstance(source, tuple) or len(source) != 2):
        raise TypeError("source is a qkd004.SoftwareLink or a tuple of two key sources")
    first, second = (None, None) if source is None else source
    if (first is None) != (second is None) or (first is not None and first is second):
        raise InvalidArgument("each site has a key source of its own")
    if not isinstance(rate_bps, int):
        raise TypeError("rate_bps is a whole number")
    if not 0 <= rate_bps < 2**63:
        raise InvalidArgument("rate_bps is from 0 to 2**63 - 1")
    name_a, name_b = nodes
    return {
        "first_node": name_a,
        "second_node": name_b,
        "rate_bps": rate_bps,
        "first_source": first,
        "second_source": second,
        "memory_bytes": _bytes_of_memory(memory_bytes),
        "allow_unlocked": bool(allow_unlocked),
    }


def connect(
    uri: Union[str, Transport],
    *,
    tls: Optional[TLS] = None,
    connect_timeout: float = 5.0,
    allow_insecure: bool = False,
    plain: bool = False,
    per_call: bool = False,
    memory_bytes: int = _LOCKED,
    allow_unlocked: bool = False,
) -> Client:
    """Connects to the key manager at ``uri``: ``qkd004://host:port`` (TCP), ``qkd004s://host:port`` (TLS, wants
    ``tls``) or ``unix:/path``; or over a :class:`Transport` of your own.

    ``connect_timeout`` is in seconds. Plain TCP off loopback wants ``allow_insecure``. ``plain`` speaks GS QKD 004
    only, ``per_call`` makes a connection for every call, as some servers want it (not over HTTP). Keys live in locked
    memory, at most ``memory_bytes`` of it; where the system refuses to lock it (``ulimit -l``), that is ResourceLimit
    unless ``allow_unlocked``. A connection that breaks is made again at the next call.

    Raises InvalidArgument (the URI, plain TCP off loopback, ``qkd004s`` without ``tls``), TransportError with the
    system's errno: EACCES for a certificate that either end refuses.
    """
    if not isinstance(uri, (str, Transport)):
        raise TypeError("connect() wants a URI or a qkd004.Transport")
    options = _connect_options(
        tls=tls,
        connect_timeout=connect_timeout,
        allow_insecure=allow_insecure,
        plain=plain,
        per_call=per_call,
        memory_bytes=memory_bytes,
        allow_unlocked=allow_unlocked,
    )
    return Client(_qkd004.connect(uri, options))


def pair(
    source: Union[SoftwareLink, tuple[Union[KeySource, SoftwareLinkEnd], Union[KeySource, SoftwareLinkEnd]], None] = None,
    *,
    nodes: tuple[str, str] = ("A", "B"),
    rate_bps: int = 0,
    memory_bytes: int = _LOCKED,
    allow_unlocked: bool = False,
) -> tuple[Client, Client]:
    """Two linked sites in this process, and a client of each: no network, no thread, no configuration.

    ::

        a, b = qkd004.pair()
        with a.open_connect("qkd://alice@A", "qkd://bob@B") as at_a:
            with b.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=at_a.key_stream_id) as at_b:
                key = at_a.get_key()
                assert key == at_b.get_key(key.index)

    The key is ``source``'s: a :class:`SoftwareLink`, or two :class:`KeySource` objects, one for each site. Without one
    it is random octets of the system, as secret as the process, at ``rate_bps`` (0: as fast as asked). ``nodes`` are
    the sites' names: ``qkd://application@A`` is an application of the first.

    Raises InvalidArgument, ResourceLimit (``memory_bytes`` of locked memory for each site), TypeError.
    """
    way_a, way_b = _qkd004.pair(_pair_options(source, nodes, rate_bps, memory_bytes, allow_unlocked))
    return Client(way_a), Client(way_b)
