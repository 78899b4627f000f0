"""Which values the images of a folder really use, of those that training sees as black to white."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentry.data import ranges
from latentry.data.files import images
from latentry.data.files.header import Array, BadImage, Header
from latentry.data.options import DataOptions
from latentry.data.ranges import Range

LOOKED_AT, PIXELS = 200, 100_000_000
"""Most images that a start of training looks at, and about most pixels of them (a second or two of decoding)."""
NARROW = 0.5
"""Below this share of the range, figures are relative to what is used: half costs 6 dB, the tenth part 20."""
ODD = 0.01
"""Share of images, at either end, that does not count: one damaged picture hides nothing. Of each picture the least and
the greatest value count, not percentiles, for bright dots on black are a picture, and the dots are what it shows."""
_FLAT = 1 / 255
POOLED = 4_000_000
"""Values that percentiles over a set are taken of, evenly from all images."""


@dataclass(frozen=True)
class Survey:
    """What some images of a folder use.

    images: how many were looked at. dtypes: images by type. seen: their least and greatest values, own units, all of
    them. full: what is mapped to [0, 1]; None where each image has its own, or its type has none. used: least and
    greatest of [0, 1] that all but a few images keep to. clipped: share of values outside `full`. no_data: images with
    values where nothing was measured, and the share of all values.
    """

    images: int
    dtypes: Mapping[str, int]
    seen: Range
    full: Range | None
    used: tuple[float, float] = (0.0, 1.0)
    clipped: float = 0.0
    no_data: tuple[int, float] = (0, 0.0)

    @property
    def share(self) -> float:
        """Of the range, how much is used."""
        return self.used[1] - self.used[0]

    @property
    def narrow(self) -> tuple[float, float] | None:
        """What is used of [0, 1], where that is too little to be judged by the whole; None elsewhere."""
        if self.full is None or self.share >= NARROW:
            return None
        return self.used[0], max(self.used[1], self.used[0] + _FLAT)

    @property
    def used_range(self) -> Range | None:
        """`narrow` in own units."""
        if self.narrow is None or self.full is None:
            return None
        low, span = self.full.low, self.full.high - self.full.low
        used = [low + share * span for share in self.used]
        return Range(*(round(v) if "float" not in "".join(self.dtypes) else float(f"{v:.6g}") for v in used))

    def lines(self, options: DataOptions) -> list[str]:
        """What a person should know before training, each in a line."""
        said = []
        if isinstance(options.range, tuple) and self.full is not None:
            said.append(f"data.range {self.full} of {self._types()} is black to white{self._clipped()}")
        if options.range == "file":
            low, high = map(ranges.number, options.percentiles)
            said.append(
                f"data.range file: percentile {low} to {high} of each image is its black to white; what is bright in one "
                "and dark in another is lost, and samples have no units"
            )
        if self.no_data[0]:
            said.append(
                f"no-data values in {self.no_data[0]} of {self.images} images looked at, {self.no_data[1]:.2g} of all "
                "values: filled with the low end of the range"
            )
        if (narrow := self.narrow_text()) is not None:
            advice = proposal(self) if options.range == "auto" else "Set data.range to what they use, or set"
            said.append(f"{narrow}: {advice[0].lower()}{advice[1:]}")
        return said

    def narrow_text(self) -> str | None:
        """`values use 0..4095 of 0..65535 (6%)`, where they use too little."""
        if (used := self.used_range) is None:
            return None
        if used.low == used.high:
            return f"every image holds the value {ranges.number(used.low)} alone, of {self.full}"
        return f"values use {used} of {self.full} ({_percent(self.share)})"

    def _types(self) -> str:
        return " and ".join(sorted(self.dtypes))

    def _clipped(self) -> str:
        if not self.clipped:
            return "; none of the values looked at lies outside"
        return f"; {_percent(self.clipped)} of the values looked at lie outside ({self.seen} seen) and are clipped"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share >= 0.0001 else "under 0.01%"


def proposal(survey: Survey) -> str:
    """What to set for such values."""
    low, high = survey.seen if survey.used_range is None else survey.used_range
    near = nearest_range(low, high, "float" in "".join(survey.dtypes))
    text = ", ".join(map(ranges.number, near))
    return f"Set data.range: [{text}], or set (percentiles over all images)"


def nearest_range(low: float, high: float, floating: bool) -> Range:
    """A round range around values: whole numbers from 0 up to 2^bits - 1, others outward to two digits of the span."""
    if low >= 0 and not floating:
        return Range(0, 2 ** max(1, math.ceil(math.log2(max(high, 1) + 1))) - 1)
    span = max(high - low, 1e-30)
    unit = 10.0 ** (math.floor(math.log10(span)) - 1)
    return Range(float(f"{math.floor(low / unit) * unit:.6g}"), float(f"{math.ceil(high / unit) * unit:.6g}"))


class Tally:
    """Adds images up to a `Survey`. expected: how many there will be."""

    def __init__(self, options: DataOptions, expected: int) -> None:
        self.options, self.odd = options, int(expected * ODD)
        self.dtypes: Counter[str] = Counter()
        self.ends: list[Range] = []
        self.shares: list[tuple[float, float]] = []
        self.fulls: Counter[Range] = Counter()
        self.values = self.outside = self.empty = self.with_empty = 0

    def add(self, header: Header, array: Array) -> None:
        """One decoded image, (H, W, C) of its own values."""
        known = ranges.known(array, header, self.options)
        total = ranges.colours(array, header).size
        there = ranges.measured(array, header, self.options)
        missing = 0 if there is None else int((~there).sum())
        self.values, self.empty, self.with_empty = (
            self.values + total,
            self.empty + missing,
            self.with_empty + bool(missing),
        )
        if not known.size:
            return
        self.dtypes[header.dtype] += 1
        ends = Range(float(known.min()), float(known.max()))
        self.ends.append(ends)
        full = ranges.range_of(header, self.options)
        if full is not None:
            self.fulls[full] += 1
            low, high = ((v - full.low) / (full.high - full.low) for v in ends)
            self.shares.append((min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)))
            if ends.low < full.low or ends.high > full.high:
                self.outside += int(((known < full.low) | (known > full.high)).sum())

    @property
    def used(self) -> tuple[float, float]:
        """Of [0, 1], but for the odd images."""
        if not self.shares:
            return (0.0, 1.0)
        odd = min(self.odd, (len(self.shares) - 1) // 2)
        lows, highs = sorted(low for low, _ in self.shares), sorted((high for _, high in self.shares), reverse=True)
        return lows[odd], max(highs[odd], lows[odd])

    @property
    def decided(self) -> bool:
        """Whether further images could change nothing that is said of values in their own range."""
        low, high = self.used
        enough = len(self.shares) > 2 * self.odd and high - low >= NARROW
        return self.options.range == "auto" and enough and not self.empty

    def survey(self) -> Survey:
        """The sum."""
        seen = Range(min(e.low for e in self.ends), max(e.high for e in self.ends)) if self.ends else Range(0, 0)
        full = self.fulls.most_common(1)[0][0] if self.fulls else None
        values = max(self.values, 1)
        count = sum(self.dtypes.values())
        no_data = (self.with_empty, self.empty / values)
        return Survey(count, dict(self.dtypes), seen, full, self.used, self.outside / values, no_data)


def survey(root: Path, headers: Mapping[str, Header], options: DataOptions) -> Survey:
    """Look at an even sample of images; those that cannot be read count for nothing. headers: by path below `root`."""
    pixels = sum(h.width * h.height for h in headers.values()) / max(1, len(headers))
    most = int(min(LOOKED_AT, max(8, PIXELS // max(1, pixels))))
    chosen = evenly(list(headers), most)
    tally = Tally(options, len(chosen))
    for header, array in _readable(root, chosen, options):
        tally.add(header, array)
        if tally.decided:
            break
    return tally.survey()


def range_of_set(root: Path, paths: list[str], options: DataOptions, most: int) -> Range | None:
    """Percentiles over all images of a folder (an even sample of more than `most`); None if none can be read.

    Of every image as many values, evenly over it, so that no large one outweighs the others.
    """
    chosen = evenly(paths, most)
    each = min(65536, max(256, POOLED // max(1, len(chosen))))
    pool: list[Array] = []
    low, high = math.inf, -math.inf
    whole = True
    for header, array in _readable(root, chosen, options):
        values = ranges.known(array, header, options)
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            whole &= values.dtype.kind in "iu"
            pool.append(values[:: -(-values.size // each)].astype(np.float64))
    if not pool:
        return None
    pooled = np.concatenate(pool)
    first, last = ranges.percentiles(pooled.astype(np.int64) if whole else pooled, options.percentiles)
    exact = (low if options.percentiles[0] == 0 else first), (high if options.percentiles[1] == 100 else last)
    return Range(exact[0], exact[1] if exact[1] > exact[0] else exact[0] + 1)


def evenly(items: list[str], most: int) -> list[str]:
    """At most so many of a list, evenly over it."""
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]


def _readable(root: Path, paths: list[str], options: DataOptions) -> Iterable[tuple[Header, Array]]:
    for path in paths:
        try:
            yield images.decode(root / path, options.pixel_limit)
        except BadImage:
            continue
