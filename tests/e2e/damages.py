"""What happens to a text file: bits, cuts, other kinds of files in its place."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def flip(path: Path, seed: int = 0) -> None:
    """One bit, of a byte that the seed chooses."""
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**30)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\xfd" + path.read_bytes()[:40] + b"\x80"),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "NUL bytes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "nested": lambda path: path.write_bytes(b"[" * 200_000),
    "a list": lambda path: path.write_bytes(b"[1, 2]"),
    "a FIFO": fifo,
    "a folder": folder,
    "a loop": loop,
    "a device": device,
    "a gigabyte": sparse,
}


@contextmanager
def in_time(seconds: int = 60) -> Iterator[None]:
    """Whatever waits for ever fails instead."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
