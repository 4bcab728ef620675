# SPDX-License-Identifier: Apache-2.0
"""The nouns of GS QKD 004: QoS, and requests and responses as a transport carries them."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Optional, Union

from .errors import InvalidArgument, Status

__all__ = [
    "CloseRequest",
    "CloseResponse",
    "GetKeyRequest",
    "GetKeyResponse",
    "OpenConnectRequest",
    "OpenConnectResponse",
    "QoS",
    "Request",
    "Response",
]

_MOST = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class QoS:
    """What an application asks of a key stream, and what it gets: the QoS of OPEN_CONNECT, fields and units as the
    standard prints them (GS QKD 004 V2.1.1, table 2). In a request 0 and "" mean "the key manager chooses".

    Raises :class:`InvalidArgument` for a number that 32 bits do not hold or a mimetype longer than 255 octets,
    :class:`TypeError` for anything that is not a number.
    """

    key_chunk_size: int = 0
    """Octets of every key; chosen: 32."""
    max_bps: int = 0
    """bit/s, the most the application will take."""
    min_bps: int = 0
    """bit/s, the least it needs: promised, or :class:`QoSNotMet`."""
    jitter: int = 0
    """bit/s, the largest deviation of the rate over one second; 0: not asked."""
    priority: int = 0
    """Larger is more urgent; 0 is normal."""
    timeout_ms: int = 0
    """Milliseconds after which any call fails with :class:`QKDTimeout`; chosen: 5,000."""
    ttl_s: int = 0
    """Seconds a key lives from when it became deliverable; chosen: 3,600."""
    metadata_mimetype: str = ""
    """"application/json" for metadata over plain GS QKD 004; "": none there."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "metadata_mimetype":
                if not isinstance(value, str):
                    raise TypeError(f"QoS.{field.name} is text, not {type(value).__name__}")
                if len(value.encode()) > 255:
                    raise InvalidArgument(f"QoS.{field.name} is longer than 255 octets")
            elif not isinstance(value, int):
                raise TypeError(f"QoS.{field.name} is a whole number, not {type(value).__name__}")
            elif not 0 <= value <= _MOST:
                raise InvalidArgument(f"QoS.{field.name} is from 0 to {_MOST}")


@dataclasses.dataclass(frozen=True)
class OpenConnectRequest:
    """OPEN_CONNECT (GS QKD 004 V2.1.1, 6.1)."""

    source: str
    """URI of this application."""
    destination: str
    """URI of the other."""
    qos: QoS
    key_stream_id: Optional[uuid.UUID]
    """None: the key manager makes one."""
    timeout: float
    """Seconds until the caller gives up."""


@dataclasses.dataclass(frozen=True)
class OpenConnectResponse:
    """What OPEN_CONNECT came to. ``status`` 0, 1 and 7 are answers, all else is a failure."""

    status: int = Status.SUCCESS
    qos: QoS = QoS()
    """What the system will do; with status 7 a counter-proposal."""
    key_stream_id: Optional[uuid.UUID] = None


@dataclasses.dataclass(frozen=True)
class GetKeyRequest:
    """GET_KEY (GS QKD 004 V2.1.1, 6.1)."""

    key_stream_id: uuid.UUID
    index: int
    metadata_size: int
    """Octets the caller has for metadata; 0: none wanted."""
    wait: bool
    """False: status 2 at once if the key is not there."""
    timeout: float
    """Seconds until the caller gives up."""


@dataclasses.dataclass(frozen=True)
class GetKeyResponse:
    """What GET_KEY came to."""

    status: int = Status.SUCCESS
    index: int = 0
    """Of the key; on failure the lowest that can still be had."""
    key: Union[bytes, bytearray, memoryview] = dataclasses.field(default=b"", repr=False)
    """Key_chunk_size octets. It is copied: what the transport keeps of it, the transport wipes."""
    age_ms: int = 0
    """Metadata: milliseconds since the key became deliverable."""
    hops: int = 0
    """Metadata: relays between the sites."""
    metadata_needed: int = 0
    """Octets, with status 8: ``MetadataTooSmall.needed``."""


@dataclasses.dataclass(frozen=True)
class CloseRequest:
    """CLOSE (GS QKD 004 V2.1.1, 6.1)."""

    key_stream_id: uuid.UUID
    timeout: float
    """Seconds until the caller gives up."""


@dataclasses.dataclass(frozen=True)
class CloseResponse:
    """What CLOSE came to."""

    status: int = Status.SUCCESS


Request = Union[OpenConnectRequest, GetKeyRequest, CloseRequest]
Response = Union[OpenConnectResponse, GetKeyResponse, CloseResponse]
