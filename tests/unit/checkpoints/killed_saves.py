"""Helper of test_interrupted_saves: kills a save at each of its disk operations, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from latentry.checkpoints import Store, durable


def save(root: Path, step: int, keep: int) -> None:
    state = {"step": step}
    Store(root, keep).save(step, {name: {"w": torch.full((300,), float(step))} for name in ("model", "ema")}, state)


def arm(point: int) -> None:
    """From now on this process dies by SIGKILL just before disk operation `point`; a write is half done by then."""
    calls = iter(range(10**6))

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if next(calls) == point:
                if real is write:
                    write(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    write = os.write
    for name in ("open", "write", "fsync", "unlink", "rmdir"):
        setattr(os, name, dying(getattr(os, name)))
    durable.rename = dying(durable.rename)


def killed(root: Path, point: int, replace: bool) -> bool:
    """A save after good ones, killed at `point`; False when it had fewer operations."""
    child = os.fork()
    if child == 0:
        arm(point)
        save(root, 2 if replace else 3, 1 if replace else 2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    folder, replacing = Path(sys.argv[1]), "replace" in sys.argv
    for good in (1, 2):
        save(folder / "good", good, 1 if replacing else 2)
    os.fsync = lambda fd: None  # what a kill leaves does not depend on it, and waiting for the disk is slow
    count, died = 0, True
    while died:
        shutil.copytree(folder / "good", folder / f"point-{count}")
        died = killed(folder / f"point-{count}", count, replacing)
        count += 1
    print(count)
