"""The model card: what a model was made of, how, how good it is, and how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from latentry import __version__
from latentry.checkpoints import model_folder
from latentry.data.dataset import ImageData
from latentry.models.config import ModelConfig
from latentry.training.plan.recipe import Recipe

SHEET = "samples.png"
SHOWN = 30  # labels


def model_card(
    recipe: Recipe,
    data: ImageData,
    fingerprint: str,
    config: ModelConfig,
    *,
    notes: str = "",
    minutes: Mapping[str, float] | None = None,
    figures: Mapping[str, Any] | None = None,
    sheet: bool = False,
) -> str:
    """Markdown for the model folder's README.md.

    notes: what changed in the images during training. minutes: of training, by stage. figures: measured at the end.
    sheet: whether `samples.png` lies beside it.
    """
    parts = [f"# {recipe.name}", recipe.about.strip()]
    if sheet:
        parts.append(f"![samples]({SHEET})")
    parts.append(table(_facts(recipe, data, fingerprint, config, minutes or {})))
    if notes:
        parts.append(f"The images changed during training: {notes}.")
    if config.data.labels and config.diffusion is not None:
        more = ", ..." if len(config.data.labels) > SHOWN else ""
        parts.append(f"Classes: {', '.join(config.data.labels[:SHOWN])}{more}.")
    if figures:
        parts += ["## Figures", table(figures)]
    parts += ["## Use", _use(config)]
    limits = "It draws only what its training images show, at about their size, and may repeat some of them."
    parts += ["## Limits", limits]
    return "\n\n".join(part for part in parts if part) + "\n"


def redo(
    out: Path, recipe: Recipe, data: ImageData, fingerprint: str, figures: Mapping[str, Any], notes: str = ""
) -> None:
    """Write the card of RUN/model again, with the figures, the minutes, and the newest sheet of samples."""
    model = model_folder.read(out / "model")
    sheets = sorted((out / "samples").glob("diffusion-*.png")) if model.config.diffusion else []
    batches = {"autoencoder": recipe.autoencoder.train.batch, "diffusion": recipe.diffusion.train.batch}
    minutes = minutes_of(out / "log.jsonl", batches)
    card = model_card(
        recipe, data, fingerprint, model.config, notes=notes, minutes=minutes, figures=figures, sheet=bool(sheets)
    )
    pictures = {SHEET: sheets[-1].read_bytes()} if sheets else {}
    model_folder.write(out / "model", replace(model, card=card, pictures=pictures))


def _facts(
    recipe: Recipe, data: ImageData, fingerprint: str, config: ModelConfig, minutes: Mapping[str, float]
) -> dict[str, Any]:
    a, t, size = config.autoencoder, config.trained, config.data.size
    latent = f"{a.latent_channels or a.z_channels} x {size[0] // a.factor} x {size[1] // a.factor}"
    first = f"{a.kind}, f = {a.factor}, latent {latent}"
    facts = {
        "images": f"{recipe.data_from or data.root.name}, {len(data)} for training (fingerprint {fingerprint[:12]})",
        "licence of the images": recipe.licence or "not recorded; it applies to what may be done with this model",
        "format": f"{size[0]}x{size[1]}, {config.data.channels} channels, {config.data.depth} bit",
        "recipe": f"{recipe.name}, seed {recipe.seed}",
        "first stage": f"{first}, {'begun with' if recipe.autoencoder.tune else 'of'} {recipe.autoencoder.from_}"
        if recipe.autoencoder.from_
        else first,
    }
    if "autoencoder_steps" in t:
        facts["first stage's training"] = _training(
            t["autoencoder_steps"], recipe.autoencoder.train, minutes.get("autoencoder")
        )
    if config.diffusion is not None:
        d = config.diffusion
        facts["denoiser"] = f"UNet {d.unet.channels} x {list(d.unet.multipliers)}, {d.prediction}, {d.schedule.kind}"
        facts["denoiser's training"] = _training(
            t.get("diffusion_steps", 0), recipe.diffusion.train, minutes.get("diffusion")
        )
        facts["conditions"] = ", ".join(f"{name} ({o.kind})" for name, o in d.conditioning.items()) or "none"
        s = config.sample
        facts["samples by default"] = f"{s.solver.kind}, {s.steps} steps, guidance {s.guidance:g}"
    return {**facts, "made with": f"latentry {__version__}"}


def _training(steps: int, training: Any, minutes: float | None) -> str:
    took = f", {minutes:.0f} minutes" if minutes is not None else ""
    return f"{steps} steps of {training.batch} images{took}, {training.precision}"


def _use(config: ModelConfig) -> str:
    if config.diffusion is None:
        return "```sh\nlatentry reconstruct MODEL IMAGE --out FOLDER\n```"
    kinds = {o.kind for o in config.diffusion.conditioning.values()}
    text = ' "a description"' if "text" in kinds else ""
    label = f' --label "{config.data.labels[0]}"' if "class_label" in kinds and config.data.labels else ""
    return f"```sh\nlatentry sample MODEL{text}{label} -n 4 --out FOLDER\n```"


def table(facts: Mapping[str, Any]) -> str:
    """Facts as a Markdown table."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items() if value != "")
    return f"| | |\n| --- | --- |\n{rows}"


def minutes_of(log: Path, batches: Mapping[str, int]) -> dict[str, float]:
    """Minutes of training by stage, from the speeds in `log.jsonl`: what was trained twice after a kill counts once.

    batches: images a step, by stage.
    """
    seconds: dict[str, float] = {}
    done: dict[str, int] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        with suppress(json.JSONDecodeError, KeyError):
            row = json.loads(line)
            stage, step, speed = row["stage"], row["step"], row["images_per_second"]
            seconds[stage] = seconds.get(stage, 0.0) + (step - done.get(stage, 0)) * batches[stage] / speed
            done[stage] = step
    return {stage: total / 60 for stage, total in seconds.items()}
