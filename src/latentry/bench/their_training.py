"""The usual training loop of diffusers' scripts on the same network, latents and conditions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentry.bench.subject import Size, Subject
from latentry.bench.theirs import Theirs
from latentry.bench.training import second_stage, section_of
from latentry.devices import autocast
from latentry.models.modes import Mode
from latentry.models.modes.compiling import no_compiler

RATE = 1e-4


def why_no_training(subject: Subject) -> str:
    """Why its scripts do not train such a model; empty where they do."""
    section = section_of(subject)
    if section.train.optimiser != "adamw" or section.prediction not in ("epsilon", "velocity"):
        return f"Its scripts train no {section.prediction} by {section.train.optimiser}."
    return ""


def update(theirs: Theirs, batch: int, size: Size, mode: Mode) -> Callable[[], Tensor]:
    """One update after another: noise, `add_noise`, network, mean squared error, AdamW, averages where ours has them.

    Our conditioners stand for its text encoder, trained with the network as ours are.
    """
    stage, example = second_stage(theirs.subject, batch, size, mode)
    section = stage.section
    network, ours, scheduler = copy.deepcopy(theirs.network).train(), stage.model.train(), theirs.noising()
    if mode.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if mode.compile and not no_compiler(theirs.subject.device):
        network.compile()
    parameters = list(chain(network.parameters(), ours.conditioners.parameters(), ours.projections.parameters()))
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=section.train.weight_decay)
    average = _average(parameters, section.train.ema)
    device, first, moments = theirs.subject.device, theirs.subject.pipe.autoencoder, example.moments
    assert moments is not None
    kept = {name: torch.ones(batch, dtype=torch.bool, device=device) for name in ours.conditioners}

    def work() -> Tensor:
        drawn = torch.randn(batch, first.latent_channels, *moments.shape[2:], device=device)
        z, noise = first.latent(moments, drawn), torch.randn_like(drawn)
        t = torch.randint(ours.schedule.steps, (batch,), device=device)
        with autocast(device, mode.precision):
            out = theirs.call(network, scheduler.add_noise(z, noise, t), t, ours.dropped(example.values, kept))
        target = noise if section.prediction == "epsilon" else scheduler.get_velocity(z, noise, t)
        loss = functional.mse_loss(out.float(), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, section.train.clip or 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if average is not None:
            average.step(parameters)
        return loss

    return work


def _average(parameters: list[torch.nn.Parameter], decay: float | None) -> Any:
    """Its running average of the weights."""
    if decay is None:
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(parameters, decay=decay)
