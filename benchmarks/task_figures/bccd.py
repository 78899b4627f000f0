"""Layout to image on real images: boxes of blood cells, and which cells are found in them.

Red cells lie on one another and not every one has a box, so that they are not counted: figures of real images, found
by the same judge, say how much can be reached, and samples of other layouts what comes without the condition.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from latentry.data.dataset import ImageData
from latentry.data.options import DataOptions
from latentry.data.sample import Boxes
from latentry.errors import UsageError
from latentry.metrics.layout import box_iou
from latentry.pipeline import Pipeline
from task_figures.cells import Cells, ellipses, find
from task_figures.common import Asked, Figure, Measured, rows

SIZE = (96, 128)
ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "bccd.tar"
COLOURS = {"RBC": (200, 40, 40), "WBC": (90, 40, 200), "Platelets": (20, 140, 60)}
NEAR = 2
"""Pixels by which a platelet may lie beside its box."""


def unpacked(out: Path, archive: Path = ARCHIVE) -> Path:
    """The folder of images, unpacked once into `out`. Raises UsageError where there is no archive."""
    folder = out / "bccd"
    if not (folder / "metadata.jsonl").is_file():
        if not archive.is_file():
            raise UsageError("bccd: its images are not here; --data names the folder, with `objects` in metadata.jsonl")
        with tarfile.open(archive) as tar:
            tar.extractall(out, filter="data")
    return folder


def held_out(folder: Path) -> ImageData:
    """The images that training keeps out, by the field `split`."""
    return ImageData(DataOptions(size=SIZE, boxes="objects"), folder, "held_out")


def bccd(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Layouts of held-out images: the cells found in those, in their samples, and in samples of others among them."""
    assert asked.data is not None
    data = held_out(asked.data)
    samples = [data.sample(index) for index in range(min(asked.count, len(data)))]
    layouts = [sample.boxes for sample in samples if sample.boxes is not None]
    real = torch.stack([sample.image for sample in samples]) / 2 + 0.5
    made = pipe.sample(layout=[told(layout) for layout in layouts], size=SIZE, **asked.how).tensor
    found = [find(image.movedim(0, -1).numpy()) for image in made]
    figures = against("real", layouts, [find(image.movedim(0, -1).numpy()) for image in real])
    figures += against("samples", layouts, found) + against("shuffled", layouts, found[1:] + found[:1])
    drawn = torch.stack([outlines(layout) for layout in layouts])
    return figures, rows(drawn, *(images.repeat_interleave(2, 2).repeat_interleave(2, 3) for images in (real, made)))


def told(layout: Boxes) -> list[dict[str, object]]:
    """As a person asks for it, in shares of the image."""
    corners = layout.corners.astype(np.float64)
    bboxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [{"label": name, "bbox": box} for name, box in zip(layout.names, bboxes.tolist(), strict=True)]


def outlines(layout: Boxes) -> Tensor:
    """(3, H, W) in [0, 1], twice as large as the samples."""
    height, width = (2 * side for side in SIZE)
    canvas = Image.new("RGB", (width, height), "white")
    for name, box in zip(layout.names, layout.corners * ([width - 1, height - 1] * 2), strict=True):
        ImageDraw.Draw(canvas).rectangle(box.tolist(), outline=COLOURS.get(name, (0, 0, 0)), width=2)
    return torch.from_numpy(np.asarray(canvas).copy()).movedim(-1, 0) / 255


def against(whose: str, layouts: Sequence[Boxes], found: Sequence[Cells]) -> list[Figure]:
    """How the cells found in images lie to the boxes of a layout each."""
    overlap, filled = list[float](), list[float]()
    white, as_many, platelets = list[float](), list[bool](), list[bool]()
    for layout, cells in zip(layouts, found, strict=True):
        boxes = {name: of(layout, name, *cells.covered.shape) for name in COLOURS}
        wanted = ellipses([box for some in boxes.values() for box in some], *cells.covered.shape)
        overlap.append((wanted & cells.covered).sum() / max((wanted | cells.covered).sum(), 1))
        filled += [cells.covered[ellipses([box], *cells.covered.shape)].mean() for box in boxes["RBC"]]
        white += matched(boxes["WBC"], cells.white)
        as_many.append(len(boxes["WBC"]) == len(cells.white))
        platelets += [any(holds(box, one) for one in cells.platelets) for box in boxes["Platelets"]]
    told: dict[str, Sequence[float]] = {
        "IoU of cells and boxes": overlap,
        "red boxes filled": filled,
        "IoU of white boxes": white,
        "white cells found (IoU 0.3)": [iou >= 0.3 for iou in white],
        "images with as many white cells": as_many,
        "platelets found": platelets,
    }
    return [Figure(f"{whose}: {name}", float(np.mean(values)), None) for name, values in told.items() if values]


def of(layout: Boxes, name: str, height: int, width: int) -> NDArray[np.float64]:
    """(N, 4) boxes of one class, in pixels; none of less than one."""
    rows = [row for row, one in enumerate(layout.names) if one == name]
    boxes = layout.corners[rows].astype(np.float64) * [width, height, width, height]
    return boxes[(boxes[:, 2:] - boxes[:, :2] >= 1.5).all(axis=1)]


def matched(wanted: NDArray[np.float64], found: Sequence[Sequence[float]]) -> list[float]:
    """The IoU of each box with one of those found, each of which is taken once; 0 where there is none."""
    shares = box_iou(wanted, found)
    best = np.zeros(len(wanted))
    taken = linear_sum_assignment(shares, maximize=True)
    best[taken[0]] = shares[taken]
    return best.tolist()


def holds(box: Sequence[float], part: Sequence[float]) -> bool:
    """Whether the middle of a part lies in a box, or right beside it."""
    x, y = (part[0] + part[2]) / 2, (part[1] + part[3]) / 2
    return bool(box[0] - NEAR <= x <= box[2] + NEAR and box[1] - NEAR <= y <= box[3] + NEAR)
