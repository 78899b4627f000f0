"""Guidance that acts at some noise levels only."""

from __future__ import annotations

from latentry.diffusion.contracts import Denoise


def during(first: float, last: float, guided: Denoise, plain: Denoise) -> Denoise:
    """`guided` at times from `first` to `last`, both included; `plain` at the others, where `guided` is not called.

    Guidance at high noise narrows what is drawn, at low noise it changes nothing but costs a network call.
    Source: Kynkäänniemi et al. 2024, "Applying guidance in a limited interval improves sample and distribution
    quality in diffusion models", section 3; their interval is of sigma/alpha, which falls and rises with the time.
    """
    return lambda x, level: (guided if first <= level.t <= last else plain)(x, level)
