"""Curves as SVG that takes its colours from the page, so that one drawing is right in light and in dark."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from latentry.evaluation.report.pieces import STYLE

Points = Sequence[tuple[float, float]]
COLOURS = {"#010101": "var(--ink)", "#020202": "var(--faint)"} | {
    f"#0{i}0{i}03": f"var(--line{i})" for i in range(1, 7)
}
"""Placeholders that are drawn with, and what of the page's style stands in their place."""
INK, FAINT, *LINES = COLOURS
INCHES = (6.4, 3.2)


def curves(title: str, lines: Mapping[str, Points], across: str = "step", logarithmic: bool = True) -> str:
    """Lines by name over steps, as an SVG element that a screen reader reads as its title."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10}):
        figure = Figure(INCHES, layout="constrained")
        axes = figure.add_subplot()
        for colour, (name, points) in zip(LINES * len(lines), lines.items(), strict=False):
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8, label=name)
        if logarithmic and all(y > 0 for points in lines.values() for _, y in points):
            axes.set_yscale("log")
        axes.set_title(title, color=INK, loc="left", fontsize=11)
        axes.set_xlabel(across, color=INK)
        axes.tick_params(which="both", colors=INK)
        axes.grid(color=FAINT, linewidth=0.6)
        axes.spines[:].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False, labelcolor=INK)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return for_page(written.getvalue(), title)


def colours_of(dark: bool) -> dict[str, str]:
    """The page's colours, `#rrggbb` by name: of the day, or of the night."""
    style = resources.files(__package__).joinpath(STYLE).read_text(encoding="utf-8")
    day, night = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in style.split("@media", 1))
    return {**day, **night} if dark else day


def for_page(svg: str, title: str) -> str:
    """The element alone, without what names addresses, in the page's colours and with its title as its text."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for placeholder, colour in COLOURS.items():
        body = body.replace(placeholder, colour)
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    return body.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
