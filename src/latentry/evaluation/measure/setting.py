"""What the parts of an evaluation are given, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latentry.data.options import DataOptions
from latentry.evaluation.images.sets import ImageSet
from latentry.evaluation.measure.names import FIDELITY
from latentry.evaluation.measure.parts import Bench
from latentry.evaluation.measure.processes import Processes
from latentry.evaluation.options import EvaluationOptions
from latentry.metrics.compare import Figure
from latentry.metrics.features import Features, tag

Sheet = tuple[Tensor, int, bool]
"""Images (B, C, H, W) in [0, 1], in how many columns (0: about square), whether the last channel is transparency."""


@dataclass(frozen=True)
class Setting:
    """How is measured. names: of the metrics. report: called with a line; progress: with (what, done, of how many).

    read: how a folder is read with a model; None: as the model's run says, or else the model.
    """

    options: EvaluationOptions
    names: Sequence[str]
    processes: Processes
    device: torch.device
    report: Callable[[str], None]
    progress: Callable[[str, int, int], None]
    read: DataOptions | None = None

    def bench(self, networks: Sequence[Features], notes: Sequence[str]) -> Bench:
        """With these features, and what was to say of those that are missing."""
        o = self.options
        told = self.progress if self.processes.chief else _nothing
        if {*self.names} <= {"copies", *FIDELITY}:  # these are looked for in one kind of features
            networks = networks[:1]
        return Bench(networks, self.names, o.seed, o.draws, self.processes, told, [*notes])


@dataclass
class Found:
    """What was measured, in words, and what came out. Fields as of `Evaluation`; sheets: pictures by name."""

    of: str
    against: str
    figures: list[Figure] = field(default_factory=list)
    preprocessing: dict[str, str] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sheets: dict[str, Sheet] = field(default_factory=dict)
    nearest: tuple[dict[str, Any], ...] = ()


def preprocessing_of(networks: Sequence[Features], sets: Mapping[str, ImageSet]) -> dict[str, str]:
    """How files became images, by set, and images vectors, by the tag of the features, in words."""
    return {name: one.preprocessing for name, one in sets.items()} | {
        tag(features): features.preprocessing for features in networks
    }


def _nothing(what: str, done: int, total: int) -> None:
    return None
