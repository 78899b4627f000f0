"""Helper of test_interrupted_saves: reads the newest checkpoint over and over until the last one is there."""

from __future__ import annotations

import sys
from pathlib import Path

from latentry.checkpoints import Store
from latentry.errors import LatentryError


def damaged(text: str) -> None:
    sys.exit(f"damage seen by the reader: {text}")


def read(store: Store) -> int | None:
    """The step of a whole checkpoint; None when there was none, or when it was pruned after it was found."""
    saved = store.newest()
    if saved is None:
        return None
    try:
        groups = [saved.tensors(name)["w"] for name in ("model", "ema")]
    except LatentryError:
        return None if not saved.path.exists() else sys.exit(f"{saved.path} is there and cannot be read")
    if saved.state["step"] != saved.step or any((group != saved.step).any() for group in groups):
        sys.exit(f"mixed checkpoint at {saved.path}")
    return saved.step


if __name__ == "__main__":
    store, last = Store(Path(sys.argv[1]), report=damaged), int(sys.argv[2])
    print("ready", flush=True)
    reads, step = 0, 0
    while step != last:
        found = read(store)
        if found is not None:
            if found < step:
                sys.exit(f"went back from step {step} to {found}")
            reads, step = reads + 1, found
    print(reads)
