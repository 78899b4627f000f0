"""What was measured: rows, and the same rows as JSON, as CSV and as cells of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

COLUMNS = ("what", "by", "mode", "batch", "size", "steps", "seconds", "quartiles", "images/s", "GFLOP/s", "of peak",
           "GiB", "ours/theirs")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One thing that was timed.

    what: `step` (one evaluation of the denoiser, both predictions where there is guidance), `decode`, `samples` (from
    noise to images), `training autoencoder` or `training diffusion` (an update). by: `latentry`, or whom it is beside.
    size: HxW of the images. images: that one call makes or is trained on. seconds: of a call, the median of `rounds`,
    between the quartiles low and high. flops: of a call; share: of the measured peak. memory: GiB at most, in a call.
    ratio: seconds over those of the other program, the median of pairs.
    """

    what: str
    by: str
    mode: str
    batch: int
    size: str
    steps: int | None
    images: int
    seconds: float
    low: float
    high: float
    rounds: int
    images_per_second: float
    flops: int | None
    share: float | None
    memory: float
    ratio: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table of `COLUMNS` shows it."""
        rate = None if self.flops is None else self.flops / self.seconds / 1e9
        share = "" if self.share is None else f"{self.share:.0%}"
        many = "" if self.images == self.batch else f" ({self.images} in all)"
        return (
            *(self.what, self.by, self.mode, f"{self.batch}{many}", self.size),
            "" if self.steps is None else str(self.steps),
            *(short(self.seconds), f"{short(self.low)}–{short(self.high)}", short(self.images_per_second)),
            *("" if rate is None else short(rate), share, f"{self.memory:.2f}"),
            "" if self.ratio is None else f"{self.ratio:.2f}",
        )


@dataclass(frozen=True)
class Findings:
    """model, machine: what was measured, and where. peaks: FLOP/s by precision and kind. notes: what to know."""

    model: Mapping[str, Any]
    machine: Mapping[str, Any]
    peaks: Mapping[str, Mapping[str, float]]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "rows": [asdict(row) for row in self.rows]}


def to_json(findings: Findings) -> str:
    return json.dumps(findings.plain, indent=2, ensure_ascii=True, default=str) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each row, an empty field where there is nothing."""
    written = io.StringIO()
    writer = csv.DictWriter(written, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return written.getvalue()


def short(number: float) -> str:
    """Three digits."""
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"


def shown(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of a table without what says nothing: empty columns, and whom all rows are by."""
    cells = [dict(zip(COLUMNS, row.cells)) for row in rows]
    one = len({row.by for row in rows}) == 1
    kept = [name for name in COLUMNS if any(row[name] for row in cells) and not (name == "by" and one)]
    return kept, [[row[name] for name in kept] for row in cells]
