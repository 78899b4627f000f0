"""Image files through the first stage and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from latentry.errors import UsageError
from latentry.tasks.inputs.images import crop_to_multiple, named_by_hand, read_image, refuse_folder, remarks
from latentry.tasks.options import OnCommandLine, TaskOptions
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.data.ranges.meaning import Units
    from latentry.models.model import Model


class Reconstruct(TaskOptions):
    """Options of `reconstruct`."""

    images: Annotated[tuple[Path, ...], OnCommandLine(positional=True, each=True)] = Field(
        min_length=1, description="Image files."
    )

    @property
    def count(self) -> int:
        return len(self.images)


def request(options: Reconstruct, model: Model) -> Request:
    """The images' latents, at the clean end already: nothing is left to sample.

    Each file at its own size, cropped to what fits; all must then have one size to share an output.
    """
    import torch

    from latentry.diffusion.schedule import CLEAN

    factor, latents, units = model.autoencoder.factor, [], []
    notes: tuple[str, ...] = ()
    for path in options.images:
        latent, own, said = _encoded(path, model)
        latents.append(latent)
        units += [own] if own else []
        notes += said
    if len({latent.shape for latent in latents}) > 1:
        raise UsageError(f"{len(latents)} images of different sizes into one output; reconstruct them one by one")
    size = (latents[0].shape[-2] * factor, latents[0].shape[-1] * factor)
    names = [{"name": path.stem} for path in options.images]
    return Request({}, (), size, start=(torch.cat(latents), CLEAN), facts=names, units=units, notes=notes)


def _encoded(path: Path, model: Model) -> tuple[Tensor, Units | None, tuple[str, ...]]:
    """The latents of one file, of a large one without ever holding it whole; the units it goes back to, and notes."""
    from latentry.tasks.inputs.large import opened

    factor = model.autoencoder.factor
    with opened(path, model.config.data, factor) as large:
        if large is not None:
            return model.encode_source(large), large.units, remarks(path, large.header, large.facts)
    whole = read_image(path, model.config.data)
    _check_least(path, whole.size, factor)
    return model.encode(crop_to_multiple(whole.image, factor)[None]), whole.units, whole.notes


def check(options: Reconstruct, model: Model) -> None:
    """Whether each file is an image that is large enough, by its header."""
    from latentry.data.files import images
    from latentry.tasks.inputs.large import LIMITS

    for path in options.images:
        refuse_folder(path)
        with named_by_hand():
            header = images.header(path, LIMITS)
        _check_least(path, (header.height, header.width), model.autoencoder.factor)


def _check_least(path: Path, size: tuple[int, int], factor: int) -> None:
    if min(size) < factor:
        raise UsageError(f"{path}: smaller than {factor}x{factor}, one latent of this model; give a larger image")


TASK = Task(Reconstruct, request, check=check)
