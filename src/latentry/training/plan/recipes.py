"""Recipes read and checked: by name or path, with the section of every stage of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import create_model

from latentry import config
from latentry.errors import UsageError
from latentry.pipeline.foreign import read_model
from latentry.training.recipe.distilling import distilling
from latentry.training.recipe.files import names, plain, read, read_text, zoo
from latentry.training.recipe.further import further
from latentry.training.recipe.recipe import Recipe, dump
from latentry.training.stages import STAGES

__all__ = [
    "Recipe",
    "dump",
    "load",
    "names",
    "of_model",
    "plain",
    "read",
    "read_text",
    "recipe_class",
    "to_distill",
    "validated",
    "zoo",
]


def load(name: str, overrides: Sequence[str] | Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name or path, apply dotted overrides, and check all of it.

    Raises UsageError with every error of the recipe at once, before any data is touched.
    """
    tree = config.override(read(name), list(overrides) if isinstance(overrides, Sequence) else overrides or [])
    if tree.get("extends") is not None:
        raise UsageError(f"recipe {name}: extends: stands in the file and cannot be changed. Write a file that has it.")
    return validated(tree, f"recipe {name}")


def recipe_class() -> type[Recipe]:
    """`Recipe` with a section, absent by default, for each further stage of the table."""
    further: dict[str, Any] = {n: (k.options | None, None) for n, k in STAGES.items() if n not in Recipe.model_fields}
    return create_model("Recipe", __base__=Recipe, **further) if further else Recipe


def of_model(path: Path) -> dict[str, Any]:
    """The recipe, as plain data that validates, that trains a model further. Raises UsageError for one that cannot be.

    path: a model folder, a run, a checkpoint beside its config, or a folder of diffusers.
    """
    tree = further(read_model(path), str(path.resolve()))
    validated(tree, f"recipe from {path}")
    return tree


def to_distill(
    path: Path, trained_by: Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any] | None = None
) -> Recipe:
    """The recipe that distills the model at `path`, with dotted overrides. trained_by: as of `distilling`.

    Raises UsageError for a model that cannot be, and with every error of the overrides.
    """
    tree = distilling(read_model(path), str(path.resolve()), trained_by)
    changed = config.override(tree, list(overrides) if isinstance(overrides, Sequence) else overrides or [])
    return validated(changed, f"recipe to distill {path}")


def validated(tree: Any, where: str) -> Recipe:
    """The recipe that plain data states. where: at the head of errors. Raises UsageError with all there are."""
    return config.validate(recipe_class(), tree, where)
