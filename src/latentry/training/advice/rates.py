"""What other `steps` than an earlier call's do to the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latentry.checkpoints.store import Store
from latentry.training.loop.optimiser import rate_factor
from latentry.training.recipe.recipe import Recipe
from latentry.training.recipe.training import StageTraining

NOTABLE = 0.01
"""Change of the rate, as a share of its full height, from which it is said."""
LOW = 0.1
"""An `lr_end` to go on with where the decay had ended at 0."""


def rate_changes(recipe: Recipe, earlier: Recipe, out: Path, stages: Sequence[str]) -> list[str | None]:
    """A line for each stage with checkpoints in `out` that goes on at another rate than the earlier recipe planned."""
    lines: list[str | None] = []
    for stage in stages:
        now, before = recipe.section(stage), earlier.section(stage)
        done = max(Store(out / stage).steps(), default=0)
        if now is not None and before is not None and 0 < done < now.train.steps:
            lines += rate_change(stage, done, before.train, now.train)
    return lines


def rate_change(stage: str, done: int, before: StageTraining, now: StageTraining) -> list[str]:
    """The line, if there is anything to say. done: the step from which training goes on."""
    old, new = rate_factor(done, before), rate_factor(done, now)
    if abs(new - old) < NOTABLE:
        return []
    end = before.decay_steps or before.steps
    text = (
        f"{stage}: its {now.decay} decay now ends at step {now.decay_steps or now.steps:,} instead of {end:,}: from "
        f"step {done:,} on the learning rate is {now.rate() * new:.3g} instead of {now.rate() * old:.3g} "
        f"({new:.0%} of its full height instead of {old:.0%})"
    )
    if new > old:
        low = "" if now.lr_end or now.steps <= end else f" {stage}.train.lr_end={LOW}"
        text += f". To keep the decay as it was and go on at a low rate, add {stage}.train.decay_steps={end}{low}"
    return [text]
