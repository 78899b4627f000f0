"""The models that are served: what clients may know of them, and the few that are in memory."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from latentry.conditioning.words.prompts import Prompts
from latentry.conditioning.words.tokenizer import clean
from latentry.data.files.limits import Limits
from latentry.errors import UsageError, did_you_mean, shown
from latentry.models.modes.packed import expect_any_rows
from latentry.pipeline import Pipeline
from latentry.pipeline.able import able
from latentry.serve.engine.sharing import share
from latentry.serve.engine.takes import takes
from latentry.tasks import TASKS
from latentry.tasks.inputs.window import multiple_of

Load = Callable[[], Pipeline]
TOLD = ("version", "conditions", "labels", "size", "channels", "depth", "factor", "sample", "hash")


@dataclass(frozen=True)
class Facts:
    """Of one model. told: for anyone. tasks: those that it can. words: how many tokens a prompt has, if it reads any.

    limits: of the pixels of images that it takes. alpha: its images have transparency.
    """

    told: Mapping[str, Any]
    tasks: tuple[str, ...]
    conditions: tuple[str, ...]
    labels: tuple[str, ...]
    factor: int
    alpha: bool
    limits: Limits
    words: Callable[[str], int] | None


def facts_of(pipe: Pipeline) -> Facts:
    """What an open model says of itself, without where it lies."""
    described = pipe.describe()
    commands = able(pipe.model)
    tasks = tuple(name for name, entry in TASKS.items() if entry.command in commands)
    data, classifier = pipe.config.data, pipe.classifier
    conditioners = {} if pipe.denoiser is None else pipe.denoiser.named_conditioners()
    prompts = next((one for one in conditioners.values() if isinstance(one, Prompts)), None)
    labels = data.labels if classifier is None else classifier.options.names
    names = (*conditioners, *(("label",) if classifier is not None and "label" not in conditioners else ()))
    alpha = data.channels in (2, 4) and data.alpha
    further = {"alpha": alpha, "multiple": multiple_of(pipe.model), "takes": takes(pipe, tuple(map(str, labels)))}
    return Facts(
        {**{name: described[name] for name in TOLD if name in described}, "tasks": list(tasks), **further},
        tasks,
        names,
        tuple(map(str, labels)) if "label" in names else (),
        pipe.autoencoder.factor,
        alpha,
        data.options().limits,
        None if prompts is None else lambda text: sum(prompts.tokenizer.encode(clean(text)).attention_mask),
    )


class Models:
    """Models by name, at most `keep` of them in memory, and more only while more are drawing.

    All are opened once at the beginning, so that what cannot be opened is told then. aliases: other names of them.
    """

    def __init__(self, named: Mapping[str, Load], keep: int, aliases: Mapping[str, str] | None = None) -> None:
        self.named, self.keep, self.aliases = dict(named), keep, dict(aliases or {})
        self.loads = 0
        self._open: OrderedDict[str, Pipeline] = OrderedDict()
        self._used = Counter[str]()
        self.facts = {name: facts_of(self.get(name)) for name in self.named}

    @property
    def default(self) -> str:
        """The first. Raises UsageError where there is none."""
        if not self.named:
            raise UsageError("model: none is served, trainings alone are watched. Start the server with a model.")
        return next(iter(self.named))

    @property
    def opened(self) -> list[str]:
        """Those in memory, the one used last at the end."""
        return list(self._open)

    def name_of(self, asked: object) -> str:
        """The name of a model, of another name for it, of None. Raises UsageError."""
        if asked is None:
            return self.default
        name = self.aliases.get(asked, asked) if isinstance(asked, str) else ""
        if name not in self.named:
            known = ", ".join(self.named)
            raise UsageError(f'model: no "{shown(asked)}"; known: {known}{did_you_mean(asked, self.named)}')
        return str(name)

    def has_room(self, name: str) -> bool:
        """Whether it is in memory, or can be without one that is drawing having to go."""
        return name in self._open or len(+self._used) < self.keep

    def get(self, name: str) -> Pipeline:
        """The model, opened if it is not; for that the one goes that was not used for longest and is not drawing."""
        if name not in self._open:
            for other in [other for other in self._open if not self._used[other]][
                : max(0, len(self._open) + 1 - self.keep)
            ]:
                del self._open[other]
            pipe = self.named[name]()
            pipe.source = name  # no answer and no picture tells where it lies
            expect_any_rows(pipe.autoencoder)
            if pipe.denoiser is not None:
                share(pipe.denoiser.unet)
                for network in (pipe.denoiser.unet, pipe.denoiser.conditioners, pipe.denoiser.projections):
                    expect_any_rows(network)
            self._open[name], self.loads = pipe, self.loads + 1
            if pipe.device.type == "cuda":
                torch.cuda.empty_cache()
        self._open.move_to_end(name)
        return self._open[name]

    def use(self, name: str) -> Pipeline:
        """The model, which stays until `leave`."""
        pipe = self.get(name)
        self._used[name] += 1
        return pipe

    def leave(self, name: str) -> None:
        """It may go, as far as this user is concerned."""
        self._used[name] -= 1
