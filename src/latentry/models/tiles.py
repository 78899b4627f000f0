"""The first stage on images that do not fit in memory, in windows; equal to what it gives of them whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from latentry.errors import LatentryError
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions
from latentry.nn.coder import CoderBlock, Decoder, Encoder
from latentry.nn.tiled.coder import decoded, encoded
from latentry.nn.tiled.plane import IN_MEMORY, Mapped, Room, Source, Whole
from latentry.windows import cover

Progress = Callable[[int, int], None]
SIDE = 512
"""Of the windows in which an image is read and written: a multiple of 16, as TIFF's tiles must be, and of any patch."""
LARGE = 2**24
"""Pixels from which on an image is read and written by windows: 4096x4096."""
ON_CPU, ON_ACCELERATOR = 2**31, 2**33
"""Bytes that the maps of one image may take before it is worked on in windows."""


def whole_bytes(options: AutoencoderOptions, pixels: int) -> int:
    """About what the first stage takes of memory for an image at once: at the full size five maps of the widest."""
    if options.kind == "identity":
        return 0
    width = options.channels * max(options.multipliers[:2])
    return pixels // options.patch**2 * width * 4 * 5


def in_tiles(autoencoder: Autoencoder, pixels: int) -> bool:
    """Whether an image of so many pixels is worked on in windows."""
    most = ON_CPU if autoencoder.latent_scale.device.type == "cpu" else ON_ACCELERATOR
    return whole_bytes(autoencoder.options, pixels) > most


def decode(autoencoder: Autoencoder, z: Tensor, folder: Path | None = None, progress: Progress | None = None) -> Source:
    """Scaled latents (1, c, h, w) to the image as a source, about [-1, 1]; its last layer is computed when it is read.

    folder: of temporary files. progress: called with (layers done, of how many). Raises LatentryError where the files
    find no room.
    """
    if autoencoder.options.kind == "identity":
        return Mapped(Whole(z), autoencoder.decode, autoencoder.image_channels)
    room = _room(autoencoder, autoencoder.decoder, (z.shape[2], z.shape[3]), folder, progress)

    def latent(part: Tensor) -> Tensor:
        result: Tensor = autoencoder.post_quant_conv(autoencoder.unscaled_latent(part.to(room.device)))
        return result

    return decoded(autoencoder.decoder, Mapped(Whole(z), latent, autoencoder.options.z_channels), room)


def moments(autoencoder: Autoencoder, image: Source, folder: Path | None = None) -> Tensor:
    """`Autoencoder.moments` of an image in [-1, 1]: (1, c or 2c, h, w) on the CPU."""
    if autoencoder.options.kind == "identity":
        return gathered(image)
    factor = autoencoder.factor
    room = _room(autoencoder, autoencoder.encoder, (image.height // factor, image.width // factor), folder)
    on_device = Mapped(image, lambda part: part.to(room.device), image.channels)
    features = encoded(autoencoder.encoder, on_device, room)
    return gathered(Mapped(features, autoencoder.quant_conv, autoencoder.quant_conv.out_channels))


def gathered(source: Source) -> Tensor:
    """The whole map, (1, C, H, W) on the CPU."""
    whole = torch.empty(1, source.channels, source.height, source.width)
    for window in cover(source.height, source.width, SIDE):
        whole[..., window.top : window.bottom, window.left : window.right] = source.read(window)
    return whole


def _room(
    autoencoder: Autoencoder,
    coder: Encoder | Decoder,
    latent: tuple[int, int],
    folder: Path | None,
    progress: Progress | None = None,
) -> Room:
    """Raises LatentryError where the disk has no room for the maps."""
    need, place = disk_bytes(coder, latent), folder or _temporary()
    free = shutil.disk_usage(place).free
    if need > free:
        raise LatentryError(
            f"{place}: an image of {latent[0] * autoencoder.factor}x{latent[1] * autoencoder.factor} needs "
            f"{need / 1e9:.1f} GB of temporary files, {free / 1e9:.1f} GB are free. Free some space, or use another "
            "disk (TMPDIR names the folder where there is no --out)."
        )
    return Room(place, autoencoder.latent_scale.device, progress=progress)


def _temporary() -> Path:
    """Where the system wants large temporary files; often /tmp lies in memory."""
    places = [Path(tempfile.gettempdir()) if "TMPDIR" in os.environ else Path("/var/tmp"), Path(tempfile.gettempdir())]
    return next(place for place in places if os.access(place, os.W_OK))


def disk_bytes(coder: Encoder | Decoder, latent: tuple[int, int]) -> int:
    """Of temporary files the most at any time: a block's input, hidden map and result, where they are largest."""
    pixels, most = latent[0] * latent[1], 0
    for i, level in enumerate(reversed(coder.levels)):
        blocks = [module for module in level.modules() if isinstance(module, CoderBlock)]
        widths = [_maps(block.conv1.in_channels, block.conv1.out_channels) for block in blocks]
        most = max(most, 4 * pixels * 4**i * max(widths))
    return most if most > IN_MEMORY else 0


def _maps(before: int, after: int) -> int:
    return before + after * (1 if after <= before else 2)
