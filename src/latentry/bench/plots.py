"""What was measured as a picture: speed and memory over what was varied, in a page's colours of day or night."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from latentry.bench.groups import OURS
from latentry.bench.result import Findings, Row
from latentry.evaluation.report import plots

PANEL, LINE, DPI, ACROSS = (4.6, 2.6), 0.13, 160, 2
"""Inches of a panel, and of a line of its legend."""
LONG = 32
"""Letters from which a name takes the whole width of a panel."""
MARKERS = "osD^vP"


class Panel(NamedTuple):
    """A drawing of some rows: `value` over what varies among them."""

    title: str
    up: str
    what: Callable[[Row], bool]
    value: Callable[[Row], float | None]


PANELS = (
    Panel("One step", "seconds", lambda row: row.what == "step", lambda row: row.seconds),
    Panel("One step, of the measured peak", "%", lambda row: row.what == "step", lambda row: _percent(row.share)),
    Panel("Memory of a step", "GiB", lambda row: row.what == "step", lambda row: row.memory),
    Panel("Decoding", "images a second", lambda row: row.what == "decode", lambda row: row.images_per_second),
    Panel("Samples", "images a second", lambda row: row.what == "samples", lambda row: row.images_per_second),
    Panel("A request for samples", "seconds", lambda row: row.what == "samples", lambda row: row.seconds),
    Panel("Memory of samples", "GiB", lambda row: row.what == "samples", lambda row: row.memory),
    Panel(
        "Training", "images a second", lambda row: row.what.startswith("training"), lambda row: row.images_per_second
    ),
)


class Axis(NamedTuple):
    """What may vary. place: on a line; told: in words."""

    name: str
    place: Callable[[Row], float]
    told: Callable[[Row], str]


def _pixels(row: Row) -> int:
    height, width = map(int, row.size.split("x"))
    return height * width


AXES = (
    Axis("batch", lambda row: row.batch, lambda row: str(row.batch)),
    Axis("size", _pixels, lambda row: row.size),
    Axis("steps", lambda row: row.steps or 0, lambda row: str(row.steps)),
    Axis("images", lambda row: row.images, lambda row: str(row.images)),
)
"""The first that varies is what is drawn over; the others tell lines apart."""


def png(findings: Findings, dark: bool, title: str = "") -> bytes:
    """All panels that have at least one row. title: above them; default: the model and its device."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [panel for panel in PANELS if any(panel.value(row) is not None for row in _rows(findings, panel))]
    down = -(-len(shown) // ACROSS) or 1
    height = PANEL[1] + LINE * max(len(list(_lines(_rows(findings, panel)))) for panel in shown)
    colours = plots.colours_of(dark)
    with mpl.rc_context({"font.size": 9}):
        figure = Figure((PANEL[0] * ACROSS, height * down), layout="constrained", facecolor=colours["card"])
        figure.suptitle(
            title or f"{findings.model['name']} on {str(findings.machine['device']).partition(';')[0]}",
            color=colours["ink"],
            fontsize=11,
        )
        for number, panel in enumerate(shown):
            _draw(figure.add_subplot(down, ACROSS, number + 1, facecolor="none"), panel, findings, colours)
        written = io.BytesIO()
        figure.savefig(written, format="png", dpi=DPI, metadata={"Software": None})
    return written.getvalue()


def _draw(axes: Any, panel: Panel, findings: Findings, colours: dict[str, str]) -> None:
    rows, ink = [row for row in _rows(findings, panel) if panel.value(row) is not None], colours["ink"]
    across, lines = _across(rows), list(_lines(rows))
    kinds: dict[str, int] = {}  # what is the same but for the program has one colour
    for name, found in lines:
        found = sorted(found, key=across.place)
        number = kinds.setdefault(name.replace(found[0].by, ""), len(kinds))
        style = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4, "linewidth": 1.5}
        colour, dash = colours[f"line{number % 6 + 1}"], "-" if found[0].by == OURS else "--"
        values = [panel.value(row) for row in found]
        axes.plot([across.place(row) for row in found], values, color=colour, label=name, linestyle=dash, **style)
    places = dict(sorted({across.place(row): across.told(row) for row in rows}.items()))
    if len(places) > 1 and max(places) > 3 * min(places) > 0:
        axes.set_xscale("log")
    axes.set_xticks(list(places), list(places.values()), minor=False)
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.12 * max(panel.value(row) or 0 for row in rows))
    axes.set_title(panel.title, color=ink, loc="left", fontsize=10)
    axes.set_xlabel(across.name, color=ink)
    axes.set_ylabel(panel.up, color=ink)
    axes.tick_params(which="both", colors=ink)
    axes.grid(color=colours["faint"], linewidth=0.6)
    axes.spines[:].set_visible(False)
    place = {
        "loc": "upper left",
        "bbox_to_anchor": (0, -0.2),
        "ncols": 1 if max(len(name) for name, _ in lines) > LONG else 2,
        "fontsize": 7,
    }
    axes.legend(frameon=False, labelcolor=ink, borderpad=0, **place)


def _across(rows: Sequence[Row]) -> Axis:
    """What is drawn over."""
    return next((axis for axis in AXES if len({axis.place(row) for row in rows}) > 1), AXES[0])


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Rows that differ in nothing but what is drawn over, by what tells them apart."""
    across = _across(rows)
    varies = [axis for axis in AXES if axis.name != across.name and len({axis.told(row) for row in rows}) > 1]
    if all(row.images == row.batch for row in rows):
        varies = [axis for axis in varies if axis.name != "images"]
    stages, others = len({row.what for row in rows}) > 1, len({row.by for row in rows}) > 1
    named: dict[str, list[Row]] = {}
    for row in rows:
        parts = [row.what.removeprefix("training ")] if stages else []
        parts += ([row.by] if others else []) + [row.mode]
        named.setdefault(", ".join(parts + [f"{axis.name} {axis.told(row)}" for axis in varies]), []).append(row)
    yield from named.items()


def _rows(findings: Findings, panel: Panel) -> list[Row]:
    return [row for row in findings.rows if panel.what(row)]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
