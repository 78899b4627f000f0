"""A model: its samples, what its task gives of held-out images, its reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from latentry.evaluation.facts import model_facts
from latentry.evaluation.figures import relative_to
from latentry.evaluation.images.drawn import Samples, TaskResults, from_images, reconstructions
from latentry.evaluation.images.sets import ImageSet, at_once, split_set
from latentry.evaluation.images.source import images_of
from latentry.evaluation.measure.fidelity import Fidelity, scores_of
from latentry.evaluation.measure.names import FIDELITY
from latentry.evaluation.measure.networks import features_of, own, perceptual
from latentry.evaluation.measure.parts import Bench
from latentry.evaluation.measure.setting import Found, Setting, preprocessing_of
from latentry.evaluation.options import SAMPLES
from latentry.evaluation.watching.copies import Copying, judged
from latentry.metrics.compare import Figure
from latentry.metrics.copies.gather import MOST
from latentry.metrics.statistics import Statistics
from latentry.pipeline import Pipeline

RECONSTRUCTED = 1000
PAIRS_SHOWN = 8
WORDS = {"train": "training", "held_out": "held-out", "all": ""}


def measure_model(pipe: Pipeline, path: Path, root: Path, setting: Setting) -> Found:
    """All that can be measured of a model on a folder.

    Raises UsageError for a folder that does not fit, and where held-out images were asked for and there are none.
    """
    data = images_of(pipe, path, root, setting.options.against, setting.report, setting.read)
    networks, notes = features_of(
        setting.options.features,
        partial(own, pipe.autoencoder, pipe.encode),
        data.options.channels,
        alpha=pipe.config.data.alpha,
        resize=setting.options.resize,
        device=setting.device,
    )
    return Measuring(pipe, path, data, setting, setting.bench(networks, notes)).all()


class Measuring:
    """One model on one folder, part by part."""

    def __init__(self, pipe: Pipeline, path: Path, data: ImageData, setting: Setting, bench: Bench) -> None:
        self.pipe, self.path, self.data, self.setting, self.bench = pipe, path, data, setting, bench
        self.held_out = data.other("held_out")
        against = setting.options.against
        if not len(self.held_out):
            self._without_held_out()
        self.shown = self.held_out if against == "held_out" else data
        self.words = f"{WORDS[against]} images of {data.root.name}".strip()
        self.real = split_set(self.shown, self.words).first(setting.options.reference or len(self.shown))
        self.found = Found("", self.words, preprocessing=preprocessing_of(bench.networks, {"reference": self.real}))
        self.found.model = model_facts(pipe, path)

    def all(self) -> Found:
        """Every part that there is something to measure of."""
        names, of = self.setting.names, list[str]()
        sets = any(name not in (*FIDELITY, "rfid") for name in names)
        if self.pipe.denoiser is not None and from_images(self.pipe):
            of.append(self._task())
        elif self.pipe.denoiser is not None and sets:
            of.append(self._samples())
        if self.pipe.config.autoencoder.kind != "identity" and {*FIDELITY, "rfid"} & {*names}:
            of.append(self._reconstructions())
        self.found.of = f"{', '.join(of)} of {self.path}"
        self.found.notes += self.bench.notes
        return self.found

    def _samples(self) -> str:
        """Distances of samples, and how much nearer they are to what was trained on."""
        count = self.setting.options.samples or SAMPLES
        samples = Samples(
            self.pipe, self.shown, self.bench.seed, self.setting.options.batch, self.setting.options.sampling
        )
        copying, shown = self._copying(), Showing(samples)
        theirs = self.bench.reference(self.real, [copying.at_training] if copying else [])
        watches = [copying.at_samples] if copying else []
        ours = self.bench.statistics(shown, count, at_once(self.real.largest), "samples", watches)
        self._speed(samples)
        held_out = self._held_out(copying)
        if self.setting.processes.chief:
            self.found.figures += self.bench.compared(theirs, ours)
            if held_out is not None:
                self.found.figures += self.bench.gaps(theirs, held_out, ours)
            self.found.sheets["samples"] = (shown.images, 0, self.pipe.config.data.alpha)
        if copying:
            judged(copying, self.found, self.real, samples.one, self.bench)
        return f"{count} samples"

    def _copying(self) -> Copying | None:
        """Looks out for copies of training images, where these are what is measured against."""
        asked = "copies" in self.setting.names and self.setting.options.against == "train"
        return Copying(self.bench.networks[0], alpha=self.real.alpha) if asked else None

    def _held_out(self, copying: Copying | None) -> list[Statistics] | None:
        """Statistics of held-out images, where a gap is measured; copies are judged by some of these images."""
        against = self.setting.options.against == "train" and len(self.held_out)
        real = split_set(self.held_out, f"held-out images of {self.data.root.name}")
        if "gap" in self.setting.names and against:
            return self.bench.reference(real, [copying.at_held_out(real.count)] if copying else [])
        if copying and against:
            some = real.first(MOST)
            self.bench.lean().reference(some, [copying.at_held_out(some.count)])
        return None

    def _task(self) -> str:
        """What the task gives of held-out images: distances to them, and likeness to each."""
        data, word = self._unseen()
        real = split_set(data, f"{word} images").first(self.setting.options.samples or SAMPLES)
        results = TaskResults(
            self.pipe, data, self.bench.seed, self.setting.options.batch, self.setting.options.sampling
        )
        what = f"{' and '.join(from_images(self.pipe))} results on {word} images"
        theirs, ours = self._paired(partial(results.pairs, real), real, data, what, "results")
        if self.setting.processes.chief:
            self.found.figures += self.bench.compared(theirs, ours)
        self.found.against = f"{word} images of {self.data.root.name}"
        self._speed(results)
        return f"{real.count} {what}"

    def _reconstructions(self) -> str:
        """R-FID, PSNR, SSIM and LPIPS of the first stage."""
        data, word = self._unseen()
        real = split_set(data, f"{word} images").first(RECONSTRUCTED)
        what = f"{word} reconstructions"
        theirs, ours = self._paired(partial(reconstructions, self.pipe, real), real, data, what, "reconstructions")
        if self.setting.processes.chief and "rfid" in self.setting.names:
            figures = self.bench.compared(theirs, ours, ["fid"])
            self.found.figures += [_renamed(figure) for figure in figures]
        return f"{real.count} {what}"

    def _paired(
        self,
        pairs: Callable[[range], Iterator[tuple[Tensor, Tensor]]],
        real: ImageSet,
        data: ImageData,
        what: str,
        name: str,
    ) -> tuple[list[Statistics], list[Statistics]]:
        """Figures of single images into what was found; the statistics of both sides."""
        lpips = partial(perceptual, self.setting.device)
        scores = scores_of(self.setting.names, data.shape, lpips, self.bench.notes, data.in_use)
        shown = ShowingPairs(pairs)
        words = what + relative_to(data)
        figures, theirs, ours = self.bench.of_pairs(shown, real.count, real.at_once, Fidelity(scores), words)
        self.found.figures += figures
        if self.setting.processes.chief and shown.sides:
            both = [torch.cat(side)[:PAIRS_SHOWN] for side in zip(*shown.sides, strict=True)]
            self.found.sheets[name] = (torch.cat(both), len(both[0]), self.pipe.config.data.alpha)
        return theirs, ours

    def _unseen(self) -> tuple[ImageData, str]:
        """Held-out images, or where there are none those trained on, and the word for them."""
        return (self.held_out, "held-out") if len(self.held_out) else (self.data, "training")

    def _without_held_out(self) -> None:
        asked = self.setting.options
        none = f"{self.data.root}: no image is held out"
        if asked.against == "held_out" or "gap" in (asked.metrics or ()):
            what = "against: held_out" if asked.against == "held_out" else "metrics: gap"
            raise UsageError(f"{what}: {none}. Name a folder with a split `test`, or measure against train.")
        if asked.against != "all":
            self.bench.notes.append(f"{none}; no gap is measured, and likeness is that of images trained on.")

    def _speed(self, samples: Samples) -> None:
        """Samples a second of all processes, and the most memory that drawing took."""
        rates = self.setting.processes.gathered(samples.rate)
        self.found.model["samples_per_second"] = round(sum(rates), 4)
        if samples.peak is not None:
            self.found.model["peak_memory_gib"] = samples.peak


class Showing:
    """Images as they come, of which the first few are kept to be shown."""

    def __init__(self, images: Callable[[range], Iterator[Tensor]], most: int = 64) -> None:
        self.source, self.most, self.parts = images, most, list[Tensor]()

    def __call__(self, numbers: range) -> Iterator[Tensor]:
        for part in self.source(numbers):
            if sum(map(len, self.parts)) < self.most:
                self.parts.append(part)
            yield part

    @property
    def images(self) -> Tensor:
        return torch.cat(self.parts)[: self.most]


class ShowingPairs:
    """Pairs as they come, of which the first few are kept to be shown."""

    def __init__(self, pairs: Callable[[range], Iterator[tuple[Tensor, Tensor]]]) -> None:
        self.source, self.sides = pairs, list[tuple[Tensor, Tensor]]()

    def __call__(self, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        for pair in self.source(numbers):
            if sum(len(real) for real, _ in self.sides) < PAIRS_SHOWN:
                self.sides.append(pair)
            yield pair


def _renamed(figure: Figure) -> Figure:
    """A distance of reconstructions is called so: R-FID, R-FD."""
    return Figure(**{**vars(figure), "name": f"R-{figure.name}"})
