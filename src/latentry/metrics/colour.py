"""sRGB to CIELAB (D65), where a distance of about 2 is just noticeable."""

from __future__ import annotations

import torch
from torch import Tensor

TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.95047, 1.0, 1.08883)


def lab(rgb: Tensor) -> Tensor:
    """CIELAB of sRGB colours: (..., 3) in [0, 1] to (..., 3) with L in 0..100 (IEC 61966-2-1, CIE 15)."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ rgb.new_tensor(TO_XYZ).T / rgb.new_tensor(WHITE)
    cubic = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-9) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = cubic.unbind(-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), -1)


def colour_change(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Distance in CIELAB (CIE 1976) between the mean colours of two images inside a mask, (B,); NaN for an empty one.

    before, after: (B, 3, H, W) sRGB in [0, 1]. mask: (B, H, W) bool.
    """
    inside = mask.to(before)[:, None]
    means = [(lab(x.movedim(1, -1)).movedim(-1, 1) * inside).sum((2, 3)) / inside.sum((2, 3)) for x in (before, after)]
    return (means[0] - means[1]).norm(dim=1)
