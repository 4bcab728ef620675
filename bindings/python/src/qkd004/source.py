# SPDX-License-Identifier: Apache-2.0
"""Where synchronized key comes from: a QKD link in software, or a source of your own."""

from __future__ import annotations

import abc
import dataclasses
import enum
import inspect
import os
from typing import Any, Optional, Sequence, Union

from . import _qkd004

__all__ = ["KeySource", "SecurityClass", "Session", "SoftwareLink", "SoftwareLinkEnd"]


class SecurityClass(enum.Enum):
    """How far the key of a source may be trusted. Every source says; there is no default."""

    SIMULATED_INSECURE = "simulated-insecure"
    """Made by a simulation whose secrets cross in the clear, or never leave one process."""
    SIMULATED_OVER_TLS = "simulated-over-tls"
    """Made by a simulation whose secrets cross inside TLS."""
    HARDWARE = "hardware"
    """Made by a QKD device."""


@dataclasses.dataclass(frozen=True)
class Session:
    """What both sites know once they met: with it both sources deliver the same blocks."""

    link: str
    """The link's name, equal at both sites."""
    lower: bytes
    """16 octets: the instance of the site with the lower node id."""
    higher: bytes
    """16 octets: the instance of the other."""
    first_block: int
    """The larger of both sites' position()."""


class KeySource(abc.ABC):
    """One end of a source of key that two sites share, written in Python: a QKD module's driver, say. Derive, say
    ``security``, and write :meth:`start` and :meth:`poll`; the key manager calls ``(start poll*)* stop``.

    Both ends hand out the same octets in the same order; blocks may be of any length above 0. A new session forgets
    what the old one had not handed out: those octets must never come again.

    Threads: one call at a time, on the thread that runs the key manager (with :func:`qkd004.pair` that of whoever
    waits for a key). No method may wait, or call the pair or server it serves: that raises InvalidArgument.

    Errors: raise :class:`ProtocolError` when the ends are out of step or somebody interferes: the session is given up
    and another begins. Anything else means that no block will come in this session. What is raised goes to the
    caller whose call failed for it, else to :data:`sys.unraisablehook`.
    """

    kind: str = "python"
    """What it is; both sites of a link must have the same."""
    rate_bps: int = 0
    """bit/s it expects to deliver; 0: as fast as asked."""
    jitter_bps: int = 0
    """bit/s, deviation of that rate over one second."""
    hops: int = 0
    """Relays between the sites; 0 is a direct link."""

    @property
    @abc.abstractmethod
    def security(self) -> SecurityClass:
        """How far its key may be trusted; a class attribute will do."""

    @abc.abstractmethod
    def start(self, session: Session) -> bytes:
        """Begins a session. Returns 32 octets that are equal at both sites if and only if their sources are in step,
        and say nothing about the key: say, a SHA-256 of the session and a fingerprint of the secret."""

    @abc.abstractmethod
    def poll(self) -> Union[bytes, bytearray, memoryview, None]:
        """The next block of key, or None if there is none yet. It is copied to locked memory: what you keep of it,
        you wipe."""

    def pause(self) -> float:
        """Seconds after which poll() may have more, after it had none; from 0.001 to 60."""
        return 0.01

    def position(self) -> int:
        """Number of the first block this site could still hand out; 0 where sessions start afresh. It never falls."""
        return 0

    def stop(self) -> None:
        """The session is over."""


_Intensities = Sequence[tuple[float, float]]


class SoftwareLinkEnd:
    """One end of a :class:`SoftwareLink`, to be the key source of one site."""

    def __init__(self, end: _qkd004.LinkEnd) -> None:
        self._end = end

    def report(self) -> dict[str, Any]:
        """Counts of this end since it was made: ``sessions``, ``pulses``, ``detections``, ``sifted``, ``secret``,
        ``errors``, ``leak_alice`` (bits), ``accepted``, ``over_limit``, ``no_key``, ``unequal`` (blocks), ``qber`` and
        ``efficiency`` of the last block, ``failure`` of the last session that failed. Never an octet of key.

        Threads: any. Raises Closed in a child of fork()."""
        return self._end.report()

    @classmethod
    def from_files(
        cls,
        role: str,
        *,
        auth_key: Union[str, os.PathLike[str]],
        auth_state: Union[str, os.PathLike[str]],
        security: SecurityClass = SecurityClass.SIMULATED_INSECURE,
        **options: Any,
    ) -> SoftwareLinkEnd:
        """One end of a link between two processes, ``role`` "alice" or "bob"; its other end is at the peer of the
        site that it is given to, and has the same ``options`` (those of :class:`SoftwareLink`).

        ``auth_key`` is a file of 512 octets or more that both ends have and nothing else has ever used;
        ``auth_state`` one that this end makes from it, and keeps: what of it is used up.
        Raises InvalidArgument, PermissionError (others may read the files), TransportError with the files' errno.
        """
        system = _options(**options)
        system.update(
            role=role,
            security=security.value,
            auth_key=os.fspath(auth_key),
            auth_state=os.fspath(auth_state),
        )
        return cls(_qkd004.software_link_end(system))


def _options(**given: Any) -> dict[str, Any]:
    """All options of a software link. Raises TypeError for a name that is none."""
    options = inspect.signature(SoftwareLink).bind(**given)
    options.apply_defaults()
    return dict(options.arguments)


class SoftwareLink:
    """Both ends of a QKD link in software, in this process: decoy-state BB84 with simulated photons and a real
    post-processing stack (sifting, Cascade, verification, privacy amplification by a finite-key proof,
    authentication). The key is no more secret than the process: ``simulated-insecure``.

    ::

        link = qkd004.SoftwareLink(km=25)
        a, b = qkd004.pair(link)                                   # or
        qkd004.serve("site-a.toml", sources={"a-b": link.alice})   # and link.bob at the other site

    The channel: ``km`` of fibre with ``loss_db_per_km``; ``efficiency`` of Bob, ``dark_count`` per pulse and detector,
    ``afterpulse``, ``misalignment``, ``dead_pulses``. The protocol: ``proof`` "lim14" (two decoys) or "w24" (one),
    ``x_basis``, ``intensities`` (pairs of mean photons and probability, signal first), ``eps_sec``, ``eps_cor``,
    ``block_bits`` (sifted bits of a block, 65,536 to 2**27), ``qber_limit``, ``leak`` "alice_only" or
    "both_directions". The simulation: ``sampling`` "events" or "blocks", ``intercept_resend`` (the fraction of the
    pulses an eavesdropper measures), ``pulse_rate`` (pulses per second; 0: as many as the processors can do),
    ``blocks_in_flight``. Defaults are those of Lim et al. 2014 at 25 km.

    One thread distils, and ends with the last of both ends.
    Raises InvalidArgument, which says what is wrong; ResourceLimit (memory, or the system's random generator fails its
    health test); TypeError.
    """

    alice: SoftwareLinkEnd
    """The end that sends."""
    bob: SoftwareLinkEnd
    """The end that detects."""

    def __init__(
        self,
        *,
        km: float = 25,
        proof: str = "lim14",
        loss_db_per_km: float = 0.2,
        efficiency: float = 0.1,
        dark_count: float = 6e-7,
        afterpulse: float = 0.04,
        misalignment: float = 5e-3,
        dead_pulses: int = 0,
        x_basis: float = 0.80,
        intensities: Optional[_Intensities] = None,
        eps_sec: float = 1e-10,
        eps_cor: float = 1e-15,
        sampling: str = "events",
        block_bits: int = 1_048_576,
        qber_limit: float = 0.08,
        leak: str = "alice_only",
        intercept_resend: float = 0,
        pulse_rate: int = 0,
        blocks_in_flight: int = 4,
    ) -> None:
        options = dict(locals())
        del options["self"]
        alice, bob = _qkd004.software_link(options)
        self.alice = SoftwareLinkEnd(alice)
        self.bob = SoftwareLinkEnd(bob)
