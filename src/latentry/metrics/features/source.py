"""What features are: a vector for each image, from a network that is named by its kind and its weights' hash."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from latentry.errors import UsageError

DIGITS = 5


class Features(Protocol):
    """A network that makes a vector of each image.

    kind: its name, "inception". digest: SHA-256 of its weights. preprocessing: how images reach the network, in words.
    """

    kind: str
    digest: str
    preprocessing: str

    def __call__(self, images: Tensor, /) -> Tensor:
        """(B, D) float32 of images (B, C, H, W) in [0, 1], or uint8."""
        ...


def tag(features: Features) -> str:
    """How a number says what it was measured in: `inception:67268…`."""
    return f"{features.kind}:{features.digest[:DIGITS]}…"


def rgb(images: Tensor, kind: str) -> Tensor:
    """Images (B, 3, H, W): grey ones are repeated, others refused, for they show a photo network nothing."""
    channels = images.shape[1]
    if channels == 1:
        return images.expand(-1, 3, -1, -1)
    if channels != 3:
        raise UsageError(
            f"features {kind}: images of {channels} channels; it knows 3 (or 1, repeated). Lay transparent images "
            "over a background, and measure other ones in the features of the first stage, which take any channels."
        )
    return images


def unit(images: Tensor) -> Tensor:
    """Images in [0, 1] as float32, of uint8 ones or such that are already."""
    return images.float() / 255 if not images.is_floating_point() else images.float()
