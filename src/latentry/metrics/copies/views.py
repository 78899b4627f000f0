"""How images are looked at for copies: vectors in parts, compared by the part that differs most."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from latentry.metrics.features import Features, tag

SIDE, TILES = 8, 4

View = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) in [0, 1], or uint8, to (B, parts, D) float32."""


def pixels(images: Tensor) -> Tensor:
    """Images averaged down to 8x8 pixels and cut into 4x4 tiles: (B, 16, 4 C).

    Small, so that compression and noise leave it as it is; in tiles, so that a shared background makes no copy
    (Carlini et al. 2023, section 4.2, who take the tile that differs most).
    """
    x = images.float() / 255 if not images.is_floating_point() else images.float()
    small = functional.adaptive_avg_pool2d(x, (SIDE, SIDE))  # (B, C, 8, 8)
    edge = SIDE // TILES
    tiles = small.unfold(2, edge, edge).unfold(3, edge, edge)  # (B, C, 4, 4, 2, 2)
    return tiles.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def in_features(features: Features) -> View:
    """Vectors of features, as one part: (B, 1, D)."""
    return lambda images: features(images)[:, None]


def views(features: Features | None) -> dict[str, View]:
    """By name: pixels, and the features if there are any."""
    return {"pixels": pixels} | ({} if features is None else {tag(features): in_features(features)})
