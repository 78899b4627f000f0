"""Judges: programs that say from the image alone whether a sample shows what its record says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from latentry.data.shapes import check_pairs
from latentry.errors import UsageError
from latentry.metrics import scenes, shapes


class Judge(Protocol):
    """A judge of images.

    images: those that it knows, in words. asks: what samples of a model are asked for, by the field of a sample that
    its conditions read, each by itself; "" is all conditions at once. For each the key of `score`, and its words.
    counts: how many samples of captions of training, and of those never trained on; unseen: what these are called.
    """

    images: str
    asks: Mapping[str, tuple[str, str]]
    counts: tuple[int, int]
    unseen: str

    def check(self, channels: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Raise UsageError where `score` would, for images of so many channels with these metadata records."""
        ...

    def score(self, images: Tensor, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Shares in [0, 1] by name: images (B, 3, H, W) in [0, 1]; records: one metadata record for each."""
        ...


class ShapesJudge:
    """Whether the shape and the colour are those of the record, for the procedural dataset `shapes`."""

    chance = 1 / 48
    """`shape_and_colour` of guessing; images that show nothing known are never right."""
    images = "the images that `latentry data shapes` makes"
    asks: Mapping[str, tuple[str, str]] = {"": ("shape_and_colour", "shape and colour right")}
    counts = (500, 240)
    unseen = "pairs"

    def check(self, channels: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Errors: UsageError where images are not of 3 channels, or a record names no known pair."""
        if channels != 3:
            raise UsageError(f"judge shapes: images of {channels} channels; it looks at colours, so needs 3.")
        for record in records:
            pair(record)

    def score(self, images: Tensor, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Figures `shape_and_colour` (both right), `shape`, `colour`, and `pair/red circle` (both) per pair.

        wanted: records with `colour` and `shape`, or with `pair` or `text` ("a red circle") alone. Errors: UsageError
        where their number is not that of the images, or a record names no known pair.
        """
        if len(images) != len(records) or not records:
            raise UsageError(f"judge shapes: {len(images)} images and {len(records)} records; one for each is needed.")
        self.check(images.shape[1], ())
        figures: dict[str, list[bool]] = defaultdict(list)
        for seen, record in zip(shapes.judge(images), records, strict=True):
            colour, shape = pair(record)
            both = seen == (shape, colour)
            figures["shape_and_colour"].append(both)
            figures["shape"].append(seen.shape == shape)
            figures["colour"].append(seen.colour == colour)
            figures[f"pair/{colour} {shape}"].append(both)
        return {name: sum(right) / len(right) for name, right in figures.items()}


def pair(record: Mapping[str, Any]) -> tuple[str, str]:
    """The colour and shape that a metadata record asks for; UsageError where it names no known pair."""
    words = str(record.get("pair") or record.get("text") or "").removeprefix("a ")
    if record.get("colour") and record.get("shape"):
        words = f"{record['colour']} {record['shape']}"
    check_pairs((words,))
    colour, shape = words.split(" ")
    return colour, shape


class ScenesJudge:
    """Whether an image shows every shape of the record in its colour and nothing else, for scenes of shapes."""

    images = "the scenes that `latentry data shapes --scenes` draws"
    asks: Mapping[str, tuple[str, str]] = {
        "caption": ("shape_and_colour", "captions right"),
        "label": ("label", "classes right"),
    }
    counts = (100, 100)
    unseen = "captions"

    def check(self, channels: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Errors: UsageError where images are not of 3 channels, or a record's caption is not that of a scene."""
        if channels != 3:
            raise UsageError(f"judge scenes: images of {channels} channels; it looks at colours, so needs 3.")
        for record in records:
            pairs(record)

    def score(self, images: Tensor, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Figures `shape_and_colour` (just the pairs of the caption), `shape` (just its shapes), and `label` (the
        largest shape), where records have one.

        Errors: UsageError where their number is not that of the images, and as of `check`.
        """
        if len(images) != len(records) or not records:
            raise UsageError(f"judge scenes: {len(images)} images and {len(records)} records; one for each is needed.")
        self.check(images.shape[1], ())
        figures: dict[str, list[bool]] = defaultdict(list)
        for seen, record in zip(scenes.look(images), records, strict=True):
            asked = sorted(pairs(record))
            found = sorted(f"{thing.colour} {thing.shape}" for thing in seen.things)
            figures["shape_and_colour"].append(found == asked)
            figures["shape"].append(shapes_of(found) == shapes_of(asked))
            if record.get("label"):
                largest = scenes.largest(seen)
                figures["label"].append(largest is not None and largest.shape == record["label"])
        return {name: sum(right) / len(right) for name, right in figures.items()}


def pairs(record: Mapping[str, Any]) -> list[str]:
    """The colours with shapes that a caption names, as "a red star, a blue ring and a white cross" does.

    Raises UsageError where one of them is no known pair.
    """
    parts = str(record.get("text") or "").replace(" and ", ", ").split(", ")
    found = [part.removeprefix("a ") for part in parts]
    check_pairs(found)
    return found


def shapes_of(found: Sequence[str]) -> list[str]:
    """The shapes of pairs, in order."""
    return sorted(pair.split(" ")[1] for pair in found)


JUDGES: dict[str, Judge] = {"shapes": ShapesJudge(), "scenes": ScenesJudge()}
