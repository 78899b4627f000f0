"""How much of a body is read, and for how long it is waited for; a full queue is told before any of it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentry.serve.api.edge.errors import Problem, busy
from latentry.text import number

CLOSE = {"Connection": "close"}
WORK = ("/v1/images/", "/v1/tasks/", "/v1/jobs")


class Limits:
    """Answers 413 for a body that is too large, 408 for one that does not arrive, 503 for work that may not wait."""

    def __init__(self, app: ASGIApp, most: int, seconds: float, full: Callable[[], bool]) -> None:
        self.app, self.most, self.seconds, self.full = app, most, seconds, full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = self._before(scope)
        if problem is not None:
            await problem.response()(scope, receive, send)
            return
        body = _Body(receive, self.most, self.seconds)
        try:
            await self.app(scope, body.receive, body.noting(send))
        except Problem as late:  # of a body that nothing caught on its way
            if not body.answered:
                await late.response()(scope, receive, send)

    def _before(self, scope: Scope) -> Problem | None:
        told = Headers(scope=scope).get("content-length")
        length = None if told is None else number(told)
        if told is not None and (length is None or length > self.most):
            return too_large(self.most)
        if scope["method"] == "POST" and scope["path"].startswith(WORK) and self.full():
            return busy()
        return None


class _Body:
    """What arrives, counted and timed until it is whole."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._left, self._most = receive, most, most
        self._until, self._whole, self.answered = asyncio.get_running_loop().time() + seconds, False, False

    async def receive(self) -> Message:
        """The next part of it; what is there already is given at once, so that requests are taken in their order."""
        if self._whole:  # from here on it is only heard whether the client is gone
            return await self._receive()
        task, late = asyncio.current_task(), False

        def expire() -> None:
            nonlocal late
            late = True
            if task is not None:
                task.cancel()

        timer = asyncio.get_running_loop().call_at(self._until, expire)
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if not late:
                raise
            raise Problem(408, "The request's body did not arrive in time.", code="timeout", headers=CLOSE) from None
        finally:
            timer.cancel()
        self._left -= len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._left < 0:
            raise too_large(self._most)
        return message

    def noting(self, send: Send) -> Send:
        """The same, and whether an answer was begun."""

        async def noted(message: Message) -> None:
            self.answered = True
            await send(message)

        return noted


def too_large(most: int) -> Problem:
    """The answer to a body beyond the limit; the rest of it is not read."""
    return Problem(413, f"The request is larger than {most} bytes.", code="too_large", headers=CLOSE)
