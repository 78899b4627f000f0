"""Whether an imported model gives the published code's numbers, tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

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


def verify(model: str | Path, fixture: str | Path) -> Iterator[Line]:
    """Compare every result of a fixture folder with what a model folder gives; nothing is skipped in silence.

    Whole numbers must be equal. Raises UsageError for folders that are not what they should be.
    """
    subject = Subject(Path(model), Path(fixture))
    for name in sorted(n for n in subject.tensors if n.startswith("out.")):
        yield compare(subject, name)


def compare(subject: Subject, name: str) -> Line:
    """One line."""
    expected = subject.tensors[name]
    allowed = WALK if WALKS.fullmatch(name) else SINGLE if expected.is_floating_point() else 0.0
    try:
        result = _result(subject, name.removeprefix("out.")).detach()
    except (NotThere, LatentryError, RuntimeError, KeyError) as error:  # of another model than the fixture's, say
        return Line(name, None, allowed, str(error).splitlines()[0])
    if result.shape != expected.shape:
        return Line(name, None, allowed, f"shape {tuple(result.shape)}, expected {tuple(expected.shape)}")
    largest = float(expected.double().abs().max())
    off = float((result.double() - expected.double()).abs().max())
    return Line(name, off / largest if largest else off, allowed)


def _result(subject: Subject, name: str) -> Tensor:
    for pattern, check in CHECKS.items():
        match = re.fullmatch(pattern, name)
        if match:
            with torch.no_grad():
                return check(subject, *match.groups())
    raise NotThere("there is no check for it")
