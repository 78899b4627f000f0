"""Images out that are too large to be held whole: decoded tile by tile while they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat

from latentry.bounds import MOST_VALUES
from latentry.checkpoints import durable
from latentry.data.files.large import save_tiles
from latentry.data.files.saving import refuse_suffix
from latentry.data.ranges.meaning import Units
from latentry.errors import UsageError
from latentry.models import tiles
from latentry.models.autoencoder import Autoencoder
from latentry.models.tiles import SIDE, Progress, gathered
from latentry.nn.tiled.plane import Source
from latentry.pipeline.images import to_unit
from latentry.pipeline.made import Made
from latentry.pipeline.output import Output, check_target, free_name
from latentry.tasks import Request
from latentry.windows import cover

MOST_WHOLE = 2**28
"""Pixels of an image that is held whole, as PNG needs it."""

Picture = Callable[[Path | None, Progress | None], Source]
"""From a folder for temporary files, and what is told of each layer, to an image about [-1, 1], whose last layer is
computed as it is read."""
Told = Callable[[str, int, int], None]
"""Called with (layer or tile, done, of how many)."""


def pictures_of(autoencoder: Autoencoder, latents: Sequence[Tensor], request: Request) -> list[Picture]:
    """Of each latent of batches (B, c, h, w) the picture that `request` makes of it."""

    def picture(number: int, z: Tensor, folder: Path | None, progress: Progress | None) -> Source:
        decoded = tiles.decode(autoencoder, z, folder, progress)
        return decoded if request.by_windows is None else request.by_windows(number, decoded)

    return [partial(picture, number, z[None]) for number, z in enumerate(z for batch in latents for z in batch)]


def refuse_many(request: Request, channels: int) -> None:
    """Raise `UsageError` for more numbers than are drawn at a time."""
    values = request.count * request.size[0] * request.size[1] * channels
    if values > MOST_VALUES:
        raise UsageError(
            f"n: {request.count} images of {request.size[0]}x{request.size[1]} are {values:.0e} numbers; at most "
            f"{MOST_VALUES:.0e} at a time. Ask for fewer."
        )


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
        notes: Sequence[str] = (),
    ) -> None:
        for name, value in list(locals().items()):
            if name not in ("self", "__class__"):
                object.__setattr__(self, name, value)

    pictures: Sequence[Picture]
    size: tuple[int, int]

    @cached_property
    def tensor(self) -> Tensor:
        """(B, C, H, W) fp32 in [0, 1], whole in memory."""
        return self._whole(None)

    def _whole(self, progress: Progress | None) -> Tensor:
        refuse_whole(Path("in memory.png"), *self.size)
        return to_unit(cat([gathered(picture(None, progress)) for picture in self.pictures]))

    def only(self, index: int) -> LargeOutput:
        """One of the images by itself."""
        rows, made = slice(index, index + 1), None if self.made is None else self.made.only(index)
        return LargeOutput(
            self.pictures[rows], self.size, self.depth, self.facts[rows], self.units[rows], self.alpha, made
        )

    def save(self, path: str | Path, *, metadata: bool = True, progress: Told | None = None) -> list[Path]:
        """As of `Output`, TIFFs in tiles; a single file may be a PNG, which is held in memory whole.

        progress: called with ("layer", done, of how many) for each image, then with ("tile", ...).
        """
        path = Path(path)
        single = check_target(path, len(self.pictures))
        if single and path.suffix.lower() == ".png":
            refuse_whole(path, *self.size)
            if progress is not None and "tensor" not in vars(self):
                vars(self)["tensor"] = self._whole(partial(progress, "layer"))
            return super().save(path, metadata=metadata)
        folder = path.parent if single else path
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for index, (picture, facts) in enumerate(zip(self.pictures, self.facts, strict=True)):
            stem = facts.get("name") or f"seed-{facts.get('seed', '0')}"
            target = path if single else free_name(path, stem, ".tif")
            text = self.text(index) if metadata else None
            written.append(self._write(target, picture, self.units[index] if self.units else None, text, progress))
        return written

    def _write(
        self,
        path: Path,
        picture: Picture,
        units: Units | None,
        text: Mapping[str, str] | None,
        progress: Told | None,
    ) -> Path:
        layer, tile = (None if progress is None else partial(progress, what) for what in ("layer", "tile"))
        image = picture(path.parent, layer)
        refuse_suffix(path, image.channels, self.alpha, units)
        shape = (image.height, image.width, image.channels)
        with durable.writing(path, int(np.prod(shape)) * self.depth // 8) as fresh:
            save_tiles(fresh, tiles_of(image, tile), shape, SIDE, self.depth, text, alpha=self.alpha, units=units)
        return path


def refuse_whole(path: Path, height: int, width: int) -> None:
    """Raise `UsageError` for an image too large to be held whole, unless it is saved in tiles or into a folder."""
    if height * width > MOST_WHOLE and path.suffix.lower() not in ("", ".tif", ".tiff"):
        raise UsageError(f"{path}: an image of {height}x{width} is saved in tiles, as .tif; name such a file")


def tiles_of(image: Source, progress: Progress | None = None) -> Iterator[NDArray[Any]]:
    """Its tiles as `save_tiles` takes them: (h, w, C) in [0, 1], row by row. progress: called with (done, of how
    many)."""
    windows = list(cover(image.height, image.width, SIDE))
    for done, window in enumerate(windows, 1):
        tile = to_unit(image.read(window))[0].permute(1, 2, 0).numpy()
        if progress is not None:
            progress(done, len(windows))
        yield tile
