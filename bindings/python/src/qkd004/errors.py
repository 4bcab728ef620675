# SPDX-License-Identifier: Apache-2.0
"""What a call came to: the status of GS QKD 004, and an exception for each that is a failure.

Every exception of this package is a :class:`QKDError` and has ``.status``. Where Python has an exception for the
same thing, it is that one too: ``except TimeoutError`` catches :class:`QKDTimeout`. No text of an exception ever
holds an octet of key.
"""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .messages import QoS

__all__ = [
    "Closed",
    "IndexNotAvailable",
    "InsufficientKey",
    "InvalidArgument",
    "KeyStreamInUse",
    "MetadataTooSmall",
    "NoQKDConnection",
    "NotAuthorized",
    "PeerNotConnected",
    "ProtocolError",
    "QKDError",
    "QKDTimeout",
    "QoSNotMet",
    "ResourceLimit",
    "ShuttingDown",
    "Status",
    "StreamExhausted",
    "TransportError",
    "UnknownKeyStream",
]


class Status(enum.IntEnum):
    """The status of a call. 0 to 8 are the standard's (GS QKD 004 V2.1.1, table 2), from 1024 on are ours."""

    SUCCESS = 0
    PEER_NOT_CONNECTED = 1
    """OPEN_CONNECT succeeded, the peer application is not there yet."""
    INSUFFICIENT_KEY = 2
    """No key now, and the caller did not want to wait."""
    GET_KEY_PEER_NOT_CONNECTED = 3
    """The peer application is gone, or is insisted upon and missing."""
    NO_QKD_CONNECTION = 4
    """No link towards the destination."""
    KSID_IN_USE = 5
    """The Key_stream_ID belongs to somebody else, or was closed."""
    TIMEOUT = 6
    """Not done within QoS Timeout."""
    QOS_NOT_MET = 7
    """There is no stream; a counter-proposal came back."""
    METADATA_SIZE_INSUFFICIENT = 8
    """The needed size came back; no key was consumed."""
    UNKNOWN_KEY_STREAM = 1024
    """Not open here, or not the caller's."""
    INVALID_ARGUMENT = 1025
    NOT_AUTHORIZED = 1026
    """The access table says no, or a newer OPEN_CONNECT fenced the caller off."""
    RESOURCE_LIMIT = 1027
    PROTOCOL_ERROR = 1028
    INDEX_NOT_AVAILABLE = 1029
    """Acknowledged, expired, skipped or already consumed."""
    STREAM_EXHAUSTED = 1030
    """The last index was used."""
    SHUTTING_DOWN = 1031


class QKDError(Exception):
    """A call failed; ``status`` says how. The base of all exceptions of this package."""

    status: Status = Status.PROTOCOL_ERROR


class InsufficientKey(QKDError):
    """No key is there now, and the call was not to wait (``wait=False``)."""

    status = Status.INSUFFICIENT_KEY


class PeerNotConnected(QKDError):
    """The peer application is gone, or is insisted upon and missing."""

    status = Status.GET_KEY_PEER_NOT_CONNECTED


class NoQKDConnection(QKDError):
    """No link of the key manager leads to the destination, or it is broken."""

    status = Status.NO_QKD_CONNECTION


class KeyStreamInUse(QKDError):
    """The Key_stream_ID belongs to somebody else, or was closed."""

    status = Status.KSID_IN_USE


class QKDTimeout(QKDError, TimeoutError):
    """Not done within QoS Timeout. Nothing was consumed: ask again."""

    status = Status.TIMEOUT


class QoSNotMet(QKDError):
    """The QoS cannot be met and there is no stream. ``counter_proposal`` is what would be: it is accepted when it is
    sent back as it is, as long as nothing else has changed."""

    status = Status.QOS_NOT_MET

    def __init__(self, message: str, counter_proposal: Optional[QoS] = None) -> None:
        super().__init__(message)
        self.counter_proposal = counter_proposal


class MetadataTooSmall(QKDError):
    """The room for metadata is too small; ``needed`` octets would do. No key was consumed.

    The room is the library's, 36 octets, and it asks for none unless QoS.metadata_mimetype says so: open the stream
    again without. ``needed`` is what a :class:`~qkd004.Transport` answered; None over the transports of the library,
    which hand on the status alone."""

    status = Status.METADATA_SIZE_INSUFFICIENT

    def __init__(self, message: str, needed: Optional[int] = None) -> None:
        super().__init__(message)
        self.needed = needed


class UnknownKeyStream(QKDError):
    """The stream is not open here, or not the caller's."""

    status = Status.UNKNOWN_KEY_STREAM


class InvalidArgument(QKDError, ValueError):
    """An argument is out of its range, or makes no sense here."""

    status = Status.INVALID_ARGUMENT


class Closed(InvalidArgument):
    """The object was closed before, or belongs to the parent of this process."""


class NotAuthorized(QKDError, PermissionError):
    """The access table says no, or a newer OPEN_CONNECT of the same stream fenced this one off."""

    status = Status.NOT_AUTHORIZED


class ResourceLimit(QKDError):
    """A bound was reached, mostly that of locked memory (``ulimit -l``)."""

    status = Status.RESOURCE_LIMIT


class ProtocolError(QKDError):
    """The other end said what it may not say."""

    status = Status.PROTOCOL_ERROR


class IndexNotAvailable(QKDError, IndexError):
    """The key at this index was acknowledged, has expired, was skipped or is consumed."""

    status = Status.INDEX_NOT_AVAILABLE


class StreamExhausted(QKDError):
    """The last index (2**32 - 2) was used."""

    status = Status.STREAM_EXHAUSTED


class ShuttingDown(QKDError):
    """The key manager is going, or this process is a child of fork() and the object its parent's."""

    status = Status.SHUTTING_DOWN


class TransportError(QKDError, OSError):
    """The way to the key manager failed; ``errno`` says how. ``status`` is PROTOCOL_ERROR: the standard has none for
    this. A key that was on its way is not lost: the same index can be asked for again."""

    status = Status.PROTOCOL_ERROR


_BY_STATUS: dict[int, type[QKDError]] = {
    int(kind.status): kind
    for kind in (
        InsufficientKey,
        PeerNotConnected,
        NoQKDConnection,
        KeyStreamInUse,
        QKDTimeout,
        QoSNotMet,
        MetadataTooSmall,
        UnknownKeyStream,
        InvalidArgument,
        NotAuthorized,
        ResourceLimit,
        ProtocolError,
        IndexNotAvailable,
        StreamExhausted,
        ShuttingDown,
    )
}


def _for_status(status: int, message: str) -> QKDError:
    """The exception of a status."""
    error = _BY_STATUS.get(status, QKDError)(message)
    if type(error) is QKDError and status in Status.__members__.values():
        error.status = Status(status)
    return error


def _for_errno(number: int, message: str) -> QKDError:
    """The exception of an error of the system, or of a transport."""
    return TransportError(number, message or os.strerror(number))
