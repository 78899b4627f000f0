"""A model's worth, or anybody's pictures': from folders to figures, written as a report."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import config, devices
from latentry.checkpoints import durable
from latentry.data.options import DataOptions
from latentry.errors import UsageError
from latentry.evaluation import facts, on_card, result
from latentry.evaluation.measure.names import chosen
from latentry.evaluation.measure.of_images import measure_images
from latentry.evaluation.measure.of_model import measure_model
from latentry.evaluation.measure.processes import join
from latentry.evaluation.measure.setting import Found, Setting
from latentry.evaluation.options import EvaluationOptions
from latentry.evaluation.report.page import write as write_page
from latentry.evaluation.result import Evaluation
from latentry.evaluation.watching.copies import SHEET
from latentry.pipeline import Pipeline, load
from latentry.pipeline.opening import Weights
from latentry.pipeline.output import grid

Path_ = str | os.PathLike[str]
SHOWN = {SHEET: "samples, and below each the training image that is nearest to it"}
"""What pictures show, where their name does not say it."""


def evaluate(
    model: Path_ | None = None,
    data: Path_ | None = None,
    *,
    images: Path_ | None = None,
    out: Path_ | None = None,
    metrics: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    samples: int | None = None,
    against: str = "train",
    reference: int | None = None,
    size: int | str | tuple[int, int] | None = None,
    crop: str = "center",
    resize: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch: int = 16,
    draws: int = 20,
    seed: int = 0,
    device: str | torch.device = devices.AUTO,
    weights: Weights = "ema",
    step: int | str | None = None,
    read: Mapping[str, Any] | None = None,
    card: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Measure a model, or the images of a folder, against the images of `data`.

    model: a run, a model folder or a foreign checkpoint: its samples, what its task gives of held-out images, and its
    reconstructions are measured. images: a folder of pictures made anyhow; with a model too, they are read as it reads
    and measured in its first stage. out: folder of the report (`evaluation.json`, `.csv`, pictures). The others as of
    `EvaluationOptions`; device, weights, step as of `load`. read: how the folder is read, as a recipe's `data`, instead
    of as the run's says. card: put the figures on the model's card. report: called with what a person should know.
    progress: with (what, images done, of how many). Several processes, as torchrun starts them, share the images.
    Raises UsageError for what does not fit together, before anything is computed.
    """
    words = {name: value for name, value in locals().items() if name in EvaluationOptions.model_fields}
    options = config.validate(EvaluationOptions, words, "evaluate")
    root, pictures = _folder(data, "data"), None if images is None else _folder(images, "images")
    if model is None and pictures is None:
        raise UsageError("evaluate: nothing to measure; give a MODEL, or --images FOLDER.")
    processes, chosen_device = join(device)
    target = None if out is None else result.refuse_unwritable(Path(out))
    if card:
        refuse_cardless(model, pictures, weights, step)
    pipe = None if model is None else load(Path(model), device=chosen_device, weights=weights, step=step)
    how = processes, chosen_device, report if processes.chief else _silent, progress or _nothing
    setting = Setting(options, chosen(options.metrics), *how, None if read is None else as_read(read))
    found = _measured(pipe, None if model is None else Path(model), root, pictures, setting)
    evaluation = _told(found, setting, pictures if model is None else Path(model), target)
    if card and model is not None and processes.chief:
        on_card.write(Path(model), evaluation)
    return evaluation


def as_read(read: Mapping[str, Any]) -> DataOptions:
    """How a folder is read. Raises UsageError naming what is not understood."""
    return config.validate(DataOptions, read, "data")


def refuse_cardless(model: Path_ | None, pictures: Path | None, weights: Weights, step: int | str | None) -> None:
    """Raise UsageError where what is measured is no finished model with a card."""
    if model is None or pictures is not None:
        raise UsageError("card: pictures of a folder have none. Leave it out, or name a MODEL alone.")
    on_card.refuse_other(Path(model), {"weights": None if weights == "ema" else weights, "step": step})


def _measured(pipe: Pipeline | None, path: Path | None, root: Path, pictures: Path | None, setting: Setting) -> Found:
    if pictures is not None:
        return measure_images(pictures, root, setting, pipe, path)
    assert pipe is not None
    assert path is not None
    return measure_model(pipe, path, root, setting)


def _folder(path: Path_ | None, name: str) -> Path:
    if path is None:
        raise UsageError(f"{name}: is missing; give the folder of images to compare with, as --data FOLDER.")
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"{name}: {folder} is no folder; give one of images.")
    return folder


def _told(found: Found, setting: Setting, source: Path | None, target: Path | None) -> Evaluation:
    """The result, the same in every process; the chief writes the report."""
    evaluation = _evaluation(found, setting, source)
    if target is not None and setting.processes.chief:
        _write(target, evaluation, found.sheets)
    return evaluation


def _evaluation(found: Found, setting: Setting, source: Path | None) -> Evaluation:
    options, figures = setting.options, setting.processes.told(found.figures)
    return Evaluation(
        of=found.of,
        against=found.against,
        figures=tuple(figures),
        preprocessing=found.preprocessing,
        model=found.model,
        settings={**options.model_dump(mode="json", exclude={"metrics"}), "metrics": list(setting.names)},
        versions=facts.versions(),
        hardware=facts.hardware(setting.device, setting.processes.size),
        notes=tuple(dict.fromkeys(found.notes)),
        pictures={SHOWN.get(name, name): f"{name}.png" for name in found.sheets},
        nearest=found.nearest,
        source="" if source is None else str(source),
    )


def _write(folder: Path, evaluation: Evaluation, sheets: dict[str, tuple[Tensor, int, bool]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, columns, alpha) in sheets.items():
        content = io.BytesIO()
        grid(images, columns or None, alpha=alpha).save(content, "PNG")
        durable.replace_file(folder / f"{name}.png", content.getvalue())
    result.write(folder, evaluation)
    write_page(folder, evaluation)


def _silent(_: str) -> None:
    return None


def _nothing(what: str, done: int, total: int) -> None:
    return None
