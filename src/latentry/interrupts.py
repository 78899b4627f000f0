"""Ctrl-C and SIGTERM, from the program's first line to its last: exit code 130 or 143, and never a traceback.

A signal that the program's starter had set to be ignored, as a shell does with SIGINT for `command &` in a script,
stays ignored. Nothing heavy is imported here: this comes before everything else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
PAUSE = 0.02  # seconds until it is tried again, where an exception would be lost
GRACE = 10.0  # seconds in which a command may clean up
AGAIN = 1.0  # seconds until the end of the grace comes again: an alarm just before a call that waits does not wake it
_IMPORTS = "<frozen importlib"

Error = Callable[[], BaseException | None]
"""Makes the exception, or says that none is due any more."""


class Interrupted(SystemExit):
    """The program is to end: raised inside `working`. `code` is the exit code."""


_state: dict[str, Any] = {"working": 0, "code": 0, "due": None, "process": 0, "told": False}


def heeded(number: int) -> bool:
    """Whether the program's starter lets this signal through."""
    return signal.getsignal(number) is not signal.SIG_IGN


def take() -> None:
    """From here on SIGINT and SIGTERM end the program: at once, or inside `working` by an exception."""
    _state["process"] = os.getpid()
    for number in filter(heeded, CODES):
        signal.signal(number, _end)
    sys.unraisablehook = _retry


@contextmanager
def working() -> Iterator[None]:
    """For the length of a `with` something is under way that must be cleaned up: a signal raises `Interrupted`."""
    _state["working"] += 1
    try:
        yield
    finally:
        _state["working"] -= 1


def told() -> None:
    """Called once a person has read that the program was interrupted: whatever ends it after that says nothing more.

    Leaving takes a while where the machine is busy: a second signal, or the end of `GRACE`, may come meanwhile.
    """
    _state["told"] = True


def deliver(error: Error, frame: FrameType | None) -> None:
    """Raise an error from a signal's handler; a moment later where an import is under way.

    An import that is broken off may swallow the exception, put a traceback around it, or leave half a module behind.
    """
    _state["due"] = error
    if _importing(frame):
        _soon(PAUSE)
    elif made := error():
        raise made


def _end(number: int, frame: FrameType | None) -> None:
    """The handler. A second signal ends at once what a first one did not."""
    code = CODES[signal.Signals(number)]
    if os.getpid() != _state["process"]:  # a worker that was forked just now
        os._exit(code)
    if _state["code"] or not _state["working"]:
        _leave(_state["code"] or code)
    _state["code"] = code
    deliver(lambda: _Interrupting(code), frame)


class _Interrupting(Interrupted):
    """Only now does the time for cleaning up begin: whoever swallows it does not keep the program alive."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        signal.signal(signal.SIGALRM, lambda *_: _leave(code))
        signal.setitimer(signal.ITIMER_REAL, GRACE, AGAIN)


def _soon(seconds: float) -> None:
    signal.signal(signal.SIGALRM, lambda _, frame: deliver(_state["due"], frame))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTS):
            return True
        frame = frame.f_back
    return False


def _retry(unraisable: Any) -> None:
    """Python drops what is raised in a finaliser or a callback of C; an exit that was dropped there is due again."""
    if isinstance(unraisable.exc_value, SystemExit) and _state["due"] is not None:
        _soon(PAUSE)
    else:
        sys.__unraisablehook__(unraisable)


def _leave(code: int) -> None:
    """Without anything that could fail, wait or print a traceback."""
    with suppress(Exception):
        sys.stdout.flush()
    if os.environ.get("RANK", "0") == "0" and not _state["told"]:
        with suppress(OSError):
            os.write(2, b"error: interrupted\n")
    os._exit(code)
