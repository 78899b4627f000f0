"""What an update of either stage takes: the stage itself, on noise in place of images."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from latentry.bench.subject import Size, Subject
from latentry.conditioning import values_of
from latentry.data.sample import Example, joined
from latentry.devices import set_formats
from latentry.models.modes import Mode
from latentry.models.modes.compiling import compile_or_not
from latentry.training import objectives
from latentry.training.loop.stage import Stage
from latentry.training.loop.world import World
from latentry.training.recipe.autoencoder import AutoencoderSection
from latentry.training.recipe.diffusion import DiffusionSection
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from latentry.training.stages.diffusion.stage import DiffusionStage

COMPILE = "compile"
report = logging.getLogger("latentry").info
STAGES = ("autoencoder", "diffusion")


def trains(subject: Subject) -> tuple[str, ...]:
    """The stages that there are to train."""
    first = () if subject.pipe.config.autoencoder.kind == "identity" else STAGES[:1]
    return (*first, *(STAGES[1:] if subject.pipe.denoiser is not None else ()))


def update(subject: Subject, stage: str, batch: int, size: Size, mode: Mode) -> Callable[[], object]:
    """One update after another of a copy of the model; the model stays as it is. Loading images is no part of it."""
    made: Stage
    make = first_stage if stage == "autoencoder" else second_stage
    made, example = make(subject, batch, size, mode)
    begin = made.costliest_step()
    numbers = iter(range(begin, begin + 10**9))
    return lambda: made.step(next(numbers), [example])


def first_stage(subject: Subject, batch: int, size: Size, mode: Mode) -> tuple[Stage, Example]:
    """With the recipe's objective; of a model without a recipe pixels and KL or codes alone."""
    options = subject.pipe.config.autoencoder
    own = subject.recipe.autoencoder if subject.recipe else None
    if own is None or not own.trains:
        own = AutoencoderSection.model_validate({**options.model_dump(), "objective": {"perceptual": "none"}})
    section = own.model_copy(update={"train": _trained(own.train, batch, mode)})
    model = copy.deepcopy(subject.pipe.autoencoder).requires_grad_(True)
    channels = subject.pipe.config.data.channels
    objective = objectives.build(section.objective, options.kind, channels).to(subject.device)
    set_formats(subject.device, section.train.precision)
    if mode.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if mode.compile:
        compile_or_not([(model.encoder, "forward"), (model.decoder, "features")], COMPILE, subject.device, report)
    world = World(0, 1, subject.device)
    stage = AutoencoderStage(model, objective, section, _no_folder(), None, seed=0, world=world)
    return stage, _example(subject, batch, size)


def second_stage(subject: Subject, batch: int, size: Size, mode: Mode) -> tuple[DiffusionStage, Example]:
    """On latents that are there already, as with `cache_latents`."""
    section = section_of(subject)
    section = section.model_copy(update={"train": _trained(section.train, batch, mode)})
    model = copy.deepcopy(subject.denoiser).requires_grad_(True)
    set_formats(subject.device, section.train.precision)
    if mode.channels_last:
        model.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if mode.compile:
        compile_or_not([(model.unet, "forward")], COMPILE, subject.device, report)
    first, world = subject.pipe.autoencoder, World(0, 1, subject.device)
    stage = DiffusionStage(model, first, section, _no_folder(), None, {}, seed=0, world=world)
    example, conditioners = _example(subject, batch, size), model.named_conditioners()
    rows = [values_of(conditioners, 0, subject.noise(number, size)) for number in range(batch)]
    assert example.image is not None
    with torch.no_grad():
        images = example.image[:1].to(subject.device)
        moments = first.moments(images).float().repeat(batch, 1, 1, 1)
    return stage, Example(None, moments, joined(rows), example.positions)


def section_of(subject: Subject) -> DiffusionSection:
    """The recipe's; of a model without one its own architecture, trained by default."""
    if subject.recipe is not None:
        return subject.recipe.diffusion
    options = subject.pipe.config.diffusion
    assert options is not None
    return DiffusionSection.model_validate(options.model_dump())


def _trained(own: Any, batch: int, mode: Mode) -> Any:
    chosen = {"precision": mode.precision, "channels_last": mode.channels_last, "compile": mode.compile}
    return own.model_copy(update={"batch": batch, "accumulate": 1, "steps": 10**9, **chosen})


def _example(subject: Subject, batch: int, size: Size) -> Example:
    images = torch.stack([subject.noise(number, size).image for number in range(batch)])
    return Example(images, None, {}, list(range(batch)))


def _no_folder() -> Any:
    """In place of a folder of images: what an update asks of one."""
    return SimpleNamespace(split="train", source=SimpleNamespace(transparent=False))
