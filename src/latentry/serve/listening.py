"""The socket, and who accepts from it: so few at a time that nobody who is there already waits for a rush."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple

import uvicorn

from latentry.errors import LatentryError, shown
from latentry.serve.engine.engine import Engine

MOST_KNOCKING = 2048
MOST_SILENT = 16
"""Connections that have been accepted and have asked nothing yet: so many requests may come at the same moment."""
PATIENCE = 0.25
"""Seconds after which one that still asks nothing keeps no other one out."""
QUICK = 4
"""Turns of the loop in which whoever sent a request before it was let in is heard."""
PAUSE = 0.5
"""Seconds without new connections where the system has no room for one."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises LatentryError where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With its protocol said, asyncio sends what is short at once; else answers wait 40 ms for the client's system.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.set_inheritable(True)
    except OSError as error:
        raise LatentryError(
            f"--host {shown(host)} --port {port}: cannot be listened on ({error.strerror}). Choose another port."
        ) from None
    return made


class New(NamedTuple):
    """A connection that has just been accepted."""

    transport: asyncio.BaseTransport
    protocol: asyncio.BaseProtocol
    since: float

    def keeps_out(self, now: float) -> bool:
        """Whether what it asks may still come, and soon."""
        asked = getattr(self.protocol, "cycle", None) is not None
        return not asked and not self.transport.is_closing() and now < self.since + PATIENCE


class Server(uvicorn.Server):
    """Refuses new work from the first signal on, so that what is in flight can end in its time.

    asyncio would accept all that knock and then answer everything that they sent in one go, for as long as that takes.
    Here the system holds them, and a few are let in at a time: the next when one of these has asked.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self.engine = engine
        self._doors: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup([])
        for one in sockets or ():
            one.setblocking(False)
            one.listen(MOST_KNOCKING)
            self._doors.append(asyncio.create_task(self._accept(one)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and end as uvicorn does."""
        for door in self._doors:
            door.cancel()
        await asyncio.gather(*self._doors, return_exceptions=True)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal; the second one ends what is in flight, too."""
        self.engine.close(0 if self.should_exit else None)
        super().handle_exit(sig, frame)

    async def _accept(self, listening: socket.socket) -> None:
        loop, silent = asyncio.get_running_loop(), list[New]()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # no room for one more, or it is gone already
                await asyncio.sleep(PAUSE)
                continue
            with suppress(OSError):
                silent.append(New(*await loop.connect_accepted_socket(self._protocol, connection), loop.time()))
            turns = 0
            while len(silent) >= MOST_SILENT:
                await asyncio.sleep(0 if turns < QUICK else 0.001)
                turns += 1
                silent = [one for one in silent if one.keeps_out(loop.time())]

    def _protocol(self) -> asyncio.Protocol:
        how: Any = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        made: asyncio.Protocol = self.config.http_protocol_class(**how)
        return made
