"""Image files to the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentry.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from latentry.data.files.header import Array, Header
    from latentry.data.ranges.meaning import Units
    from latentry.models.config import DataFacts


@dataclass(frozen=True)
class GivenImage:
    """An image file as a model takes it.

    image: (C, H, W) fp32 in [-1, 1], with the model's channels, at its own size. units: what it goes back to; None: as
    the model says. own: what the file's numbers mean by their type otherwise, so that a result is saved with the bits
    its input has. notes: what of the file the image does not have, and how it was read.
    """

    image: Tensor
    units: Units | None
    own: Units
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.image.shape[1], self.image.shape[2]


def read_image(path: Path, facts: DataFacts) -> GivenImage:
    """A file for a model of these facts.

    Raises UsageError for what is no image, for channels that cannot become the model's, and for values that it knows
    no range of.
    """
    import torch

    from latentry.data.files import images
    from latentry.data.ranges.meaning import OWN, Units

    refuse_folder(path)
    with named_by_hand():
        header, array = images.decode(path, facts.options().limits)
    fitted, units = for_model(path, header, array, facts)
    image = torch.from_numpy(fitted.transpose(2, 0, 1).copy())
    own = units or Units(*OWN[header.dtype], header.dtype)
    return GivenImage(image, units, own, remarks(path, header, facts))


def remarks(path: Path, header: Header, facts: DataFacts) -> tuple[str, ...]:
    """What is said of a file that is read for a model: frames and transparency that are not used, colours converted."""
    said = replace(header, palette=False).notes
    if header.alpha and header.channels != facts.channels:
        said += (f"transparency: laid over {facts.background}, as in training",)
    return tuple(f"{path}: {note}" for note in said)


def refuse_folder(path: Path) -> None:
    """Raise UsageError for a folder in place of an image."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name image files, as in {path}/*.png")


@contextmanager
def named_by_hand() -> Iterator[None]:
    """A file that cannot be read is the mistake of who named it: raises UsageError in place of BadImage."""
    from latentry.data.files.header import BadImage

    try:
        yield
    except BadImage as error:
        raise UsageError(f"{error}; accepted: an image file. Name another.") from None


def for_model(path: Path, header: Header, array: Array, facts: DataFacts) -> tuple[NDArray[Any], Units | None]:
    """A file's own values (H, W, C) as `read_image` gives them, channels last."""
    from latentry.data import prepare
    from latentry.data.files.header import BadValues
    from latentry.data.ranges.meaning import Units, meaning
    from latentry.data.sample import to_float

    options = facts.options()
    problem = prepare.mismatch(header, options)
    if problem:
        raise UsageError(f"{path}: {problem}; the model takes {facts.channels}. Convert the file first.")
    try:
        array, mapped = meaning(str(path), header, array, options)
    except BadValues as error:
        takes = (
            "8 or 16 bits from 0, or float in 0..1" if facts.units is None else f"finite values, {facts.units.range}"
        )
        raise UsageError(f"{path}: {error.reason}; the model takes {takes}. Convert the file first.") from None
    fitted = to_float(prepare.fit_channels(array, header, options))
    return fitted, facts.units or (Units(*mapped, header.dtype) if mapped else None)


def crop_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """The largest centred part of (C, H, W) whose sides are multiples of `multiple`."""
    height, width = (side // multiple * multiple for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
