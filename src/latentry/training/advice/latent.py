"""Is the latent large enough? A denoiser cannot draw what the first stage has thrown away."""

from __future__ import annotations

from latentry.training.recipe.recipe import Recipe

SMALLEST = 16
"""Side of a latent from which on nothing is said. Rombach et al. 2022, section 4.1: f = 4 to 8 is best at 256 pixels,
which are latents of 64 to 32; f = 16 (16x16) is behind, and f = 32 (8x8) is limited by its first stage."""


def small_latent(recipe: Recipe) -> str | None:
    """The line for a first stage that is to be trained with a larger factor than its images can well do with."""
    first, size = recipe.autoencoder, recipe.data.height_width
    factor, side = first.factor, min(recipe.data.height_width) // first.factor
    better = factor
    while better > 2 and min(size) // better < SMALLEST:
        better //= 2
    if not first.trains or recipe.judge is not None or side >= SMALLEST or min(size) // better < SMALLEST:
        return None
    levels = better.bit_length()
    latent, roomier = (f"{size[1] // f}x{size[0] // f}" for f in (factor, better))
    return (
        f"data.size: images of {size[1]}x{size[0]} and a first stage of f = {factor} leave latents of {latent}, from "
        f"which fine detail cannot come back; f = {better} leaves {roomier}. For that give autoencoder.multipliers "
        f"{levels} entries, such as {list(first.multipliers[:levels])}, or use larger images"
    )
