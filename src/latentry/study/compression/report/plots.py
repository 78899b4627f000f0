"""The study's two plots (the paper's figures 6 and 7): SVG in a page's colours, and PNG in light and dark."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from latentry.evaluation.report import plots
from latentry.study.compression.report.outcome import Outcome, Point
from latentry.study.compression.report.recommend import short

INCHES, DPI = (6.4, 4.0), 160
MARKERS = "osD^vP"
WIDE = 5.0
"""From how many times the least value on the axis up is logarithmic."""


class Drawing(NamedTuple):
    """title: also what a screen reader says. draw: onto axes, in some colours. logarithmic: the axis across."""

    title: str
    across: str
    up: str
    draw: Callable[[Any, Sequence[Outcome], Sequence[str], str], None]
    logarithmic: bool = False


def drawings(distance: str) -> dict[str, Drawing]:
    """By the name of their files."""
    return {
        "progress": Drawing(
            "Quality against training", "minutes of training, first stage included", distance, _progress
        ),
        "speed": Drawing("Quality against speed of sampling", "samples a second", distance, _speed, logarithmic=True),
    }


def svg(drawing: Drawing, found: Sequence[Outcome]) -> str:
    """An element for a page."""
    return plots.for_page(
        _drawn(drawing, found, plots.LINES, plots.INK, plots.FAINT, None, "svg").decode(), drawing.title
    )


def png(drawing: Drawing, found: Sequence[Outcome], dark: bool) -> bytes:
    """A picture in the page's colours of the day or of the night."""
    colours = plots.colours_of(dark)
    lines = [colours[f"line{i + 1}"] for i in range(len(plots.LINES))]
    return _drawn(drawing, found, lines, colours["ink"], colours["faint"], colours["card"], "png")


def _drawn(
    drawing: Drawing,
    found: Sequence[Outcome],
    lines: Sequence[str],
    ink: str,
    faint: str,
    behind: str | None,
    kind: str,
) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": drawing.title, "font.size": 10}):
        figure = Figure(INCHES, layout="constrained", facecolor=behind or "none")
        axes = figure.add_subplot(facecolor="none")
        shown = [one for one in found if one.progress]
        drawing.draw(axes, shown, lines, ink)
        if drawing.logarithmic and shown:
            _few_ticks(axes, axes.xaxis, "x")
        values = [point.value for one in shown for point in (*one.progress, *one.speed)]
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
        if values and min(values) > 0 and max(values) > WIDE * min(values):
            _few_ticks(axes, axes.yaxis, "y")
        axes.set_title(drawing.title, color=ink, loc="left", fontsize=11)
        axes.set_xlabel(drawing.across, color=ink)
        axes.set_ylabel(f"{drawing.up} (less is better)", color=ink)
        axes.tick_params(which="both", colors=ink)
        axes.grid(color=faint, linewidth=0.6)
        axes.spines[:].set_visible(False)
        if shown:
            axes.legend(frameon=False, labelcolor=ink)
        written = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(written, format=kind, dpi=DPI, transparent=behind is None, metadata=metadata)
    return written.getvalue()


def _few_ticks(axes: Any, axis: Any, name: str) -> None:
    """A logarithmic axis with numbers that people read."""
    from matplotlib.ticker import LogLocator, NullFormatter

    getattr(axes, f"set_{name}scale")("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: short(value))
    axis.set_minor_formatter(NullFormatter())


def _progress(axes: Any, found: Sequence[Outcome], lines: Sequence[str], ink: str) -> None:
    for number, one in enumerate(found):
        minutes = [point.seconds / 60 for point in one.progress]
        _line(axes, minutes, one.progress, number, lines, f"f = {one.factor}")


def _speed(axes: Any, found: Sequence[Outcome], lines: Sequence[str], ink: str) -> None:
    for number, one in enumerate(found):
        _line(axes, [point.rate for point in one.speed], one.speed, number, lines, f"f = {one.factor}")
        for point in one.speed:
            beside = {"xytext": (5, 3), "textcoords": "offset points", "fontsize": 8}
            axes.annotate(str(point.steps), (point.rate, point.value), color=ink, **beside)


def _line(
    axes: Any, xs: Sequence[float], points: Sequence[Point], number: int, lines: Sequence[str], name: str
) -> None:
    """Values with their intervals; one that reaches 0 or below is cut where a logarithmic axis could not show it."""
    least = min(abs(point.value) for point in points) / 3 if points else 0.0
    positive = all(point.value > 0 for point in points)
    low = [point.value - (max(point.low, least) if positive else point.low) for point in points]
    high = [point.high - point.value for point in points]
    style = {"marker": MARKERS[number % len(MARKERS)], "markersize": 5, "linewidth": 1.6, "capsize": 2.5}
    axes.errorbar(
        xs, [point.value for point in points], yerr=(low, high), color=lines[number % len(lines)], label=name, **style
    )
