"""A second-stage training step, ours beside one with diffusers: `python benchmarks/training_step_diffusion.py`.

Two architectures: unconditional with attention at factors 2 and 4, and with spatial transformers that read a context.
96 channels times 1, 2, 4, latents 4x32x32, batch 4, AdamW, gradients clipped at 1, epsilon, float32. Our side is the
whole of `DiffusionStage.step`: latents drawn from cached moments, reproducible draws for each place, losses by quarter
of t, gradient norm. Their side is the usual loop: noise, DDPMScheduler.add_noise, network, mean squared error, AdamW.
Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pairs
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from latentry.conditioning import CONDITIONERS, BuildContext
from latentry.data.dataset import Pick
from latentry.kinds import build
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.loop.world import World
from latentry.training.recipe.diffusion import DiffusionSection
from latentry.training.stages.diffusion.stage import DiffusionStage

CHANNELS, MULTIPLIERS, BATCH, SIDE, LATENT, CLASSES, CONTEXT = 96, (1, 2, 4), 4, 32, 4, 10, 256
WIDTHS = tuple(CHANNELS * multiplier for multiplier in MULTIPLIERS)
RATE = 1e-4


class Cache:
    """Moments of a few images, at hand as the real cache has them."""

    used = list(range(64))

    def __init__(self) -> None:
        self.moments = torch.randn(64, 2 * LATENT, SIDE, SIDE)

    def __call__(self, indices: list[int], flips: list[bool]) -> Tensor:
        return self.moments[indices]


def ours(conditional: bool, device: torch.device) -> tuple[LatentDiffusion, Callable[[], object]]:
    """The model, and one whole step of its stage."""
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
    data: Any = SimpleNamespace(
        split="train", labels=names, label=lambda i: i % CLASSES, place=lambda p: Pick(p, p % len(Cache.used))
    )
    caches: Any = {"train": Cache()}
    stage = DiffusionStage(model, first, section, data, None, caches, seed=0, world=World(0, 1, device))
    source = enumerate(stage.batches(0))

    def step() -> None:
        number, parts = next(source)
        stage.step(number, parts)

    return model, step


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
    moments = Cache().moments.to(device)

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
    mine, my_step = ours(conditional, asked.device)
    other, their_step = theirs(conditional, asked.device)
    pairs.same_size(mine, other)
    pairs.weights_nowhere_zero(mine, other)
    pairs.compare(f"training step {what}", {"ours": my_step, "theirs": their_step}, asked)


def main() -> None:
    asked = pairs.arguments(__doc__)
    for conditional in (False, True):
        measure(conditional, asked)


if __name__ == "__main__":
    main()
