"""The second stage as it was trained: which way its path leads, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from latentry.conditioning import batch
from latentry.data.dataset import ImageData
from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.process import spread
from latentry.diffusion.schedule import Level
from latentry.evaluation.figures import condition_values
from latentry.models.config import SampleOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline import Pipeline

ENOUGH = {"solver": "dpmpp_2m", "levels": "exponential", "steps": 20}
"""How the end of a path is found."""
LOOKED_AT = 64  # images


class Teacher:
    """Predicts x0 with guidance, of many times at once. sample: how the second stage samples; its guidance is used."""

    def __init__(self, model: LatentDiffusion, sample: SampleOptions) -> None:
        self.model, self.sample = model, sample

    @torch.no_grad()
    def __call__(self, x: Tensor, t: Tensor, values: Mapping[str, Sequence[Any]], keep: Mapping[str, Tensor]) -> Tensor:
        """x (B, c, h, w) at times t, int64 (B,) -> x0. values, keep: as of `LatentDiffusion.dropped`.

        Guidance acts where sampling would let it: in its interval, and with its rescaling.
        """
        model, chosen = self.model, self.sample
        alpha, sigma = (spread(one, x) for one in model.schedule.at(t))
        conds = [model.dropped(values, keep)]
        guided = chosen.guidance != 1 and bool(model.conditioners)
        if guided:
            conds.append(model.nothing(values, len(x)))
        n = len(conds)
        outputs = model(torch.cat([x] * n), torch.cat([t] * n), batch(conds)).float().chunk(n)
        predicted = tuple(model.prediction.x0(x, out, alpha, sigma) for out in outputs)
        if not guided:
            return predicted[0]
        mix = classifier_free(lambda *_: predicted, chosen.guidance, chosen.guidance_rescale, model.prediction)
        mixed = mix(x, Level(0.0, alpha, sigma))  # type: ignore[arg-type]  # numbers of each image
        first, last = (share * (model.schedule.steps - 1) for share in chosen.guidance_interval)
        inside = spread((t >= first) & (t <= last), x)
        return torch.where(inside, mixed, predicted[0])  # type: ignore[arg-type]


class PathEnds:
    """How far from the ends of the teacher's paths one step of another model falls, from the same noise.

    The paths are those of the conditions of a split's first images, and their ends are found once, at the first call.
    """

    def __init__(self, teacher: Pipeline, distilled: Pipeline, data: ImageData, seed: int) -> None:
        self.teacher, self.distilled, self.data, self.seed = teacher, distilled, data, seed
        self.ends: Tensor | None = None
        self.asked: dict[str, Any] = {}

    def __call__(self) -> float:
        """Mean squared distance, a number of a latent. Touches no random state."""
        if self.ends is None:
            assert self.teacher.denoiser is not None
            count = min(len(self.data), LOOKED_AT)
            self.asked = condition_values(self.teacher.denoiser, self.data, range(count), self.seed)
            self.asked = {"n": 1, **self.asked} if self.asked else {"n": count}
            self.ends = self._end(self.teacher, ENOUGH)
        reached = self._end(self.distilled, {"steps": 1})
        return float((reached - self.ends).square().mean())

    def _end(self, pipe: Pipeline, how: Mapping[str, Any]) -> Tensor:
        *_, last = pipe.steps(seed=self.seed, **how, **self.asked)
        return last.x
