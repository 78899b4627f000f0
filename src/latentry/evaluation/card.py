"""The model card: what a model was made of, how, how good it is, and how it is used."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from latentry import __version__, text
from latentry.checkpoints import model_folder
from latentry.checkpoints.run_folder import MODEL
from latentry.errors import UsageError
from latentry.models.config import Distilled, ModelConfig

SHEET = "samples.png"
SHOWN = 30  # labels
UNSAFE = re.compile(r'["$`\\!]|^-')
"""In a name between quotes of a shell: whoever copies the command would run it."""


@dataclass(frozen=True)
class About:
    """What a card says of a model that its config does not.

    text: of the recipe, in its author's words. images: which, and how many. notes: what changed in the images during
    training. data_read: what their captions, names and splits were taken from. first_stage: where it comes from, in
    words, if it was not trained here from nothing.
    batches, precisions, rates: of each stage's training; the rates in words.
    """

    name: str
    seed: int
    images: str
    text: str = ""
    licence: str = ""
    notes: str = ""
    values: str = ""
    data_read: str = ""
    first_stage: str = ""
    batches: Mapping[str, int] = field(default_factory=dict)
    precisions: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, str] = field(default_factory=dict)


def model_card(
    config: ModelConfig,
    about: About,
    *,
    minutes: Mapping[str, float] | None = None,
    figures: Mapping[str, Any] | None = None,
    sheet: bool = False,
) -> str:
    """Markdown for the model folder's README.md.

    minutes: of training, by stage. figures: measured at the end. sheet: whether `samples.png` lies beside it.
    """
    parts = [f"# {_line(about.name)}", text.printable(about.text.strip())]
    if sheet:
        parts.append(f"![samples]({SHEET})")
    parts.append(table(_facts(config, about, minutes or {})))
    if about.notes:
        parts.append(f"The images changed during training: {_line(about.notes)}.")
    if config.data.labels and config.diffusion is not None:
        more = ", ..." if len(config.data.labels) > SHOWN else ""
        parts.append(f"Classes: {', '.join(map(_line, config.data.labels[:SHOWN]))}{more}.")
    if figures:
        parts += ["## Figures", table(figures)]
    parts += ["## Use", _use(config)]
    limits = "It draws only what its training images show, at about their size, and may repeat some of them."
    parts += ["## Limits", limits]
    return "\n\n".join(part for part in parts if part) + "\n"


def update_card(run: Path, about: About, figures: Mapping[str, Any]) -> None:
    """Write the card of RUN/model again if anything of it is new: figures, minutes, the newest sheet of samples."""
    model = model_folder.read(run / MODEL, weights=False)
    stage = "diffusion" if model.config.distilled is None else "distill"
    sheets = sorted((run / "samples").glob(f"{stage}-*.png")) if model.config.diffusion else []
    minutes = minutes_of(run / "log.jsonl", about.batches)
    card = model_card(model.config, about, minutes=minutes, figures=figures, sheet=bool(sheets))
    pictures = {SHEET: sheets[-1].read_bytes()} if sheets else {}
    there = {name: (run / MODEL / name).read_bytes() for name in pictures if (run / MODEL / name).is_file()}
    if card != model.card or pictures != there:
        model_folder.write(run / MODEL, replace(model_folder.read(run / MODEL), card=card, pictures=pictures))


def _facts(config: ModelConfig, about: About, minutes: Mapping[str, float]) -> dict[str, Any]:
    a, size = config.autoencoder, config.data.size
    latent = f"{a.latent_channels or a.z_channels} x {size[0] // a.factor} x {size[1] // a.factor}"
    first = f"{a.kind}, f = {a.factor}, latent {latent}"
    facts = {
        "images": about.images,
        "how they were read": about.data_read,
        "licence of the images": about.licence or "not recorded; it applies to what may be done with this model",
        "format": f"{size[0]}x{size[1]}, {config.data.channels} channels, {config.data.depth} bit",
        "values": "; ".join(filter(None, (_values(config), about.values))),
        "recipe": f"{about.name}, seed {about.seed}",
        "first stage": f"{first}, {about.first_stage}" if about.first_stage else first,
    }
    if "autoencoder_steps" in config.trained:
        facts["first stage's training"] = _training("autoencoder", config, about, minutes)
        facts["first stage's learning rate"] = about.rates.get("autoencoder", "")
    if config.diffusion is not None:
        d, s = config.diffusion, config.sample
        facts["denoiser"] = f"UNet {d.unet.channels} x {list(d.unet.multipliers)}, {d.prediction}, {d.schedule.kind}"
        if config.distilled is None or "diffusion_steps" in config.trained:
            facts["denoiser's training"] = _training("diffusion", config, about, minutes)
            facts["denoiser's learning rate"] = about.rates.get("diffusion", "")
        facts["conditions"] = ", ".join(f"{name} ({o.kind})" for name, o in d.conditioning.items()) or "none"
        if config.distilled is not None:
            facts["distilled from"] = _distilled(config.distilled)
            facts["distillation"] = _training("distill", config, about, minutes)
            facts["distillation's learning rate"] = about.rates.get("distill", "")
        facts["samples by default"] = f"{s.solver.kind}, {s.steps} evaluations, guidance {s.guidance:g}"
    if config.classifier is not None:
        c = config.classifier
        facts["classifier"] = f"half UNet {c.channels} x {list(c.multipliers)}, {len(c.names)} classes of {c.field}"
        facts["classifier's training"] = _training("classifier", config, about, minutes)
        facts["classifier's learning rate"] = about.rates.get("classifier", "")
    return {**facts, "made with": f"latentry {__version__}"}


def _values(config: ModelConfig) -> str:
    """What black and white of the model are in the images; empty where it is the whole of 8 or 16 bits."""
    data = config.data
    if data.units is not None:
        return f"{data.units} is black to white; samples are saved in these units"
    if data.range == "file":
        return "of each image its own percentiles are black to white; samples have no units"
    return ""


def _distilled(of: Distilled) -> str:
    made_of = f"{of.name} ({of.hash})" if of.hash else f"{of.name} itself"
    folded = "" if of.guidance == 1 else f", with guidance {of.guidance:g} folded in, so that sampling adds none"
    return f"{made_of} by consistency tuning{folded}"


def _training(stage: str, config: ModelConfig, about: About, minutes: Mapping[str, float]) -> str:
    steps, took = config.trained.get(f"{stage}_steps", 0), f", {minutes[stage]:.0f} minutes" if stage in minutes else ""
    return f"{steps} steps of {about.batches[stage]} images{took}, {about.precisions[stage]}"


def _use(config: ModelConfig) -> str:
    if config.diffusion is None:
        return "```sh\nlatentry reconstruct MODEL IMAGE --out FOLDER\n```"
    kinds = {o.kind for o in config.diffusion.conditioning.values()}
    text = ' "a description"' if "text" in kinds else ""
    label = f" --label {_quoted(config.data.labels[0])}" if "class_label" in kinds and config.data.labels else ""
    if config.classifier is not None:
        label = f" --label {_quoted(config.classifier.names[0])} --classifier-scale 3"
    return f"```sh\nlatentry sample MODEL{text}{label} -n 4 --out FOLDER\n```"


def _quoted(word: str) -> str:
    """A word as a shell takes it, whatever is in it."""
    plain = word.isprintable() and not UNSAFE.search(word)
    return f'"{word}"' if plain else shlex.quote(word)


def table(facts: Mapping[str, Any]) -> str:
    """Facts as a Markdown table."""
    rows = "\n".join(f"| {_line(key)} | {_cell(value)} |" for key, value in facts.items() if value != "")
    return f"| | |\n| --- | --- |\n{rows}"


def _line(words: object) -> str:
    """What a person wrote, or a file is called, as one line that a text file can hold."""
    plain = text.printable(" ".join(str(words).split()))
    return plain if plain.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in plain)


def _cell(value: object) -> str:
    return _line(value).replace("|", "\\|")


def minutes_of(log: Path, batches: Mapping[str, int]) -> dict[str, float]:
    """Minutes of training by stage, from the speeds in `log.jsonl`: what was trained twice after a kill counts once.

    batches: images a step, by stage.
    """
    seconds: dict[str, float] = {}
    done: dict[str, int] = {}
    for line in _lines(log):
        with suppress(ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError):  # it may be damaged
            row = json.loads(line)
            stage, step, speed = row["stage"], row["step"], row["images_per_second"]
            seconds[stage] = seconds.get(stage, 0.0) + (step - done.get(stage, 0)) * batches[stage] / speed
            done[stage] = step
    return {stage: total / 60 for stage, total in seconds.items()}


def _lines(log: Path) -> list[bytes]:
    try:
        return text.read_bytes(log, 2**30 - 1).splitlines()
    except UsageError:
        return []
