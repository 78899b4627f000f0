"""Which part of a sample each kind of conditioner is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from latentry.kinds import KindOptions, lookup


def _label(data: ImageData, index: int, _: float) -> str:
    return data.labels[data.label(index)]


def _text(data: ImageData, index: int, pick: float) -> str:
    return data.text(index, pick)


VALUES: dict[str, Callable[[ImageData, int, float], Any]] = {"class_label": _label, "text": _text}


def values_of(options: KindOptions, data: ImageData, indices: Sequence[int], picks: Sequence[float]) -> list[Any]:
    """One value for each image; picks choose among several captions of an image."""
    value = lookup(VALUES, options.kind, "conditioner")
    return [value(data, i, pick) for i, pick in zip(indices, picks, strict=True)]


def check_fields(name: str, options: KindOptions, data: ImageData) -> None:
    """Raise UsageError if the data has nothing for this conditioner, or nothing there is ever given to its kind."""
    if options.kind not in VALUES:
        raise UsageError(
            f"diffusion.conditioning.{name}: nothing in a folder of images is given to {options.kind} yet; "
            f"known: {', '.join(VALUES)}. Import a published model that has it, or train by one of these."
        )
    if options.kind == "class_label" and not data.labels:
        raise UsageError(
            f"diffusion.conditioning.{name}: the data has no labels; set data.label to a metadata field or `folder`"
        )
    if options.kind == "text" and data.options.text is None:
        raise UsageError(f"diffusion.conditioning.{name}: the data has no captions; set data.text to a metadata field")
