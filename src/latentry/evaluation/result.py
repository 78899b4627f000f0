"""What an evaluation found: figures, and all that another needs to find the same; as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latentry import text
from latentry.checkpoints import durable
from latentry.errors import LatentryError, UsageError
from latentry.metrics.compare import Figure

JSON, CSV = "evaluation.json", "evaluation.csv"
FORMAT = 1
COLUMNS = ("name", "value", "low", "high", "images", "reference", "seed", "warning")


@dataclass(frozen=True)
class Evaluation:
    """of: what was measured, in words. against: what with. figures: distances, gaps, then those of single images.

    preprocessing: by the tag of the features, how images reach them, in words; `reference` says how files were read.
    model: facts of the model: parameters, training, throughput, memory; empty for a folder of images.
    settings: what was asked for: samples, seed, steps. versions, hardware: by name. notes: what could not be measured,
    and why. pictures: files in the report's folder that show something, by what they show. source: the run or model.
    nearest: samples beside the training images that they are nearest to, the surest copies first.
    """

    of: str
    against: str
    figures: tuple[Figure, ...]
    preprocessing: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    nearest: tuple[Mapping[str, Any], ...] = ()

    def value(self, name: str) -> float:
        """The value of a figure, by its name or what goes before its features: `FID`. Raises LatentryError."""
        for figure in self.figures:
            if name in (figure.name, figure.name.partition("[")[0]):
                return figure.value
        known = ", ".join(figure.name for figure in self.figures) or "none"
        raise LatentryError(f'evaluation: no figure "{name}"; known: {known}.')

    def to_json(self) -> str:
        """JSON text; numbers that JSON has none of, as of equal images' PSNR, as text: "inf"."""
        return json.dumps(_plain({"format": FORMAT, **asdict(self)}), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, words: str) -> Evaluation:
        """What `to_json` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        tree = json.loads(words)
        if tree.pop("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        figures = tuple(_figure(one) for one in tree.pop("figures"))
        nearest = tuple(tree.pop("nearest", ()))
        return cls(figures=figures, notes=tuple(tree.pop("notes")), nearest=nearest, **tree)

    def to_csv(self) -> str:
        """A line for each figure, under COLUMNS; no interval is empty."""
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(COLUMNS)
        for f in self.figures:
            writer.writerow([f.name, f.value, *(f.interval or ("", "")), f.images, f.reference, f.seed, f.warning])
        return lines.getvalue()


def refuse_unwritable(folder: Path) -> Path:
    """The folder of a report. Raises UsageError where none could be written, before hours of measuring."""
    if why := durable.unwritable(folder):
        raise UsageError(f"--out {text.one_line(str(folder))}: {text.one_line(why)}. Choose another for the report.")
    return folder


def write(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Both files into the folder, which is made; their paths. Raises LatentryError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, words in ((JSON, evaluation.to_json()), (CSV, evaluation.to_csv())):
            durable.replace_file(folder / name, words)
    except OSError as error:
        raise durable.explain(error, folder, len(evaluation.to_json())) from error
    return [folder / JSON, folder / CSV]


def read(folder: Path) -> Evaluation:
    """The evaluation of a report. Raises LatentryError for a folder without one, and for a damaged one."""
    try:
        return Evaluation.from_json(text.read(folder / JSON))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LatentryError(f"{folder / JSON}: damaged ({error}). Evaluate again with --out {folder}.") from error


def _figure(tree: Mapping[str, Any]) -> Figure:
    interval = None if tree["interval"] is None else (float(tree["interval"][0]), float(tree["interval"][1]))
    return Figure(**{**tree, "value": float(tree["value"]), "interval": interval})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
