"""What is measured together: the same thing in every mode, of both programs, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from latentry.bench import training
from latentry.bench.options import BenchOptions
from latentry.bench.subject import Size, Subject
from latentry.bench.their_training import update, why_no_training
from latentry.bench.theirs import NAME as DIFFUSERS
from latentry.bench.theirs import Theirs
from latentry.devices import computes_bf16
from latentry.models.modes import PLAIN, Mode, usual

OURS = "latentry"
UPDATE = 3
"""An update is about so many evaluations: forwards, and twice as much backwards."""
Work = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """mode: how it runs. make: prepares it, and gives what is timed."""

    by: str
    mode: Mode
    make: Callable[[], Work]


@dataclass(frozen=True)
class Group:
    """what, batch, size, steps, images: as of `Row`. effort: images times pixels times evaluations, to reckon with.

    counted: one call for one image, eager and in fp32, whose FLOPs are those of an image; None: they are not counted.
    """

    what: str
    batch: int
    size: Size
    steps: int | None
    images: int
    contenders: tuple[Contender, ...]
    effort: float
    counted: Callable[[], Work] | None = None

    @property
    def name(self) -> str:
        """What a person reads while it is measured."""
        steps = f", {self.steps} steps" if self.steps else ""
        images = f", {self.images} images" if self.images != self.batch else ""
        return f"{self.what} at batch {self.batch}, {self.size[0]}x{self.size[1]}{steps}{images}"


def groups(options: BenchOptions, subject: Subject, theirs: Theirs | None) -> Iterator[Group]:
    """In the order of their use to a person whose budget ends before them."""
    sizes = options.size or (subject.size,)
    pairs = [(batch, size) for size in sizes for batch in options.batch]
    modes = modes_of(options, subject)
    trained = dict.fromkeys(mode.but(frozen=False) for mode in modes)
    wanted, drawing = options.parts, subject.pipe.denoiser is not None
    if "step" in wanted and drawing:
        yield from (_step(modes, subject, theirs, *pair) for pair in pairs)
    if "decode" in wanted:
        around = list(dict.fromkeys(mode.but(precision="fp32", compile=False) for mode in modes))
        yield from (_decode(around, subject, theirs, *pair) for pair in pairs)
    if "samples" in wanted and drawing:
        for steps in options.steps or (subject.steps,):
            for batch, size in pairs:
                for images in options.images or (batch,):
                    yield _samples(modes, subject, theirs, batch, size, steps, images)
    if "training" in wanted:
        for stage in training.trains(subject):
            compared = stage == "diffusion" and not why_no_training(subject)
            other = theirs if compared else None
            yield from (_update(mode, subject, other, stage, *pair) for pair in pairs for mode in trained)


def modes_of(options: BenchOptions, subject: Subject) -> list[Mode]:
    """Those that are asked for; else the plain one, the usual one of the device, and that in bf16 if it has it."""
    if options.modes:
        return [Mode.parse(mode) for mode in options.modes]
    own = usual(subject.device)
    half = (own.but(precision="bf16"),) if computes_bf16(subject.device) else ()
    return list(dict.fromkeys((PLAIN, own, *half)))


def nearest(modes: Sequence[Mode]) -> list[Mode]:
    """Those of the modes that diffusers has."""
    return list(dict.fromkeys(Theirs.nearest(mode) for mode in modes))


def _step(modes: Sequence[Mode], subject: Subject, theirs: Theirs | None, batch: int, size: Size) -> Group:
    ours = [Contender(OURS, mode, partial(subject.step, batch, size, mode)) for mode in modes]
    other = [Contender(DIFFUSERS, m, partial(theirs.step, batch, size, m)) for m in nearest(modes)] if theirs else []
    one = partial(subject.step, 1, size, PLAIN)
    return Group("step", batch, size, None, batch, (*ours, *other), _effort(batch, size), one)


def _decode(modes: Sequence[Mode], subject: Subject, theirs: Theirs | None, batch: int, size: Size) -> Group:
    """modes: in fp32, as decoding is."""
    ours = [Contender(OURS, mode, partial(subject.decode, batch, size, mode)) for mode in modes]
    other = [Contender(DIFFUSERS, m, partial(theirs.decode, batch, size, m)) for m in nearest(modes)] if theirs else []
    one = partial(subject.decode, 1, size, PLAIN)
    return Group("decode", batch, size, None, batch, (*ours, *other), _effort(batch, size), one)


def _samples(
    modes: Sequence[Mode], subject: Subject, theirs: Theirs | None, batch: int, size: Size, steps: int, images: int
) -> Group:
    of = (batch, size)
    ours = [Contender(OURS, m, partial(subject.samples, *of, m, steps, images)) for m in modes]
    other = []
    if theirs is not None and not theirs.why_no_samples():
        other = [Contender(DIFFUSERS, m, partial(theirs.samples, *of, m, steps, images)) for m in nearest(modes)]
    return Group("samples", *of, steps, images, (*ours, *other), _effort(images, size) * steps)


def _update(mode: Mode, subject: Subject, theirs: Theirs | None, stage: str, batch: int, size: Size) -> Group:
    """Each mode by itself: two copies of a network with its optimiser could be too large together."""
    ours = Contender(OURS, mode, partial(training.update, subject, stage, batch, size, mode))
    other = () if theirs is None else (Contender(DIFFUSERS, mode, partial(update, theirs, batch, size, mode)),)
    one = partial(training.update, subject, stage, 1, size, PLAIN)
    return Group(f"training {stage}", batch, size, None, batch, (ours, *other), UPDATE * _effort(batch, size), one)


def _effort(images: int, size: Size) -> float:
    return float(images * size[0] * size[1])
