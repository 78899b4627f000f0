"""`latentry sample`: images from a model, a run, or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, bar, emit_json, one_of, say, warn
from latentry.errors import UsageError


def sample(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    text: Annotated[str | None, typer.Argument(help="What the images shall show, for models with text.")] = None,
    *,
    label: Annotated[str | None, typer.Option(help="The class, for models with classes.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many images.")] = 16,
    steps: Annotated[int | None, typer.Option(min=1, help="Solver steps; default: the model's.")] = None,
    solver: Annotated[str | None, typer.Option(help="Solver; default: the model's.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 is none; default: the model's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Image i of seed S is image 0 of seed S + i.")] = 0,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size; default: the model's.")] = None,
    weights: Annotated[str, typer.Option(help="ema or raw.")] = "ema",
    step: Annotated[int | None, typer.Option(min=0, help="A checkpoint of a run; default: the newest.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the images; a .png: one image, or a sheet of all.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Sample images."""
    shape = parse_size(size)
    one_of("--weights", weights, ("ema", "raw"))
    from latentry import pipeline
    from latentry.pipeline.output import check_target

    sheet = count > 1 and out.suffix.lower() == ".png"
    check_target(out, 1 if sheet else count)
    pipe = pipeline.load(model, weights=weights, step=step)  # type: ignore[arg-type]
    unknown = pipe.unknown_words(text) if text else []
    with bar("sampling") as progress:
        result = pipe.sample(
            text,
            label=label,
            n=count,
            steps=steps,
            solver=solver,
            guidance=guidance,
            seed=seed,
            size=shape,
            progress=progress,
        )
    paths = [result.save_sheet(out)] if sheet else result.save(out)
    if unknown:
        warn(f"text: the model does not know {', '.join(unknown)}; it went by the rest")
    if as_json:
        emit_json({"images": [str(path) for path in paths], "seed": seed})
    else:
        say(f"{count} image{'s' * (count != 1)} in {out}")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`96x64` as (height, width); `64` is a square. Errors: `UsageError`."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f'--size: found "{text}"; accepted: HEIGHTxWIDTH in pixels, as in 96x64')
    return int(parts[0]), int(parts[-1])
