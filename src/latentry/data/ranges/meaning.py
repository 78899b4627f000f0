"""What the numbers of a file mean: `data.range` maps its own units to [0, 1], and samples go back to those units.

Without a range the numbers of uint8 and uint16 mean what they always do, 0 to the largest one, and float is in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.header import Array, BadImage, BadValues, Header
from latentry.data.files.values import in_own_range
from latentry.data.options import DataOptions

OWN = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "float32": (0.0, 1.0)}
"""The range that values of a type have without `data.range`."""
_AT_ONCE = 2**20
"""Values mapped at once: more would need several times the picture's memory."""


class Range(NamedTuple):
    """Own units of a file: `low` is 0 (of [0, 1]), `high` is 1."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.low)}..{number(self.high)}"


class Units(NamedTuple):
    """What [0, 1] is in a file: own units, and the numpy type that holds them."""

    low: float
    high: float
    dtype: str

    @property
    def range(self) -> Range:
        """Without the type."""
        return Range(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.range} ({self.dtype})"

    def back(self, array: NDArray[np.floating]) -> Array:
        """Values in [0, 1] (clipped to it) in own units; whole numbers are rounded to nearest."""
        values = self.low + np.clip(array.astype(np.float64), 0, 1) * (self.high - self.low)
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return values.astype(kind)
        facts = np.iinfo(kind)
        return np.rint(values).clip(facts.min, facts.max).astype(kind)


def number(value: float) -> str:
    """A value as a person would write it: whole ones in full, others to six digits."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"


def dtype_of(kinds: Iterable[str]) -> str:
    """The type that holds the values of all these types; float32 where no whole number of 32 bits does."""
    common = np.result_type(*kinds)
    return "float32" if common.kind == "f" or common.itemsize > 4 else str(common)


def range_of(header: Header, options: DataOptions) -> Range | None:
    """The range that a file's values are mapped by, where it is known before decoding; of 12 bits, if it says so."""
    if isinstance(options.range, tuple):
        return Range(*options.range)
    if options.range != "auto" or header.dtype not in OWN:
        return None
    stated = header.dtype == "uint16" and header.bits is not None and header.bits < 16
    return Range(0.0, 2.0**header.bits - 1) if stated and header.bits else Range(*OWN[header.dtype])


def measured(array: Array, header: Header, options: DataOptions) -> NDArray[np.bool_] | None:
    """Which values of (H, W, C) were measured; None where all were.

    `data.no_data`, else what the file names (GDAL's tag), is where nothing was. Transparency is always measured.
    """
    value = header.no_data if options.no_data == "auto" else float(options.no_data)
    if value is None:
        return None
    if array.dtype.kind == "f":
        there = ~np.isnan(array) if np.isnan(value) else array != array.dtype.type(value)
    else:
        there = array != value  # what the type cannot hold is nowhere
    if header.alpha:
        there[..., -1] = True
    return None if there.all() else there


def colours(array: Array, header: Header) -> Array:
    """(H, W, C) without its transparency."""
    return array[..., :-1] if header.alpha else array


def known(array: Array, header: Header, options: DataOptions) -> Array:
    """The measured, finite values of the colour channels, flat."""
    there, values = measured(array, header, options), colours(array, header)
    flat = values.reshape(-1) if there is None else values[colours(there, header)]
    return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat


def meaning(path: str, header: Header, array: Array, options: DataOptions) -> tuple[Array, Range | None]:
    """A file's own values as the options understand them, and the range they were mapped by (None: their own).

    (H, W, C) float32 in [0, 1] with a range, values outside it clipped; without one uint8, uint16, or float32 in [0, 1]
    as they were. What was not measured becomes the low end. Raises `BadImage` for a picture of which nothing was
    measured, `BadValues` for values that are not finite, and for those that need a range.
    """
    there = measured(array, header, options)
    if there is not None and not colours(there, header).any():
        raise BadImage(path, "holds nothing but no-data values")
    if options.range == "auto":
        if there is not None:
            in_own_range(path, known(array, header, options))
            array = np.where(there, array, array.dtype.type(0))
        return in_own_range(path, array), None
    _refuse_not_finite(path, array, there)
    limits = range_of(header, options) or percentiles(known(array, header, options), options.percentiles)
    whole = np.empty(array.shape, dtype=np.float32)
    _by_rows(array, whole, lambda rows: _to_unit(rows, limits))
    if there is not None:
        whole[~there] = 0
    if header.alpha:
        top = OWN.get(header.dtype, (0.0, 1.0))[1]
        whole[..., -1] = (array[..., -1] / np.float64(top)).clip(0, 1)
    return whole, limits


def percentiles(values: Array, shares: tuple[float, float]) -> Range:
    """Low and high percentile of values (0 to 100); outward to whole numbers for whole numbers, never equal."""
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), shares))
    if values.dtype.kind in "iu":
        low, high = float(np.floor(low)), float(np.ceil(high))
    return Range(low, high if high > low else low + 1)


def _to_unit(rows: Array, limits: Range) -> NDArray[np.float64]:
    return ((rows.astype(np.float64) - limits.low) / (limits.high - limits.low)).clip(0, 1)


def _by_rows(array: Array, out: Array, change: Callable[[Array], Array]) -> None:
    step = max(1, _AT_ONCE // max(1, array[0].size))
    for first in range(0, len(array), step):
        out[first : first + step] = change(array[first : first + step])


def _refuse_not_finite(path: str, array: Array, there: NDArray[np.bool_] | None) -> None:
    if array.dtype.kind != "f":
        return
    wrong = ~np.isfinite(array)
    if there is not None:
        wrong &= there
    if wrong.any():
        raise BadValues(path, f"{int(wrong.sum())} values are not finite (NaN or infinity)")
