"""The model card: what a model was made of, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry import __version__
from latentry.data.dataset import ImageData
from latentry.train.recipe import Recipe


def model_card(recipe: Recipe, data: ImageData, fingerprint: str, trained: Mapping[str, Any], notes: str) -> str:
    """Markdown for the model folder's README.md."""
    d, a, u = data.options, recipe.autoencoder, recipe.diffusion
    facts = {
        "recipe": recipe.name,
        "images": f"{len(data)} for training, of {data.root.name} (fingerprint {fingerprint[:12]})",
        "size": f"{d.height_width[0]}x{d.height_width[1]}, {d.channels} channels, {data.depth} bit",
        "first stage": a.from_
        or f"{a.kind}, f = {a.factor}, {trained.get('autoencoder_steps', 0)} steps of {a.train.batch}",
        "diffusion": f"{u.prediction}, {trained.get('diffusion_steps', 0)} steps of {u.train.batch}",
        "conditions": ", ".join(u.conditioning) or "none",
        "made with": f"latentry {__version__}",
    }
    lines = [f"# {recipe.name}", recipe.about.strip(), table(facts)]
    if notes:
        lines.append(f"The images changed during training: {notes}.")
    lines.append("Use: `latentry sample MODEL --out FOLDER`, or `latentry.load(MODEL).sample(...)` in Python.")
    lines.append(
        "The licence of the training images applies to what may be done with this model; it is not recorded here."
    )
    return "\n\n".join(line for line in lines if line) + "\n"


def table(facts: Mapping[str, Any]) -> str:
    """Facts as a Markdown table."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"| | |\n| --- | --- |\n{rows}"
