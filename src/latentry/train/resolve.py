"""Settle what a recipe leaves to the folder: `data.text: auto`, `data.label: auto`, `conditioning: auto`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentry import config
from latentry.data.folder import Record, known_fields, read_records, real_root
from latentry.data.select import FOLDER, value_of
from latentry.train.recipe import Recipe, dump

AUTO = "auto"


def resolve(recipe: Recipe, root: Path) -> Recipe:
    """The recipe with every `auto` of data and conditioning replaced by what the folder has.

    Captions (`text` in metadata.jsonl) make it text-conditional, else labels (metadata, subfolders) class-conditional.
    """
    if AUTO not in (recipe.data.text, recipe.data.label, recipe.diffusion.conditioning):
        return recipe
    tree = dump(recipe)
    records = read_records(real_root(root))
    fields = known_fields(records)
    if recipe.data.text == AUTO:
        tree["data"]["text"] = "text" if fields.get("text") else None
    if recipe.data.label == AUTO:
        tree["data"]["label"] = _label_field(records, fields)
    if recipe.diffusion.conditioning == AUTO:
        tree["diffusion"]["conditioning"] = _conditioning(tree["data"], recipe.diffusion.unet.channels)
    return config.validate(Recipe, tree, f"recipe {recipe.name}")


def _label_field(records: list[Record], fields: dict[str, int]) -> str | None:
    if fields.get("label"):
        return "label"
    folders = {value_of(record, FOLDER) for record in records}
    return FOLDER if len(folders) > 1 and None not in folders else None


def _conditioning(data: dict[str, Any], width: int) -> dict[str, Any]:
    if data["text"]:
        return {"text": {"kind": "text", "width": 2 * width}}
    if data["label"]:
        return {"label": {"kind": "class_label", "via": "vector"}}
    return {}
