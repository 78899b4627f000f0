"""The study's report as one page that opens without a network, and the files beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from latentry import __version__
from latentry.evaluation.report import pieces
from latentry.study.compression.making import load, plain
from latentry.study.compression.measuring import keep, sheet_file
from latentry.study.compression.options import Made
from latentry.study.compression.report import plots
from latentry.study.compression.report.findings import notes, report, to_csv
from latentry.study.compression.report.outcome import Outcome, distance_name, outcomes
from latentry.study.compression.report.recommend import recommendation
from latentry.study.findings import Findings

PAGE, JSON, CSV = "index.html", "report.json", "report.csv"


def write(folder: Path) -> Findings:
    """The page, JSON, CSV and the plots as PNG into the study's folder. Raises LatentryError."""
    made, findings = load(folder), report(folder)
    found = outcomes(folder, made)
    files: dict[str, str | bytes] = {
        PAGE: page(folder, made, found, findings),
        JSON: json.dumps(findings.plain, indent=1) + "\n",
        CSV: to_csv(found, made),
    }
    for name, drawing in plots.drawings(distance_name(made)).items():
        for dark in (False, True):
            files[f"{name}-{'dark' if dark else 'light'}.png"] = plots.png(drawing, found, dark)
    for name, content in files.items():
        keep(folder / name, content)
    return findings


def page(folder: Path, made: Made, found: Sequence[Outcome], findings: Findings) -> str:
    """HTML of what was found so far."""
    drawn = [plots.svg(one, found) for one in plots.drawings(distance_name(made)).values()]
    table = findings.tables[0]
    words = f"{made.images:,} images of {made.root.name}, {made.size[0]}x{made.size[1]}; {made.held_out:,} held out"
    settings = {key: value for key, value in plain(made)["options"].items() if key != "data"}
    return pieces.document(
        "latentry: compression study",
        (
            f"<header><h1>How far to compress {html.escape(made.root.name)}</h1>",
            pieces.paragraph(words, "soft"),
            "</header>",
            pieces.section("Recommendation", *(pieces.paragraph(line) for line in recommendation(found))),
            pieces.section("Quality", f'<div class="plots">{"".join(drawn)}</div>', pieces.paragraph(SPEED, "soft")),
            pieces.section("Factors", pieces.table(table.columns, table.rows, frozenset(range(2, 12)))),
            pieces.section("Samples", _sheets(folder, found)),
            pieces.section("How it was measured", *(pieces.paragraph(note) for note in notes(made, found))),
            pieces.section("Settings", pieces.facts({**settings, "made with": made.made_with})),
        ),
        f"latentry {__version__}; the same numbers are in {JSON} and {CSV}.",
    )


SPEED = "Bars are intervals of 95%. Numbers beside the marks of the second plot are sampling steps (DDIM)."


def _sheets(folder: Path, found: Sequence[Outcome]) -> str:
    shown = []
    for one in found:
        with suppress(OSError):
            content = sheet_file(folder, one.factor).read_bytes()
            shown.append(pieces.picture(content, f"f = {one.factor}: samples, drawn from the same seeds"))
    return f'<div class="sheet">{"".join(shown)}</div>' if shown else ""
