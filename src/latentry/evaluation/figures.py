"""What a finished run is worth: measured on held-out images and, where the recipe names a judge, on samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import text
from latentry.checkpoints import durable
from latentry.checkpoints.run_folder import MODEL
from latentry.conditioning import reads_of, values_of
from latentry.data.dataset import ImageData
from latentry.data.folders.select import name_of, value_of
from latentry.data.sample import Sample, joined
from latentry.errors import LatentryError
from latentry.evaluation.noisy import judged
from latentry.metrics import JUDGES, METRICS, Judge
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline import Pipeline, load
from latentry.pipeline.images import to_unit

RECONSTRUCTED = 256
FILE = "figures.json"


def measure(run: Path, data: ImageData, judge: str | None, seed: int, device: torch.device) -> dict[str, Any]:
    """Figures of RUN/model, measured on a device: those of `METRICS`, then those of a judge.

    judge: of `JUDGES`, for the samples too, or None.
    """
    pipe = load(run / MODEL, device=str(device))
    held_out = data.other("held_out")
    samples = readable(held_out)
    split = "held-out" if samples else "training"
    samples = samples or readable(data)
    real, again = reconstructions(pipe, samples)
    compared = [stretched(images, data.in_use) for images in (real, again)]
    what = f"{split} reconstructions{relative_to(data)}"
    figures: dict[str, Any] = {
        metric.named(what): round(float(metric.reconstructions(*compared)), metric.digits)
        for metric in METRICS.values()
    }
    if pipe.classifier is not None and pipe.denoiser is not None:
        figures |= classified(pipe, held_out if split == "held-out" else data, samples, split, seed)
    if judge is not None:
        shown = held_out if split == "held-out" else data
        records = [dict(shown.records[s.index].fields) for s in samples]
        figures |= real_judged(JUDGES[judge], split, records, real, again)
        figures |= samples_judged(pipe, data, held_out, JUDGES[judge], seed)
    return figures


def write_figures(out: Path, figures: Mapping[str, Any]) -> None:
    """Keep them in RUN/figures.json."""
    durable.replace_file(out / FILE, json.dumps(figures, indent=1) + "\n")


def read_figures(out: Path) -> dict[str, Any] | None:
    """What `measure` found earlier; None where it did not, or not to the end."""
    try:
        figures = json.loads(text.read(out / FILE))
    except (LatentryError, ValueError, RecursionError):
        return None
    return figures if isinstance(figures, dict) else None


def forget_figures(run: Path) -> None:
    """They are of another model, or would be measured otherwise."""
    (run / FILE).unlink(missing_ok=True)


def readable(data: ImageData) -> list[Sample]:
    """The first images of a split, without those that cannot be read."""
    samples = []
    for i in range(min(len(data), RECONSTRUCTED)):
        with suppress(LatentryError):
            samples.append(data.sample(i))
            if samples[-1].index != i:  # another image in its place, which has or gets its own turn
                samples.pop()
    return samples


def reconstructions(pipe: Pipeline, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Images and their reconstructions, (B, C, H, W) in [0, 1]."""
    images = torch.stack([sample.image for sample in samples])
    again = torch.cat([pipe.decode(pipe.encode(part)) for part in images.split(32)])
    return to_unit(images), to_unit(again)


def stretched(images: Tensor, part: tuple[float, float] | None) -> Tensor:
    """Images with their part (low, high) of [0, 1] as [0, 1], so that errors are relative to it; None: as they are."""
    return images if part is None else (images - part[0]) / (part[1] - part[0])


def relative_to(data: ImageData) -> str:
    """What figures of reconstructions are relative to, in words; empty where it is the whole of 8 or 16 bits."""
    survey, chosen = data.source.survey, data.options.range
    if survey.narrow is not None:
        return f", relative to the range in use {survey.used_range} of {survey.full}"
    return "" if chosen == "auto" else f", relative to data.range {survey.full or chosen}"


def classified(pipe: Pipeline, data: ImageData, samples: Sequence[Sample], split: str, seed: int) -> dict[str, float]:
    """How often the classifier names the class of noisy latents, in the fifth of times with least noise and in all."""
    assert pipe.classifier is not None
    assert pipe.denoiser is not None
    options, schedule = pipe.classifier.options, pipe.denoiser.schedule
    names = [name_of(value_of(data.records[sample.index], str(options.field))) for sample in samples]
    z, numbers = pipe.encode(torch.stack([sample.image for sample in samples])), pipe.classifier.numbers(names)
    found = judged(pipe.classifier, schedule, z, numbers, range(len(samples)), seed).right.float()
    what = f"classifier right on {split} latents"
    figures = {f"{what}, least noise": found[:, 0], f"{what}, all times": found}
    return {name: round(float(right.mean()), 4) for name, right in figures.items()}


def real_judged(
    judge: Judge, split: str, records: Sequence[dict[str, Any]], real: Tensor, again: Tensor
) -> dict[str, float]:
    """How often the judge finds in real images and in their reconstructions what their records say."""
    shares = {
        f"judge right on real {split} images": judge.score(real, records)["shape_and_colour"],
        "judge right on their reconstructions": judge.score(again, records)["shape_and_colour"],
    }
    return {name: round(float(share), 4) for name, share in shares.items()}


def samples_judged(pipe: Pipeline, data: ImageData, held_out: ImageData, judge: Judge, seed: int) -> dict[str, float]:
    """How often the judge finds in samples what was asked for: captions of training, and those only held out."""
    figures: dict[str, float] = {}
    if pipe.denoiser is None:
        return figures
    seen = _first_of_each(data)
    unseen = {text: i for text, i in _first_of_each(held_out).items() if text not in seen}
    kinds = [("", data, seen, judge.counts[0])]
    kinds += [(f" of {judge.unseen} never trained on", held_out, unseen, judge.counts[1])]
    for field, (key, words) in judge.asks.items():
        names = [n for n, one in pipe.denoiser.named_conditioners().items() if field in one.reads or not field]
        for what, source, chosen, count in kinds if field != "label" else kinds[:1]:  # classes are few
            if chosen and names:
                indices = _spread(list(chosen.values()), count)
                share = _sampled(pipe, source, indices, judge, seed, names)[key]
                figures[f"{words} in {count} samples{what}"] = round(share, 4)
    return figures


def _first_of_each(data: ImageData) -> dict[str, int]:
    """The first image of every caption."""
    first: dict[str, int] = {}
    for i in range(len(data)):
        first.setdefault(data.text(i), i)
    return dict(sorted(first.items()))


def _spread(values: Sequence[int], count: int) -> list[int]:
    """`count` of the values: each about as often, or evenly spaced ones where there are more."""
    step = max(len(values) / count, 1)
    return [values[int(i * step) % len(values)] for i in range(count)]


def condition_values(
    model: LatentDiffusion, data: ImageData, indices: Sequence[int], seed: int
) -> dict[str, list[Any]]:
    """What each condition of a model would be asked with for these images, by its name."""
    conditioners = model.named_conditioners()
    samples = [data.sample(index, reads_of(conditioners)) for index in indices]
    return joined([values_of(conditioners, seed, sample) for sample in samples])


def _sampled(
    pipe: Pipeline, data: ImageData, indices: Sequence[int], judge: Judge, seed: int, names: Sequence[str]
) -> dict[str, float]:
    assert pipe.denoiser is not None
    values = condition_values(pipe.denoiser, data, indices, seed)
    asked: dict[str, Any] = {name: values[name] for name in names}
    images = pipe.sample(n=1, seed=seed, batch=100, **asked).tensor
    return judge.score(images, [dict(data.records[i].fields) for i in indices])
