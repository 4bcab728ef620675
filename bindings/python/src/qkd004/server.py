# SPDX-License-Identifier: Apache-2.0
"""A site in this process: what ``qkd004 serve`` is, as an object."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Optional, Union

from . import _qkd004
from .errors import Closed
from .source import KeySource, SoftwareLinkEnd

__all__ = ["Server", "serve"]

_logger = logging.getLogger("qkd004.server")
_LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING, logging.ERROR)
_running: weakref.WeakSet[Server] = weakref.WeakSet()


def _log(level: int, line: str) -> None:
    _logger.log(_LEVELS[level], "%s", line)


class Server:
    """A site that serves applications and peers, on a thread of its own; :func:`serve` makes it. Leaving its ``with``
    block stops it, and so does the end of the process.

    Threads: any."""

    def __init__(self, server: _qkd004.ServerThread) -> None:
        self._server: Optional[_qkd004.ServerThread] = server
        _running.add(self)

    @property
    def addresses(self) -> list[str]:
        """The listeners as URIs, with the ports they really have. Raises Closed."""
        if self._server is None:
            raise Closed("the server was closed")
        return self._server.addresses()

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._server is None

    def close(self) -> None:
        """Answers what waits, closes every connection, wipes all key of the site, and ends the thread. May be
        repeated.

        Raises InvalidArgument inside a key source of the site or a handler of its log: its thread would wait for
        itself."""
        server = self._server
        if server is not None:
            server.stop()
            self._server = None

    def __enter__(self) -> Server:
        if self._server is None:
            raise Closed("the server was closed")
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<qkd004.Server, closed>" if self._server is None else f"<qkd004.Server {' '.join(self.addresses)}>"


@atexit.register
def _close_all() -> None:
    for server in list(_running):
        server.close()


def serve(
    config: Union[str, os.PathLike[str], Mapping[str, Any]],
    *,
    sources: Optional[Mapping[str, Union[KeySource, SoftwareLinkEnd]]] = None,
) -> Server:
    """Runs a site: key manager, listeners, peers and key sources, as ``qkd004 serve`` does.

    ``config`` is the path of a TOML file; or its text, which has an equals sign, a path of which is written
    ``pathlib.Path(...)``; or a dict of the same shape. Paths in it are taken from the file's folder, else from the
    working directory::

        link = qkd004.SoftwareLink()
        b = qkd004.serve({"node": "site-b", "listen": ["qkd004://127.0.0.1:0"], "peer": [
            {"node": "site-a", "link": "a-b", "address": "qkd004://127.0.0.1:9", "source": {"kind": "given"}}]},
            sources={"a-b": link.bob})

    ``sources`` gives key sources by the names of their links, in place of what the configuration says;
    ``kind = "given"`` there says nothing. Each serves one site, once.

    Lines of the log go to ``logging.getLogger("qkd004.server")``, and hold no key. That of the site that dials its
    peer has warnings until the peer is there. A handler of theirs must not wait for a key: that raises InvalidArgument.

    Raises InvalidArgument, whose text is a line ``file:line:column: what is wrong`` for everything found;
    FileNotFoundError and its kin for the file; PermissionError (files of others); TransportError with the system's
    errno, EADDRINUSE say; ResourceLimit.
    """
    given: dict[str, Any] = {}
    for link, source in (sources or {}).items():
        if not isinstance(link, str) or not isinstance(source, (KeySource, SoftwareLinkEnd)):
            raise TypeError("sources is a dict of link names and key sources")
        given[link] = source
    text: Optional[str] = None
    file: Optional[str] = None
    if isinstance(config, Mapping):
        text = _qkd004.toml_text(dict(config))
    elif isinstance(config, str) and "=" in config:
        text = config
    else:
        file = os.fspath(config)
        if not isinstance(file, str):
            raise TypeError("config is a path, TOML text or a dict")
    return Server(_qkd004.serve(text, file, given, _log))
