"""The conditions of a run: their options complete, their tokenizers trained, their names and fields checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from typing import Any, NamedTuple

from torch import nn

from latentry import config, text
from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning import CONDITIONERS, BuildContext
from latentry.data.dataset import ImageData
from latentry.devices import without_weights
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.models.build import build_conditioners, named_files
from latentry.models.config import DiffusionOptions, ModelConfig
from latentry.pipeline import Pipeline
from latentry.tasks import TASKS
from latentry.tasks.sampling import CONDITIONS, Sampling
from latentry.training.plan.sources import Sources
from latentry.training.recipe.recipe import Recipe
from latentry.training.stages.warm_start import files_to_keep

LACKING = {
    "label": ("labels", "data.label to a metadata field or `folder`"),
    "caption": ("captions", "data.text to a metadata field"),
    "boxes": ("boxes", "data.boxes to a metadata field, such as `objects`"),
    "semantic": ("semantic maps", "data.semantic to a metadata field that names their files"),
    "mask": ("masks", "data.mask to a metadata field that names their files, or `masks: boxes` to draw some"),
    "arrays": ("arrays", "data.arrays to metadata fields that name .npy files"),
}
"""What is missing of a sample, and the key that would bring it."""


class Conditions(NamedTuple):
    """options: of the second stage, those of each condition complete. texts: their further files, such as tokenizers.
    labels: the names of the classes, by number."""

    options: DiffusionOptions
    texts: Mapping[str, str]
    labels: tuple[str, ...]


def settle_conditions(recipe: Recipe, data: ImageData, sources: Sources, report: Callable[[str], None]) -> Conditions:
    """What the conditions of these images are: as a checkpoint has them, else built from the images and the first
    stage's architecture.

    Raises UsageError for names and kinds that cannot be, and for images that lack what a condition needs.
    """
    options, first = recipe.diffusion.architecture(), sources.architecture(recipe)
    check_names(data.labels)
    if sources.taken is not None:
        return _of_taken(sources.taken, data)
    if sources.saved is not None:
        model = config.validate(ModelConfig, sources.saved.state["model"], str(sources.saved.path))
        assert model.diffusion is not None
        labels = _labels_kept(model.data.labels, options.conditioning.values(), data)
        return Conditions(model.diffusion, sources.saved.state["texts"], labels)
    for name, kind in options.conditioning.items():
        if not name.isidentifier() or name in taken() or hasattr(nn.ModuleDict(), name):
            raise UsageError(
                f'diffusion.conditioning: "{name}" cannot be the name of a condition; call it "text" or "label", say'
            )
        check_fields(name, kind, data)
    files = {} if sources.second is None else files_to_keep(sources.second, options)
    context = BuildContext(
        tuple(data.labels),
        data.captions(),
        data.labelled_captions,
        objects=data.objects,
        maps=data.maps,
        files=files,
        image_channels=data.options.channels,
        factor=first.factor,
        latent_channels=first.latent_channels or first.z_channels,
        report=report,
    )
    with without_weights():
        conditioners = build_conditioners(options, dict.fromkeys(options.conditioning, context))
    complete: dict[str, Any] = {name: conditioner.options for name, conditioner in conditioners.items()}
    texts = named_files(conditioners)
    return Conditions(options.model_copy(update={"conditioning": complete}), texts, tuple(data.labels))


def _of_taken(model: ModelFolder, data: ImageData) -> Conditions:
    """The conditions of a second stage that is taken as it is. Raises UsageError for images that lack them."""
    options = model.config.diffusion
    assert options is not None
    for name, kind in options.conditioning.items():
        check_fields(name, kind, data)
    return Conditions(options, model.texts, _labels_kept(model.config.data.labels, options.conditioning.values(), data))


def check_names(labels: Iterable[str]) -> None:
    """Raise UsageError for a class whose name no text file can hold, so that its model could not be written."""
    for label in labels:
        if label != text.printable(label):
            raise UsageError(
                f'data.label: the class "{text.printable(label)}" has a name that is not UTF-8, which no text file can '
                "hold, so the model could not be written. Rename its folder, or the label in the metadata."
            )


def taken() -> set[str]:
    """Names that no condition can have: those of other options of tasks that sample from conditions, and of
    `Pipeline.run`. Tasks that must be given more, such as a file, know their own conditions."""
    tasks = [entry.task.options for entry in TASKS.values() if issubclass(entry.task.options, Sampling)]
    free = [task for task in tasks if not any(field.is_required() for field in task.model_fields.values())]
    options = {name for task in free for name in task.model_fields}
    return (options | set(signature(Pipeline.run).parameters)) - set(CONDITIONS)


def check_fields(name: str, options: KindOptions, data: ImageData) -> None:
    """Raise UsageError if the data lacks what this condition reads, or nothing in a folder is given to its kind."""
    nothing = f"diffusion.conditioning.{name}: nothing in a folder of images is given to {options.kind}"
    needs = CONDITIONERS[options.kind].needs(options)
    if not needs:
        known = ", ".join(kind for kind, entry in CONDITIONERS.items() if entry.conditioner.reads)
        remedy = CONDITIONERS[options.kind].conditioner.remedy
        raise UsageError(f"{nothing} yet; known: {known}. {remedy}, or train by another of these.")
    for field in sorted(needs - data.carries):
        what, key = LACKING[field]
        raise UsageError(f"{nothing}: the data has no {what}; set {key}")


def _labels_kept(known: tuple[str, ...], conditioners: Iterable[KindOptions], data: ImageData) -> tuple[str, ...]:
    """The label names of a saved model, by number: they stay so, also where images came or went since.

    Raises UsageError if the images have new labels and a conditioner would need them.
    """
    new = [label for label in data.labels if label not in known]
    if new and any("label" in CONDITIONERS[o.kind].needs(o) for o in conditioners):
        raise UsageError(
            f"{data.root}: labels {', '.join(new)} are new; the model was begun with {', '.join(known)}. "
            "Take these images out, or choose another --out."
        )
    return known
