"""What a metric is: an entry of the table `METRICS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """One number about images.

    label, unit: how figures call it, "PSNR of held-out reconstructions (dB)"; a share has no unit.
    reconstructions: (real, again) -> the number, over both as (B, C, H, W) in [0, 1], on the CPU; again[i] is the
    reconstruction of real[i]. Of images that use a small part of their range, [0, 1] is that part: errors count beside
    what is there, and single values may lie outside.
    digits: decimals that are kept.
    """

    label: str
    reconstructions: Callable[[Tensor, Tensor], float | Tensor]
    unit: str = ""
    digits: int = 2

    def named(self, what: str) -> str:
        """What its figure is called, for `what` was measured: "held-out reconstructions"."""
        return f"{self.label} of {what}" + (f" ({self.unit})" if self.unit else "")
