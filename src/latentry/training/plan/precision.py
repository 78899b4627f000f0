"""Settle what a recipe leaves to the machine, `precision: auto`: bf16 is slower than fp32 on some processors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from latentry import devices
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import dump, validated
from latentry.training.stages import STAGES

AUTO, TRIES = "auto", 3


def settle(plan: Plan) -> Plan:
    """The plan with `auto` replaced by what a few timed passes on this machine choose; all processes agree."""
    tree, world = dump(plan.recipe), plan.world
    settled = False
    for name, kind in STAGES.items():
        section = plan.recipe.section(name)
        if section is not None and section.trains and section.train.precision == AUTO:
            chosen = "fp32" if kind.probe is None else choose(kind.probe(plan), world.device, AUTO)
            agreed = world.any(world.chief and chosen == "bf16")
            tree[name]["train"]["precision"] = "bf16" if agreed else "fp32"
            settled = True
    return replace(plan, recipe=validated(tree, f"recipe {plan.recipe.name}")) if settled else plan


def choose(work: Callable[[], Tensor], device: torch.device, precision: str) -> str:
    """`precision` unless it is `auto`: then the faster of fp32 and bf16 for a forward and backward pass of `work`.

    work: returns a scalar to differentiate; leaves gradients behind, which the caller clears.
    """
    if precision != AUTO:
        return precision
    known = devices.fast_bf16(device)
    if known is not None:
        return "bf16" if known else "fp32"
    times = {precision: _time(work, device, precision) for precision in ("fp32", "bf16")}
    return min(times, key=lambda p: times[p])


def _time(work: Callable[[], Tensor], device: torch.device, precision: str) -> float:
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        with devices.autocast(device, precision):
            loss = work()
        loss.float().backward()
        devices.synchronise(device)
        best = min(best, time.perf_counter() - start)
    return best
