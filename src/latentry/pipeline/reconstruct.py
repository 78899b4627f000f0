"""Image files through the first stage and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from latentry import __version__
from latentry.errors import UsageError
from latentry.pipeline.images import crop_to_multiple, read_image, to_unit
from latentry.pipeline.output import Output

if TYPE_CHECKING:
    from latentry.pipeline.pipeline import Pipeline


def reconstruct(pipe: Pipeline, paths: Sequence[str | Path]) -> Output:
    """Encode and decode each file at its own size; all must then have one size to share an `Output`."""
    facts, images = pipe.config.data, []
    factor = pipe.autoencoder.factor
    for path in paths:
        image = crop_to_multiple(read_image(Path(path), facts), factor)
        if 0 in image.shape:
            raise UsageError(f"{path}: smaller than {factor}x{factor}, one latent of this model; give a larger image")
        images.append(to_unit(pipe.decode(pipe.encode(image[None]))))
    if len({image.shape for image in images}) > 1:
        raise UsageError(f"{len(paths)} images of different sizes into one output; reconstruct them one by one")
    common = {"model": pipe.model_hash, "software": f"latentry {__version__}"}
    return Output(torch.cat(images), facts.depth, [{"name": Path(p).stem, **common} for p in paths])
