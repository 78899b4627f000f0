"""`latentry import`: a checkpoint of another program as a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from latentry.cli.output import JSON, emit_json, one_of, say, warn
from latentry.errors import UsageError
from latentry.interrupts import working


def import_checkpoint(
    path: Annotated[Path, typer.Argument(help="A CompVis checkpoint, or a folder of diffusers.")],
    *,
    config: Annotated[
        str | None, typer.Option(help="The checkpoint's YAML, or a recipe of the zoo; default: the YAML beside it.")
    ] = None,
    weights: Annotated[str, typer.Option(help="Which of the denoiser's are kept: both, ema or raw.")] = "both",
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="For prompts: BERT's vocab.txt, or a folder with CLIP's vocab.json and merges.txt, or tokenizer.json."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Turn a checkpoint of CompVis or diffusers into a model; nothing in it is run."""
    one_of("--weights", weights, ("both", "ema", "raw"))
    from latentry.checkpoints import model_folder
    from latentry.pipeline.foreign import import_model

    if out.exists() and not model_folder.is_model(out):
        raise UsageError(f"--out {out}: already exists and is not a model folder. Choose another.")
    model = import_model(path, _preset(path, config), weights=weights, vocabulary=vocabulary, report=warn)  # type: ignore[arg-type]
    with working():
        model_folder.write(out, model)
    parts = {group: sum(t.numel() for t in tensors.values()) for group, tensors in model.tensors.items()}
    if as_json:
        emit_json({"model": str(out), "numbers": parts})
    else:
        say(f"{out}: " + ", ".join(f"{group} {count / 1e6:.1f}M" for group, count in parts.items()))


def _preset(path: Path, config: str | None) -> Any:
    """A recipe's architecture if that is what --config names, else --config as it is."""
    from latentry.training.plan import recipes as recipe

    if config is None or Path(config).exists() or config not in recipe.names():
        return config
    from latentry.checkpoints.foreign.file import headers
    from latentry.training.plan.preset import preset

    second = any("model.diffusion_model." in n or n.startswith("model_ema.diffusion_model") for n in headers(path))
    return preset(config, first_stage_alone=not second)
