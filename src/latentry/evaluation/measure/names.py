"""What can be asked for by `metrics`, and how figures are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from latentry.errors import UsageError, did_you_mean
from latentry.metrics.compare import Figure
from latentry.metrics.distances import DISTANCES


class Asked(NamedTuple):
    """distance: of `DISTANCES`, "" for what is none. part: of its numbers. rises: whether more is better."""

    distance: str = ""
    part: str = ""
    rises: bool = False


ASKED: dict[str, Asked] = {
    "fid": Asked("frechet"),
    "kid": Asked("kernel"),
    "mind": Asked("sliced"),
    "precision": Asked("precision_recall", "precision", rises=True),
    "recall": Asked("precision_recall", "recall", rises=True),
    "density": Asked("density_coverage", "density", rises=True),
    "coverage": Asked("density_coverage", "coverage", rises=True),
    "is": Asked(rises=True),
    "gap": Asked(),
    "copies": Asked(),
    "rfid": Asked(),
    "psnr": Asked(rises=True),
    "ssim": Asked(rises=True),
    "lpips": Asked(),
}
"""By the name that people type; `fid`, `kid` and `mind` in features other than Inception's are FD, KD and SWD."""
FIDELITY = ("psnr", "ssim", "lpips")
OF_SETS = tuple(name for name, one in ASKED.items() if one.distance)


def chosen(names: Iterable[str] | None) -> tuple[str, ...]:
    """The names that were asked for, all where None. Raises UsageError for an unknown one."""
    listed = list(ASKED) if names is None else [name for one in names for name in one.split(",") if name]
    for name in listed:
        if name not in ASKED:
            raise UsageError(f'metrics: no "{name}"; known: {", ".join(ASKED)}{did_you_mean(name, ASKED)}.')
    return tuple(dict.fromkeys(listed))


def distances_of(names: Sequence[str]) -> list[str]:
    """The entries of DISTANCES that give these."""
    return [name for name in DISTANCES if any(ASKED[one].distance == name for one in names)]


def kept(figures: Iterable[Figure], names: Sequence[str]) -> list[Figure]:
    """Those of the figures that were asked for: a distance may give more than one."""
    return [figure for figure in figures if name_of(figure) in names]


def score_of(figures: Iterable[Figure], name: str) -> tuple[str, float] | None:
    """The first figure of a metric: its name, and its value so that less is better. None where there is none."""
    found = next((figure for figure in figures if name_of(figure) == name), None)
    return None if found is None else (found.name, -found.value if ASKED[name].rises else found.value)


def name_of(figure: Figure) -> str:
    """By what name a figure is asked for: `fid` of `FD[squeezenet:b8a52…]`; "" where by none."""
    word = figure.name.partition("[")[0].partition(" ")[0]
    if word.startswith("R-"):
        return "rfid"
    named = {d.inception: key for key, d in DISTANCES.items()} | {d.other: key for key, d in DISTANCES.items()}
    if word in named and word:
        return next(name for name, one in ASKED.items() if one.distance == named[word])
    return word.lower() if word.lower() in ASKED else ""
