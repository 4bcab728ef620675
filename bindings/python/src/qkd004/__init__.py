# SPDX-License-Identifier: Apache-2.0
"""Keys from quantum key distribution for your application: ETSI GS QKD 004 V2.1.1.

Two applications, each at a site, open the same *key stream* and then read the same keys from it, each from the *key
manager* of its own site::

    import qkd004

    with qkd004.connect("qkd004://127.0.0.1:25575") as km:
        with km.open_connect("qkd://alice@site-a", "qkd://bob@site-b", qkd004.QoS(key_chunk_size=32)) as stream:
            key = stream.get_key()

:func:`pair` makes two linked sites inside this process, to try it and for tests. :mod:`qkd004.aio` is the same for
asyncio. ``python -m qkd004 demo`` shows it at work.

The calls
    :func:`connect`, :func:`pair`: a :class:`Client`; :meth:`Client.open_connect` (OPEN_CONNECT): a
    :class:`KeyStream`; :meth:`KeyStream.get_key` (GET_KEY), :meth:`KeyStream.take`, ``stream[5]``,
    ``for key in stream``: a :class:`Key`; :meth:`KeyStream.close` (CLOSE), or the end of a ``with`` block.

Keys
    A :class:`Key` is locked memory: out of swap space and core dumps, wiped when it is closed or goes. Read it with
    ``memoryview(key)``, without a copy.

Promises
    The same octets at both ends for one stream and index; never the same octets twice; a call that raises has
    consumed no key; no octet of key in an error, a repr or a log.

Units
    Seconds where it says so, as elsewhere in Python; the fields of :class:`QoS` have the standard's units, which are
    part of their names. Sizes are octets, rates bit/s.

Errors
    All are :class:`QKDError`, with ``.status``; see :class:`Status`. :class:`QKDTimeout` is a ``TimeoutError``,
    :class:`InvalidArgument` a ``ValueError``, :class:`TransportError` an ``OSError``. A wrong type is a ``TypeError``.

Threads and processes
    Any number of threads may use one object. The GIL is let go of while a call waits. After fork() the child gets
    :class:`Closed` from what it inherited, and may connect anew. Sub-interpreters are refused at import.
"""

from __future__ import annotations

from ._qkd004 import Key, KeyStream
from ._qkd004 import version as __version__
from .client import TLS, Client, connect, pair
from .errors import (
    Closed,
    IndexNotAvailable,
    InsufficientKey,
    InvalidArgument,
    KeyStreamInUse,
    MetadataTooSmall,
    NoQKDConnection,
    NotAuthorized,
    PeerNotConnected,
    ProtocolError,
    QKDError,
    QKDTimeout,
    QoSNotMet,
    ResourceLimit,
    ShuttingDown,
    Status,
    StreamExhausted,
    TransportError,
    UnknownKeyStream,
)
from .messages import (
    CloseRequest,
    CloseResponse,
    GetKeyRequest,
    GetKeyResponse,
    OpenConnectRequest,
    OpenConnectResponse,
    QoS,
    Request,
    Response,
)
from .server import Server, serve
from .source import KeySource, SecurityClass, Session, SoftwareLink, SoftwareLinkEnd
from .transport import Transport

__all__ = [
    "Client",
    "CloseRequest",
    "CloseResponse",
    "Closed",
    "GetKeyRequest",
    "GetKeyResponse",
    "IndexNotAvailable",
    "InsufficientKey",
    "InvalidArgument",
    "Key",
    "KeySource",
    "KeyStream",
    "KeyStreamInUse",
    "MetadataTooSmall",
    "NoQKDConnection",
    "NotAuthorized",
    "OpenConnectRequest",
    "OpenConnectResponse",
    "PeerNotConnected",
    "ProtocolError",
    "QKDError",
    "QKDTimeout",
    "QoS",
    "QoSNotMet",
    "Request",
    "ResourceLimit",
    "Response",
    "SecurityClass",
    "Server",
    "Session",
    "ShuttingDown",
    "SoftwareLink",
    "SoftwareLinkEnd",
    "Status",
    "StreamExhausted",
    "TLS",
    "Transport",
    "TransportError",
    "UnknownKeyStream",
    "__version__",
    "connect",
    "pair",
    "serve",
]
