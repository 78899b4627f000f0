"""`latentry evaluate`: what a model, or a folder of pictures, is worth beside real images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentry.cli.output import DEVICE, JSON, bar, checkpoint, emit_json, first_process, one_of, say, table, warn

if TYPE_CHECKING:
    from latentry.evaluation.result import Evaluation


def evaluate(
    model: Annotated[Path | None, typer.Argument(help="A model or a run; none with --images alone.")] = None,
    *,
    data: Annotated[Path, typer.Option(help="Folder of real images to compare with.")],
    out: Annotated[Path, typer.Option(help="Folder for the report: evaluation.json, evaluation.csv, pictures.")],
    images: Annotated[Path | None, typer.Option(help="Measure the pictures of this folder, made anyhow.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="How many; default: 1000, or all of --images.")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option(help="fid, kid, mind, precision, ..., psnr; default: all.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(help="own, inception, squeezenet, ...; default: own and what is at hand.")
    ] = None,
    against: Annotated[str, typer.Option(help="train, held_out or all: the images that distances go to.")] = "train",
    reference: Annotated[int | None, typer.Option(min=2, help="At most so many of them; default: all.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Bring folders of images to a size; default: as they are.")
    ] = None,
    crop: Annotated[str, typer.Option(help="center or pad: how they are brought to it.")] = "center",
    resize: Annotated[
        str | None, typer.Option(help="How images reach Inception: tensorflow1 (as published), bicubic, ...")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Network evaluations an image; default: the model's.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; default: the model's.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images drawn at once.")] = 16,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="Of samples, intervals and directions.")] = 0,
    weights: Annotated[str, typer.Option(help="ema or raw.")] = "ema",
    step: Annotated[
        str | None, typer.Option(metavar="N", help="A checkpoint of a run: a step, or best; default: the newest.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe by whose `data:` the folder is read; default: the run's.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Put the figures on the model's card.")] = False,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Measure a model's samples and reconstructions, or any pictures, beside real images, as the papers do."""
    one_of("--weights", weights, ("ema", "raw"))
    from latentry.evaluation.run import evaluate as measure
    from latentry.interrupts import working

    with working(), bar("evaluate") as progress:
        found = measure(
            *(model, data),
            images=images, out=out, metrics=metrics, features=features, samples=samples, against=against,
            reference=reference, size=size, crop=crop, resize=resize, steps=steps, guidance=guidance, batch=batch,
            seed=seed, device=device, weights="raw" if weights == "raw" else "ema", step=checkpoint(step), report=warn,
            read=None if recipe is None else _data_of(recipe), card=card,
            progress=None if progress is None else lambda what, done, total: progress(done, total),
        )  # fmt: skip
    if not first_process():
        return
    if as_json:
        emit_json({"report": str(out), "figures": {figure.name: figure.value for figure in found.figures}})
    else:
        show(found, out)


def _data_of(recipe: str) -> dict[str, Any]:
    """The `data` of a recipe, by name or file."""
    from latentry.training.plan import recipes

    return recipes.dump(recipes.load(recipe))["data"]


def show(found: Evaluation, out: Path) -> None:
    """The figures as a table, then what is to be known of them."""
    from rich.markup import escape

    few = [figure for figure in found.figures if figure.warning]
    rows = [
        (escape(f.name), f"{f.value:.5g}", _interval(f.interval), f.images, f.reference or "", "!" if f.warning else "")
        for f in found.figures
    ]
    say(f"{found.of}, against {found.against}")
    table(["figure", "value", "95%", "images", "reference", ""], rows)
    if few:
        warn(f"! marks {len(few)} figures of too few images, the first: {few[0].warning}")
    for line in found.notes:
        warn(line)
    say(f"report in {out}")


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.5g} to {interval[1]:.5g}"
