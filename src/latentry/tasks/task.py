"""What a task is: options in, a request to the sampler out, and what is left to do with the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.data.ranges.meaning import Units
    from latentry.diffusion.contracts import Denoise
    from latentry.diffusion.masking import Solve
    from latentry.diffusion.schedule import Level
    from latentry.models.editing import PromptEdit
    from latentry.models.model import Model
    from latentry.nn.tiled.plane import Source
    from latentry.tasks.options import TaskOptions

OptionsOf = TypeVar("OptionsOf", bound="TaskOptions")


@dataclass(frozen=True)
class PerImage:
    """A wrap of denoisers that holds a tensor for each image: make(tensors (B, ...)) is the wrap for these B images."""

    make: Callable[[Tensor], Callable[[Denoise], Denoise]]
    tensors: Tensor

    def __call__(self, denoise: Denoise) -> Denoise:
        return self.make(self.tensors)(denoise)

    def rows(self, rows: slice) -> PerImage:
        """The same for some of the images."""
        return PerImage(self.make, self.tensors[rows])


@dataclass(frozen=True)
class Request:
    """What is to be drawn, for every image at once.

    values: for each condition one value an image. seeds: one an image; none for images that need no noise.
    size: (H, W) in pixels.
    start: the scaled latents (B, c, h, w) to begin from and their level, of which the solver visits those below; at the
    clean end they are the result and nothing is sampled. A level of None: the first there is. None: pure noise, from
    the first level down. begin: of latents that a network has yet to make, for the seeds; `begun` asks it for them,
    once everything else has been checked.
    wrap: applied in order around the guided denoiser; what is to be clipped is clipped after the last. Images are drawn
    in batches: a wrap that holds something for each image, such as its mask, is a `PerImage`. walk: makes the solver
    that is used of the chosen one. passes: how often it takes each step, down or up.
    back: the decoded images (B, C, H, W), about [-1, 1], to those of the result, where they are not it already.
    by_windows: the same of an image too large to be held whole: (its number, the decoded image) to that of the result;
    None: `back` needs it whole.
    facts: for each image, further facts for its file; `name` is what the file is called.
    units: for each image, what it is saved in; none: as the model says. notes: lines that a person should see.
    edit: images then stand in pairs of one seed, an original and its edit, which are drawn together.
    tile: side and overlap, in latent pixels, of the tiles in which the network sees the latent; None: whole.
    """

    values: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    size: tuple[int, int]
    start: tuple[Tensor, Level | None] | None = None
    begin: tuple[Callable[[], Tensor], Level | None] | None = None
    wrap: tuple[Callable[[Denoise], Denoise], ...] = ()
    walk: Callable[[Solve], Solve] | None = None
    passes: int = 1
    back: Callable[[Tensor], Tensor] | None = None
    by_windows: Callable[[int, Source], Source] | None = None
    facts: Sequence[Mapping[str, str]] = ()
    units: Sequence[Units] = ()
    edit: PromptEdit | None = None
    notes: tuple[str, ...] = ()
    tile: tuple[int, int] | None = None

    @property
    def count(self) -> int:
        """How many images."""
        return len(self.seeds) if self.start is None else len(self.start[0])

    def begun(self) -> Request:
        """With its `start`."""
        return self if self.begin is None else replace(self, start=(self.begin[0](), self.begin[1]), begin=None)

    def parts(self, batch: int) -> list[Request]:
        """The request in parts of at most `batch` images, or pairs of them, in order."""
        size = batch if self.edit is None else 2 * batch
        return [self.rows(slice(first, first + size)) for first in range(0, self.count, size)]

    def originals(self) -> Request:
        """The originals of an edit alone, as without it."""
        return replace(self.rows(slice(None, None, 2)), edit=None)

    def rows(self, rows: slice) -> Request:
        """Some of the images."""
        return replace(
            self,
            values={name: list(values)[rows] for name, values in self.values.items()},
            seeds=list(self.seeds)[rows],
            start=None if self.start is None else (self.start[0][rows], self.start[1]),
            facts=list(self.facts)[rows],
            units=list(self.units)[rows],
            wrap=tuple(wrap.rows(rows) if isinstance(wrap, PerImage) else wrap for wrap in self.wrap),
        )


def _always(model: Model) -> str | None:
    return None


def _back(images: Tensor, request: Request) -> Tensor:
    return images if request.back is None else request.back(images)


@dataclass(frozen=True)
class Task(Generic[OptionsOf]):
    """What a model can do, apart from how it is computed.

    options: the class of its options: those of the command line, the keywords of the Python call.
    request: checked options and the model -> what is to be drawn. Raises UsageError for what this model cannot do.
    why_not: why a model cannot do it at all; None where it can.
    finish: (decoded images (B, C, H, W), about [-1, 1], on the CPU, request) -> the images of the result.
    gives: the kind of the condition that it makes of its file, for models that have one.
    check: raises what `request` would without the networks, where `request` needs them; None: `request` does not.
    """

    options: type[OptionsOf]
    request: Callable[[OptionsOf, Model], Request]
    why_not: Callable[[Model], str | None] = _always
    finish: Callable[[Tensor, Request], Tensor] = _back
    gives: str | None = None
    check: Callable[[OptionsOf, Model], None] | None = None
