"""The cost curves of docs/performance.md, of the shipped models on this machine: `make performance` (five minutes).

Pictures and JSON go to docs/performance/, tables and links into the page, between its two marks. Run it on a machine
that does nothing else. `--seconds` for all of it, `--models` for some of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import latentry as lt
from latentry.bench.options import BenchOptions
from latentry.bench.plots import png
from latentry.bench.result import Findings, shown, to_json
from latentry.bench.run import bench
from latentry.models.modes import usual
from latentry.training.loop.waiting import Waiting

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


class Curve(NamedTuple):
    """What is varied, and what is said of the picture. sizes: sides of images, by model."""

    title: str
    says: str
    options: dict[str, Any]
    sizes: dict[str, tuple[int, ...]] = {}


ONE = (str(usual(torch.device("cpu"))),)
MODES: tuple[str, ...] = ()
CURVES = {
    "batch": Curve(
        "Batch", "One evaluation of the denoiser, and samples at the model's default steps, over images at once.",
        {"batch": (1, 4, 16), "parts": ("step", "samples"), "modes": MODES},
    ),
    "size": Curve(
        "Size", "One evaluation and decoding, over the size of one image.",
        {"batch": (1,), "parts": ("step", "decode"), "modes": MODES},
        {"shapes": (64, 128, 256, 512, 1024), "emoji": (64, 128, 256, 512)},
    ),
    "steps": Curve(
        "Steps", "Four samples, decoded, over evaluations of the denoiser.",
        {"batch": (4,), "steps": (5, 10, 20, 50), "parts": ("samples",), "modes": ONE},
    ),
    "images": Curve(
        "Images", "A request at the default steps, worked on 16 at a time: its memory does not grow with it.",
        {"batch": (16,), "images": (1, 4, 16, 64), "parts": ("samples",), "modes": ONE},
    ),
    "training": Curve(
        "Training", "Updates of both stages on latents and images that are there already.",
        {"batch": (4, 16), "parts": ("training",), "modes": MODES},
    ),
}  # fmt: skip


def measured(model: Path, curve: Curve, seconds: float) -> Findings:
    """One curve of one model."""
    sizes = tuple((side, side) for side in curve.sizes.get(model.name, ()))
    options = BenchOptions(**curve.options, size=sizes, budget=seconds)
    pipe = lt.load(model)
    with Waiting(lambda text: print(text, file=sys.stderr), f"{model.name}, {curve.title.lower()}") as waiting:
        return bench(pipe, options, doing=waiting.doing)


def section(name: str, found: dict[str, Findings], folder: str) -> str:
    """What the page says of a model: the pictures, which are in that folder beside it, and all numbers below."""
    first = next(iter(found.values()))
    lines = [f"## {name} on {first.machine['device'].partition(';')[0]}", ""]
    lines += [f"torch {first.machine['torch']}; {parameters(first)} parameters; {guidance(first)}.", ""]
    for key, findings in found.items():
        curve, stem = CURVES[key], f"{folder}/{name}-{key}"
        lines += [f"### {curve.title} ({name})", "", curve.says, ""]
        lines += [f"![{name}: {curve.title.lower()}]({stem}.png)", ""]
        columns, rows = shown(findings.rows)
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", *(f"- {note}" for note in findings.notes), ""]
    return "\n".join(lines)


def parameters(findings: Findings) -> str:
    return f"{sum(findings.model['parameters'].values()) / 1e6:.1f}M"


def guidance(findings: Findings) -> str:
    two = findings.model["predictions a step"] == 2
    return f"guidance {findings.model['guidance']:g}, " + ("two predictions a step" if two else "one prediction a step")


def page(text: str, sections: Sequence[str]) -> str:
    """The page with these sections between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{chr(10).join(sections).strip()}\n{END}{after}"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", type=Path, default=[ROOT / "models" / n for n in ("shapes", "emoji")])
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--page", type=Path, default=PAGE, help="pictures go into the folder of its name beside it")
    asked = parser.parse_args(words)
    each, sections = asked.seconds / (len(asked.models) * len(asked.curves)), []
    folder = asked.page.with_suffix("")
    folder.mkdir(exist_ok=True)
    for model in asked.models:
        found = {name: measured(model, CURVES[name], each) for name in asked.curves}
        for name, findings in found.items():
            stem = f"{model.name}-{name}"
            (folder / f"{stem}.json").write_text(to_json(findings).replace(f"{ROOT}/", ""), encoding="utf-8")
            title = f"{model.name}: {CURVES[name].title}"
            (folder / f"{stem}.png").write_bytes(png(findings, dark=False, title=title))
        sections.append(section(model.name, found, folder.name))
    asked.page.write_text(page(asked.page.read_text(encoding="utf-8"), sections), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
