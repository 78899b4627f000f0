"""From the last latents of a request, or the images decoded of them, to what `run` gives back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from latentry.data.ranges.meaning import Units
from latentry.models.model import Model
from latentry.pipeline.images import to_unit
from latentry.pipeline.made import Made
from latentry.pipeline.output import Output
from latentry.pipeline.pictures.drawing import Drawing
from latentry.pipeline.pictures.large import LargeOutput, pictures_of
from latentry.pipeline.pictures.layouts import told
from latentry.tasks import TASKS

Said = tuple[list[dict[str, str]], Made | None]
"""What the files of the images say: `Drawing.said`."""


def whole(drawing: Drawing, decoded: Tensor, model: Model, said: Said) -> Output:
    """The images of decoded ones (B, C, H, W) of all parts, about [-1, 1]."""
    request, data, (facts, made) = drawing.request, model.config.data, said
    images = to_unit(TASKS[drawing.task].task.finish(decoded, request))
    together, layouts = 1 if request.edit is None else 2, told(model.denoiser, request.values)
    units = _units(drawing, data.units)
    return Output(images, data.depth, facts, units, data.alpha, made, together, request.notes, layouts)


def by_windows(drawing: Drawing, latents: Sequence[Tensor], model: Model, said: Said) -> LargeOutput:
    """The images of the last latents of each part, decoded as they are written."""
    request, data, (facts, made) = drawing.request, model.config.data, said
    pictures, units = pictures_of(model.autoencoder, latents, request), _units(drawing, data.units)
    return LargeOutput(pictures, request.size, data.depth, facts, units, data.alpha, made, request.notes)


def _units(drawing: Drawing, own: Units | None) -> Sequence[Units]:
    return drawing.request.units or ([own] * drawing.request.count if own else ())
