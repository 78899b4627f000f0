"""Guidance that acts at some noise levels only."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from latentry.bounds import Share
from latentry.diffusion.contracts import Denoise

WHOLE = (0.0, 1.0)


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] >= interval[1]:
        raise ValueError(f"{interval[0]:g} to {interval[1]:g}; accepted: two shares from 0 to 1, the smaller one first")
    return interval


Interval = Annotated[tuple[Share, Share], AfterValidator(_rising)]
"""From and to, in shares of the schedule's times."""


def during(first: float, last: float, guided: Denoise, plain: Denoise) -> Denoise:
    """`guided` at times from `first` to `last`, both included; `plain` at the others, where `guided` is not called.

    Guidance at high noise narrows what is drawn, at low noise it changes nothing but costs a network call.
    Source: Kynkäänniemi et al. 2024, "Applying guidance in a limited interval improves sample and distribution
    quality in diffusion models", section 3; their interval is of sigma/alpha, which falls and rises with the time.
    """
    return lambda x, level: (guided if first <= level.t <= last else plain)(x, level)
