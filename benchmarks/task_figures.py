"""What `tasks.py` measures: for each task, requests that no training image was, and figures of what comes of them.

Not a benchmark itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentry import rng
from latentry.data.shapes import Scene, generate_scenes
from latentry.metrics import psnr
from latentry.metrics.gradients import border_energy, gradient_energy
from latentry.metrics.layout import Layout, box_iou, layout_figures
from latentry.metrics.maps import mean_iou
from latentry.metrics.scenes import Seen, look
from latentry.metrics.ssim import ssim
from latentry.pipeline import Pipeline

UNSEEN = 1_000_000
"""Added to a seed, for scenes that no recipe trains on."""
SHOWN = 10
FACTOR = 4


class Figure(NamedTuple):
    """wanted: the least value, or the greatest where `most`; None for one that is only told."""

    name: str
    value: float
    wanted: float | None
    most: bool = False

    @property
    def ok(self) -> bool:
        return self.wanted is None or (self.value <= self.wanted if self.most else self.value >= self.wanted)

    @property
    def bound(self) -> str:
        return f"at {'most' if self.most else 'least'} {self.wanted:g}"


@dataclass(frozen=True)
class Asked:
    """How many requests, of which seed, and how they are sampled; None: as the model says."""

    count: int
    seed: int
    steps: int | None
    guidance: float | None

    def scenes(self, size: int | tuple[int, int] = 64, count: int | None = None) -> list[Scene]:
        return list(generate_scenes(count or self.count, size, UNSEEN + self.seed))

    @property
    def how(self) -> dict[str, float]:
        chosen = {"steps": self.steps, "guidance": self.guidance}
        return {"seed": self.seed, **{name: value for name, value in chosen.items() if value is not None}}


Measured = tuple[list[Figure], Tensor]
"""Figures, and the images of a sheet (N, 3, H, W), a row of SHOWN for what was asked and for what came."""


def pictures(scenes: Sequence[Scene]) -> Tensor:
    """(B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).movedim(-1, 1) / 255


def rows(*columns: Tensor) -> Tensor:
    """The first pictures, those of the second below those of the first, ..."""
    return torch.cat([column[:SHOWN] for column in columns])


def judge_itself(real: Tensor, scenes: Sequence[Scene]) -> Figure:
    """How often the judge is right on the real images of the requests."""
    return Figure("judge right on real images", share_of_captions(look(real), scenes), 0.99)


def share_of_captions(seen: Sequence[Seen], scenes: Sequence[Scene]) -> float:
    """The share of images that show just the pairs of colour and shape of their scene."""
    found = [sorted(f"{thing.colour} {thing.shape}" for thing in one.things) for one in seen]
    return float(np.mean([a == sorted(t.pair for t in scene.things) for a, scene in zip(found, scenes, strict=True)]))


def corners(boxes: Sequence[tuple[int, int, int, int]]) -> list[list[float]]:
    """x, y, w, h as left, top, right, bottom."""
    return [[x, y, x + w, y + h] for x, y, w, h in boxes]


def layout(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Boxes with their shapes: where and what the judge finds."""
    scenes = asked.scenes()
    side = scenes[0].image.shape[0]
    wanted: list[Layout] = [(corners([t.bbox for t in s.things]), [t.shape for t in s.things]) for s in scenes]
    layouts = [[{"label": t.shape, "bbox": [n / side for n in t.bbox]} for t in scene.things] for scene in scenes]
    made = pipe.sample(layout=layouts, **asked.how).tensor
    found = [(corners([t.bbox for t in one.things]), [t.shape for t in one.things]) for one in look(made)]
    figures = layout_figures(wanted, found)
    return [
        judge_itself(pictures(scenes), scenes),
        Figure("mean IoU of boxes", figures["mean_iou"], 0.6),
        Figure("class right", figures["class_right"], 0.85),
    ], rows(pictures(scenes), made)


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


def text(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Captions: whether the judge finds just what they name."""
    scenes = asked.scenes()
    made = pipe.sample([scene.text for scene in scenes], **asked.how).tensor
    share = share_of_captions(look(made), scenes)
    return [
        judge_itself(pictures(scenes), scenes),
        Figure("captions of one to three shapes right", share, None),
    ], rows(pictures(scenes), made)


def shrunk(images: Tensor) -> Tensor:
    """(B, 3, h, w) of 8 bits in [0, 1]: Pillow's bicubic, smaller by FACTOR."""
    size = (images.shape[3] // FACTOR, images.shape[2] // FACTOR)
    small = [picture.resize(size, Image.Resampling.BICUBIC) for picture in pillow(images)]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in small])).movedim(-1, 1) / 255


def pillow(images: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] as pictures of 8 bits."""
    array = (images * 255).round().byte().movedim(1, -1).numpy()
    return [Image.fromarray(picture) for picture in array]


def saved(images: Tensor, folder: Path) -> Iterator[Path]:
    """A PNG of each."""
    for number, picture in enumerate(pillow(images)):
        path = folder / f"{number:04d}.png"
        picture.save(path)
        yield path


def sr(pipe: Pipeline, asked: Asked, baseline: Pipeline | None) -> Measured:
    """Enlarged four times: against the truth, the regression, and the input."""
    scenes = asked.scenes()
    real = pictures(scenes)
    small = shrunk(real)
    with tempfile.TemporaryDirectory() as folder:
        files = list(saved(small, Path(folder)))
        made = pipe.run("upscale", images=files, **asked.how).tensor
        plain = None if baseline is None else baseline.run("upscale", images=files, seed=asked.seed).tensor
    figures = [judge_itself(real, scenes), *against("model", made, real)]
    figures.append(Figure("PSNR of the shrunk sample against the input (dB)", mean_psnr(shrunk(made), small), 35.0))
    shown = [small.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3), made, real]
    if plain is not None:
        loss = mean_psnr(plain, real) - mean_psnr(made, real)
        figures += [*against("regression", plain, real), Figure("PSNR lost to the regression (dB)", loss, 2.0, True)]
        lost = float((ssim(plain, real, 1.0) - ssim(made, real, 1.0)).mean())
        figures.append(Figure("SSIM lost to the regression", lost, None))
        nearer = edges_off(plain, real) - edges_off(made, real)
        figures.append(Figure("nearer to the truth's gradient energy by (log)", nearer, 0.0))
        shown.insert(2, plain)
    return figures, rows(*shown)


def mean_psnr(x: Tensor, y: Tensor) -> float:
    """Mean over images, each at most 100 dB."""
    return float(psnr(x, y, 1.0).clamp(max=100).mean())


def edges_off(made: Tensor, real: Tensor) -> float:
    """How far the gradient energy is from the truth's: the mean size of the logarithm of their ratio."""
    return float((gradient_energy(made) / gradient_energy(real)).log().abs().mean())


def against(name: str, made: Tensor, real: Tensor) -> list[Figure]:
    """What is told of enlarged images."""
    ratio = float((gradient_energy(made) / gradient_energy(real)).mean())
    return [
        Figure(f"PSNR of the {name} (dB)", mean_psnr(made, real), None),
        Figure(f"SSIM of the {name}", float(ssim(made, real, 1.0).mean()), None),
        Figure(f"gradient energy of the {name} over the truth's", ratio, None),
    ]


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


def inpaint(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """About half of one shape is missing: is it completed, are known pixels kept, is the border seen?"""
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
    seams = border_energy(made, masks) / border_energy(real, masks).clamp(min=1e-9)
    return [
        judge_itself(real, scenes),
        Figure("known pixels that changed (of 8 bits)", float(((made - real).abs() > 0.5 / 255)[known].sum()), 0, True),
        Figure("shape completed rightly", float(np.mean(right)), 0.8),
        Figure("energy at the hole's border over the real image's", float(seams.median()), 1.0, True),
    ], rows(real, real * ~masks[:, None], made)


MEASURES: dict[str, Callable[[Pipeline, Asked, Pipeline | None], Measured]] = {
    "layout": layout,
    "semantic": semantic,
    "sr": sr,
    "inpaint": inpaint,
    "text": text,
}
