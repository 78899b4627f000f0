"""Inpainting: about half of one shape is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentry import rng
from latentry.data.shapes import Scene
from latentry.metrics.gradients import border_energy
from latentry.metrics.layout import box_iou
from latentry.metrics.maps import mean_iou
from latentry.metrics.scenes import Seen, look
from latentry.pipeline import Pipeline
from latentry.tasks.inputs.membrane import membrane
from task_figures.common import Asked, Figure, Measured, corners, judge_itself, pictures, rows, saved


def inpaint(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """About half of one shape is missing: is it completed, are known pixels kept, is the border seen?

    Energy at the borders is wanted to be no more than the real images', whose ratio is 1, by more than its standard
    error: holes filled by real images would be above 1 half of the time.
    """
    scenes = asked.scenes()
    real, (masks, which) = pictures(scenes), holes(scenes, asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        files, parts = list(saved(real, Path(folder))), []
        for number, file in enumerate(files):
            mask = file.with_suffix(".mask.png")
            Image.fromarray(masks[number].numpy().astype(np.uint8) * 255).save(mask)
            how = {**asked.how, "seed": asked.seed + number}
            parts.append(pipe.run("inpaint", file=file, mask=mask, keep_known=True, **how).tensor)
    made = torch.cat(parts)
    known = ~masks[:, None].expand_as(real)
    right = [completed(*row) for row in zip(look(made), scenes, which, masks, strict=True)]
    film = torch.stack([membrane(image, mask) for image, mask in zip(real, masks, strict=True)])
    smooth = [completed(*row) for row in zip(look(film), scenes, which, masks, strict=True)]
    seam, error = ratio(border_energy(made, masks).numpy(), border_energy(real, masks).numpy())
    return [
        judge_itself(real, scenes),
        Figure("known pixels that changed (of 8 bits)", float(((made - real).abs() > 0.5 / 255)[known].sum()), 0, True),
        Figure("shape completed rightly", float(np.mean(right)), 0.8),
        Figure("the same of a smooth film over the hole", float(np.mean(smooth)), None),
        Figure("energy at the holes' borders over the real images'", seam, 1.0 + error, True),
        Figure("standard error of it", error, None),
    ], rows(real, real * ~masks[:, None], made)


def ratio(above: NDArray[np.float32], below: NDArray[np.float32]) -> tuple[float, float]:
    """Of the means of pairs (N,), and its standard error by the jackknife (Efron and Tibshirani 1993, eq. 11.5)."""
    rest = (above.sum() - above) / (below.sum() - below)  # without one pair after another
    return float(above.sum() / below.sum()), float(np.std(rest) * np.sqrt(len(rest) - 1))


def holes(scenes: Sequence[Scene], seed: int) -> tuple[Tensor, list[int]]:
    """A hole (B, H, W) bool over one side of one shape of each scene, about half of it; and which shape."""
    masks, which = [], []
    for index, scene in enumerate(scenes):
        chance = rng.generator(seed, "task figures/hole", index)
        number = int(chance.integers(len(scene.things)))
        x, y, w, h = scene.things[number].bbox
        top, left, bottom, right = y - 2, x - 2, y + h + 2, x + w + 2
        side, share = int(chance.integers(4)), chance.uniform(0.35, 0.55)
        cut = [(top, left, top + share * h, right), (bottom - share * h, left, bottom, right),
               (top, left, bottom, left + share * w), (top, right - share * w, bottom, right)][side]  # fmt: skip
        mask = torch.zeros(scene.semantic.shape, dtype=torch.bool)
        first_row, first_column, last_row, last_column = (max(0, round(place)) for place in cut)
        mask[first_row:last_row, first_column:last_column] = True
        masks.append(mask)
        which.append(number)
    return torch.stack(masks), which


def completed(seen: Seen, scene: Scene, number: int, hole: Tensor) -> bool:
    """Whether the judge finds the shape where it was, in its colour, and in the hole the map of the real image.

    The maps' mean IoU there is at least 0.6: a completion two pixels off has it, a hole of one class (0.5 at most), of
    noise or of background has not.
    """
    wanted = scene.things[number]
    same = [f for f in seen.things if (f.shape, f.colour) == (wanted.shape, wanted.colour)]
    overlaps = box_iou(corners([wanted.bbox]), corners([f.bbox for f in same]))
    maps = (seen.semantic[hole][None], torch.from_numpy(scene.semantic).long()[hole][None])
    return bool(same) and float(overlaps.max()) >= 0.6 and mean_iou(*maps) >= 0.6
