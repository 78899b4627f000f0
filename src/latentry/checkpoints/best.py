"""Which checkpoint of a training is the best, by a figure measured on the way; kept in the state of each checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from latentry import text
from latentry.checkpoints.store import STATE, Saved, Store
from latentry.errors import LatentryError, UsageError, shown
from latentry.text import number

WORD, KEY = "best", "best"
"""What the best checkpoint is called where a step is asked for, and what the state calls it."""
Score = tuple[str, float]
"""Name of a figure, and its value turned so that less is better."""


class Best(NamedTuple):
    """step: of the checkpoint. by: name of the figure. score: its value, turned so that less is better."""

    step: int
    by: str
    score: float

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Best | None:
        """What the state of a checkpoint says."""
        found = state.get(KEY)
        return None if found is None else cls(int(found["step"]), str(found["by"]), float(found["score"]))


def beaten(best: Best | None, step: int, found: Score | None) -> Best | None:
    """What is now the best, if it is the checkpoint of `step`; None where it is not. Another figure begins anew."""
    if found is None or not math.isfinite(found[1]):
        return None
    by, score = found
    return Best(step, by, score) if best is None or best.by != by or score < best.score else None


def resolved(store: Store, step: int | str) -> Saved:
    """The checkpoint of a step, or of `best`. Raises UsageError for none, LatentryError for a damaged one."""
    if step != WORD:
        return store.at(_number(step))
    saved = store.newest()
    best = None if saved is None else Best.of(saved.state)
    if best is None:
        raise UsageError(
            f"{store.root}: no best checkpoint is kept; accepted: a step. It is kept by "
            "diffusion.train.evaluate.every=5000 diffusion.train.evaluate.keep_best=fid, from the next evaluation on."
        )
    return store.at(best.step)


def best_of(store: Store) -> Best | None:
    """As the newest checkpoint says, unverified: for a look at a run."""
    with suppress(LatentryError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Best.of(json.loads(text.read(store.root / f"step-{store.steps()[-1]}" / STATE)))
    return None


def _number(step: int | str) -> int:
    found = number(step) if isinstance(step, str) else step
    if found is None or found < 0:
        raise UsageError(f'step: "{shown(step)}"; accepted: the number of a checkpoint, or {WORD}.')
    return found
