"""Settle what a recipe leaves to the folder: `data.text: auto`, `data.label: auto`, `conditioning: auto`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentry.data.folders.records import Record, read_records, real_root
from latentry.data.folders.select import FOLDER, selected, value_of
from latentry.training.plan.recipes import Recipe, dump, validated

AUTO = "auto"


def _silent(_: str) -> None:
    return None


def resolve(recipe: Recipe, root: Path, report: Callable[[str], None] = _silent) -> Recipe:
    """The recipe with every `auto` of data and conditioning replaced by what the folder has.

    Captions (`text` in metadata.jsonl) make it text-conditional, else labels (metadata, subfolders) class-conditional.
    report: called with one line about what there is.
    """
    if AUTO not in (recipe.data.text, recipe.data.label, recipe.diffusion.conditioning):
        return recipe
    tree = dump(recipe)
    records = selected(read_records(real_root(root)), recipe.data)
    if recipe.data.text == AUTO:
        tree["data"]["text"] = "text" if any(value_of(r, "text") for r in records) else None
    if recipe.data.label == AUTO:
        tree["data"]["label"] = next((f for f in ("label", FOLDER) if _are_classes(records, f)), None)
    if recipe.diffusion.conditioning == AUTO:
        tree["diffusion"]["conditioning"] = _conditioning(tree["data"], recipe.diffusion.unet.channels)
    settled = validated(tree, f"recipe {recipe.name}")
    fields = ", ".join(f"{name} ({tree['data'][name]})" for name in ("text", "label") if tree["data"][name])
    conditions = ", ".join(tree["diffusion"]["conditioning"]) or "nothing"
    report(f"data: {len(records)} images with {fields or 'neither captions nor classes'}; conditioned on {conditions}")
    return settled


def _are_classes(records: list[Record], field: str) -> bool:
    """Whether every image has this field, and its values are several but not one an image."""
    values = {str(value_of(record, field)) for record in records if value_of(record, field) is not None}
    complete = all(value_of(record, field) is not None for record in records)
    return complete and 1 < len(values) <= max(2, len(records) // 2)


def _conditioning(data: dict[str, Any], width: int) -> dict[str, Any]:
    if data["text"]:
        return {"text": {"kind": "text", "width": 2 * width}}
    if data["label"]:
        return {"label": {"kind": "class_label", "via": "vector"}}
    return {}
