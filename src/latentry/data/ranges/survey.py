"""Which values the images of a folder really use, of those that training sees as black to white."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from latentry.data.options import DataOptions
from latentry.data.ranges.meaning import Range, number

MUCH = 0.05
"""A greater share of clipped values is no outliers: the range is hardly the one that was meant."""
NARROW = 0.5
"""Below this share of the range, figures are relative to what is used: half costs 6 dB, the tenth part 20."""
_FLAT = 1 / 255


@dataclass(frozen=True)
class Survey:
    """What some images of a folder use.

    images: how many were looked at. dtypes: images by type. seen: their least and greatest values, own units, all of
    them. full: what is mapped to [0, 1]; None where each image has its own, or its type has none. used: least and
    greatest of [0, 1] that all but a few images keep to. clipped: share of values outside `full`. no_data: images with
    values where nothing was measured, and the share of all values. window: in which all the files ask to be shown.
    """

    images: int
    dtypes: Mapping[str, int]
    seen: Range
    full: Range | None
    used: tuple[float, float] = (0.0, 1.0)
    clipped: float = 0.0
    no_data: tuple[int, float] = (0, 0.0)
    window: Range | None = None

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
            loud = "WARNING: " if self.clipped > MUCH else ""
            said.append(f"{loud}data.range {self.full} of {self._types()} is black to white{self._clipped()}")
        if options.range == "file":
            low, high = map(number, options.percentiles)
            said.append(
                f"data.range file: percentile {low} to {high} of each image is its black to white; that one is "
                "brighter than another is lost, and samples have no units"
            )
        if self.no_data[0]:
            said.append(
                f"no-data values in {self.no_data[0]} of {self.images} images looked at, {self.no_data[1]:.2g} of all "
                "values: filled with the low end of the range"
            )
        if (narrow := self.narrow_text()) is not None:
            said.append(f"WARNING: {narrow}: the model is trained in that part alone. {self.advice()}")
        return said

    def advice(self) -> str:
        """What to do about a range of which too little is used."""
        if self.used_range is not None and self.used_range.low == self.used_range.high:
            return "There is nothing to learn in them."
        return f"{proposal(self)}; figures are relative to what is used."

    def narrow_text(self) -> str | None:
        """`values use 0..4095 of 0..65535 (6%)`, where they use too little."""
        if (used := self.used_range) is None:
            return None
        if used.low == used.high:
            return f"every image holds the value {number(used.low)} alone, of {self.full}"
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
    text = ", ".join(map(number, near))
    window = "" if survey.window is None else f", [{', '.join(map(number, survey.window))}] (the files' own window)"
    return f"Set data.range: [{text}]{window}, or set (percentiles over all images)"


def advice_on_values(found: Survey, options: DataOptions, finite: bool) -> str:
    """What to do about values that have no range of their own, or (not `finite`) are no numbers."""
    advice = [] if finite else ["Fill in values that are not finite, or set data.no_data: nan if nothing was measured"]
    if options.range == "auto" and (found.full is None or found.clipped):
        accepted = "accepted without data.range are 8 and 16 bits from 0, and float in 0..1"
        advice.append(f"Their values run over {found.seen}; {accepted}. {proposal(found)}")
    return f"{'. '.join(advice)}."


def nearest_range(low: float, high: float, floating: bool) -> Range:
    """A round range around values: whole numbers from 0 up to 2^bits - 1, others outward to two digits of the span."""
    if low >= 0 and not floating:
        return Range(0, 2 ** max(1, math.ceil(math.log2(max(high, 1) + 1))) - 1)
    span = max(high - low, 1e-30)
    unit = 10.0 ** (math.floor(math.log10(span)) - 1)
    return Range(float(f"{math.floor(low / unit) * unit:.6g}"), float(f"{math.ceil(high / unit) * unit:.6g}"))
