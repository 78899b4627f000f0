"""What a compression study found: the table, the recommendation, and all of it as plain data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentry.study.compression.making import load, plain
from latentry.study.compression.options import Made, Part
from latentry.study.compression.report.outcome import Outcome, Point, distance_name, outcomes
from latentry.study.compression.report.recommend import recommendation, short
from latentry.study.findings import Findings, Table

COLUMNS = (
    *("f", "latent", "denoiser", "first stage", "steps", "first steps", "s a step", "GFLOPs", "PSNR (dB)"),
    *("distance", "95%", "samples/s"),
)
CSV = ("factor", "step", "minutes", "drawn_in", "samples_per_second", "name", "value", "low", "high")


def report(folder: Path) -> Findings:
    """What was found so far. Raises UsageError, one line; LatentryError for a damaged file."""
    made = load(folder)
    found = outcomes(folder, made)
    tables = [Table(COLUMNS, [_row(made.part(one.factor), one) for one in found])]
    return Findings(tables, [*recommendation(found), *notes(made, found)], _plain(made, found))


def notes(made: Made, found: Sequence[Outcome]) -> list[str]:
    """How the numbers came to be, and what they cannot say."""
    options = made.options
    name, minutes = distance_name(made), made.training / 60
    lines = [
        f"Distance: {name} of {options.samples} samples to the training images; less is better, it may fall below "
        "0. Intervals are of the choice of images, not of training again with another seed.",
        f"Equal compute: {minutes:.3g} minutes of training each, at the costs of steps that were measured before the "
        f"study began, {options.first_share:.0%} of it for the first stage. Reading and encoding are counted, drawing "
        "and measuring are not.",
        f"Equal size: denoisers of about {options.parameters:,} parameters, first stages of a quarter. Held fixed: "
        f"data, objectives, batches, learning rates and solver of the recipe {options.recipe}.",
        "GFLOPs: of the denoiser for one image, once. Denoiser and first stage: their parameters; steps: of the second "
        "stage, first steps: of the first. PSNR: of reconstructions of held-out images.",
        f"Perceptual loss of the first stages: {made.perceptual}.",
    ]
    if made.perceptual == made.features[0].partition(":")[0]:
        lines.append(
            f"The first stages were trained to look alike to {made.perceptual}, which also measures: that favours them "
            "over pixels (f = 1) by an unknown amount."
        )
    return lines


def to_csv(found: Sequence[Outcome], made: Made) -> str:
    """A line for each figure of each measurement, under CSV."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(CSV)
    for one in found:
        for point in dict.fromkeys((p.step, p.steps) for p in (*one.progress, *one.speed)):
            measured = next(p for p in (*one.progress, *one.speed) if (p.step, p.steps) == point)
            _write_figures(writer, one.factor, measured)
        for figure in one.first_stage:
            interval = figure["interval"] or ("", "")
            writer.writerow([one.factor, "", "", "", "", figure["name"], figure["value"], *interval])
    return lines.getvalue()


def _write_figures(writer: Any, factor: int, point: Point) -> None:
    for figure in point.figures:
        where = [factor, point.step, round(point.seconds / 60, 4), point.steps, round(point.rate, 4)]
        writer.writerow([*where, figure["name"], figure["value"], *(figure["interval"] or ("", ""))])


def _row(part: Part, one: Outcome) -> tuple[str, ...]:
    psnr = next((figure["value"] for figure in one.first_stage if figure["name"].startswith("PSNR")), None)
    last = one.progress[-1] if one.done else None
    seconds = part.costs.second + (0.0 if part.spent.cached else part.costs.encode)
    return (
        str(part.factor),
        "x".join(map(str, part.latent)),
        f"{part.parameters:,}",
        f"{part.first_parameters:,}" if part.first_parameters else "none",
        f"{part.spent.second:,}",
        f"{part.spent.first:,}" if part.spent.first else "none",
        f"{seconds:.3g}",
        f"{part.costs.gflops:.3g}",
        "" if psnr is None else f"{psnr:.1f}",
        "not finished" if last is None else short(last.value),
        "" if last is None else f"{short(last.low)} to {short(last.high)}",
        "" if last is None else f"{last.rate:.3g}",
    )


def _plain(made: Made, found: Sequence[Outcome]) -> dict[str, Any]:
    return {
        **plain(made),
        "distance": distance_name(made),
        "recommendation": recommendation(found),
        "notes": notes(made, found),
        "outcomes": [
            {
                "factor": one.factor,
                "done": one.done,
                "progress": [point._asdict() for point in one.progress],
                "speed": [point._asdict() for point in one.speed],
                "first_stage": list(one.first_stage),
            }
            for one in found
        ],
    }
