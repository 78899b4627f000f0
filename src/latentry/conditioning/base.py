"""What every conditioner is: values in, a `Cond` out, and a null of the same shapes."""

from __future__ import annotations

import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentry.conditioning.cond import Cond, where
from latentry.data.sample import Sample
from latentry.kinds import Kind, KindOptions
from latentry.rng import generator


@dataclass(frozen=True)
class BuildContext:
    """What a conditioner may need beside its options.

    labels: the names of the training data's labels, by number. captions: its texts. labelled: called for the same
    texts, each with the number of its image's label; none where there are no labels.
    objects: called for the names of the classes of each image's boxes. maps: called for (path, map of classes) of
    images, an even sample of very many.
    files: the text files a saved conditioner left (`Conditioner.files`); they win over labels and captions. Files and
    captions together mean that training begins from another model: a vocabulary of whole words is extended by those of
    the captions. A resume passes files alone, since its weights have a row for each word that there was.
    encode: images (B, C, H, W) in [-1, 1] to latents without scale, for conditions that pass through the first stage;
    its weights are where the conditioner is. image_channels: C of these images, where it is known.
    factor: how many times smaller than the image the first stage's latent is, and latent_channels: how many channels
    it has, where they are known.
    report: called with one line for what a person should know, for example how many captions were cut.
    """

    labels: Sequence[str] = ()
    captions: Sequence[str] = ()
    labelled: Callable[[], Iterable[tuple[str, int]]] = tuple
    objects: Callable[[], Iterable[Sequence[str]]] = tuple
    maps: Callable[[], Iterable[tuple[str, NDArray[np.int64]]]] = tuple
    files: Mapping[str, str] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] | None = None
    image_channels: int | None = None
    factor: int | None = None
    latent_channels: int | None = None
    report: Callable[[str], None] = logging.getLogger("latentry").info


class Conditioner(nn.Module, ABC):
    """Turns values (labels, texts, ...) into a `Cond`.

    reads: which fields of a sample (`FIELDS`) its value in training is made of; empty: no folder of images can train
    it yet. may_read: further ones that it uses where the data carries them.
    remedy: what to do where training `needs` nothing by its options.
    options: complete, so that options and `files` build the same conditioner again without the data.
    has_null: whether it can be absent; one without is never dropped in training, and its `null` is a `UsageError`.
    context_width, vector_width, concat_channels: what its `Cond` brings to the denoiser; None or 0 for nothing.
    shrinks: how many times smaller than the image what it concatenates is; None where values of that size are given.
    guesses_from: the name of another condition, from whose values it guesses those that are left out (`guessed`).
    """

    reads: ClassVar[frozenset[str]]
    may_read: ClassVar[frozenset[str]] = frozenset()
    remedy: ClassVar[str] = "Import a published model that has it"
    options: KindOptions
    has_null: bool = True
    guesses_from: str | None = None
    context_width: int | None = None
    vector_width: int | None = None
    concat_channels: int = 0
    shrinks: int | None = None

    def __init__(self) -> None:
        super().__init__()
        # It has no numbers, is not saved, and moves with `.to`: so those without weights know where the model is. On
        # the CPU even where modules are built on `meta`, since no file has anything to fill it with.
        self.register_buffer("anchor", torch.empty(0, device="cpu"), persistent=False)

    @classmethod
    def needs(cls, options: KindOptions) -> frozenset[str]:
        """What training by these options needs of a sample; empty: no folder of images can train it yet."""
        return cls.reads

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        """The options by which the condition `name` of a model is trained on other images.

        Without what those say themselves, and with what lets any image be trained on. factor: of the first stage.
        """
        return options.model_dump()

    @property
    def device(self) -> torch.device:
        """Where the model is, and where `encode` and `null` make their tensors."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

    @abstractmethod
    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        """The condition of B values; None among them stands for the null. Errors: `UsageError` for a bad value."""

    @abstractmethod
    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> Any:
        """What training feeds `encode` for a sample: plain or a numpy array, made without weights, in a loader worker.

        rng: makes this sample's own generator. Errors: `UsageError` for a sample that cannot be used.
        """

    def asked(self, value: Any, size: tuple[int, int]) -> Any:
        """A value as a person gives it for an image of `size` (H, W), as `encode` takes it.

        Errors: `UsageError` for what cannot be drawn, before anything is computed.
        """
        return value

    def null(self, batch: int, values: Sequence[Any] | Tensor | None = None) -> Cond:
        """The condition that says nothing, with the shapes of `encode`, for `batch` images.

        values: those that `encode` would take; needed by conditioners whose shapes come with them (`Arrays`).
        """
        return self.encode([None] * batch)

    def dropped(self, values: Sequence[Any] | Tensor, keep: Tensor) -> Cond:
        """As `encode`, with the null, where there is one, for the images where keep (B,) is False."""
        kept = self.encode(values)
        if not self.has_null:
            return kept
        null = self.null(1, values[:1])
        return where(keep, kept, null.map(lambda part: part.expand(len(keep), *part.shape[1:])))

    def absent(self, batch: int, size: tuple[int, int]) -> Cond:
        """The null where no values give it its shape. size: (h, w) of the latent."""
        return self.null(batch)

    def guessed(self, values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """The values, with guesses in place of None. others: the values of `guesses_from`."""
        return list(values)

    def files(self) -> dict[str, str]:
        """Text files, by name, that must be kept beside the weights."""
        return {}


@dataclass(frozen=True)
class ConditionerKind(Kind):
    """One entry of `CONDITIONERS`. conditioner: the class that `build` makes."""

    conditioner: type[Conditioner]

    def needs(self, options: KindOptions) -> frozenset[str]:
        """Which fields of a sample training by it needs: known before anything is built."""
        return self.conditioner.needs(options)


@dataclass(frozen=True)
class Blend:
    """A value between two values of a condition. share: of the last; 0 is the first, 1 the last."""

    first: Any
    last: Any
    share: float


def encoded(conditioner: Conditioner, values: Sequence[Any] | Tensor) -> Cond:
    """The condition of B values; that of a `Blend` lies on the straight line between those of its ends."""
    if isinstance(values, Tensor) or not any(isinstance(value, Blend) for value in values):
        return conditioner.encode(values)
    first, last = conditioner.encode(ends(values)), conditioner.encode(ends(values, "last")).parts()
    share = torch.tensor([getattr(value, "share", 0.0) for value in values], device=conditioner.device)  # (B,)

    def between(name: str, part: Tensor) -> Tensor:
        if part.dtype == torch.bool:
            return part | last[name]
        return part.lerp(last[name], share.to(part).view(-1, *[1] * (part.ndim - 1)))

    return Cond(**{name: between(name, part) for name, part in first.parts().items()})


def ends(values: Sequence[Any] | Tensor, which: str = "first") -> Sequence[Any] | Tensor:
    """The values, with the first or the last end in place of each `Blend`."""
    if isinstance(values, Tensor):
        return values
    return [getattr(value, which) if isinstance(value, Blend) else value for value in values]


def reads_of(conditioners: Mapping[str, Conditioner]) -> frozenset[str]:
    """Every field of a sample that some of the conditioners read, where it is there."""
    return frozenset().union(*(c.reads | c.may_read for c in conditioners.values()))


def values_of(conditioners: Mapping[str, Conditioner], seed: int, sample: Sample) -> dict[str, Any]:
    """What training feeds each conditioner for a sample; what is drawn depends on seed, name and position alone."""
    return {
        name: conditioner.value(sample, partial(generator, seed, f"condition {name}", sample.position))
        for name, conditioner in conditioners.items()
    }
