"""The classes that a classifier tells apart: of which field, their names, and the number of each image's."""

from __future__ import annotations

from pathlib import Path

from latentry import config
from latentry.checkpoints.store import Store
from latentry.data.dataset import ImageData
from latentry.data.folders.records import known_fields
from latentry.data.folders.select import label_names, label_numbers, value_of
from latentry.errors import UsageError, did_you_mean, shown
from latentry.models.classifier import ClassifierOptions
from latentry.models.config import ModelConfig
from latentry.training.recipe.classifier import ClassifierSection
from latentry.training.recipe.recipe import Recipe

NAME = "classifier"
NAMED = 5


def settle_classifier(recipe: Recipe, data: ImageData, out: Path) -> ClassifierOptions | None:
    """The classifier that a recipe asks for, with the names of its classes: as a checkpoint has them, else the data's.

    None where it asks for none. Raises UsageError for images without classes, and for new ones on a resume.
    """
    found = classes_of(recipe, data)
    if found is None:
        return None
    section, field, names = found
    saved = Store(out / NAME, report=lambda _: None).newest()
    if saved is not None:
        known = config.validate(ModelConfig, saved.state["model"], str(saved.path)).classifier
        assert known is not None
        new = [name for name in names if name not in known.names]
        if new:
            raise UsageError(
                f"{data.root}: classes {', '.join(map(shown, new[:NAMED]))} are new; the classifier was begun with "
                f"{', '.join(map(shown, known.names[:NAMED]))}. Take these images out, or choose another --out."
            )
        return known
    _check_several(field, names)
    return ClassifierOptions(**{**section.architecture().model_dump(), "field": field, "names": names})


def check_classes(recipe: Recipe, data: ImageData) -> None:
    """Raise UsageError for images that have no classes for the classifier of a recipe, where it has one."""
    found = classes_of(recipe, data)
    if found is not None:
        _check_several(*found[1:])


def classes_of(recipe: Recipe, data: ImageData) -> tuple[ClassifierSection, str, tuple[str, ...]] | None:
    """The section of a recipe, the field of its classes, and their names; None where it has no classifier."""
    section = recipe.section(NAME)
    if not isinstance(section, ClassifierSection):
        return None
    field = section.field or data.options.label
    if field is None:
        raise UsageError(
            "classifier: the data has no labels; set data.label to a metadata field or `folder`, or classifier.field"
        )
    return section, field, _names(data, field)


def _check_several(field: str, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise UsageError(
            f'classifier: every image has the {field} "{shown(names[0])}"; a classifier needs two classes or more. '
            "Choose another classifier.field, or take the section out."
        )


def numbers_of(options: ClassifierOptions, data: ImageData) -> list[int]:
    """The number of the class of each image of a split."""
    return label_numbers(data.records, options.field, options.names)


def _names(data: ImageData, field: str) -> tuple[str, ...]:
    """In order. Raises UsageError for a field that no image, or not every one has."""
    records = data.source.records
    without = [record.path for record in records if value_of(record, field) is None]
    if len(without) == len(records):
        fields = known_fields(list(records))
        have = ", ".join(map(shown, fields)) or "none"
        raise UsageError(
            f'classifier.field: no image has a field "{shown(field)}"; fields: {have}{did_you_mean(field, fields)}. '
            "Name one of them, or `folder` for classes by folder."
        )
    if without:
        first = ", ".join(map(shown, without[:NAMED]))
        raise UsageError(
            f"classifier.field: {len(without)} images have no {field}: {first}. Give them one or leave them out."
        )
    return tuple(label_names(records, field))
