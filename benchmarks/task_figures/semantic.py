"""Semantic map to image: the judge's map of the sample, at the training size, twice as large, and 3:1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latentry.data.shapes import Scene
from latentry.metrics.maps import mean_iou
from latentry.metrics.scenes import look
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, pictures, rows


def semantic(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Maps of shapes: the judge's map of the sample, at the training size, twice as large, and 3:1."""
    figures, sheet = list[Figure](), torch.empty(0)
    for name, size in (("64x64", (64, 64)), ("128x128", (128, 128)), ("64x192", (64, 192))):
        scenes, made, mean = overlap(pipe, asked, size, asked.count)
        if size == (64, 64):
            figures.append(judge_itself(pictures(scenes), scenes))
            sheet = rows(pictures(scenes), made)
        figures.append(Figure(f"mean IoU of maps, {name}", mean, 0.75))
    return figures, sheet


def overlap(pipe: Pipeline, asked: Asked, size: tuple[int, int], count: int) -> tuple[list[Scene], Tensor, float]:
    """Scenes of a size, samples of their maps, and the mean IoU of these and the judge's."""
    scenes = asked.scenes(size, count)
    maps = [torch.from_numpy(scene.semantic).long() for scene in scenes]
    made = pipe.sample(semantic=maps, size=size, **asked.how).tensor
    return scenes, made, float(np.mean([mean_iou(s.semantic, m) for s, m in zip(look(made), maps, strict=True)]))
