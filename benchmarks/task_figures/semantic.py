"""Semantic map to image: the judge's map of the sample, at the training size, twice as large, and 3:1."""

from __future__ import annotations

import numpy as np
import torch

from latentry.metrics.maps import mean_iou
from latentry.metrics.scenes import look
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, pictures, rows


def semantic(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Maps of shapes: the judge's map of the sample, at the training size, twice as large, and 3:1."""
    figures, sheet = list[Figure](), torch.empty(0)
    for name, size in (("64x64", (64, 64)), ("128x128", (128, 128)), ("64x192", (64, 192))):
        scenes = asked.scenes(size, asked.count if size == (64, 64) else max(2, asked.count // 4))
        maps = [torch.from_numpy(scene.semantic).long() for scene in scenes]
        made = pipe.sample(semantic=maps, size=size, **asked.how).tensor
        overlap = np.mean([mean_iou(seen.semantic, map_) for seen, map_ in zip(look(made), maps, strict=True)])
        if size == (64, 64):
            figures.append(judge_itself(pictures(scenes), scenes))
            sheet = rows(pictures(scenes), made)
        figures.append(Figure(f"mean IoU of maps, {name}", float(overlap), 0.75))
    return figures, sheet
