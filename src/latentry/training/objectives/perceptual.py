"""The perceptual distance for images of any number of channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn import lpips
from latentry.training.objectives.options import PerceptualOptions


class Perceptual(nn.Module):
    """LPIPS of images (B, C, H, W) in [-1, 1], shown to the network as RGB: (B,).

    bands: which three channels are shown. background: colour in [-1, 1] that RGBA images are laid over; without it
    their colours are taken as they are.
    """

    def __init__(self, net: lpips.LPIPS, bands: Sequence[int] | None, background: Sequence[float] | None) -> None:
        super().__init__()
        self.net, self.bands, self.background = net, bands, background

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = (lpips.to_rgb(image, self.bands, self.background) for image in (x, y))  # (B, 3, H, W)
        return self.net(x, y)


def build(options: PerceptualOptions, channels: int, background: Sequence[float] | None = None) -> Perceptual | None:
    """The distance that the options ask for, or None; finds or downloads the weights.

    channels: of the images. Raises `UsageError` where the channels cannot be shown, `LatentryError` without weights.
    """
    if options.net == "none" or not options.weight:
        return None
    bands = options.bands
    if bands is None and channels not in (1, 3, 4):
        raise UsageError(
            f"objective.perceptual: images have {channels} channels and {options.net} sees three. Say which, for "
            "example `perceptual: {bands: [0, 1, 2]}`, or set `perceptual: none`."
        )
    if bands is not None and max(bands) >= channels:
        raise UsageError(
            f"objective.perceptual: bands {list(bands)} of images with {channels} channels; bands go from 0 to "
            f"{channels - 1}."
        )
    return Perceptual(lpips.load(options.net, options.backbone, options.heads), bands, background)
