"""What a check says of the values of a folder: those it holds, those of no use, and a range that would suit them."""

from __future__ import annotations

from latentry.data.files.header import Array, BadImage, BadValues, Header, shown
from latentry.data.options import DataOptions
from latentry.data.ranges.meaning import meaning
from latentry.data.ranges.survey import advice_on_values
from latentry.data.ranges.tally import Tally


class Values:
    """Sums up the values of a folder's images. options: what a recipe says of them. count: of the images."""

    def __init__(self, options: DataOptions, count: int) -> None:
        self.options, self.tally = options, Tally(options, count)
        self._lacking: list[str] = []

    def add(self, path: str, header: Header, array: Array) -> None:
        """One decoded image. Raises `BadImage` for one that holds NaN, or nothing that was measured."""
        try:
            self.tally.add(header, array)
            meaning(path, header, array, self.options)
        except BadValues as error:
            if "not finite" in error.reason:
                raise
            self._lacking.append(f"{shown(path)} ({error.reason})")
        except BadImage as error:
            raise BadImage(path, error.reason) from None

    def seen(self) -> dict[str, int]:
        """`uint16 0..4095`, by how many images."""
        return {f"{kind} {ends}": self.tally.dtypes[kind] for kind, ends in self.tally.seen.items()}

    def problems(self) -> list[str]:
        """Values that have no range of their own, in one line."""
        if not self._lacking:
            return []
        first = "; ".join(self._lacking[:5])
        advice = advice_on_values(self.tally.survey(), self.options, finite=True)
        return [f"data.range: {len(self._lacking)} images hold values without a range of their own: {first}. {advice}"]

    def advice(self) -> list[str]:
        """What could be better."""
        return [line.removeprefix("WARNING: ") for line in self.tally.survey().lines(self.options)]
