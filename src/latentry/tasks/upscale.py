"""An image several times as large: super-resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from latentry.bounds import LARGEST_SIDE, MOST_IMAGES
from latentry.errors import UsageError
from latentry.tasks.inputs.images import read_image
from latentry.tasks.options import Between, OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.size import Size, fitting_size
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.models.config import DataFacts
    from latentry.models.model import Model
    from latentry.nn.tiled.plane import Source

WHOLE = 2
"""How many times the side of the training images is drawn at once; what is larger is drawn in tiles of that side."""


class Upscale(Sampling):
    """Options of `upscale`."""

    images: Annotated[tuple[Path, ...], OnCommandLine(positional=True, each=True)] = Field(
        min_length=1, max_length=MOST_IMAGES, description="Image files, of any size."
    )
    text: Any = Field(None, description="What the images show, for models with text.")
    n: Annotated[int, Between(1, "ask for at least one image", MOST_IMAGES), OnCommandLine(flags=("-n", "--count"))] = (
        Field(1, description="How many versions of each image.")
    )
    size: Annotated[Size, OnCommandLine(metavar="HxW")] = Field(
        None, description="Size of the result, at most what the model makes of the image, which is the default."
    )
    tile: int | None = Field(
        None,
        ge=1,
        le=LARGEST_SIDE,
        description="Side in pixels of tiles to denoise in; default: of training, for results over twice as large.",
    )
    match_input: bool | None = Field(
        None,
        description="Correct the result until it shrinks to the image; default: for models of bicubic inputs.",
    )

    @property
    def count(self) -> int:
        return self.n * max(len(self.images), *map(len, self.conditions().values()), 1)


def request(options: Upscale, model: Model) -> Request:
    """Each file at its own size as the low-resolution image; in Python all must have one size to share an output."""
    from latentry.models.bind import mirrored

    name, factor, folded, fixed = low_resolution(model)
    values, seeds = _values_and_seeds(options, model)
    if name in values:
        raise UsageError(f"{name}: is the image of the file here; leave it out")
    facts = model.config.data
    read = [read_image(path, facts) for path in options.images]
    sizes = {picture.size for picture in read}
    if len(sizes) > 1:
        raise UsageError(f"{len(read)} images of different sizes into one output; upscale them one by one")
    ((height, width),) = sizes
    padded = [mirrored(picture.image[None], folded)[0] for picture in read]
    drawn = fitting_size((padded[0].shape[1] * factor, padded[0].shape[2] * factor), model)
    whole = (height * factor, width * factor)
    size = _fitting(options.size, (height, width), factor, options.images[0])
    grey = all(_is_grey(path, facts) for path in options.images)
    match = fixed if options.match_input is None else options.match_input
    same = drawn == whole == (size or whole) and not grey
    back = Back(
        whole, size or whole, grey, factor, _spread([picture.image for picture in read], options) if match else []
    )
    assert model.denoiser is not None  # or `why_not` has refused
    return Request(
        {**model.denoiser.guessed(values), name: _spread(padded, options)},
        seeds,
        drawn,
        facts=[
            _facts(path, seed, options.n) for path, seed in zip(_spread(options.images, options), seeds, strict=True)
        ],
        units=_spread([picture.own for picture in read], options),
        notes=tuple(note for picture in read for note in picture.notes),
        tile=_tile(drawn, model),
        back=back if match or not same else None,
        by_windows=back.by_windows if match and same else None,
    )


def why_not(model: Model) -> str | None:
    """Why a model cannot upscale; None where it has one condition that is a low-resolution image."""
    if problem := no_denoiser(model):
        return problem
    assert model.denoiser is not None
    kinds = {name: conditioner.options.kind for name, conditioner in model.denoiser.named_conditioners().items()}
    low = [name for name, kind in kinds.items() if kind == "image"]
    if len(low) == 1:
        return None
    if low:
        return f"takes several images of low resolution, {', '.join(low)}; give each to `sample` in Python."
    takes = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    able = f"its conditions are {takes}" if takes else "it draws without conditions"
    return f"takes no image of low resolution, so it cannot upscale; {able}: use `sample`. Train with {{kind: image}}."


class Low(NamedTuple):
    """The low-resolution image. factor: how many times it is enlarged. folded: what its sides must be multiples of.

    fixed: whether it was made in training, and always by the same, bicubic shrinking.
    """

    name: str
    factor: int
    folded: int
    fixed: bool


def low_resolution(model: Model) -> Low:
    """That of a model that can upscale."""
    from latentry.conditioning.image import Image

    assert model.denoiser is not None
    named = model.denoiser.named_conditioners().items()
    ((name, image),) = ((name, conditioner) for name, conditioner in named if isinstance(conditioner, Image))
    made = image.options.factor
    fixed = made is not None and image.options.degradation in (None, "bicubic")
    return Low(name, made or model.autoencoder.factor, image.folded, fixed)


def _values_and_seeds(options: Upscale, model: Model) -> tuple[dict[str, list[Any]], list[int]]:
    """As of every task that samples, of as many images as there are files, `n` of each."""
    values, _ = values_and_seeds(options, model)
    given, files = max((len(each) for each in options.conditions().values()), default=1), len(options.images)
    if 1 not in (given, files) and given != files:
        raise UsageError(f"{given} values of a condition for {files} images; give one, or as many")
    spread = {name: each * (options.count // len(each)) for name, each in values.items()}
    return spread, [options.seed + i for i in range(options.count)]


def _spread(values: Sequence[Any], options: Upscale) -> list[Any]:
    """What there is of each file, for each image that is drawn."""
    most = options.count // options.n
    return [values[i % len(values)] for i in range(most) for _ in range(options.n)]


def _facts(path: Path, seed: int, n: int) -> dict[str, str]:
    """The file is called as the image it was made of."""
    return {"name": path.stem if n == 1 else f"{path.stem}-seed-{seed}", "image": path.name}


def _is_grey(path: Path, facts: DataFacts) -> bool:
    """Whether it is a grey file, and the model one of colours."""
    from latentry.data.files import images

    header = images.header(path, facts.options().limits)
    return facts.channels == 3 and header.channels - header.alpha == 1


def _tile(size: tuple[int, int], model: Model) -> tuple[int, int] | None:
    """Side and overlap in latents of the tiles that an image of `size` is drawn in."""
    side = max(model.config.data.size)
    if max(size) <= WHOLE * side:
        return None
    return side // model.autoencoder.factor, side // model.autoencoder.factor // 4


def _fitting(asked: Any, given: tuple[int, int], factor: int, path: Path) -> tuple[int, int] | None:
    """The size (H, W) that was asked for. Raises UsageError where it is none between the image's and `factor` times."""
    if asked is None:
        return None
    size: tuple[int, int] = (asked, asked) if isinstance(asked, int) else asked
    most = (given[0] * factor, given[1] * factor)
    can = f"this model makes it up to {factor} times as large, {most[0]}x{most[1]}"
    of = f"size: {size[0]}x{size[1]} of {path.name}, which is {given[0]}x{given[1]}"
    if size[0] < given[0] or size[1] < given[1]:
        raise UsageError(f"{of}, larger than asked for; {can}. Ask for a larger size, or leave it out")
    if size[0] > most[0] or size[1] > most[1]:
        raise UsageError(f"{of}; {can}. Ask for at most that, and upscale the result again")
    if abs(size[0] * given[1] - size[1] * given[0]) > max(given):
        near = (size[0], round(size[0] * given[1] / given[0]))
        raise UsageError(f"{of}, is of another shape; ask for {near[0]}x{near[1]}, say")
    return size


@dataclass(frozen=True)
class Back:
    """From decoded images (B, C, H, W) to those of the result: without what they were continued by, matched to the
    image, shrunk to the size asked for, grey if it was.

    images: (C, h, w) for each, which `factor` times as large are `whole`; none: nothing is matched.
    """

    whole: tuple[int, int]
    size: tuple[int, int]
    grey: bool
    factor: int
    images: Sequence[Tensor]

    def __call__(self, decoded: Tensor) -> Tensor:
        import torch.nn.functional as F

        from latentry.tasks.inputs.match import matched

        decoded = decoded[..., : self.whole[0], : self.whole[1]]
        if self.images:
            decoded = matched(decoded, self.images, self.factor)
        if self.size != self.whole:
            decoded = F.interpolate(decoded, self.size, mode="bicubic", align_corners=False, antialias=True)
        return decoded.mean(1, keepdim=True) if self.grey else decoded

    def by_windows(self, number: int, decoded: Source) -> Source:
        """The same of one image that is decoded as it is read, where it is only matched."""
        from latentry.tasks.inputs.match import Matched

        return Matched(decoded, self.images[number], self.factor)


TASK = Task(Upscale, request, why_not=why_not, gives="image")
