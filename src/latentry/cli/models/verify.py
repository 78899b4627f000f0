"""`latentry verify`: whether an imported model gives the reference numbers of the code that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say
from latentry.errors import LatentryError


def verify(
    model: Annotated[Path, typer.Argument(help="A model that `latentry import` made.")],
    fixture: Annotated[Path, typer.Argument(help="A folder of config.yaml and expected.safetensors, .json.")],
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:1, mps or cpu, where the numbers come from.")] = "cpu",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare a model with reference numbers, tensor by tensor; fails if any is off."""
    from latentry.verify.compare import verify as lines

    compared = []
    for line in lines(model, fixture, device):
        compared.append(line)
        if not as_json:
            off = "not compared" if line.off is None else f"{line.off:.2e}"
            verdict = "" if line.good else f"  OFF (at most {line.allowed:g}) {line.note}"
            say(f"{line.name:48} {off}{verdict}")
    bad = [line.name for line in compared if not line.good]
    if as_json:
        emit_json({"compared": len(compared), "off": bad, "tensors": {line.name: line.off for line in compared}})
    elif not bad:
        say(f"{len(compared)} tensors, all within tolerance")
    if bad:
        raise LatentryError(f"{model}: {len(bad)} of {len(compared)} tensors are off: {', '.join(bad[:4])}")
