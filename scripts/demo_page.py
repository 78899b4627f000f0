"""The demo's page: plain HTML with its own style, curves drawn as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fafafa; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.9rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
section { background: #fff; border: 1px solid #e4e4e4; border-radius: 8px; }
section { padding: .2rem 1.5rem 1.5rem; margin-top: 1.5rem; }
.sheet { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 0; width: 128px; text-align: center; font-size: .85rem; color: #555; }
figure img { width: 128px; height: 128px; display: block; margin-bottom: 4px; }
figure img { border-radius: 4px; border: 1px solid #eee; }
img.wide { max-width: 100%; width: 100%; image-rendering: auto; }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; }
svg { max-width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: #666; }
table { border-collapse: collapse; margin-top: 1rem; }
td, th { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #eee; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: #18794e; } .bad { color: #b42318; }
footer { color: #777; font-size: .85rem; margin: 2rem 0; }
"""
TARGETS = (
    ("judge right on real", 0.99),
    ("judge right on their", 0.97),
    ("pairs never", 0.50),
    ("shape and colour right", 0.85),
)
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 440, 220, 48, 20, 34, 24


def page(sections: Sequence[str], seconds: float) -> str:
    """The whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>latentry demo</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>latentry</h1>'
        f"<p>From a folder of images to a latent diffusion model of your own.</p>{''.join(sections)}"
        f"<footer>Made by <code>make demo</code> in {seconds / 60:.1f} minutes here.</footer></body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A titled part."""
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def sheet(cells: Sequence[tuple[str, str]]) -> str:
    """Images (file name, caption) side by side."""
    cells = [(name, html.escape(text)) for name, text in cells]
    figures = (f'<figure><img src="{name}" alt="{text}">{text}</figure>' for name, text in cells)
    return f'<div class="sheet">{"".join(figures)}</div>'


def row(*parts: str) -> str:
    """Parts side by side."""
    return f'<div class="row">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def table(figures: Mapping[str, Any]) -> str:
    """Figures by name, shares as percentages beside their targets."""
    lines = []
    for name, value in figures.items():
        target = next((t for start, t in TARGETS if start in name), None)
        shown = f"{value:.1%}" if target is not None else f"{value}"
        verdict = (
            ""
            if target is None
            else f'<span class="{"good" if value >= target else "bad"}">at least {target:.0%}</span>'
        )
        lines.append(f'<tr><td>{html.escape(name)}</td><td class="number">{shown}</td><td>{verdict}</td></tr>')
    return f"<h3>Figures</h3><table><tr><th>measured</th><th></th><th>asked for</th></tr>{''.join(lines)}</table>"


def curve(title: str, points: Sequence[tuple[float, float]]) -> str:
    """A line over steps, with a logarithmic vertical axis."""
    if not points:
        return ""
    last = max(x for x, _ in points)
    low, high = math.log(min(y for _, y in points)), math.log(max(y for _, y in points))
    span = max(high - low, 1e-6)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / last * (WIDTH - LEFT - RIGHT)
        return across, TOP + (high - math.log(y)) / span * (HEIGHT - TOP - BOTTOM)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*p) for p in points))
    marks = []
    for i in range(4):
        value = math.exp(low + span * i / 3)
        _, y = place(0, value)
        marks.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>')
        x, _ = place(last * i / 3, value)
        marks.append(f'<text x="{x:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{last * i / 3:.0f}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">'
        f'<text x="{LEFT}" y="14" style="font-weight:600">{html.escape(title)}</text>'
        f'{"".join(marks)}<polyline points="{path}" fill="none" stroke="#2563eb" stroke-width="1.8"/>'
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 2}" text-anchor="middle">step</text></svg>'
    )
