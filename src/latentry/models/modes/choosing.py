"""`auto`: the fastest mode for one network and shape on this machine, where one is clearly faster than the usual."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentry import devices
from latentry.models.modes.compiling import no_compiler
from latentry.models.modes.mode import PLAIN, Mode, usual
from latentry.models.modes.pairs import Pair, Rule, spread

RULE = Rule(clearly=0.93, hardly=1.0, pairs=12, odd=0, fewest=8)
"""A mode is taken where the median pair is 7% faster than the usual, and each of the pairs is. Of two equal modes on a
busy machine that is so once in 4096 times."""
SECONDS = 60.0
"""After so long no further pass of a mode is begun, nor another mode tried."""
SAME = 1.01 / 255
"""Values of pictures in [0, 1] that agree within the rounding of 8 bits."""


@dataclass(frozen=True)
class Trial:
    """What is tried of a network. enter: puts it into a mode. draw: a picture by a few steps, in [0, 1].

    step: one evaluation, as long as which a pass is.
    """

    device: torch.device
    enter: Callable[[Mode], None]
    draw: Callable[[], Tensor]
    step: Callable[[], object]


def candidates(device: torch.device) -> list[Mode]:
    """The modes that are tried beside the usual one, the most promising first."""
    fast = Mode("bf16", channels_last=True, frozen=True)
    if device.type == "cuda":
        return [fast.but(compile=True), fast, fast.but(precision="fp32", compile=True)]
    compiled = [] if no_compiler(device) else [usual(device).but(compile=True)]
    return [one for one in (fast, PLAIN, usual(device).but(channels_last=False), *compiled) if one != usual(device)]


def choose(trial: Trial, modes: Sequence[Mode] | None = None) -> tuple[Mode, str]:
    """The mode, and why. On a CPU only of those whose pictures are the usual one's, within the rounding of 8 bits."""
    device, best, end = trial.device, usual(trial.device), time.monotonic() + SECONDS
    trial.enter(best)
    wanted = trial.draw()
    faster: list[tuple[float, Mode, list[Pair]]] = []
    other: list[str] = []
    tried = 0
    for mode in candidates(device) if modes is None else modes:
        if time.monotonic() >= end:
            break
        trial.enter(mode)
        if device.type == "cpu" and float((trial.draw() - wanted).abs().max()) > SAME:
            other.append(str(mode))
            continue
        tried += 1
        pairs = compare(trial, best, mode, end)
        if RULE.met(pairs):
            faster.append((statistics.median(second / first for first, second in pairs), mode, pairs))
    left = f"; {', '.join(other)} would change pictures" if other else ""
    if not faster:
        return best, f"none of {tried} other modes was clearly faster{left}"
    _, mode, pairs = min(faster, key=lambda one: one[0])
    return mode, f"took {spread(pairs)} as {best}{left}"


def compare(trial: Trial, best: Mode, mode: Mode, end: float) -> list[Pair]:
    """Seconds of passes in both, in turn; entering a mode and its first pass are not timed."""

    def passed(one: Mode) -> float:
        trial.enter(one)
        trial.step()
        devices.synchronise(trial.device)
        return seconds(trial)

    return RULE.time(lambda: passed(best), lambda: passed(mode), lambda: time.monotonic() < end)


def seconds(trial: Trial) -> float:
    """Of one pass."""
    start = time.perf_counter()
    trial.step()
    devices.synchronise(trial.device)
    return time.perf_counter() - start
