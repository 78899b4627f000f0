"""The second model of autoguidance: named, opened, and checked against the one that it guides."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from latentry.checkpoints import run_folder
from latentry.checkpoints.best import WORD as BEST
from latentry.checkpoints.best import resolved
from latentry.checkpoints.store import Store
from latentry.errors import UsageError, shown
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.models.model import Model
from latentry.pipeline import opening
from latentry.pipeline.record import DrawnBy
from latentry.text import number, printable

AT_STEP = "@step-"
OF_LATENTS = ("encoder.", "quant_conv.", "latent_")
"""What the tensors that decide a first stage's latents begin with; the others decode them."""


@dataclass(frozen=True)
class Autoguide:
    """A worse second stage of the same latents, and what files say of it."""

    denoiser: LatentDiffusion
    drawn_by: DrawnBy

    def __str__(self) -> str:
        return f"{self.drawn_by.source}, {self.drawn_by}"


def opened(given: Any, option: str = "autoguide") -> tuple[Model, DrawnBy]:
    """The model of `PATH`, `RUN@step-N`, or of a record, on the CPU.

    option: that names it, for errors; of a run `classifier` opens that stage alone, at step N of it.

    Raises UsageError for what is none, and for a model that is no longer what the record says.
    """
    wanted = given if isinstance(given, DrawnBy) else _named(given, option)
    path = Path(wanted.source)
    if not wanted.source or not path.exists():
        raise UsageError(
            f"{option}: {shown(wanted.source) or 'a model of an unknown place'}: no such file or folder; accepted: a "
            f"run, a model folder, or RUN@step-N. Name the model: --{option} PATH."
        )
    step = wanted.step if run_folder.is_run(path) or not wanted.hash else None
    folder = opening.read(
        path, wanted.config, wanted.weights, step, wanted.vocabulary, classifier=option == "classifier"
    )
    found = opening.hash_of(folder)
    if wanted.hash and wanted.hash != found:
        raise UsageError(
            f"{option}: {path} is now {found}, and the picture was guided by {shown(wanted)}. "
            f"Name the model it was guided by: --{option} PATH."
        )
    model = opening.networks(folder, str(path))
    return model, wanted.model_copy(update={"hash": found, "step": folder.step})


def _named(given: Any, option: str) -> DrawnBy:
    if not isinstance(given, str | Path):
        raise UsageError(f"{option}: {shown(given)}; accepted: a run, a model folder, RUN@step-N, or what load gives")
    whole = str(given)
    path, mark, digits = whole.rpartition(AT_STEP)
    if not mark or Path(whole).exists():
        return DrawnBy(source=printable(whole))
    step = resolved(Store(Path(path) / "diffusion"), BEST).step if digits == BEST else number(digits)
    if step is None or step < 0:
        raise UsageError(
            f'{option}: "{shown(whole)}": no step; accepted: RUN{AT_STEP}N, as in runs/a{AT_STEP}2000, and '
            f"RUN{AT_STEP}{BEST}"
        )
    return DrawnBy(source=printable(path), step=step)


def fitting(worse: Model, drawn_by: DrawnBy, main: Model, guidance: float) -> Autoguide:
    """The worse model on the device of the main one. Raises UsageError where it cannot guide it."""
    where = f"autoguide: {drawn_by.source}"
    if worse.denoiser is None:
        raise UsageError(f"{where}: holds a first stage only; accepted: a model that samples. Name another.")
    if guidance == 1:
        raise UsageError(
            f"{where}: guidance is 1, which leaves it without effect; accepted: more than 1. Give --guidance 2."
        )
    if other := other_latents(worse, main):
        raise UsageError(
            f"{where}: has another first stage ({other}), so that its latents mean something else; accepted: an "
            "earlier checkpoint, or a model trained on the same first stage. Name such a one."
        )
    assert main.denoiser is not None
    if not torch.equal(worse.denoiser.schedule.abar, main.denoiser.schedule.abar):
        raise UsageError(f"{where}: has another noise schedule; accepted: a model of the same. Name such a one.")
    there = worse.denoiser.device() == main.device
    return Autoguide(worse.denoiser if there else copy.deepcopy(worse.denoiser).to(main.device), drawn_by)


def other_latents(worse: Model, main: Model) -> str | None:
    """The first tensor that two encoders differ in; None where they are one."""
    ours, others = (
        {name: t for name, t in model.autoencoder.state_dict().items() if name.startswith(OF_LATENTS)}
        for model in (main, worse)
    )
    for name in ours | others:
        a, b = ours.get(name), others.get(name)
        if a is None or b is None or a.shape != b.shape or not torch.equal(a.cpu(), b.cpu()):
            return name
    return None
