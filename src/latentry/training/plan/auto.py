"""Settle what a recipe leaves to the folder: `auto` for captions, classes, conditions and channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentry.data.folders.channels import channels_of
from latentry.data.folders.metadata.fields import OBJECTS as BOXES
from latentry.data.folders.record import Record
from latentry.data.folders.records import read_folder, real_root
from latentry.data.folders.select import FOLDER, are_classes, selected, value_of
from latentry.data.options import AUTO_CHANNELS
from latentry.errors import UsageError
from latentry.models.config import AutoencoderOptions
from latentry.pipeline.foreign import read_model
from latentry.training.plan.recipes import Recipe, dump, validated

AUTO = "auto"
OPEN = ("text", "label", "boxes")
"""Fields of the data that may be left to the folder."""


def _silent(_: str) -> None:
    return None


def resolve(recipe: Recipe, root: Path, report: Callable[[str], None] = _silent) -> Recipe:
    """The recipe with every `auto` of data and conditioning replaced by what the folder has.

    Captions (`text` in the metadata, NAME.txt beside images) make it text-conditional, else labels (metadata,
    subfolders) class-conditional. report: called with a line or two about what there is.
    """
    if AUTO not in (*(getattr(recipe.data, field) for field in OPEN), recipe.diffusion.conditioning):
        return _with_channels(recipe, root, None, report)
    tree = dump(recipe)
    records = _records(recipe, root)
    if recipe.data.text == AUTO:
        tree["data"]["text"] = "text" if any(value_of(r, "text") for r in records) else None
    if recipe.data.label == AUTO:
        tree["data"]["label"] = next((f for f in ("label", FOLDER) if are_classes(records, f)), None)
    if recipe.data.boxes == AUTO:
        tree["data"]["boxes"] = BOXES if any(value_of(r, BOXES) is not None for r in records) else None
    if recipe.diffusion.conditioning == AUTO:
        tree["diffusion"]["conditioning"] = _conditioning(tree)
    settled = validated(tree, f"recipe {recipe.name}")
    fields = ", ".join(f"{name} ({tree['data'][name]})" for name in OPEN if tree["data"][name])
    conditions = ", ".join(tree["diffusion"]["conditioning"]) or "nothing"
    report(f"data: {len(records)} images with {fields or 'neither captions nor classes'}; conditioned on {conditions}")
    return _with_channels(settled, root, records, report)


def _records(recipe: Recipe, root: Path) -> list[Record]:
    return selected(read_folder(real_root(root), recipe.data).records, recipe.data)


def _with_channels(recipe: Recipe, root: Path, records: list[Record] | None, report: Callable[[str], None]) -> Recipe:
    """The recipe with `data.channels: auto` replaced: those of a model to begin with, what all images have, or 3.

    Raises UsageError for images that such a model would lose colours or bands of; grey ones become what it takes.
    """
    if recipe.data.channels != AUTO_CHANNELS:
        return recipe
    root = real_root(root)
    channels, why = channels_of(root, records if records is not None else _records(recipe, root), recipe.data)
    if source := recipe.autoencoder.from_ or recipe.diffusion.from_:
        taken = read_model(Path(source)).config.data.channels
        if channels not in (1, taken):
            raise UsageError(
                f"data.channels: auto is {channels}, {why}, and {source} is made for {taken}. "
                f"Set data.channels={taken} to turn the images into such, or begin with another model."
            )
        channels, why = taken, f"as {source} has"
    report(f"data.channels: {channels}, {why}")
    tree = dump(recipe)
    tree["data"]["channels"] = channels
    return validated(tree, f"recipe {recipe.name}")


def _conditioning(tree: dict[str, Any]) -> dict[str, Any]:
    """The conditions of a recipe whose data are settled: captions before classes, each as the recipe may say.

    Besides them layouts and maps, where the recipe's data has boxes and semantic maps.
    """
    data, diffusion = tree["data"], tree["diffusion"]
    width = 2 * diffusion["unet"]["channels"]
    ordinary = {
        "text": {"kind": "text", "width": width},
        "label": {"kind": "class_label", "via": "vector"},
    }
    name = next((name for name in ordinary if data[name]), None)
    chosen = {} if name is None else {name: diffusion["auto"].get(name, ordinary[name])}
    if data["boxes"]:
        chosen["layout"] = {"kind": "layout", "width": width, "layers": 4}
    if data["semantic"]:
        chosen["semantic"] = {"kind": "semantic", "classes": "auto", "stages": _factor(tree).bit_length() - 1}
    return chosen


def _factor(tree: dict[str, Any]) -> int:
    """How many times smaller than the image the latent is, of a first stage that the recipe describes itself."""
    options = {key: tree["autoencoder"][key] for key in AutoencoderOptions.model_fields}
    return AutoencoderOptions(**options).factor
