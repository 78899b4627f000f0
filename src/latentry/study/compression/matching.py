"""Networks of equal size for every factor: the widths that come nearest to a number of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import AutoencoderOptions, DataFacts, DiffusionOptions, ModelConfig

UNIT = 2
"""Widths are multiples of it."""
HEADS, MOST_GROUPS = 2, 8
COARSEST = 8
"""A denoiser halves its maps until the shorter side is this or less: the smaller f, the more levels, as in table 13."""
NEAR = 0.05
"""A difference of sizes that does not matter, so that the order of `shapes` decides."""
LATENT_CHANNELS = {1: 3, 2: 2, 4: 3, 8: 4, 16: 8, 32: 32}
"""Of RGB images (Rombach et al. 2022, tables 13 and 14)."""


class Shape(NamedTuple):
    """Widths of a network's levels: channels times each multiplier."""

    channels: int
    multipliers: tuple[int, ...]


def latent_channels(factor: int, channels: int) -> int:
    """Those of the paper, in proportion for images of other than 3 channels; of pixels their own."""
    return channels if factor == 1 else max(1, round(LATENT_CHANNELS[factor] * channels / 3))


def levels_of(side: int) -> int:
    """Levels of a denoiser whose maps have this shorter side."""
    levels = 1
    while side > COARSEST and side % 2 == 0:
        side, levels = side // 2, levels + 1
    return levels


def shapes(levels: int) -> Iterator[tuple[int, ...]]:
    """Multipliers that double from level to level up to 4, 3 or 2, at once or after one level, then equal ones.

    Narrow fine levels come first, as these cost most.
    """
    grown = [tuple(min(2 ** max(0, i - wait), top) for i in range(levels)) for wait in (0, 1) for top in (4, 3, 2)]
    yield from dict.fromkeys([*grown, (1,) * levels])


def matched(target: int, levels: int, count: Callable[[Shape], int]) -> Shape:
    """The widths whose number of parameters is nearest to the target. count: of a network of some widths."""

    def off(shape: Shape) -> float:
        return abs(math.log(count(shape) / target))

    found = [min(_around(target, one, count), key=off) for one in shapes(levels)]
    return next((shape for shape in found if off(shape) < NEAR), min(found, key=off))


def _around(target: int, multipliers: tuple[int, ...], count: Callable[[Shape], int]) -> list[Shape]:
    """Widths next to the one that a number of parameters which grows with its square asks for."""
    width = 64
    for _ in range(3):
        scale = math.sqrt(target / count(Shape(width, multipliers)))
        width = max(UNIT, min(8192, round(width * scale / UNIT) * UNIT))
    return [Shape(w, multipliers) for w in (width - UNIT, width, width + UNIT) if w > 0]


def denoiser_options(base: dict[str, Any], shape: Shape, side: int) -> dict[str, Any]:
    """`diffusion.unet` of these widths. base: the recipe's. side: shorter side of the latent.

    Attention stands at the maps of 8 and of 16, and there is no context, so that depth would do nothing.
    """
    levels = range(len(shape.multipliers))
    attention = [2**level for level in levels if side // 2**level <= 2 * COARSEST]
    taken = {"channels": shape.channels, "multipliers": list(shape.multipliers), "attention": attention}
    left_out = {"head_channels", "context_channels"}
    kept = {name: value for name, value in base.items() if name not in left_out}
    return {
        **kept,
        **taken,
        "heads": HEADS,
        "norm_groups": math.gcd(shape.channels, MOST_GROUPS),
        "transformer_depth": 0,
    }


def first_stage_options(base: dict[str, Any], shape: Shape, factor: int, channels: int) -> dict[str, Any]:
    """`autoencoder` of these widths. base: the recipe's, of which the patch is kept as far as f goes."""
    widths = {"channels": shape.channels, "multipliers": list(shape.multipliers)}
    inner = {**widths, "norm_groups": math.gcd(shape.channels, MOST_GROUPS), "attention": []}
    z_channels = latent_channels(factor, channels)
    return {**base, **inner, "z_channels": z_channels, "latent_channels": None, "patch": patch_of(base, factor)}


def patch_of(base: dict[str, Any], factor: int) -> int:
    """Pixels are folded as in the recipe, but never by more than f."""
    return min(factor, int(base.get("patch", 1)))


@lru_cache(maxsize=4096)
def _parameters(config: str, which: str) -> int:
    made = ModelConfig.model_validate_json(config)
    with torch.device("meta"):
        network = build_denoiser(made, {}) if which == "denoiser" else Autoencoder(made.autoencoder, made.data.channels)
    return sum(p.numel() for p in network.parameters())


def denoiser_parameters(diffusion: DiffusionOptions, channels: int) -> int:
    """Of the denoiser of a latent of so many channels."""
    config = ModelConfig(
        name="",
        version="",
        data=DataFacts(size=(64, 64), channels=3),
        autoencoder=AutoencoderOptions(kind="identity", z_channels=channels),
        diffusion=diffusion,
    )
    return _parameters(config.model_dump_json(), "denoiser")


def first_stage_parameters(options: AutoencoderOptions, channels: int) -> int:
    """Of a first stage of images of so many channels."""
    config = ModelConfig(name="", version="", data=DataFacts(size=(64, 64), channels=channels), autoencoder=options)
    return _parameters(config.model_dump_json(), "first stage")
