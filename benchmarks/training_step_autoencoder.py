"""The first stage, forward and backward, beside diffusers': `python benchmarks/training_step_autoencoder.py`.

AutoencoderKL of 64 channels times 1, 2, 4 with two blocks a level and attention in the middle, 4 latent channels;
images 3x64x64, batch 4, float32: encode, draw from the posterior, decode, L1 and 1e-6 KL, backward. Then our
whole step with a discriminator (adaptive weight, both optimisers) beside that without, with LPIPS where its weights are
found (LATENTRY_WEIGHTS names their folder). Run it on a quiet machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pairs
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from latentry.data.sample import Example
from latentry.errors import LatentryError
from latentry.models.autoencoder import Autoencoder
from latentry.training import objectives
from latentry.training.loop.world import World
from latentry.training.recipe.autoencoder import AutoencoderSection
from latentry.training.stages.autoencoder.stage import AutoencoderStage

CHANNELS, MULTIPLIERS, Z, SIDE, BATCH, KL = 64, (1, 2, 4), 4, 64, 4, 1e-6
NEVER = 1_000_000
"""A step that none of these runs reaches."""


def section(perceptual: str, start: int = 0) -> AutoencoderSection:
    """The first stage as a recipe says it, with the published adversarial objective from a step on."""
    return AutoencoderSection.model_validate(
        {
            "channels": CHANNELS,
            "multipliers": MULTIPLIERS,
            "blocks": 2,
            "z_channels": Z,
            "norm_groups": 32,
            "objective": {"perceptual": perceptual, "kl_weight": KL, "discriminator": {"start": start}},
            "train": {"batch": BATCH, "lr": 1e-5, "precision": "fp32"},
        }
    )


def theirs() -> Any:
    return AutoencoderKL(  # type: ignore[no-untyped-call]
        down_block_types=("DownEncoderBlock2D",) * len(MULTIPLIERS),
        up_block_types=("UpDecoderBlock2D",) * len(MULTIPLIERS),
        block_out_channels=tuple(CHANNELS * multiplier for multiplier in MULTIPLIERS),
        layers_per_block=2,
        latent_channels=Z,
        norm_num_groups=32,
    )


def backward(network: nn.Module, reconstruct: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> None:
    """Likelihood and KL as published, and their gradients."""
    reconstruction, kl = reconstruct(x)
    loss = F.l1_loss(reconstruction, x, reduction="sum") / len(x) + KL * kl.mean()
    network.zero_grad()
    loss.backward()


def perceptual() -> str:
    """The network of the perceptual term, where its weights are found."""
    try:
        objectives.build(section("squeezenet").objective, "kl", 3)
    except LatentryError:
        return "none"
    return "squeezenet"


def whole(device: torch.device, x: Tensor, net: str, start: int) -> Callable[[], object]:
    """One whole step of our first stage. start: of the discriminator."""
    asked = section(net, start)
    objective = objectives.build(asked.objective, "kl", 3)
    model = Autoencoder(asked.architecture(), 3).to(device)
    data: Any = None
    stage = AutoencoderStage(model, objective.to(device), asked, data, None, seed=0, world=World(0, 1, device))
    batch = Example(x.cpu(), None, {}, list(range(BATCH)))
    steps: Iterator[int] = iter(range(1_000_000))
    return lambda: stage.step(next(steps), [batch]).read()


def main() -> None:
    asked = pairs.arguments(__doc__)
    mine, other = Autoencoder(section("none").architecture(), 3), theirs()
    pairs.same_size(mine, other)
    pairs.weights_nowhere_zero(mine, other)
    mine.to(asked.device).train()
    other.to(asked.device).train()
    x = torch.rand(BATCH, 3, SIDE, SIDE, device=asked.device) * 2 - 1

    def ours_of(x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = mine.posterior(mine.moments(x))
        z = posterior.sample(torch.randn_like(posterior.mean))
        return mine.decoder.conv_out(mine.features(z)), posterior.kl()

    def theirs_of(x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = other.encode(x).latent_dist
        return other.decode(posterior.sample()).sample, posterior.kl()

    things = {"ours": lambda: backward(mine, ours_of, x), "theirs": lambda: backward(other, theirs_of, x)}
    pairs.compare("autoencoder, forward and backward", things, asked, 1 / 1.2)
    net = perceptual()
    starts = {"with": 0, "without": NEVER}
    taken = pairs.alternate({name: whole(asked.device, x, net, start) for name, start in starts.items()}, asked)
    print(f"whole step of ours, LPIPS {net}:", ", ".join(f"{n} a discriminator {t:.4f} s" for n, t in taken.items()))
    ratio = taken["with"] / taken["without"]
    print(f"whole step of ours, with / without a discriminator: {ratio:.3f} (wanted: at most 1.50)", flush=True)


if __name__ == "__main__":
    main()
