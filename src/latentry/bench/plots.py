"""What was measured as a picture: speed and memory over what was varied, in a page's colours of day or night."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from latentry.bench.groups import OURS
from latentry.bench.result import Findings, Row, short
from latentry.evaluation.report import plots

PANEL, DPI, ACROSS = (4.6, 3.1), 160, 2
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
AXES: tuple[tuple[str, Callable[[Row], float]], ...] = (
    ("batch", lambda row: row.batch),
    ("megapixels of an image", lambda row: _pixels(row) / 1e6),
    ("steps", lambda row: row.steps or 0),
    ("images", lambda row: row.images),
)
"""What may vary, the first that does is what is drawn over; the others tell lines apart."""


def png(findings: Findings, dark: bool, title: str = "") -> bytes:
    """All panels that have at least one row. title: above them; default: the model and its device."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [panel for panel in PANELS if any(panel.value(row) is not None for row in _rows(findings, panel))]
    down = -(-len(shown) // ACROSS) or 1
    colours = plots.colours_of(dark)
    with mpl.rc_context({"font.size": 9}):
        figure = Figure((PANEL[0] * ACROSS, PANEL[1] * down), layout="constrained", facecolor=colours["card"])
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
    across = next((axis for axis in AXES if len({axis[1](row) for row in rows}) > 1), AXES[0])
    kinds: dict[str, int] = {}  # what is the same but for the program has one colour
    for name, found in _lines(rows, across):
        found = sorted(found, key=across[1])
        number = kinds.setdefault(name.replace(found[0].by, ""), len(kinds))
        style = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4, "linewidth": 1.5}
        colour = colours[f"line{number % 6 + 1}"]
        axes.plot([across[1](row) for row in found], [panel.value(row) for row in found], color=colour, label=name,
                  linestyle="-" if found[0].by == OURS else "--", **style)  # fmt: skip
    places = sorted({across[1](row) for row in rows})
    if len(places) > 1 and places[0] > 0 and places[-1] > 3 * places[0]:
        axes.set_xscale("log")
    axes.set_xticks(places, [short(place) for place in places], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.set_title(panel.title, color=ink, loc="left", fontsize=10)
    axes.set_xlabel(across[0], color=ink)
    axes.set_ylabel(panel.up, color=ink)
    axes.tick_params(which="both", colors=ink)
    axes.grid(color=colours["faint"], linewidth=0.6)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, labelcolor=ink, fontsize=8)


def _lines(rows: Sequence[Row], across: Any) -> Iterator[tuple[str, list[Row]]]:
    """Rows that differ in nothing but what is drawn over, by what tells them apart."""
    named: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row.what, row.by, row.mode, *(value(row) for axis, value in AXES if axis != across[0]))
        key = key[:-1] if row.images == row.batch else key
        named.setdefault(key, []).append(row)
    stages, others = len({row.what for row in rows}) > 1, len({row.by for row in rows}) > 1
    for found in named.values():
        row = found[0]
        parts = [row.what.removeprefix("training ")] if stages else []
        parts += ([row.by] if others else []) + [row.mode]
        parts += [f"{axis} {short(value(row))}" for axis, value in AXES[:3]
                  if axis != across[0] and len({value(one) for one in rows}) > 1]  # fmt: skip
        yield ", ".join(parts), found


def _rows(findings: Findings, panel: Panel) -> list[Row]:
    return [row for row in findings.rows if panel.what(row)]


def _pixels(row: Row) -> int:
    height, width = map(int, row.size.split("x"))
    return height * width


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
