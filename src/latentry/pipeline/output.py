"""Images out: as PIL images or arrays, as a tensor, saved with what made them, or as one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, cat, from_numpy

from latentry.checkpoints import durable
from latentry.checkpoints.store import SPARE
from latentry.conditioning.boxes import Told
from latentry.data.files.saving import default_suffix, in_units, quantise, refuse_suffix, save
from latentry.data.ranges.meaning import Units
from latentry.errors import LatentryError, UsageError
from latentry.pipeline.made import Made
from latentry.pipeline.pictures.layouts import picture
from latentry.pipeline.record import KEY

SUFFIXES = (".png", ".tif", ".tiff")
OTHERS = (".jpg", ".jpeg", ".webp", ".gif", ".bmp")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Output:
    """tensor: (B, C, H, W) fp32 in [0, 1]. depth: bits a channel when saved. facts: of each image, for its file.

    units: of each image, where it is saved in own units instead. alpha: the last of 2 or 4 channels is transparency.
    made: how they were drawn, for their files, so that they can be drawn again; None where nothing was drawn.
    together: so many stand side by side on a sheet, such as an original and its edit.
    notes: lines that a person should see. layouts: of each image the boxes that were asked for, of images of layouts.
    """

    tensor: Tensor
    depth: int
    facts: Sequence[dict[str, str]]
    units: Sequence[Units] = ()
    alpha: bool = True
    made: Made | None = None
    together: int = 1
    notes: Sequence[str] = ()
    layouts: Sequence[Sequence[Told]] = ()

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """(H, W, C) as they are saved: uint8 or uint16, rounded to nearest, or in own units."""
        pictures = self.tensor.permute(0, 2, 3, 1).numpy()
        if self.units:
            return [in_units(a, units, self._transparent) for a, units in zip(pictures, self.units, strict=True)]
        return [quantise(a, self.depth) for a in pictures]

    @property
    def _transparent(self) -> bool:
        return self.alpha and self.tensor.shape[1] in (2, 4)

    @property
    def images(self) -> list[Any]:
        """PIL images; arrays (H, W, C) where PIL cannot hold the format."""
        return [to_pil(array, self.alpha) for array in self.arrays]

    def only(self, index: int) -> Output:
        """One of the images by itself."""
        made = None if self.made is None else self.made.only(index)
        rows = slice(index, index + 1)
        parts = {name: getattr(self, name)[rows] for name in ("tensor", "facts", "units", "layouts")}
        return replace(self, **parts, made=made)

    def layout_pictures(self) -> list[Image.Image]:
        """The boxes that were asked for, with their names, over pale copies of the samples; none without layouts."""
        return [
            picture(grid(self.tensor[i : i + 1], gap=0, alpha=self.alpha), one) for i, one in enumerate(self.layouts)
        ]

    def save(self, path: str | Path, *, metadata: bool = True) -> list[Path]:
        """Write every image into a folder, or a single one to a file; the files carry what made them.

        What a layout asked for is drawn beside each, as NAME-layout.png.
        metadata: False leaves out all text, prompts among it.
        """
        path, pictured = Path(path), self.layout_pictures()
        channels = self.tensor.shape[1]
        units: list[Units | None] = [*self.units] or [None] * len(self.tensor)
        single = check_target(path, len(self.tensor))
        if single:
            refuse_suffix(path, channels, self.alpha, units[0])
        (path.parent if single else path).mkdir(parents=True, exist_ok=True)
        written = []
        pictures = self.tensor.permute(0, 2, 3, 1).numpy()
        for index, (image, facts, unit) in enumerate(zip(pictures, self.facts, units, strict=True)):
            stem, suffix = (
                facts.get("name") or f"seed-{facts.get('seed', '0')}",
                default_suffix(channels, self.alpha, unit),
            )
            target = path if single else free_name(path, stem, suffix)
            text = self.text(index) if metadata else None
            written.append(_write(target, image, self.depth, text, alpha=self.alpha, units=unit))
            if pictured:
                _beside(target, pictured[index])
        return written

    def text(self, index: int) -> dict[str, str]:
        """What the file of one image carries: for people by name, and for `--from` as one record."""
        text = {name: value for name, value in self.facts[index].items() if name != "name"}
        return text if self.made is None else {**text, KEY: self.made.image(index)}

    def grid(self, columns: int | None = None) -> Image.Image:
        """All images on one sheet: 8-bit RGB (three bands of many; one as grey, two as grey side by side)."""
        groups = math.ceil(math.sqrt(len(self.tensor)) / self.together)
        return grid(self.tensor, columns or self.together * groups, alpha=self.alpha)

    def save_sheet(self, path: str | Path, *, metadata: bool = True) -> Path:
        """Write the sheet as one PNG that carries what made the images, the seeds of all among it.

        metadata: False leaves out all text.
        """
        path = Path(path)
        check_target(path, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {**self.text(0), "images": str(len(self.tensor))}
        if len(self.tensor) > 1:
            text["seeds"] = ", ".join(dict.fromkeys(facts["seed"] for facts in self.facts if "seed" in facts))
            text |= {} if self.made is None else {KEY: self.made.sheet()}
        if self.layouts:
            _beside(path, sheet(self.layout_pictures()))
        return _write(path, np.asarray(self.grid()) / 255, 8, text if metadata else None)


def _write(
    path: Path,
    image: NDArray[Any],
    depth: int,
    text: Mapping[str, str] | None,
    *,
    alpha: bool = True,
    units: Units | None = None,
) -> Path:
    """One image, whole or not at all; arguments as of `saving.save`."""
    with durable.writing(path, image.size * depth // 8 + SPARE) as fresh:
        save(fresh, image, depth, text, alpha=alpha, units=units)
    return path


def _beside(path: Path, layout: Image.Image) -> None:
    """Write the picture of a layout beside its sample."""
    _write(path.with_name(f"{path.stem}-layout.png"), np.asarray(layout) / 255, 8, None)


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


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A name that is not taken: earlier images are never overwritten."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def to_pil(array: NDArray[Any], alpha: bool = True) -> Any:
    """A PIL image of (H, W, C), or the array itself where PIL has no such format. alpha: the fourth is transparency."""
    channels = array.shape[2]
    if channels == 4 and not alpha:
        return array
    if array.dtype == np.uint8 and channels in MODES:
        return Image.fromarray(array[..., 0] if channels == 1 else array, MODES[channels])
    if array.dtype == np.uint16 and channels == 1:
        return Image.fromarray(array[..., 0])
    return array


def grid(images: Tensor, columns: int | None = None, gap: int = 2, *, alpha: bool = True) -> Image.Image:
    """A sheet of images (B, C, H, W) in [0, 1] on white. alpha: the last of 2 or 4 channels is transparency."""
    shown = _shown(images, alpha)
    count, _, height, width = shown.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(shown.permute(0, 2, 3, 1).numpy()):
        y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = quantise(image, 8)
    return Image.fromarray(sheet)


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size on one sheet."""
    stacked = np.stack([np.asarray(one.convert("RGB")) for one in pictures])
    return grid(from_numpy(stacked).permute(0, 3, 1, 2) / 255)


def _shown(images: Tensor, alpha: bool) -> Tensor:
    """(B, 3, H, W): the first three channels as colours, one as grey; two bands side by side, (B, 3, H, 2 W)."""
    channels = images.shape[1]
    if channels >= 3:
        return images[:, :3]
    bands = images.unbind(1) if channels == 2 and not alpha else (images[:, 0],)
    return cat(bands, -1)[:, None].expand(-1, 3, -1, -1)
