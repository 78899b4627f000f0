"""What networks give, as what people see."""

from __future__ import annotations

from torch import Tensor


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1] fp32 on the CPU, clamped."""
    return ((images.float() + 1) / 2).clamp(0, 1).cpu()
