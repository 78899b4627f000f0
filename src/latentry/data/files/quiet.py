"""What the C libraries behind decoders write to the terminal by themselves is kept off it."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_depth = 0
_saved = -1


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings of Python are ignored, and file descriptor 2, where libtiff writes, leads nowhere.

    Threads that decode at once share one redirection, so that the last one out brings the terminal back.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _enter()
        try:
            yield
        finally:
            _leave()


def _enter() -> None:
    global _depth, _saved  # noqa: PLW0603 - a descriptor belongs to the process
    with _LOCK:
        _depth += 1
        if _depth == 1:
            try:
                _saved = os.dup(2)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)
            except OSError:
                pass  # a process without a terminal has nothing to keep quiet


def _leave() -> None:
    global _depth, _saved  # noqa: PLW0603
    with _LOCK:
        _depth -= 1
        if _depth == 0 and _saved >= 0:
            with contextlib.suppress(OSError):
                os.dup2(_saved, 2)
                os.close(_saved)
            _saved = -1
