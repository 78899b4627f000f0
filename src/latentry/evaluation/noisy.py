"""How often a classifier of noisy latents is right, by how noisy they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from latentry import rng
from latentry.diffusion.process import q_sample
from latentry.diffusion.schedule import Schedule
from latentry.models.classifier import LatentClassifier

BANDS = 5
"""Equal parts of the times 0 ... T - 1, from the least noise to the most."""


def band_of(t: Tensor, steps: int) -> Tensor:
    """The band, 0 to BANDS - 1, of times (B,) among `steps`."""
    return t * BANDS // steps


class Judged(NamedTuple):
    """right: bool, loss: cross-entropy in nats; each (B, BANDS), for every image once in each band."""

    right: Tensor
    loss: Tensor


@torch.no_grad()
def judged(
    classifier: LatentClassifier, schedule: Schedule, z: Tensor, numbers: Tensor, places: Sequence[int], seed: int
) -> Judged:
    """Each latent at one time of each band; time and noise are a function of seed, place and band.

    z: scaled latents (B, c, h, w). numbers: of their classes, int64 (B,). places: of the images.
    """
    right, losses = [], []
    for band in range(BANDS):
        rows = [rng.generator(seed, "classifier judged", place, band) for place in places]
        first, end = (-(-edge * schedule.steps // BANDS) for edge in (band, band + 1))
        first = min(first, schedule.steps - 1)  # of fewer times than bands
        t = torch.tensor([int(row.integers(first, max(end, first + 1))) for row in rows], device=z.device)
        noise = torch.stack([torch.from_numpy(row.standard_normal(z.shape[1:], dtype="float32")) for row in rows])
        z_t = q_sample(z, noise.to(z.device), *schedule.at(t))
        logits = classifier(z_t, t).float()  # (B, classes)
        right.append(logits.argmax(1) == numbers)
        losses.append(torch.nn.functional.cross_entropy(logits, numbers, reduction="none"))
    return Judged(torch.stack(right, 1), torch.stack(losses, 1))
