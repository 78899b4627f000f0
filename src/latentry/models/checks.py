"""What is checked of a network's options: widths, levels and size, before any of it is built."""

from __future__ import annotations

from typing import Protocol

from latentry.bounds import MOST_LAYERS, MOST_PARAMETERS


class Network(Protocol):
    """Options of a network of several levels."""

    @property
    def channels(self) -> int:
        """Width that the multipliers multiply."""

    @property
    def multipliers(self) -> tuple[int, ...]:
        """Of each level."""

    @property
    def blocks(self) -> int:
        """A level."""


def check_groups(channels: int, multipliers: tuple[int, ...], groups: int) -> None:
    """Every width must be divisible by the number of normalisation groups."""
    bad = [channels * m for m in (1, *multipliers) if channels * m % groups]
    if bad:
        divisors = [g for g in range(1, channels + 1) if not any(channels * m % g for m in (1, *multipliers))]
        fits = ", ".join(map(str, divisors[-6:]))
        raise ValueError(f"norm_groups {groups} does not divide the width {bad[0]}; these fit: {fits}")


def about_parameters(network: Network) -> int:
    """How many parameters it comes to, within a factor of two, before any is made.

    A level has 2 blocks + 1 residual blocks of two 3x3 convolutions, and in each a transformer of 12 w^2 a layer.
    """
    each = 18 + 12 * _depth(network)
    return sum((2 * network.blocks + 1) * each * (network.channels * m) ** 2 for m in network.multipliers)


def _depth(network: Network) -> int:
    depth = getattr(network, "transformer_depth", 0)
    return max(depth, default=0) if isinstance(depth, tuple) else depth


def check_network(network: Network) -> None:
    """No network that no machine could hold, though each of its numbers is one that somebody could want."""
    parameters, levels, blocks = about_parameters(network), len(network.multipliers), network.blocks
    if parameters > MOST_PARAMETERS:
        raise ValueError(
            f"channels {network.channels} with multipliers up to {max(network.multipliers)} and {blocks} blocks make a "
            f"network of about {parameters:.0e} parameters; at most {MOST_PARAMETERS:.0e}. Make it narrower"
        )
    layers = levels * (2 * blocks + 1) * (1 + _depth(network))
    if layers > MOST_LAYERS:
        raise ValueError(f"{levels} levels of {blocks} blocks make {layers} layers; at most {MOST_LAYERS}")


def check_attention(factors: tuple[int, ...], levels: int | None, patch: int = 1) -> None:
    """Attention is placed by downsampling factors: powers of two that exist."""
    for f in factors:
        if f & (f - 1):
            raise ValueError(f"attention at factor {f}: factors are powers of two (1, 2, 4, ...)")
        if levels is not None and not patch <= f < patch * 2**levels:
            existing = ", ".join(str(patch * 2**level) for level in range(levels))
            raise ValueError(f"attention at factor {f}: the {levels} levels have the factors {existing}")
