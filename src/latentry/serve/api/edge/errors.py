"""Errors as clients read them, `{"error": {message, type, param, code}}`: no path of this machine, no traceback."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from latentry.data.files.header import BadImage
from latentry.errors import LatentryError, UsageError, is_out_of_memory
from latentry.serve.engine.queue import Full
from latentry.serve.engine.ticket import Cancelled, Unavailable
from latentry.tasks import TASKS

LOG = logging.getLogger("latentry.serve")
INVALID, SERVER = "invalid_request_error", "server_error"
RETRY = {"Retry-After": "1"}


class Problem(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """As an answer."""
        return JSONResponse(self.body(), self.status, self.headers)


def busy() -> Problem:
    """No further request may wait."""
    text = "The queue is full. Ask again in a moment."
    return Problem(503, text, kind=SERVER, code="queue_full", headers=RETRY)


def problem_of(error: BaseException, private: Iterable[str] = ()) -> Problem:
    """What clients are told of an error. private: folders, which are cut out of its text."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Full):
        return busy()
    if isinstance(error, Unavailable):
        return Problem(503, "The server is about to stop.", kind=SERVER, code="stopping", headers=RETRY)
    if isinstance(error, Cancelled):
        return Problem(409, "The request was cancelled.", code="cancelled")
    if is_out_of_memory(error):
        return Problem(507, "Not enough memory. Ask for fewer or smaller images.", kind=SERVER, code="out_of_memory")
    if isinstance(error, UsageError | BadImage):
        text = without(str(error), private).removeprefix("body: ")
        return Problem(400, text, param=param_of(text), code="invalid_value")
    if isinstance(error, LatentryError):
        LOG.error("%s", error)
        text = "The model cannot be used now. The server's log says why."
        return Problem(503, text, kind=SERVER, code="model_unavailable", headers=RETRY)
    if isinstance(error, RequestValidationError):
        return misread(error)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), code="http_error", headers=dict(error.headers or {}))
    LOG.error("a request failed", exc_info=error)
    return Problem(500, "Something went wrong here. The server's log says what.", kind=SERVER, code="internal_error")


def misread(error: RequestValidationError) -> Problem:
    """A part of a path or a query that is not what it must be."""
    first = error.errors()[0]
    name, what = str(first["loc"][-1]), str(first["msg"])
    return Problem(400, f"{name}: {what[:200]}.", param=name[:40], code="invalid_value")


def without(text: str, private: Iterable[str]) -> str:
    """A text without the folders in it."""
    for folder in private:
        text = text.replace(folder.rstrip("/") + "/", "").replace(folder, "")
    return text


def param_of(text: str) -> str | None:
    """The field that a refusal begins with."""
    first, *others = text.split(": ", 2)
    commands = {entry.command for entry in TASKS.values()}
    place = others[0] if first in commands and len(others) > 1 else first
    return place if others and re.fullmatch(r"[a-z_]{1,40}", place) else None


async def answer(request: Request, error: Exception) -> JSONResponse:
    """The handler of the app."""
    return problem_of(error).response()
