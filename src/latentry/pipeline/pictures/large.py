"""Images out that are too large to be held whole: decoded tile by tile while they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat

from latentry.checkpoints import durable
from latentry.data.files.large import save_tiles
from latentry.data.files.saving import refuse_suffix
from latentry.data.ranges.meaning import Units
from latentry.errors import UsageError
from latentry.models.tiles import SIDE, gathered
from latentry.nn.tiled.plane import Source
from latentry.pipeline.images import to_unit
from latentry.pipeline.output import Output, check_target, free_name
from latentry.pipeline.record import Made
from latentry.windows import cover

MOST_WHOLE = 2**28
"""Pixels of an image that is held whole, as PNG needs it."""

Picture = Callable[[Path | None], Source]
"""From a folder for temporary files to an image about [-1, 1], decoded as it is read."""


class LargeOutput(Output):
    """An output whose images are decoded when they are saved, or when `tensor` is asked for."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        size: tuple[int, int],
        depth: int,
        facts: Sequence[dict[str, str]],
        units: Sequence[Units],
        alpha: bool,
        made: Made | None,
    ) -> None:
        for name, value in list(locals().items()):
            if name not in ("self", "__class__"):
                object.__setattr__(self, name, value)

    pictures: Sequence[Picture]
    size: tuple[int, int]

    @cached_property
    def tensor(self) -> Tensor:
        """(B, C, H, W) fp32 in [0, 1], whole in memory."""
        refuse_whole(Path("in memory.png"), *self.size)
        return to_unit(cat([gathered(picture(None)) for picture in self.pictures]))

    def only(self, index: int) -> LargeOutput:
        """One of the images by itself."""
        rows, made = slice(index, index + 1), None if self.made is None else self.made.only(index)
        return LargeOutput(
            self.pictures[rows], self.size, self.depth, self.facts[rows], self.units[rows], self.alpha, made
        )

    def save(self, path: str | Path, *, metadata: bool = True) -> list[Path]:
        """As of `Output`, TIFFs in tiles; a single file may be a PNG, which is held in memory whole."""
        path = Path(path)
        single = check_target(path, len(self.pictures))
        if single and path.suffix.lower() == ".png":
            refuse_whole(path, *self.size)
            return super().save(path, metadata=metadata)
        folder = path.parent if single else path
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for index, (picture, facts) in enumerate(zip(self.pictures, self.facts, strict=True)):
            stem = facts.get("name") or f"seed-{facts.get('seed', '0')}"
            target = path if single else free_name(path, stem, ".tif")
            text = self._text(index) if metadata else None
            written.append(self._write(target, picture, self.units[index] if self.units else None, text))
        return written

    def _write(self, path: Path, picture: Picture, units: Units | None, text: Mapping[str, str] | None) -> Path:
        image = picture(path.parent)
        refuse_suffix(path, image.channels, self.alpha, units)
        shape = (image.height, image.width, image.channels)
        with durable.writing(path, int(np.prod(shape)) * self.depth // 8) as fresh:
            save_tiles(fresh, tiles_of(image), shape, SIDE, self.depth, text, alpha=self.alpha, units=units)
        return path


def refuse_whole(path: Path, height: int, width: int) -> None:
    """Raise `UsageError` for an image too large to be held whole, unless it is saved in tiles or into a folder."""
    if height * width > MOST_WHOLE and path.suffix.lower() not in ("", ".tif", ".tiff"):
        raise UsageError(f"{path}: an image of {height}x{width} is saved in tiles, as .tif; name such a file")


def tiles_of(image: Source) -> Iterator[NDArray[Any]]:
    """Its tiles as `save_tiles` takes them: (h, w, C) in [0, 1], row by row."""
    for window in cover(image.height, image.width, SIDE):
        yield to_unit(image.read(window))[0].permute(1, 2, 0).numpy()
