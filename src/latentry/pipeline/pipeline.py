"""A loaded model: does the tasks of `TASKS`, encodes and decodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import config
from latentry.conditioning.words.prompts import Prompts
from latentry.data.files.saving import refuse_suffix
from latentry.diffusion.contracts import Step
from latentry.errors import UsageError, shown
from latentry.kinds import lookup
from latentry.models.autoencoder import Autoencoder
from latentry.models.classifier import LatentClassifier
from latentry.models.config import ModelConfig, SampleOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.models.model import Model
from latentry.models.modes import PLAIN, Mode, checked, usual
from latentry.pipeline import record as records
from latentry.pipeline.able import can, check_given
from latentry.pipeline.facts import facts
from latentry.pipeline.guides.autoguide import Autoguide, fitting, opened
from latentry.pipeline.guides.lent import lent
from latentry.pipeline.made import files_of
from latentry.pipeline.methods import BATCH, Methods
from latentry.pipeline.output import SUFFIXES, Output
from latentry.pipeline.pictures.drawing import Drawing
from latentry.pipeline.pictures.finishing import Said, by_windows, whole
from latentry.pipeline.pictures.large import refuse_many, refuse_whole
from latentry.pipeline.record import MOST_AT_ONCE, DrawnBy
from latentry.pipeline.sampling import evaluations, levels_of, solve, solver_notes
from latentry.pipeline.speed.modes import enter, settled
from latentry.tasks import TASKS, Entry, Request
from latentry.tasks.inputs.labels import towards_labels
from latentry.tasks.options import TaskOptions
from latentry.tasks.sampling import Sampling
from latentry.tasks.size import fitting_tile
from latentry.text import printable

Asked = tuple[TaskOptions, Request, SampleOptions, DrawnBy | None]


class Pipeline(Methods):
    """Both stages and how to use them.

    denoiser: None where only a first stage was trained. classifier: of noisy latents, where there is one.
    mode: how the step is computed, `auto`, or None for the usual. tell: called with what `auto` chose and why.
    """

    tell: Callable[[str], None] = staticmethod(lambda _: None)

    def __init__(
        self,
        config: ModelConfig,
        autoencoder: Autoencoder,
        denoiser: LatentDiffusion | None,
        *,
        classifier: LatentClassifier | None = None,
        model_hash: str = "",
        source: str = "",
        opened: Mapping[str, Any] | None = None,
        mode: str | Mode | None = PLAIN,
    ) -> None:
        self.config, self.autoencoder, self.denoiser, self.classifier = config, autoencoder.eval(), denoiser, classifier
        self.model_hash, self.source, self.opened = model_hash, source, dict(opened or {})
        self.mode = checked(mode)
        self._now: Mode | None = None
        if denoiser is not None:
            denoiser.eval()
        if classifier is not None:
            classifier.eval().requires_grad_(False)

    @property
    def model(self) -> Model:
        """What tasks see of it."""
        return Model(self.config, self.autoencoder, self.denoiser, self.classifier)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def to(self, device: str | torch.device) -> Pipeline:
        """Move the weights."""
        self.model.to(device)
        return self

    def check_target(self, path: Path, size: int | tuple[int, int] | None = None) -> None:
        """Raise `UsageError` for a single file's name that cannot hold this model's images, before they are drawn.

        size: of the images, (H, W) or one number, where it is asked for.
        """
        data = self.config.data
        height, width = (size, size) if isinstance(size, int) else size or data.size
        refuse_whole(path, height, width)
        if path.suffix.lower() in SUFFIXES:
            refuse_suffix(path, data.channels, data.alpha, data.units)

    def run(
        self,
        task: str,
        /,
        *,
        batch: int = BATCH,
        bf16: bool = False,
        mode: str | Mode | None = None,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Output:
        """Do a task of `TASKS` by its name; `options` are those of its class.

        batch: images worked on at once. bf16: the denoiser in bf16, everything around it in fp32. mode: how the step is
        computed, as in bf16,channels_last,compile,frozen, or `auto`; default: the pipeline's.
        progress: called with (network evaluations done, of how many).
        Raises UsageError for options that the class does not accept, and for what the model cannot do.
        """
        drawing = self.prepare(task, batch=batch, bf16=bf16, mode=mode, **options)
        latents, done = [], 0
        for part in drawing.parts:
            x = drawing.start(part)
            for step in self.walk(drawing, part):
                x, done = step.x, done + drawing.calls[step.index]
                if progress is not None:
                    progress(done, drawing.evaluations)
            latents.append(x)
        return self.finish(drawing, latents)

    def prepare(
        self, task: str, /, *, batch: int = BATCH, bf16: bool = False, mode: str | Mode | None = None, **options: Any
    ) -> Drawing:
        """All that `run` does before the first step: the options checked, files read, the latents to start from.

        Raises UsageError as `run`.
        """
        asked, request, chosen, classified = self._request(task, options)
        worse, files = self._worse(asked, chosen), files_of(asked) if isinstance(asked, Sampling) else {}
        if not 1 <= batch <= MOST_AT_ONCE:
            raise UsageError(f"batch: {shown(batch)}; must be at least 1 and at most {MOST_AT_ONCE}")
        refuse_many(request, self.config.data.channels)
        levels = levels_of(self.model, request, chosen)
        calls = tuple(evaluations(request, levels, chosen))
        parts = request.begun().parts(batch)
        now = self._settled(mode, bf16, parts[0], chosen)
        return Drawing(task, asked, request, chosen, levels, calls, parts, worse, classified, files, batch, now)

    def walk(self, drawing: Drawing, part: Request) -> Iterator[Step]:
        """The steps of one of its parts."""
        bf16, worse = drawing.mode.precision == "bf16", None if drawing.worse is None else drawing.worse.denoiser
        return solve(self.model, part, drawing.levels, drawing.chosen, bf16=bf16, worse=worse)

    def finish(self, drawing: Drawing, latents: Sequence[Tensor]) -> Output:
        """Its images, of the last latents of each of its parts."""
        if drawing.large:
            return by_windows(drawing, latents, self.model, self._said(drawing))
        return self.output(drawing, torch.cat([self.model.decode(x) for x in latents]))

    def output(self, drawing: Drawing, decoded: Tensor) -> Output:
        """Its images, of the decoded ones (B, C, H, W) of all parts, about [-1, 1]."""
        return whole(drawing, decoded, self.model, self._said(drawing))

    def _said(self, drawing: Drawing) -> Said:
        return drawing.said(self.opened, self.drawn_by(), str(self.device))

    def check(self, task: str, /, **options: Any) -> None:
        """Raise what `run` would raise for what was asked, before a network is called."""
        entry = self._check(task)
        if entry.task.check is None:
            self._request(task, options)
        else:
            entry.task.check(config.validate(entry.task.options, dict(options), entry.command), self.model)

    def again(self, picture: str | Path, **changes: Any) -> Output:
        """The picture in a file that `save` or `save_sheet` wrote, drawn again: on the same machine equal to the bit.

        changes: options of its task that are to be others. Raises UsageError for a picture without its text, and for
        one that another model drew.
        """
        record = records.read(Path(picture))
        records.check(Path(picture), record, self)
        return records.again(self, record, changes)

    def drawn_by(self) -> DrawnBy:
        """What the files of its pictures say of the model."""
        return DrawnBy(source=printable(self.source), hash=self.model_hash, **self.opened)

    def steps(
        self, text: str | Sequence[str] | None = None, *, task: str = "generate", **options: Any
    ) -> Iterator[Step]:
        """The request of `run(task, text=text, ...)`, streamed, all images at once; bf16 and mode as there.

        Each `Step` has the level reached, scaled latents x and the x0 predicted. A task that does not sample has none.
        """
        named = options if text is None else {"text": text, **options}
        drawing = self.prepare(task, batch=MOST_AT_ONCE, **named)
        return chain.from_iterable(self.walk(drawing, part) for part in drawing.parts)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a prompt that the model has no token for; it goes by the others."""
        self._check("generate")
        assert self.denoiser is not None
        prompts = [c for c in self.denoiser.conditioners.values() if isinstance(c, Prompts)]
        return list(dict.fromkeys(word for prompt in prompts for word in prompt.unknown(text)))

    def encode(self, images: Tensor, *, sample: int | None = None, tiled: bool | None = None) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] to scaled latents (B, c, h, w); a few at a time.

        The posterior's mean (KL) or the pre-quantised latent (VQ); sample=seed draws from the posterior instead.
        tiled: in windows, in little memory; None: where an image is too large for it at once. The result is the same.
        """
        self._enter()
        return self.model.encode(images, sample=sample, tiled=tiled)

    def decode(self, z: Tensor, *, tiled: bool | None = None) -> Tensor:
        """Scaled latents (B, c, h, w) to images (B, C, H, W), about [-1, 1], not clamped; a few at a time.

        tiled: as of `encode`; statistics and attention are those of the whole image.
        """
        self._enter()
        return self.model.decode(z, tiled=tiled)

    def describe(self) -> dict[str, Any]:
        """What this model is, in plain values."""
        parts: dict[str, torch.nn.Module] = {"autoencoder": self.autoencoder}
        if self.denoiser is not None:
            parts |= {"unet": self.denoiser.unet, "conditioning": self.denoiser.conditioners}
        if self.classifier is not None:
            parts["classifier"] = self.classifier
        return {
            "source": self.source,
            "hash": self.model_hash,
            **facts(self.config),
            "latent_scale": float(self.autoencoder.latent_scale),
            "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in parts.items()},
        }

    def _settled(self, mode: str | Mode | None, bf16: bool, part: Request, chosen: SampleOptions) -> Mode:
        """The mode of a request whose first images are `part`, which the networks then are in."""
        asked = self.mode if mode is None else mode
        self._now = settled(asked, bf16, self.model, part, chosen, self.tell)
        return self._now

    def _enter(self) -> None:
        """Have the networks in this pipeline's mode; of `auto`, in the one that was last found."""
        enter(self.model, self.mode if isinstance(self.mode, Mode) else self._now or usual(self.device), self.tell)

    def _check(self, task: str) -> Entry:
        """The task's entry. Raises UsageError for no task, and for one that this model cannot do."""
        entry: Entry = lookup(TASKS, task, "task")
        why_not = entry.task.why_not(self.model)
        if why_not is not None:
            raise UsageError(f"{self.source}: {why_not} {can(self.model)}")
        return entry

    def _request(self, task: str, options: Mapping[str, Any]) -> Asked:
        """The options, checked and as a request, and how it is sampled: as the model says, but for what they say.

        Last the model whose classifier guides it, where the options name one.
        """
        entry = self._check(task)
        checked = config.validate(entry.task.options, dict(options), entry.command)
        own = self.config.sample.model_dump()
        chosen = config.validate(SampleOptions, {**own, **checked.sampling()}, entry.command)
        if self.denoiser is not None and self.denoiser.prediction.regresses:
            chosen = chosen.model_copy(update={"steps": 1, "levels": "trailing"})
        tile = fitting_tile(checked.tile, checked.overlap, self.model) if isinstance(checked, Sampling) else None
        model, classified = self._classified(checked)
        request = entry.task.request(checked, model)
        if isinstance(checked, Sampling):
            check_given(self.model, request.values)
            request = towards_labels(request, checked, chosen.classifier_scale, model)
        notes = request.notes + solver_notes(self.config.distilled is not None, chosen)
        return checked, replace(request, tile=tile or request.tile, notes=notes), chosen, classified

    def _classified(self, options: TaskOptions) -> tuple[Model, DrawnBy | None]:
        """The model, with the classifier of another where the options name one, and which that is."""
        given = options.classifier if isinstance(options, Sampling) else None
        if given is None:
            return self.model, None
        named = (given.model, given.drawn_by()) if isinstance(given, Pipeline) else given
        classifier, drawn_by = lent(named, self.model)
        return replace(self.model, classifier=classifier), drawn_by

    def _worse(self, options: TaskOptions, chosen: SampleOptions) -> Autoguide | None:
        """The second model of autoguidance, where the options name one."""
        given = options.autoguide if isinstance(options, Sampling) else None
        if given is None:
            return None
        named = (given.model, given.drawn_by()) if isinstance(given, Pipeline) else opened(given)
        return fitting(*named, self.model, chosen.guidance)
