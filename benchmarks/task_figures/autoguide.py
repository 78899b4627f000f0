"""Autoguidance: whether samples led away from an earlier checkpoint are nearer to the data.

The distance is Fréchet's between the means over space of SqueezeNet's last features (ImageNet), which tell edges,
corners and holes: what bad samples of shapes have wrong. With 512 images on each side, samples of a poor model were 13
times as far from real images as other real images are, and repeated to a hundredth. In latents of the first stage they
were no farther than real ones (0.99), in pixels at 16x16 half as far again: scenes are far from normal there, and have
much the same moments whatever their shapes. Distances of fewer images are larger: all sets have one number.
A part of the distance is the first stage's, which no guidance of the second moves: that of reconstructions, of 8x8
latents of scenes at 64x64 7 to 20 times that of real images, at 32x32 9 times. A model of pixels
(`--recipe shapes-pixels`) has no such part.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentry.checkpoints.store import Store
from latentry.errors import UsageError
from latentry.metrics.features import SqueezeNetFeatures
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, pictures, rows

EACH = 10
"""Images a request: moments take many."""
GUIDANCE = 2.0
PARTS = 10
WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights" / "squeezenet1_1.npz"


class Sets(NamedTuple):
    """Features (N, D) of as many images of each: real ones, real ones through the first stage, samples."""

    real: Tensor
    again: Tensor
    plain: Tensor
    guided: Tensor


def autoguide(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Samples with and without autoguidance, by the same seeds, against as many scenes that no model trained on."""
    worse, scale, count = asked.worse or earliest(pipe), asked.guidance or GUIDANCE, EACH * asked.count
    size = pipe.config.data.size
    real, other = (pictures(asked.scenes(size, count, shapes=1, set_=number)) for number in (1, 2))
    how = {"n": count, **asked.how}
    plain = pipe.sample(**{**how, "guidance": 1.0}).tensor
    guided = pipe.sample(**{**how, "guidance": scale}, autoguide=worse).tensor
    again = (pipe.decode(pipe.encode(other * 2 - 1)) / 2 + 0.5).clamp(0, 1)
    net = network()
    sets = Sets(*(means(net(images)) for images in (real, again, plain, guided)))
    return [
        Figure("distance of other real images", frechet(means(net(other)), sets.real), None),
        *([] if pipe.config.autoencoder.kind == "identity" else of_first_stage(sets)),
        Figure("distance of samples", frechet(sets.plain, sets.real), None),
        Figure(
            f"the same led by {scale:g} from {Path(worse).name.rpartition('@')[2]}",
            frechet(sets.guided, sets.real),
            None,
        ),
        Figure("standard error of its fall", standard_error(sets), None),
        Figure("fall of the distance", fall(sets), 0.2),
    ], rows(real, plain, guided)


def of_first_stage(sets: Sets) -> list[Figure]:
    """What a first stage costs by itself, and the fall as if it were the data's."""
    beside = 1 - frechet(sets.guided, sets.again) / frechet(sets.plain, sets.again)
    return [
        Figure("distance of their reconstructions", frechet(sets.again, sets.real), None),
        Figure("fall to reconstructions in place of images", beside, None),
    ]


def earliest(pipe: Pipeline) -> str:
    """The first checkpoint that the run of a model has kept. Raises UsageError where there is no earlier one."""
    steps = Store(Path(pipe.source) / "diffusion").steps()
    if len(steps) < 2:
        raise UsageError(
            f"autoguide: {pipe.source}: {len(steps)} checkpoints of the second stage; accepted: a run with an earlier "
            "one. Name another with --autoguide RUN@step-N, or train with --set diffusion.train.milestones=1500."
        )
    return f"{pipe.source}@step-{steps[0]}"


def network() -> SqueezeNetFeatures:
    """SqueezeNet; its weights from beside the project, else $LATENTRY_WEIGHTS, else downloaded once."""
    return SqueezeNetFeatures(WEIGHTS if WEIGHTS.is_file() else None)


def means(features: Tensor) -> Tensor:
    """Of means and maxima over space (N, 2 D) the means."""
    return features.chunk(2, dim=1)[0]


def fall(sets: Sets) -> float:
    """By which share guidance brings the distance to real images down."""
    return 1 - frechet(sets.guided, sets.real) / frechet(sets.plain, sets.real)


def standard_error(sets: Sets) -> float:
    """Of the fall, by the jackknife: without one tenth of all images after another.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", eq. 11.5.
    """
    places = torch.arange(len(sets.real)) % PARTS
    falls = [fall(Sets(*(each[places != part] for each in sets))) for part in range(PARTS)]
    return float(np.std(falls) * np.sqrt(PARTS - 1))


def frechet(x: Tensor, y: Tensor) -> float:
    """|m - n|^2 + tr(C + D - 2 (C D)^(1/2)) of the means and covariances of vectors (N, D) (Heusel et al. 2017, eq. 6).

    The trace of the root is the sum of the singular values of a product of factors, C = A A^T and D = B B^T.
    """
    (m, a), (n, b) = (normal(each) for each in (x, y))
    roots = torch.linalg.svdvals(a.T @ b).sum()
    return float((m - n).square().sum() + a.square().sum() + b.square().sum() - 2 * roots)


def normal(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) and a factor (D, D or N) of the covariance of vectors (N, D)."""
    x = x.double()
    mean = x.mean(0)
    factor = torch.linalg.qr((x - mean) / np.sqrt(len(x) - 1)).R.T
    return mean, factor
