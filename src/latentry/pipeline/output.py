"""Images out: as PIL images or arrays, as a tensor, saved with what made them, or as one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentry.checkpoints import durable
from latentry.checkpoints.store import SPARE
from latentry.data.files.saving import default_suffix, quantise, save
from latentry.errors import LatentryError, UsageError

SUFFIXES = (".png", ".tif", ".tiff")
OTHERS = (".jpg", ".jpeg", ".webp", ".gif", ".bmp")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Output:
    """tensor: (B, C, H, W) fp32 in [0, 1]. depth: bits a channel when saved. facts: of each image, for its file."""

    tensor: Tensor
    depth: int
    facts: Sequence[dict[str, str]]

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """(H, W, C) uint8 or uint16, rounded to nearest."""
        return [quantise(a, self.depth) for a in self.tensor.permute(0, 2, 3, 1).numpy()]

    @property
    def images(self) -> list[Any]:
        """PIL images; arrays (H, W, C) where PIL cannot hold the format."""
        return [to_pil(array) for array in self.arrays]

    def save(self, path: str | Path) -> list[Path]:
        """Write every image into a folder, or a single one to a file; the files carry what made them."""
        path = Path(path)
        suffix = default_suffix(self.tensor.shape[1])
        single = check_target(path, len(self.tensor))
        (path.parent if single else path).mkdir(parents=True, exist_ok=True)
        written = []
        for image, facts in zip(self.tensor.permute(0, 2, 3, 1).numpy(), self.facts, strict=True):
            target = path if single else _free(path, facts.get("name") or f"seed-{facts.get('seed', '0')}", suffix)
            text = {k: v for k, v in facts.items() if k != "name"}
            written.append(_write(target, image, self.depth, text))
        return written

    def grid(self, columns: int | None = None) -> Image.Image:
        """All images on one sheet: 8-bit RGB (three bands of many; one band as grey)."""
        return grid(self.tensor, columns)

    def save_sheet(self, path: str | Path) -> Path:
        """Write the sheet as one PNG that carries what made the first image, and how many there are."""
        path = Path(path)
        check_target(path, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {**self.facts[0], "images": str(len(self.tensor))}
        return _write(path, np.asarray(self.grid()) / 255, 8, facts)


def _write(path: Path, image: NDArray[Any], depth: int, facts: Mapping[str, str]) -> Path:
    """One image, whole or not at all."""
    with durable.writing(path, image.size * depth // 8 + SPARE) as fresh:
        save(fresh, image, depth, facts)
    return path


def check_target(path: Path, count: int) -> bool:
    """Whether `path` names a single file; else it is a folder. Asked before the images are drawn.

    Raises UsageError for several images into one file and for formats that are not written, LatentryError where
    nothing can be written.
    """
    suffix = path.suffix.lower()
    single = suffix in SUFFIXES
    if suffix in OTHERS:
        raise UsageError(f"{path}: images are saved as {', '.join(SUFFIXES)}; name such a file, or a folder")
    if single and count > 1:
        raise UsageError(f"{path}: {count} images into one file; give a folder")
    parents = path.absolute().parents if single else (path.absolute(), *path.absolute().parents)
    nearest = next(parent for parent in parents if parent.exists())
    if not nearest.is_dir():
        raise LatentryError(f"{path}: {nearest} is a file, not a folder. Choose another path for the images.")
    if not os.access(nearest, os.W_OK):
        raise LatentryError(f"{path}: {nearest} cannot be written. Choose another path for the images.")
    return single


def _free(folder: Path, stem: str, suffix: str) -> Path:
    """A name that is not taken: earlier images are never overwritten."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def to_pil(array: NDArray[Any]) -> Any:
    """A PIL image of (H, W, C), or the array itself where PIL has no such format."""
    channels = array.shape[2]
    if array.dtype == np.uint8 and channels in MODES:
        return Image.fromarray(array[..., 0] if channels == 1 else array, MODES[channels])
    if array.dtype == np.uint16 and channels == 1:
        return Image.fromarray(array[..., 0])
    return array


def grid(images: Tensor, columns: int | None = None, gap: int = 2) -> Image.Image:
    """A sheet of images (B, C, H, W) in [0, 1] on white."""
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    shown = images[:, :3] if channels >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    for i, image in enumerate(shown.permute(0, 2, 3, 1).numpy()):
        y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = quantise(image, 8)
    return Image.fromarray(sheet)
