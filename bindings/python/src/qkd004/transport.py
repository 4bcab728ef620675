# SPDX-License-Identifier: Apache-2.0
"""A way to a key manager that is written in Python."""

from __future__ import annotations

import abc

from .messages import Request, Response

__all__ = ["Transport"]


class Transport(abc.ABC):
    """Carries the three calls of GS QKD 004 to a key manager, any way you like. Derive, write :meth:`call`, and give
    an object of it to :func:`qkd004.connect` in place of a URI::

        class Loud(qkd004.Transport):
            def __init__(self, socket): ...
            def call(self, request):
                print(type(request).__name__)
                return ...

    Threads: :meth:`call` runs on the thread of whoever asks, several at a time if several ask.
    """

    @abc.abstractmethod
    def call(self, request: Request) -> Response:
        """Sends one request and returns its response, within ``request.timeout`` seconds.

        An :class:`OpenConnectRequest` is answered by an :class:`OpenConnectResponse`, and so on. GET_KEY for the same
        index must give the same key again, or say that it is gone: that is how a lost response is asked for again.

        What it raises, the caller of ``get_key()`` and its kin gets; raise :class:`ConnectionResetError` and the like
        as :class:`TransportError`, or a :class:`QKDError` of the status you mean.
        """
        raise NotImplementedError
