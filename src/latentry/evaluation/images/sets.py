"""Folders of images as sets to measure: read by number, as a model reads them or as the files are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from latentry.checkpoints import manifest
from latentry.data import prepare
from latentry.data.dataset import ImageData, Pick
from latentry.data.files import images
from latentry.data.files.header import BadImage
from latentry.data.folders.channels import channels_of
from latentry.data.folders.records import read_folder, real_root
from latentry.data.folders.source import Source
from latentry.data.loader import IMAGE
from latentry.data.options import AUTO_CHANNELS, DataOptions
from latentry.data.ranges.meaning import meaning
from latentry.data.sample import to_float
from latentry.errors import UsageError

AT_ONCE = 64
MOST_NUMBERS = 1 << 24
"""Of the images that are held at once, 64 MB: of large ones there are fewer than AT_ONCE."""


@dataclass(frozen=True)
class ImageSet:
    """Images by number, 0 to count - 1.

    words: what they are. preprocessing: how files became these images, in words. one: the image (C, H, W) in [0, 1] of
    a number; None for a file that cannot be read. paths: of the files. largest: numbers of the largest image.
    channels: of all. alpha: the last of 2 or 4 channels is transparency. key: what else decides which images these are.
    indices: of the images in what they were chosen of.
    """

    words: str
    preprocessing: str
    one: Callable[[int], Tensor | None]
    paths: Sequence[Path]
    largest: int
    channels: int
    alpha: bool = False
    key: str = ""
    indices: Sequence[int] = ()

    @property
    def count(self) -> int:
        return len(self.paths)

    @property
    def at_once(self) -> int:
        """How many to hold at once."""
        return at_once(self.largest)

    def __call__(self, numbers: range) -> Iterator[Tensor]:
        """The images of these numbers, (b, C, H, W) each, neighbours of one size together."""
        waiting: list[Tensor] = []
        for image in filter(lambda found: found is not None, map(self.one, numbers)):
            assert image is not None
            if waiting and waiting[0].shape != image.shape:
                yield torch.stack(waiting)
                waiting = []
            waiting.append(image)
        if waiting:
            yield torch.stack(waiting)

    def first(self, count: int) -> ImageSet:
        """So many of them, evenly spread; all where there are no more."""
        if count >= self.count:
            return self
        chosen = [i * self.count // count for i in range(count)]
        paths = [self.paths[i] for i in chosen]
        indices = [self.indices[i] if self.indices else i for i in chosen]
        return replace(self, one=lambda number: self.one(chosen[number]), paths=paths, indices=indices)

    def index(self, number: int) -> int:
        """Which image of those that they were chosen of the image of a number is."""
        return self.indices[number] if self.indices else number

    def digest(self) -> str:
        """Of the content of every file and of how it is read, so that equal digests are equal images."""
        found = hashlib.blake2b(f"{self.key}/{self.preprocessing}".encode(), digest_size=20)
        contents: dict[str, str] = {}
        for path in self.paths:
            file, number = images.file_of(str(path))
            if file not in contents:
                contents = {file: manifest.digest(Path(file))}  # of a stack once for all its images
            found.update(f"{path.name}/{number}/{contents[file]}\n".encode("utf-8", "surrogateescape"))
        return found.hexdigest()


def at_once(numbers: int) -> int:
    """How many images of so many numbers to hold at once."""
    return max(1, min(AT_ONCE, MOST_NUMBERS // max(1, numbers)))


def split_set(data: ImageData, words: str) -> ImageSet:
    """A split as training sees it, not mirrored and cut in the middle."""
    options, (height, width) = data.options, data.options.height_width

    def one(number: int) -> Tensor | None:
        sample, bad = data.read(Pick(number, number), IMAGE)
        data.source.note(bad)
        return None if sample is None or sample.index != number else (sample.image + 1) / 2

    return ImageSet(
        words,
        in_words(options, f"brought to {height}x{width}, {FRAMES[options.crop]}"),
        one,
        [data.root / record.path for record in data.records],
        options.channels * height * width,
        options.channels,
        data.source.transparent and options.channels in (2, 4),
        options.model_dump_json(),
    )


FRAMES = {
    "center": "cut in the middle (Lanczos with antialiasing)",
    "random": "cut in the middle (Lanczos with antialiasing)",
    "pad": "padded (Lanczos with antialiasing)",
}


def in_words(options: DataOptions, size: str) -> str:
    """How files are read."""
    behind = f"; transparency laid over {options.background}" if options.colour else ""
    values = f"; {list(options.range)} is black to white" if isinstance(options.range, tuple) else ""
    return f"{size}; {options.channels} channel{'s' * (options.channels != 1)}{behind}{values}"


def folder_channels(*roots: Path) -> int:
    """The channels in which folders can be compared. Raises UsageError for folders of other channels."""
    options = DataOptions(channels=AUTO_CHANNELS)
    found = [channels_of(real_root(root), read_folder(real_root(root), options).records, options)[0] for root in roots]
    if {*found} <= {1, 3}:
        return max(found)
    if len({*found}) > 1:
        counts = ", ".join(f"{root} has {count} channels" for root, count in zip(roots, found, strict=True))
        raise UsageError(f"images: {counts}; accepted: folders of one format. Convert one of them, or compare others.")
    return found[0]


def folder_set(
    root: Path, channels: int, size: tuple[int, int] | None, crop: str, report: Callable[[str], None]
) -> ImageSet:
    """All images of a folder. size: (H, W) that they are brought to; None: as the files are."""
    how = {"channels": channels, "size": size or 1, "crop": crop, "held_out": 0.0, "splits": "off"}
    options = DataOptions.model_validate(how)
    if size is not None:
        return split_set(ImageData(options, root, report=report, cache_bytes=0), f"the images of {root}")
    source = Source(options, root, report)
    headers = [images.header(source.root / record.path, options.limits) for record in source.records[:64]]
    largest = max(header.height * header.width for header in headers) * channels
    paths = [source.root / record.path for record in source.records]
    return ImageSet(
        f"the images of {root}",
        in_words(source.options, "at their own size"),
        lambda number: _as_it_is(source, source.records[number].path),
        paths,
        largest,
        channels,
        source.transparent and channels in (2, 4),
        source.options.model_dump_json(),
    )


def _as_it_is(source: Source, path: str) -> Tensor | None:
    """An image at its own size; None for a bad file, which is noted."""
    options = source.options
    try:
        header, array = images.decode(source.root / path, options.limits)
        wrong = prepare.mismatch(header, options)
        if wrong:
            raise BadImage(path, f"{wrong}, but the others have {options.channels}")
        array, _ = meaning(path, header, array, options)
        fitted = to_float(prepare.fit_channels(array, header, options))
    except BadImage as error:
        source.note([error])
        return None
    return (torch.from_numpy(fitted.transpose(2, 0, 1).copy()) + 1) / 2
