"""Reads a pickle without running anything in it: opcode by opcode, into plain containers, tensors and placeholders.

Python's own unpickler imports the names that a file gives and calls what it finds. Here a name is looked up in a table
of ours (`objects.VALUES`) and is a placeholder otherwise; only functions of that table are ever called.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO, Any

from latentry.checkpoints.foreign.machine import Machine
from latentry.checkpoints.foreign.names import Damaged, Unreadable, printable

DEEPEST = 50
DAMAGES = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError, MemoryError, EOFError,
    struct.error,
)  # fmt: skip
"""What a pickle can make go wrong here: all of it is the file's fault."""


def unpickle(stream: IO[bytes], persistent: Callable[[Any], object], dropped: dict[str, None]) -> Any:
    """The object of the pickle at the stream's position, which is left behind its end.

    persistent: gives the storage of a persistent id. dropped: the names of dropped classes are added to it.
    Raises `Unreadable` for attacks, damage and anything absurdly large or deep.
    """
    machine = Machine(persistent, dropped)
    try:
        root = machine.run(stream)
    except Unreadable:
        raise
    except DAMAGES as error:
        text = printable(str(error)) or type(error).__name__
        raise Damaged(f"is damaged: its pickle cannot be followed ({text}). Take another copy.") from error
    _check_depth(root)
    return root


def _check_depth(root: object) -> None:
    """Whoever walks what was read shall come to an end. Raises `Unreadable` when it is nested too deep or in itself."""
    layer = [root]
    for _ in range(DEEPEST):
        inside = (
            part
            for value in layer
            if isinstance(value, dict | list | tuple)
            for part in (value.values() if isinstance(value, dict) else value)
        )
        layer = list({id(part): part for part in inside if isinstance(part, dict | list | tuple)}.values())
        if not layer:
            return
    raise Unreadable(f"is nested deeper than {DEEPEST} containers, or in itself. Save the weights alone.")
