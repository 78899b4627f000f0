"""Image files to the tensors that a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from latentry.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.models.config import DataFacts


def read_image(path: Path, facts: DataFacts) -> Tensor:
    """A file as (C, H, W) fp32 in [-1, 1], with the model's channels, at its own size.

    Raises UsageError for channels that cannot become the model's.
    """
    import torch

    from latentry.data import prepare
    from latentry.data.files import images
    from latentry.data.options import DataOptions
    from latentry.data.sample import to_float

    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name image files, as in {path}/*.png")
    options = DataOptions(channels=facts.channels, background=facts.background, depth=facts.depth)
    header, array = images.picture(path, options.limits)
    problem = prepare.mismatch(header, options)
    if problem:
        raise UsageError(f"{path}: {problem}; the model takes {facts.channels}. Convert the file first.")
    fitted = to_float(prepare.fit_channels(array, header, options))
    return torch.from_numpy(fitted.transpose(2, 0, 1).copy())


def crop_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """The largest centred part of (C, H, W) whose sides are multiples of `multiple`."""
    height, width = (side // multiple * multiple for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
