"""Image files that do not fit in memory, read by windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from latentry.data.files import tiff
from latentry.data.files.failures import reasons, start_of
from latentry.data.files.header import BadImage, Header
from latentry.data.files.limits import BYTE_LIMIT, Limits
from latentry.data.files.tiff.parse import Tiff
from latentry.data.files.tiff.stack import stack_of
from latentry.data.files.tiff.windows import Windows, by_windows
from latentry.data.ranges.meaning import OWN, Units
from latentry.models import tiles
from latentry.models.config import DataFacts
from latentry.tasks.inputs.images import for_model
from latentry.windows import Window

LIMITS = Limits(pixels=2**36, bytes=2**42)


class LargeImage:
    """A TIFF as a source (`nn.tiled.plane.Source`) in [-1, 1] with the model's channels, cropped to what fits."""

    def __init__(self, path: Path, header: Header, windows: Windows, facts: DataFacts, factor: int) -> None:
        self.path, self.header, self.windows, self.facts = path, header, windows, facts
        self.channels = facts.channels
        self.height, self.width = (side // factor * factor for side in (header.height, header.width))
        self.top, self.left = (header.height - self.height) // 2, (header.width - self.width) // 2
        self.units = self._values(Window(0, 1, 0, 1))[1]

    def read(self, window: Window) -> Tensor:
        """(1, C, h, w). Raises `BadImage` where the file is damaged, UsageError for values that have no range."""
        top, left = window.top + self.top, window.left + self.left
        return self._values(Window(top, top + window.height, left, left + window.width))[0]

    def _values(self, window: Window) -> tuple[Tensor, Units | None]:
        with reasons(str(self.path), LIMITS):
            array = self.windows.read(window)
        fitted, units = for_model(self.path, self.header, array, self.facts)
        return torch.from_numpy(fitted.transpose(2, 0, 1).copy())[None], units


@contextmanager
def opened(path: Path, facts: DataFacts, factor: int) -> Iterator[LargeImage | None]:
    """A TIFF of more than `tiles.LARGE` pixels, while it is open.

    None for smaller images, for other files, for those whose values can be understood only all together, and for
    damaged ones: these are read whole, within the limits of size, and what is wrong with them is said there.
    """
    with ExitStack() as files:
        try:
            found = _large(path, files, facts, factor)
        except (BadImage, OSError):
            found = None
        yield found


def _large(path: Path, files: ExitStack, facts: DataFacts, factor: int) -> LargeImage | None:
    if not path.is_file() or start_of(str(path))[:4] not in tiff.MAGIC:
        return None
    options, file = facts.options(), files.enter_context(Tiff(str(path)))
    with reasons(str(path), LIMITS):
        stack = stack_of(file, options.pages)
        pages = stack.images[0]
        if len(pages) > 1 or stack.bands_last or pages[0].height * pages[0].width <= tiles.LARGE:
            return None
        header = tiff.header(str(path), LIMITS)
        fixed = isinstance(options.range, tuple) or (options.range == "auto" and header.dtype in OWN)
        measured = header.no_data is None and options.no_data == "auto"
        if not fixed or not measured or not by_windows(pages[0], BYTE_LIMIT):
            return None
        return LargeImage(path, header, Windows(pages[0]), facts, factor)
