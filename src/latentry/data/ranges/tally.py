"""Look at images, and add up which values they use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path

import numpy as np

from latentry.data.files import images
from latentry.data.files.header import Array, BadImage, Header
from latentry.data.options import DataOptions
from latentry.data.ranges import meaning
from latentry.data.ranges.meaning import Range
from latentry.data.ranges.survey import NARROW, Survey

LOOKED_AT, PIXELS = 200, 100_000_000
"""Most images that a start of training looks at, and about most pixels of them (a second or two of decoding)."""
ODD = 0.01
"""Share of images, at either end, that does not count: one damaged picture hides nothing. Of each picture the least and
the greatest value count, not percentiles, for bright dots on black are a picture, and the dots are what it shows."""
POOLED = 4_000_000
"""Values that percentiles over a set are taken of, evenly from all images."""


class Tally:
    """Adds images up to a `Survey`. expected: how many there will be."""

    def __init__(self, options: DataOptions, expected: int) -> None:
        self.options, self.odd = options, int(expected * ODD)
        self.dtypes: Counter[str] = Counter()
        self.seen: dict[str, Range] = {}
        self.shares: list[tuple[float, float]] = []
        self.fulls: Counter[Range] = Counter()
        self.windows: Counter[tuple[float, float] | None] = Counter()
        self.values = self.outside = self.empty = self.with_empty = 0

    def add(self, header: Header, array: Array) -> None:
        """One decoded image, (H, W, C) of its own values."""
        known = meaning.known(array, header, self.options)
        total = meaning.colours(array, header).size
        there = meaning.measured(array, header, self.options)
        missing = 0 if there is None else int((~there).sum())
        self.values, self.empty, self.with_empty = (
            self.values + total,
            self.empty + missing,
            self.with_empty + bool(missing),
        )
        if not known.size:
            return
        self.dtypes[header.dtype] += 1
        self.windows[header.window] += 1
        ends = Range(float(known.min()), float(known.max()))
        self.seen[header.dtype] = _both(self.seen.get(header.dtype, ends), ends)
        full = meaning.range_of(header, self.options)
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
        seen = reduce(_both, self.seen.values()) if self.seen else Range(0, 0)
        full = self.fulls.most_common(1)[0][0] if self.fulls else None
        values = max(self.values, 1)
        count = sum(self.dtypes.values())
        no_data = (self.with_empty, self.empty / values)
        window = next(iter(self.windows)) if len(self.windows) == 1 else None
        shown = None if window is None else Range(*window)
        return Survey(count, dict(self.dtypes), seen, full, self.used, self.outside / values, no_data, shown)


def _both(a: Range, b: Range) -> Range:
    return Range(min(a.low, b.low), max(a.high, b.high))


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
        values = meaning.known(array, header, options)
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            whole &= values.dtype.kind in "iu"
            pool.append(values[:: -(-values.size // each)].astype(np.float64))
    if not pool:
        return None
    pooled = np.concatenate(pool)
    first, last = meaning.percentiles(pooled.astype(np.int64) if whole else pooled, options.percentiles)
    exact = (low if options.percentiles[0] == 0 else first), (high if options.percentiles[1] == 100 else last)
    return Range(exact[0], exact[1] if exact[1] > exact[0] else exact[0] + 1)


def evenly(items: list[str], most: int) -> list[str]:
    """At most so many of a list, evenly over it."""
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]


def _readable(root: Path, paths: list[str], options: DataOptions) -> Iterable[tuple[Header, Array]]:
    for path in paths:
        try:
            yield images.decode(root / path, options.limits)
        except BadImage:  # noqa: PERF203  the rest are looked at
            continue
