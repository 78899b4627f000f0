"""Whether an imported model gives the published code's numbers, tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from latentry import devices
from latentry.errors import LatentryError
from latentry.verify import first_stage_checks, loss_checks, process_checks, sampler_checks
from latentry.verify.fixture import Check, NotThere, Subject

CHECKS: dict[str, Check] = {
    **first_stage_checks.CHECKS,
    **process_checks.CHECKS,
    **sampler_checks.CHECKS,
    **loss_checks.CHECKS,
}
SINGLE, WALK = 3e-5, 1e-3
"""Differences allowed, as shares of a tensor's largest magnitude: in one call, after a sampler's many."""
WALKS = re.compile(r"out\.(ddim|plms)\d+[^.]*(\.(x_steps|x0_last|decoded))?|out\.ancestral\d+")


class Line(NamedTuple):
    """One tensor. off: largest difference as a share of the largest magnitude; None where it was not compared."""

    name: str
    off: float | None
    allowed: float
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether it is within what is allowed."""
        return self.off is not None and self.off <= self.allowed


def verify(model: str | Path, fixture: str | Path, device: str = "cpu") -> Iterator[Line]:
    """Compare every result of a fixture folder with what a model folder gives; nothing is skipped in silence.

    Whole numbers must be equal. device: where the model computes; the published numbers come from a CPU.
    Raises UsageError for folders that are not what they should be.
    """
    subject = Subject(Path(model), Path(fixture), devices.choose(device))
    for name in sorted(n for n in subject.tensors if n.startswith("out.")):
        yield compare(subject, name)


def compare(subject: Subject, name: str) -> Line:
    """One line."""
    expected = subject.tensors[name]
    allowed = WALK if WALKS.fullmatch(name) else SINGLE if expected.is_floating_point() else 0.0
    try:
        result = result_of(subject, name.removeprefix("out.")).detach()
    except (NotThere, LatentryError, RuntimeError, KeyError) as error:  # of another model than the fixture's, say
        return Line(name, None, allowed, str(error).splitlines()[0])
    if result.shape != expected.shape:
        return Line(name, None, allowed, f"shape {tuple(result.shape)}, expected {tuple(expected.shape)}")
    expected, result = expected.cpu().double(), result.cpu().double()
    largest, off = float(expected.abs().max()), float((result - expected).abs().max())
    return Line(name, off / largest if largest else off, allowed)


def result_of(subject: Subject, name: str) -> Tensor:
    """What the model gives for a tensor's name behind `out.`. Raises NotThere without a check, or what it needs."""
    for pattern, check in CHECKS.items():
        match = re.fullmatch(pattern, name)
        if match:
            with torch.no_grad(), subject.device:  # what a check makes itself is there too
                return check(subject, *match.groups())
    raise NotThere("there is no check for it")
