"""A distilled model beside its teacher: whether the judge finds just what captions name, by steps."""

from __future__ import annotations

from torch import Tensor

from latentry.metrics.scenes import look
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, pictures, rows, share_of_captions

STEPS = (1, 2, 4)
MAY_LOSE = 0.05
"""Of the teacher's share, in the distilled model's own two steps."""


def distill(pipe: Pipeline, asked: Asked, beside: Pipeline | None) -> Measured:
    """Captions: shares right of the teacher at its default, and of the distilled model. pipe: the teacher."""
    assert beside is not None
    scenes = asked.scenes()
    texts, own = [scene.text for scene in scenes], asked.how

    def share(images: Tensor) -> float:
        return share_of_captions(look(images), scenes)

    taught = pipe.sample(texts, **own).tensor
    fewer = {steps: beside.sample(texts, seed=asked.seed, steps=steps).tensor for steps in STEPS}
    teacher = share(taught)
    figures = [judge_itself(pictures(scenes), scenes), Figure("right by the teacher", teacher, None)]
    figures += [Figure(f"right in {steps} steps of the distilled", share(fewer[steps]), None) for steps in STEPS]
    figures.append(Figure("2 steps above the teacher", share(fewer[2]) - teacher, -MAY_LOSE))
    return figures, rows(taught, *fewer.values())
