"""Figures of a factor's checkpoints, each kept in a file of its own as soon as it is there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from latentry.checkpoints import durable
from latentry.data.dataset import ImageData
from latentry.errors import LatentryError, UsageError
from latentry.evaluation.images.drawn import Samples, reconstructions
from latentry.evaluation.images.sets import at_once, split_set
from latentry.evaluation.measure.fidelity import Fidelity, scores_of
from latentry.evaluation.measure.of_model import Showing
from latentry.evaluation.measure.parts import Bench
from latentry.metrics.features import tag
from latentry.metrics.statistics import Statistics
from latentry.pipeline import Pipeline, load
from latentry.pipeline.output import grid
from latentry.study.compression.features import shared_features
from latentry.study.compression.options import Made, Part
from latentry.text import read

FOLDER = "measured"
NAMES = ("kid", "fid")
REFERENCE, RECONSTRUCTED, SHOWN, BATCH = 2000, 500, 16, 32
Told = Callable[[str], None]


class Measure:
    """All measuring of one study; the features of the real images are found once."""

    def __init__(self, made: Made, images: ImageData, folder: Path, device: torch.device, report: Told) -> None:
        self.made, self.images, self.folder, self.device, self.report = made, images, folder, device, report
        self.alpha = images.source.transparent and images.options.channels in (2, 4)
        networks = shared_features(images.options.channels, images.source.transparent, device)
        refuse_features(made, [tag(one) for one in networks])
        seed = made.options.seed
        self.bench = Bench(networks, NAMES, images.seed if seed is None else seed)
        self._real: list[Statistics] | None = None

    @property
    def real(self) -> list[Statistics]:
        """Of the training images, of many of them evenly spread ones."""
        if self._real is None:
            self._real = self.bench.reference(split_set(self.images, "training images").first(REFERENCE))
        return self._real

    def part(self, part: Part) -> None:
        """Everything of a trained factor that is not measured yet."""
        most, last = max(self.made.options.steps), part.spent.second
        for step in range(part.spent.second_every, last + 1, part.spent.second_every):
            self._drawn(part, step, most)
        for steps in self.made.options.steps:
            self._drawn(part, last, steps)
        if part.factor > 1:
            self._reconstructed(part)

    def _drawn(self, part: Part, step: int, steps: int) -> None:
        file = drawn_file(self.folder, part.factor, step, steps)
        if file.exists():
            return
        self.report(f"f = {part.factor}: measuring step {step} of {part.spent.second}, drawn in {steps} steps")
        count, pipe = self.made.options.samples, self._opened(part, step)
        samples = Samples(pipe, self.images, self.bench.seed, BATCH, {"steps": steps}, gauge=False)
        shown = Showing(samples, SHOWN)
        numbers = self.images.options.channels * self.made.size[0] * self.made.size[1]
        found = self.bench.statistics(shown, count, at_once(numbers), "samples")
        figures = [asdict(figure) for figure in self.bench.compared(self.real, found)]
        if step == part.spent.second and steps == max(self.made.options.steps):
            content = io.BytesIO()
            grid(shown.images, 8, alpha=self.alpha).save(content, "PNG")
            keep(sheet_file(self.folder, part.factor), content.getvalue())
        rate = {"samples_per_second": samples.rate, "seconds": samples.seconds}
        facts = {"factor": part.factor, "step": step, "steps": steps, "samples": count}
        keep(file, json.dumps({**facts, **rate, "figures": figures}, indent=1) + "\n")

    def _reconstructed(self, part: Part) -> None:
        file = reconstructed_file(self.folder, part.factor)
        if file.exists():
            return
        self.report(f"f = {part.factor}: measuring its first stage")
        pipe, data = self._opened(part, part.spent.second), self.images.other("held_out")
        real = split_set(data, "held-out images").first(RECONSTRUCTED)
        scores = scores_of(("psnr", "ssim"), data.shape, _no_lpips, [], data.in_use)
        pairs = partial(reconstructions, pipe, real)
        words = "held-out reconstructions"
        figures, theirs, ours = self.bench.of_pairs(pairs, real.count, real.at_once, Fidelity(scores), words)
        figures += self.bench.compared(theirs, ours)
        facts = {"factor": part.factor, "images": real.count}
        keep(file, json.dumps({**facts, "figures": [asdict(one) for one in figures]}, indent=1) + "\n")

    def _opened(self, part: Part, step: int) -> Pipeline:
        return load(self.folder / f"f{part.factor}", device=self.device, step=step)


def refuse_features(made: Made, here: list[str]) -> None:
    """Raise UsageError where the features that the study began with are not on this machine, or others besides."""
    if tuple(here) != made.features:
        raise UsageError(
            f"features: found {', '.join(here)}; the study measures in {', '.join(made.features)}. Put the weights of "
            "squeezenet where they were (LATENTRY_WEIGHTS names the folder), or name another --out."
        )


def _no_lpips() -> Any:
    raise LatentryError("LPIPS is not measured by this study.")


def drawn_file(folder: Path, factor: int, step: int, steps: int) -> Path:
    """Of the samples of a checkpoint, drawn in so many steps."""
    return folder / FOLDER / f"f{factor}-step-{step}-drawn-in-{steps}.json"


def reconstructed_file(folder: Path, factor: int) -> Path:
    """Of a first stage."""
    return folder / FOLDER / f"f{factor}-first-stage.json"


def sheet_file(folder: Path, factor: int) -> Path:
    """The first samples of the last checkpoint."""
    return folder / FOLDER / f"f{factor}.png"


def keep(file: Path, content: str | bytes) -> None:
    """Whole or not at all. Raises LatentryError where it cannot be written."""
    try:
        file.parent.mkdir(exist_ok=True)
        durable.replace_file(file, content)
    except OSError as error:
        raise durable.explain(error, file, len(content)) from error


def kept(file: Path) -> dict[str, Any] | None:
    """What was measured; None where it was not yet. Raises LatentryError for a damaged file."""
    if not file.exists():
        return None
    try:
        found = json.loads(read(file))
        found["figures"][0]["value"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise LatentryError(f"{file}: damaged. Remove it, and the same command measures again.") from None
    return dict(found)
