"""What JPEG leaves of an image."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image

from latentry.data.degrade.resize import Image


def compressed(image: Image, quality: int) -> Image:
    """(C, H, W) in [0, 1] as 8-bit JPEG of Pillow's `quality` and back; grey and colours, others as they are."""
    if image.shape[0] not in (1, 3):
        return image
    pixels = np.rint(image.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)  # (H, W, C)
    file = BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(file, "JPEG", quality=quality)
    with PIL.Image.open(file, formats=["JPEG"]) as opened:
        back = np.atleast_3d(np.asarray(opened))
    return np.asarray(back.transpose(2, 0, 1), np.float32) / np.float32(255)
