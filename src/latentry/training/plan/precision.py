"""Settle what a recipe leaves to the machine, `precision: auto`: bf16 where it is clearly faster than fp32."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from latentry import devices
from latentry.models.modes.pairs import Pair, Rule
from latentry.timing import clocked
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import dump, validated
from latentry.training.stages import STAGES

AUTO = "auto"
PAIRS, ODD = 9, 1
"""Passes in fp32 and in bf16 that are timed, and how many of the pairs may speak against bf16 when it is taken."""
CLEARLY, HARDLY = 0.65, 0.9
"""bf16 is taken where the median pair shows this share of the time of fp32 or less, and nearly every one HARDLY.

Processors that compute in bf16 take about half the time, others more than all of it. Between lies what contention for
memory does, which slows fp32 more: it is not worth that this machine, when it is busy, trains another model.
"""
IMAGES, PASS = 16, 0.3
"""Most images in a timed pass, which is to take about so many seconds."""
SECONDS, FEWEST = 15.0, 4
"""After so long no further pass is begun; bf16 is taken by so many pairs at least."""
RULE = Rule(CLEARLY, HARDLY, PAIRS, ODD, FEWEST)


def _silent(_: str) -> None:
    return None


def settle(plan: Plan, doing: Callable[[str], None] = _silent) -> Plan:
    """The plan with `auto` replaced by what timed passes on this machine choose; all processes agree.

    doing: called with what comes next, as it takes a while.
    """
    tree, world, timings = dump(plan.recipe), plan.world, dict[str, str]()
    for name, kind in STAGES.items():
        section = plan.recipe.section(name)
        if section is not None and section.trains and section.train.precision == AUTO:
            chosen = "fp32"
            if kind.probe is not None:
                doing(f"{name}: timing fp32 and bf16 for precision: auto")
                reasons: list[str] = []
                chosen = choose(kind.probe(plan), world.device, AUTO, tell=reasons.append)
                if reasons:
                    timings[name] = f"{chosen}; {reasons[0]}"
            agreed = world.any(world.chief and chosen == "bf16")
            tree[name]["train"]["precision"] = "bf16" if agreed else "fp32"
    for name, reason in timings.items():
        plan.report(f"{name}: precision {reason}")
    recipe = validated(tree, f"recipe {plan.recipe.name}")
    return plan if recipe == plan.recipe else replace(plan, recipe=recipe, timings=timings)


def choose(
    work: Callable[..., Tensor], device: torch.device, precision: str, tell: Callable[[str], None] = _silent
) -> str:
    """`precision` unless it is `auto`: then bf16 if it is clearly faster than fp32, for forward and backward of `work`.

    work: of a number of images makes a scalar to differentiate; leaves gradients behind, which the caller clears. tell:
    called with the reason for what was chosen.
    """
    if precision != AUTO:
        return precision
    known = devices.fast_bf16(device)
    if known is not None:
        return "bf16" if known else "fp32"
    pairs = compare(work, device)
    tell(in_words(pairs))
    return "bf16" if clearly_faster(pairs) else "fp32"


def compare(work: Callable[..., Tensor], device: torch.device) -> list[Pair]:
    """Times of passes in turn, so that whatever else the machine does meets both; no more than the choice needs."""
    end = time.monotonic() + SECONDS
    _time(partial(work, 1), device, "fp32")  # the first pass of each prepares much
    images = max(1, min(IMAGES, int(PASS / max(_time(partial(work, 1), device, "fp32"), 1e-6))))
    if time.monotonic() < end:
        _time(partial(work, images), device, "bf16")
    return RULE.time(
        lambda: _time(partial(work, images), device, "fp32"),
        lambda: _time(partial(work, images), device, "bf16"),
        lambda: time.monotonic() < end,
    )


def decided_against(pairs: Sequence[Pair]) -> bool:
    """Whether no further pair could show that bf16 is clearly faster."""
    return RULE.against(pairs)


def clearly_faster(pairs: Sequence[Pair]) -> bool:
    """Whether bf16 is, by enough pairs: by their median, and by each for itself; of the full number one may be odd."""
    return RULE.met(pairs)


def in_words(pairs: Sequence[Pair]) -> str:
    """Both times and the spread of their ratio."""
    if not pairs:
        return f"there was no time to compare it with bf16 in {SECONDS:g} s"
    fp32, bf16 = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = [b / f for f, b in pairs]
    return (
        f"bf16 took {statistics.median(ratios):.2f} times as long as fp32 ({min(ratios):.2f} to {max(ratios):.2f} in "
        f"{len(pairs)} pairs; it is chosen at {CLEARLY:g} or less): {fp32:.3g} s in fp32, {bf16:.3g} s in bf16 a pass"
    )


def _time(work: Callable[[], Tensor], device: torch.device, precision: str) -> float:
    """Seconds of one pass."""

    def both() -> None:
        with devices.autocast(device, precision):
            loss = work()
        loss.float().backward()

    return clocked(both, partial(devices.synchronise, device))[0]
