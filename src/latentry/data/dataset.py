"""Samples by position in an endless stream, or by index."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry import rng
from latentry.data import prepare, transform
from latentry.data.files import images
from latentry.data.files.header import Array, BadImage
from latentry.data.folders import listing, pixel_fields, select
from latentry.data.folders.source import Source, refuse_too_small
from latentry.data.memory import ImageCache, Sizes
from latentry.data.options import DataOptions
from latentry.data.order import Order
from latentry.data.ranges.meaning import meaning
from latentry.data.sample import FIELDS, Sample
from latentry.errors import LatentryError

CACHE_BYTES = 2**30
MAPS_READ = 2000
"""Of maps of classes, to know how many classes there are."""


@dataclass(frozen=True)
class Pick:
    """What is drawn at one position of the stream: which image, mirrored or not, cut where, which of its captions."""

    position: int
    index: int
    flip: bool = False
    crop: transform.Crop = transform.MIDDLE
    caption: float = 0.0


def _silent(_: str) -> None:
    return None


class ImageData:
    """One split of a folder of images.

    options: the recipe's `data`. root: the folder. split: "train" or "held_out". seed: of order and augmentation.
    report: called with one line for each bad file that is skipped. cache_bytes: prepared images are kept in memory,
    shared with loader workers, if all fit. source: an already checked folder, else it is checked here.
    carries: which fields the samples have.
    Raises `UsageError` for a folder that does not fit, `LatentryError` once more than `max_bad` files are bad.
    """

    def __init__(
        self,
        options: DataOptions,
        root: str | os.PathLike[str],
        split: select.Split = "train",
        seed: int = 0,
        *,
        report: Callable[[str], None] = _silent,
        cache_bytes: int = CACHE_BYTES,
        source: Source | None = None,
    ) -> None:
        self.split, self.seed = split, seed
        self.source = source or Source(options, root, report)
        self.options = options = self.source.options
        self.root, self.labels = self.source.root, self.source.labels
        self.records = select.split(self.source.records, options, split)
        self._label_of = select.label_numbers(self.records, options.label, self.labels)
        self._order = Order(self._groups(), seed)
        self._cache_bytes = cache_bytes
        self.carries = self._carried()
        self._cache = self._new_cache()
        self._sizes = Sizes(len(self.records))

    def other(self, split: select.Split) -> ImageData:
        """The same folder's other split, without reading the folder again."""
        return ImageData(self.options, self.root, split, self.seed, source=self.source, cache_bytes=self._cache_bytes)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every sample."""
        return (self.options.channels, *self.options.height_width)

    @property
    def depth(self) -> int:
        """Bits a channel to save such images with: 8 or 16 (16 for float files)."""
        return 8 if self.source.depth == 8 or (self.options.range != "auto" and self.source.dtype == "uint8") else 16

    @property
    def in_use(self) -> tuple[float, float] | None:
        """The part of [0, 1] that the images keep to, where it is too small for figures to be taken over the whole."""
        return self.source.survey.narrow

    def captions(self) -> list[str]:
        """Every caption of the split, for training a tokenizer."""
        field = self.options.text
        return [text for record in self.records for text in select.captions_of(record, field)] if field else []

    def labelled_captions(self) -> Iterator[tuple[str, int]]:
        """Every caption of the split with the number of its image's label; nothing where there are no labels."""
        field = self.options.text
        if field and self.labels:
            for index, record in enumerate(self.records):
                yield from ((text, self.label(index)) for text in select.captions_of(record, field))

    def objects(self) -> Iterator[tuple[str, ...]]:
        """The classes of the boxes of each image, of both splits; nothing where the options name no boxes."""
        if self.options.boxes:
            yield from (pixel_fields.boxes_of(record, self.options.boxes)[1] for record in self.source.records)

    def maps(self, most: int = MAPS_READ) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """(path, map as it is in its file) of images of both splits, an even sample of more than `most`."""
        field, records = self.options.semantic, self.source.records
        if field:
            for record in records[:: -(-len(records) // most)]:
                with contextlib.suppress(BadImage):  # which is told of when it is read for an image
                    yield pixel_fields.map_of(self.root, record, field, self.options)

    def text(self, index: int, pick: float = 0.0) -> str:
        """A caption of an image; pick in [0, 1) chooses among several."""
        texts = select.captions_of(self.records[index], self.options.text)
        return texts[int(pick * len(texts))]

    def label(self, index: int) -> int:
        """The index in `labels` of an image's label; 0 where there are no labels."""
        return self._label_of[index]

    def listing(self, earlier: listing.Listing | None = None) -> listing.Listing:
        """What both splits are made of; `earlier` (an earlier listing) spares reading files that look untouched."""
        return listing.take(self.root, self.source.records, earlier, self.source.named_files())

    @property
    def fingerprint(self) -> str:
        """One hash of both splits' files and their metadata."""
        return self.listing().fingerprint

    def pick(self, position: int) -> Pick:
        """What is drawn at `position` >= 0 of the global stream, whatever was drawn before."""
        draw = rng.generator(self.seed, "augment", position)
        flip, x, y, caption = draw.random(4)
        crop = transform.Crop(float(x), float(y)) if self.options.crop == "random" else transform.MIDDLE
        return Pick(position, self._order.index(position), bool(self.options.flip and flip < 0.5), crop, float(caption))

    def load(self, pick: Pick, reads: frozenset[str] = FIELDS) -> Sample:
        """The sample of a pick; a bad file is replaced by another image, the same one on every run.

        reads: the fields to read; no file is opened for others. A file is bad only to a reading that opens it:
        who keeps something of a first reading (latents) reads then what is read with it later. Raises `LatentryError`
        once more than `max_bad` files are bad.
        """
        sample, bad = self.read(pick, reads)
        self.source.note(bad)
        if sample is None:
            raise self.nothing_readable(bad)
        return sample

    def sample(self, index: int, reads: frozenset[str] = FIELDS) -> Sample:
        """Image `index` as it is: not mirrored, cut in the middle, first caption."""
        return self.load(Pick(index, index), reads)

    def read(self, pick: Pick, reads: frozenset[str]) -> tuple[Sample | None, list[BadImage]]:
        """As `load`, but for the bad files met, which are returned and not noted; None if only bad ones were."""
        index = pick.index
        bad: list[BadImage] = []
        for attempt in range(self.options.max_bad + 10):
            sample = self._sample_or_reason(pick, index, reads)
            if not isinstance(sample, BadImage):
                return sample, bad
            bad.append(sample)
            index = int(rng.generator(self.seed, "replacement", index, attempt).integers(len(self)))
        return None, bad

    def nothing_readable(self, bad: Sequence[BadImage]) -> LatentryError:
        """The error for a pick where only bad files were met."""
        return LatentryError(f"data folder {self.root}: no image could be read in place of {bad[0]}.")

    def _sample_or_reason(self, pick: Pick, index: int, reads: frozenset[str]) -> Sample | BadImage:
        try:
            return self._sample(pick, index, reads)
        except BadImage as error:
            return error

    def _sample(self, pick: Pick, index: int, reads: frozenset[str]) -> Sample:
        pixels = transform.mirrored(self._pixels(index, pick.crop), pick.flip) if "image" in reads else None
        moved = reads & self.carries & pixel_fields.KINDS
        return Sample(
            position=pick.position,
            index=index,
            flip=pick.flip,
            pixels=pixels,
            caption=self.text(index, pick.caption) if "caption" in reads else "",
            label=self.labels[self.label(index)] if "label" in reads and self.labels else None,
            **(self._pixel_fields(pick, index, moved) if moved else {}),
        )

    def _pixel_fields(self, pick: Pick, index: int, reads: frozenset[str]) -> dict[str, Any]:
        record = self.records[index]
        geometry = transform.geometry(*self._size(index), self.options, pick.crop, pick.flip)
        return pixel_fields.read(self.root, record, self.options, reads, geometry)

    def _size(self, index: int) -> tuple[int, int]:
        """(height, width) of the upright source; only its header is read."""
        size = self._sizes.get(index)
        if size is None:
            header = images.header(self.root / self.records[index].path, self.options.limits)
            size = header.height, header.width
            self._sizes.put(index, *size)
        return size

    def _pixels(self, index: int, crop: transform.Crop) -> Array:
        """(H, W, C) at the data's depth, not mirrored."""
        if self._cache is not None and self._cache.has(index):
            return self._cache.pixels[index]
        path = self.records[index].path
        if path in self.source.bad:
            raise BadImage(path, self.source.bad[path])
        made = self._decode(index, path, crop)
        if self._cache is not None:
            self._cache.put(index, made)
        return made

    def _decode(self, index: int, path: str, crop: transform.Crop) -> Array:
        header, array = images.decode(self.root / path, self.options.limits)
        refuse_too_small(path, header, self.options)
        wrong = prepare.mismatch(header, self.options)
        if wrong:
            raise BadImage(path, f"{wrong}, but data.channels is {self.options.channels}")
        array, mapped = meaning(path, header, array, self.options)
        if mapped is None and self.source.depth != header.depth and self.options.depth == "auto":
            raise BadImage(path, f"its depth is {header.depth} bits, that of the others {self.source.depth}")
        self._sizes.put(index, header.height, header.width)
        array = prepare.fit_channels(array, header, self.options)
        if self.source.depth != 32:
            array = prepare.to_depth(array, self.source.depth)
        keeps_alpha = header.alpha and array.shape[2] == header.channels
        geometry = transform.geometry(array.shape[0], array.shape[1], self.options, crop)
        return transform.image(array, geometry, self.options.colour, keeps_alpha)

    def _carried(self) -> frozenset[str]:
        there = {
            "caption": self.options.text,
            "label": self.labels,
            "boxes": self.options.boxes,
            "semantic": self.options.semantic,
            "mask": self.options.mask,
            "arrays": self.options.arrays,
        }
        return frozenset({"image", *(field for field, source in there.items() if source)})

    def _groups(self) -> list[NDArray[np.int64]]:
        field = self.options.balance
        if field is None or not self.records:
            return [np.arange(len(self.records), dtype=np.int64)]
        members: dict[str, list[int]] = {}
        for index, record in enumerate(self.records):
            members.setdefault(str(select.value_of(record, field)), []).append(index)
        return [np.array(members[name], dtype=np.int64) for name in sorted(members)]

    def _new_cache(self) -> ImageCache | None:
        if self.options.crop == "random" or not self.records:
            return None
        channels, height, width = self.shape
        kind = np.dtype({8: np.uint8, 16: np.uint16}.get(self.source.depth, np.float32))
        shape = (len(self), height, width, channels)
        fits = int(np.prod(shape, dtype=np.int64)) * kind.itemsize <= self._cache_bytes
        return ImageCache(shape, kind) if fits else None
