"""Ways to bring images to the size that a network knows. They differ by tens of grey levels, so numbers name theirs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def bicubic(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased, in float, as Pillow's and clean-fid's: (B, C, H, W) in 0..255 to (B, C, height, width) in 0..255."""
    return functional.interpolate(images.float(), (height, width), mode="bicubic", antialias=True).clamp(0, 255)


def bilinear(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased, in float, as Pillow's."""
    return functional.interpolate(images.float(), (height, width), mode="bilinear", antialias=True).clamp(0, 255)


def lanczos(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased, in float, by Pillow channel by channel."""
    flat = images.detach().to("cpu", torch.float32).flatten(0, 1).numpy()
    small = [Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS) for plane in flat]
    resized = torch.from_numpy(np.stack([np.asarray(plane) for plane in small])).clamp(0, 255)
    return resized.unflatten(0, images.shape[:2]).to(images.device)


def plain(images: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with half-pixel centres and no antialiasing, as pytorch-fid's."""
    return functional.interpolate(images.float(), (height, width), mode="bilinear", antialias=False)


def tensorflow1(images: Tensor, height: int, width: int) -> Tensor:
    """TensorFlow 1's bilinear, on which the published FIDs stand.

    Source pixel = target pixel * in / out: no half-pixel centres, and no antialiasing where the image gets smaller.
    """
    x = images.float()
    for axis, size in ((2, height), (3, width)):
        length = x.shape[axis]
        at = torch.arange(size, device=x.device) * (length / size)
        low = at.floor().long().clamp(max=length - 1)
        share = (at - low).to(x).view(-1, *(1,) * (3 - axis))
        first, second = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=length - 1))
        x = first + (second - first) * share
    return x


RESIZINGS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "tensorflow1": tensorflow1,
    "bicubic": bicubic,
    "bilinear": bilinear,
    "lanczos": lanczos,
    "plain": plain,
}
"""From images (B, C, H, W) in 0..255 and a height and width to float32 images of those."""
