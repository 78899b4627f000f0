"""Images beyond the training size: seams of 512x1024 drawn in tiles, and the latent's scale on against off."""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy import stats
from tiles import final, ratio
from torch import Tensor

from latentry.data.shapes import Scene
from latentry.metrics.maps import mean_iou
from latentry.metrics.scenes import look
from latentry.pipeline import Pipeline
from latentry.pipeline.images import to_unit
from task_figures.common import Asked, Figure, Measured, judge_itself, pictures, rows
from task_figures.semantic import overlap

SIZE = (512, 1024)
CELL, FROM = 64, (20, 28)
"""A large map is of scenes of CELL pixels a side, cut FROM a row and column that are no border of tiles."""
TILE, OVERLAP = 64, 16
"""What `--tile 64` does."""
SEEDS = 4
SIDES = (64, 128, 192)


def conv(pipe: Pipeline, asked: Asked, unscaled: Pipeline | None) -> Measured:
    """unscaled: the same first stage and recipe with latents as they come, `latent_scale: 1`; None: not measured."""
    scenes = asked.scenes(SIDES[0])
    real = pictures(scenes)
    figures, made = scale(pipe, asked, "scaled")
    sheet = rows(real, made)
    if unscaled is not None:
        beside, without = scale(unscaled, asked, "as they come")
        deviation = 1 / float(pipe.autoencoder.latent_scale)
        figures += [*beside, Figure("latents as they come: deviation", deviation, None)]
        sheet = rows(real, made, without)
    return [judge_itself(real, scenes), *figures, *seams(pipe, asked)], sheet


def scale(pipe: Pipeline, asked: Asked, name: str) -> tuple[list[Figure], Tensor]:
    """Mean IoU of maps by the side of the image, and the pictures of the first side."""
    figures, pictures_of = list[Figure](), list[Tensor]()
    for side in SIDES:
        count = asked.count if side == SIDES[0] else max(2, asked.count // 4)
        _, made, mean = overlap(pipe, asked, (side, side), count)
        pictures_of.append(made)
        figures.append(Figure(f"latents {name}: mean IoU of maps, {side}x{side}", mean, None))
    return figures, pictures_of[0]


def seams(pipe: Pipeline, asked: Asked) -> list[Figure]:
    """Energies of the final latents at tiles' borders over those elsewhere, drawn in tiles, by those drawn whole."""
    side, shared = (part // pipe.autoencoder.factor for part in (TILE, OVERLAP))
    energies, seconds, overlaps = list[list[float]](), list[list[float]](), list[float]()
    for number in range(max(2, min(SEEDS, asked.count))):
        map_ = mosaic(asked, number)
        how = {**asked.how, "seed": asked.seed + number, "size": SIZE, "semantic": [map_]}
        energies.append([])
        seconds.append([])
        for tiling in ({}, {"tile": TILE, "overlap": OVERLAP}):
            begun = time.perf_counter()
            x = final(pipe, None, {**how, **tiling})
            seconds[-1].append(time.perf_counter() - begun)
            energies[-1].append(ratio(x, side, shared))
        overlaps.append(cell_overlap(to_unit(pipe.decode(x)), map_))
    ratios = [tiled / whole for whole, tiled in energies]
    mean, half = interval(ratios)
    return [
        Figure("in tiles: energy at borders over whole, off 1 by", abs(mean - 1), 0.05, True),
        Figure("in tiles: energy at borders over whole, mean", mean, None),
        Figure(f"in tiles: half of its 95% interval, {len(ratios)} seeds", half, None),
        Figure("in tiles: energy at borders over elsewhere", float(np.mean(energies, axis=0)[1]), None),
        Figure("in tiles: mean IoU of maps, cell by cell", float(np.mean(overlaps)), None),
        *(
            Figure(f"seconds of one {SIZE[0]}x{SIZE[1]} {name}", float(took), None)
            for name, took in zip(("whole", "in tiles"), np.mean(seconds, axis=0), strict=True)
        ),
    ]


def mosaic(asked: Asked, number: int) -> Tensor:
    """A map (H, W) of SIZE, of scenes side by side that no other number has."""
    down, across = (side // CELL + 1 for side in SIZE)
    scenes: list[Scene] = asked.scenes(CELL, (number + 1) * down * across)[number * down * across :]
    grid = torch.from_numpy(np.stack([scene.semantic for scene in scenes])).long().view(down, across, CELL, CELL)
    whole = grid.transpose(1, 2).reshape(down * CELL, across * CELL)
    return whole[FROM[0] : FROM[0] + SIZE[0], FROM[1] : FROM[1] + SIZE[1]].contiguous()


def cells(maps: Tensor) -> Tensor:
    """The whole cells of a mosaic (C, H, W): (N, C, CELL, CELL)."""
    top, left = (CELL - start for start in FROM)
    parts = maps[:, top:, left:].unfold(1, CELL, CELL).unfold(2, CELL, CELL)  # (C, down, across, CELL, CELL)
    return parts.flatten(1, 2).transpose(0, 1)


def cell_overlap(image: Tensor, map_: Tensor) -> float:
    """Mean over cells of the mean IoU of the map (H, W) and the judge's of the image (1, 3, H, W)."""
    wanted = cells(map_[None])[:, 0]
    return float(np.mean([mean_iou(s.semantic, w) for s, w in zip(look(cells(image[0])), wanted, strict=True)]))


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half of its 95% interval by Student's t."""
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * error)
