"""Samples by place in an endless stream, or by index."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentry import rng
from latentry.data import images, listing, prepare, select
from latentry.data.header import Array, BadImage
from latentry.data.options import DataOptions
from latentry.data.order import Order
from latentry.data.source import Source, refuse_too_small
from latentry.errors import LatentryError

CACHE_BYTES = 2**30


@dataclass(frozen=True)
class Pick:
    """What is drawn at one place of the stream: which image, mirrored or not, cut where, which of its captions."""

    position: int
    index: int
    flip: bool = False
    crop: prepare.Crop = prepare.MIDDLE
    caption: float = 0.0


@dataclass(frozen=True)
class Sample:
    """image: (C, H, W) fp32 in [-1, 1]. index: of the image that was really used, which differs if one was bad."""

    image: Tensor
    text: str
    label: int
    index: int
    flip: bool


def _silent(_: str) -> None:
    return None


def to_float(pixels: Array) -> NDArray[np.float32]:
    """uint8, uint16 or float32 in [0, 1] to float32 in [-1, 1]; 0 and the largest value map to -1 and 1 exactly."""
    half = 0.5 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max) / 2
    return pixels.astype(np.float32) / np.float32(half) - np.float32(1)


class ImageData:
    """One split of a folder of images.

    options: the recipe's `data`. root: the folder. split: "train" or "held_out". seed: of order and augmentation.
    report: called with one line for each bad file that is skipped. cache_bytes: prepared images are kept in memory,
    shared with loader workers, if all fit. source: an already checked folder, else it is checked here.
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
        self.options, self.split, self.seed = options, split, seed
        self.source = source or Source(options, root, report)
        self.root, self.labels = self.source.root, self.source.labels
        self.records = select.split(self.source.records, options, split)
        self._label_of = select.label_numbers(self.records, options.label, self.labels)
        self._order = Order(self._groups(), seed)
        self._cache_bytes = cache_bytes
        self._cache = self._new_cache()

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
        return 8 if self.source.depth == 8 else 16

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

    def text(self, index: int, pick: float = 0.0) -> str:
        """A caption of an image; pick in [0, 1) chooses among several."""
        texts = select.captions_of(self.records[index], self.options.text)
        return texts[int(pick * len(texts))]

    def label(self, index: int) -> int:
        """The place in `labels` of an image's label; 0 where there are no labels."""
        return self._label_of[index]

    def listing(self, known: listing.Listing | None = None) -> listing.Listing:
        """What both splits are made of; `known` (an earlier listing) spares reading files that look untouched."""
        return listing.take(self.root, self.source.records, known)

    @property
    def fingerprint(self) -> str:
        """One hash of both splits' files and their metadata."""
        return self.listing().fingerprint

    def pick(self, position: int) -> Pick:
        """What is drawn at `position` >= 0 of the global stream, whatever was drawn before."""
        draw = rng.generator(self.seed, "augment", position)
        flip, x, y, caption = draw.random(4)
        crop = prepare.Crop(float(x), float(y)) if self.options.crop == "random" else prepare.MIDDLE
        return Pick(position, self._order.index(position), bool(self.options.flip and flip < 0.5), crop, float(caption))

    def load(self, place: Pick) -> Sample:
        """The sample of a place; a bad file is replaced by another image, the same one on every run."""
        pixels, index, bad = self.pixels(place)
        self.source.note(bad)
        if pixels is None:
            raise LatentryError(f"data folder {self.root}: no image could be read in place of {bad[0]}.")
        image = torch.from_numpy(np.ascontiguousarray(to_float(pixels).transpose(2, 0, 1)))
        return Sample(image, self.text(index, place.caption), self.label(index), index, place.flip)

    def sample(self, index: int) -> Sample:
        """Image `index` as it is: not mirrored, cut in the middle, first caption."""
        return self.load(Pick(index, index))

    def pixels(self, place: Pick) -> tuple[Array | None, int, list[BadImage]]:
        """(H, W, C) at the data's depth, the index really used, and the bad files met; None if only bad ones were."""
        index = place.index
        bad: list[BadImage] = []
        for attempt in range(self.options.max_bad + 10):
            found = self._prepared_or_reason(index, place.crop)
            if not isinstance(found, BadImage):
                return (found[:, ::-1] if place.flip else found), index, bad
            bad.append(found)
            index = int(rng.generator(self.seed, "replacement", index, attempt).integers(len(self)))
        return None, index, bad

    def _prepared_or_reason(self, index: int, crop: prepare.Crop) -> Array | BadImage:
        try:
            return self._prepared(index, crop)
        except BadImage as error:
            return error

    def _prepared(self, index: int, crop: prepare.Crop) -> Array:
        if self._cache is not None and self._cache.has(index):
            return self._cache.pixels[index]
        path = self.records[index].path
        if path in self.source.bad:
            raise BadImage(path, self.source.bad[path])
        made = self._decode(path, crop)
        if self._cache is not None:
            self._cache.put(index, made)
        return made

    def _decode(self, path: str, crop: prepare.Crop) -> Array:
        header, array = images.decode(self.root / path, self.options.pixel_limit)
        refuse_too_small(path, header, self.options)
        wrong = prepare.mismatch(header, self.options)
        if wrong:
            raise BadImage(path, f"{wrong}, but data.channels is {self.options.channels}")
        if self.source.depth != header.depth and self.options.depth == "auto":
            raise BadImage(path, f"its depth is {header.depth} bits, that of the others {self.source.depth}")
        array = prepare.fit_channels(array, header, self.options)
        if self.source.depth != 32:
            array = prepare.to_depth(array, self.source.depth)
        keeps_alpha = header.alpha and array.shape[2] == header.channels
        return prepare.fit_size(array, self.options, crop, keeps_alpha)

    def _groups(self) -> list[NDArray[np.int64]]:
        field = self.options.balance
        if field is None or not self.records:
            return [np.arange(len(self.records), dtype=np.int64)]
        members: dict[str, list[int]] = {}
        for index, record in enumerate(self.records):
            members.setdefault(str(select.value_of(record, field)), []).append(index)
        return [np.array(members[name], dtype=np.int64) for name in sorted(members)]

    def _new_cache(self) -> _Cache | None:
        if self.options.crop == "random" or not self.records:
            return None
        channels, height, width = self.shape
        kind = {8: np.uint8, 16: np.uint16}.get(self.source.depth, np.float32)
        shape = (len(self), height, width, channels)
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        return _Cache(shape, np.dtype(kind), size) if size <= self._cache_bytes else None


class _Cache:
    """Prepared images in anonymous memory that forked workers share; memory is taken only as it fills.

    Not in /dev/shm, which containers keep small. Two processes may fill the same image: they write the same bytes.
    """

    def __init__(self, shape: tuple[int, ...], kind: np.dtype[np.generic], size: int) -> None:
        self._facts = (shape, kind, size)
        self.pixels: Array = np.frombuffer(mmap.mmap(-1, size), dtype=kind).reshape(shape)
        self._filled: NDArray[np.uint8] = np.frombuffer(mmap.mmap(-1, shape[0]), dtype=np.uint8)

    def has(self, index: int) -> bool:
        return bool(self._filled[index])

    def put(self, index: int, pixels: Array) -> None:
        self.pixels[index] = pixels
        self._filled[index] = 1

    def __reduce__(self) -> tuple[type[_Cache], tuple[tuple[int, ...], np.dtype[np.generic], int]]:
        return _Cache, self._facts
