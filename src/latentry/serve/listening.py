"""The socket, and who accepts from it: so few at a time that nobody who is there already waits for a rush."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from latentry.errors import LatentryError, shown
from latentry.serve.engine.engine import Engine

MOST_KNOCKING = 2048
AT_ONCE = 8
"""Connections that are accepted before the requests of all of them are with the application, or `PATIENCE` is over."""
PATIENCE = 0.02
"""Seconds that further ones wait for a client that has connected and says nothing."""
QUICK = 4
"""Turns of the loop in which whoever has sent a request before it was let in is heard."""
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


class Server(uvicorn.Server):
    """Refuses new work from the first signal on, so that what is in flight can end in its time.

    asyncio would accept all that knock and then answer everything that they sent in one go, for as long as that takes.
    Here the system holds them, and a few are let in at a time.
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
        loop, new = asyncio.get_running_loop(), list[Any]()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # no room for one more, or it is gone already
                await asyncio.sleep(PAUSE)
                continue
            with suppress(OSError):
                new.append(await loop.connect_accepted_socket(self._protocol, connection))
            if len(new) >= AT_ONCE:
                await _begun(new, loop.time() + PATIENCE)
                new.clear()

    def _protocol(self) -> asyncio.Protocol:
        how: Any = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        made: asyncio.Protocol = self.config.http_protocol_class(**how)  # type: ignore[operator]
        return made


async def _begun(new: list[Any], until: float) -> None:
    """Wait until what each of them asks is with the application; not for who is slow to ask."""
    loop, rounds = asyncio.get_running_loop(), 0
    while loop.time() < until and not all(
        transport.is_closing() or getattr(protocol, "cycle", None) is not None for transport, protocol in new
    ):
        await asyncio.sleep(0 if rounds < QUICK else 0.001)
        rounds += 1
    await asyncio.sleep(0)
