"""How a model reads a folder: as its run's recipe says, else as the model does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentry import config
from latentry.checkpoints.run_folder import is_run, read_recipe
from latentry.conditioning import reads_of
from latentry.data.dataset import ImageData
from latentry.data.folders.metadata.fields import OBJECTS as BOXES
from latentry.data.folders.records import known_fields, read_folder, real_root
from latentry.data.folders.select import FOLDER, are_classes
from latentry.data.options import DataOptions
from latentry.pipeline import Pipeline

FIELDS = {
    "caption": "text",
    "label": "label",
    "boxes": "boxes",
    "semantic": "semantic",
    "mask": "mask",
    "arrays": "arrays",
}
"""What conditions read of a sample, and the option of the data that says where it stands."""


def images_of(
    pipe: Pipeline,
    path: Path,
    root: Path,
    against: str,
    report: Callable[[str], None],
    options: DataOptions | None = None,
) -> ImageData:
    """A folder as the model at `path` reads it: its size, background, range, and the split of its training.

    against: `all` puts every image into the one split. options: how, instead of as the model's run says. Nothing is
    read that its conditions do not need. Raises UsageError where the folder does not fit.
    """
    options = options or _recorded(path)
    if options is None or "auto" in (options.text, options.label):
        guessed = _guessed(pipe, root)
        found = {} if options is None else {n: v for n in ("text", "label") if (v := getattr(options, n)) != "auto"}
        options = (options or guessed).model_copy(update={"text": guessed.text, "label": guessed.label, **found})
    facts = pipe.config.data
    reads = frozenset() if pipe.denoiser is None else reads_of(pipe.denoiser.named_conditioners())
    unread: dict[str, Any] = {option: None for field, option in FIELDS.items() if field not in reads}
    if "arrays" in unread:
        unread["arrays"] = ()
    changes = {**unread, "size": facts.size, "channels": facts.channels, "flip": False, "balance": None}
    if isinstance(facts.range, tuple):
        changes["range"] = facts.range
    if options.crop == "random":
        changes["crop"] = "center"
    if against == "all":
        changes |= {"held_out": 0.0, "splits": "off"}
    read = DataOptions.model_validate({**options.model_dump(), **changes})
    return ImageData(read, root, report=report, cache_bytes=0)


def _recorded(path: Path) -> DataOptions | None:
    """What the recipe of the model's run says of the data."""
    run = path if is_run(path) else path.absolute().parent
    if not is_run(run):
        return None
    return config.validate(DataOptions, read_recipe(run).get("data", {}), f"{run}: data")


def _guessed(pipe: Pipeline, root: Path) -> DataOptions:
    """By what the model says of its images, and under the usual names of fields."""
    options = pipe.config.data.options()
    records = read_folder(real_root(root)).records
    there = known_fields(records)
    label = next((field for field in ("label", FOLDER) if are_classes(records, field)), None)
    usual: dict[str, Any] = {name: name for name in ("text", "semantic", "mask") if name in there}
    named: dict[str, Any] = {**usual, "label": label, "boxes": BOXES if BOXES in there else None}
    return options.model_copy(update=named)
