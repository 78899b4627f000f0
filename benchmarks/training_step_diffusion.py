"""A second-stage training step, ours beside one with diffusers: `python benchmarks/training_step_diffusion.py`.

Two architectures: unconditional with attention at factors 2 and 4, and with spatial transformers that read a context.
96 channels times 1, 2, 4, latents 4x32x32, batch 4, AdamW, gradients clipped at 1, epsilon, float32. Our side is the
whole of `DiffusionStage.step` with its batch: latents drawn from cached moments, reproducible draws for each place,
losses by quarter of t, gradient norm; what it waits for batch and draws is said besides. Their side is the usual loop:
noise, DDPMScheduler.add_noise, network, mean squared error, AdamW.
Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pairs
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel, UNet2DModel
from torch import nn

from latentry.conditioning import CONDITIONERS, BuildContext
from latentry.data.dataset import Pick
from latentry.data.sample import Sample
from latentry.kinds import build
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.loop.world import World
from latentry.training.recipe.diffusion import DiffusionSection
from latentry.training.stages.diffusion.stage import DiffusionStage
from latentry.training.stages.latents import LatentCache

CHANNELS, MULTIPLIERS, BATCH, SIDE, LATENT, CLASSES, CONTEXT = 96, (1, 2, 4), 4, 32, 4, 10, 256
WIDTHS = tuple(CHANNELS * multiplier for multiplier in MULTIPLIERS)
RATE, WANTED = 1e-4, 1 / 1.3


class Shares:
    """Seconds spent in named calls."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with its time counted."""

        def counted(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                self.seconds[name] += time.perf_counter() - start

        return counted

    def of(self, name: str) -> float:
        """The share of the steps' time that the calls of this name took."""
        return self.seconds[name] / self.seconds["step"]


IMAGES = 64


def cache_of(folder: Path) -> LatentCache:
    """A cache on disk, of latents of noise."""
    cache = LatentCache.__new__(LatentCache)
    np.save(folder / "moments.npy", torch.randn(IMAGES, 1, 2 * LATENT, SIDE, SIDE).numpy())
    cache.folder, cache.moments = folder, np.load(folder / "moments.npy", mmap_mode="r")
    cache.used = np.arange(IMAGES)
    return cache


class Images:
    """What the cache asks of a folder of images: labels, and which image stands at a place."""

    split = "train"
    labels = [str(number) for number in range(CLASSES)]
    source = SimpleNamespace(note=lambda bad: None)

    def __len__(self) -> int:
        return IMAGES

    def pick(self, position: int) -> Pick:
        return Pick(position, position % IMAGES)

    def read(self, pick: Pick, reads: frozenset[str]) -> tuple[Sample, list[Any]]:
        return Sample(pick.position, pick.index, label=self.labels[pick.index % CLASSES]), []


def ours(conditional: bool, device: torch.device, folder: Path) -> tuple[nn.Module, Callable[[], object], Shares]:
    """The model, one whole step of its stage with its batch, and what of the steps was waiting for batch and draws."""
    section = DiffusionSection.model_validate(
        {
            "unet": {
                "channels": CHANNELS,
                "multipliers": MULTIPLIERS,
                "blocks": 2,
                "attention": (2, 4),
                "head_channels": 32,
                "transformer_depth": int(conditional),
            },
            "conditioning": {"label": {"kind": "class_label", "width": CONTEXT}} if conditional else {},
            "train": {"batch": BATCH, "lr": RATE, "clip": 1.0, "ema": None, "precision": "fp32", "drop_condition": 0.0},
        }
    )
    names = [str(number) for number in range(CLASSES)]
    context = BuildContext(names, [], {}, print)
    options = section.architecture()
    conditioners = {name: build(CONDITIONERS, o, context) for name, o in options.conditioning.items()}
    model = LatentDiffusion(options, LATENT, conditioners).to(device)
    first = Autoencoder(AutoencoderOptions(channels=8, multipliers=(1, 1), norm_groups=8, z_channels=LATENT), 3).to(
        device
    )
    data: Any = Images()
    caches = {"train": cache_of(folder)}
    stage = DiffusionStage(model, first, section, data, None, caches, seed=0, world=World(0, 1, device))
    shares = Shares()
    source = enumerate(stage.batches(0))
    stage.draw = shares.timed("draws", stage.draw)  # type: ignore[method-assign]
    batch = shares.timed("loader", lambda: next(source))

    def step() -> None:
        number, parts = batch()
        stage.step(number, parts).read()

    return model, shares.timed("step", step), shares


def their_network(conditional: bool) -> Any:
    """diffusers' networks of the same architecture; `attention_head_dim` of the second means the number of heads."""
    common: dict[str, Any] = {
        "sample_size": SIDE,
        "in_channels": LATENT,
        "out_channels": LATENT,
        "layers_per_block": 2,
        "block_out_channels": WIDTHS,
    }
    if not conditional:
        return UNet2DModel(  # type: ignore[no-untyped-call]
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=32,
            **common,
        )
    return UNet2DConditionModel(  # type: ignore[no-untyped-call]
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=tuple(width // 32 for width in WIDTHS),
        cross_attention_dim=CONTEXT,
        **common,
    )


def theirs(conditional: bool, device: torch.device) -> tuple[nn.Module, Callable[[], object]]:
    """The network, and the usual training step around it."""
    network = their_network(conditional)
    scheduler: Any = DDPMScheduler(1000, beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195)  # type: ignore[no-untyped-call]
    whole = (
        nn.ModuleList([network, nn.Embedding(CLASSES + 1, CONTEXT)] if conditional else [network]).to(device).train()
    )
    optimiser = torch.optim.AdamW(whole.parameters(), lr=RATE, weight_decay=0.0)
    moments = torch.randn(IMAGES, 2 * LATENT, SIDE, SIDE, device=device)

    def step() -> None:
        mean, log_variance = moments[torch.randint(len(moments), (BATCH,))].chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        noise, t = torch.randn_like(z), torch.randint(1000, (BATCH,), device=device)
        told = (whole[1](torch.randint(CLASSES, (BATCH,), device=device))[:, None],) if conditional else ()
        out = network(scheduler.add_noise(z, noise, t), t, *told, return_dict=False)[0]
        F.mse_loss(out, noise).backward()
        torch.nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return whole, step


def measure(conditional: bool, asked: argparse.Namespace) -> None:
    what = "with a context" if conditional else "unconditional"
    with tempfile.TemporaryDirectory() as folder:
        mine, my_step, shares = ours(conditional, asked.device, Path(folder))
        other, their_step = theirs(conditional, asked.device)
        pairs.same_size(mine, other)
        pairs.weights_nowhere_zero(mine, other)
        pairs.compare(f"training step {what}", {"ours": my_step, "theirs": their_step}, asked, WANTED)
    for name in ("loader", "draws"):
        print(f"training step {what}, waiting for the {name}: {shares.of(name):.2%} (wanted: below 3%)", flush=True)


def main() -> None:
    asked = pairs.arguments(__doc__)
    for conditional in (False, True):
        measure(conditional, asked)


if __name__ == "__main__":
    main()
