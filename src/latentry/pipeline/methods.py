"""The tasks of a pipeline as methods, each a line over `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentry.kinds import KindOptions
from latentry.models.modes import Mode
from latentry.pipeline.output import Output
from latentry.tasks.generate import GUIDE_SCALE

BATCH = 16


class Methods(ABC):
    """What a pipeline can be asked by name; `run` does it."""

    @abstractmethod
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
        """Do a task of `TASKS`."""

    def sample(
        self,
        text: str | Sequence[str] | None = None,
        *,
        n: int = 1,
        steps: int | None = None,
        solver: str | KindOptions | Mapping[str, Any] | None = None,
        levels: str | None = None,
        guidance: float | None = None,
        guidance_interval: tuple[float, float] | str | None = None,
        guidance_rescale: float | None = None,
        classifier_scale: float | None = None,
        autoguide: str | Path | Methods | None = None,
        classifier: str | Path | Methods | None = None,
        clip: bool | None = None,
        reuse: int | None = None,
        seed: int = 0,
        size: int | tuple[int, int] | str | None = None,
        guide: str | Path | Sequence[str | Path] | None = None,
        guide_scale: float = GUIDE_SCALE,
        guide_loss: str = "pixels",
        tile: int | None = None,
        overlap: int | None = None,
        batch: int = BATCH,
        bf16: bool = False,
        mode: str | Mode | None = None,
        progress: Callable[[int, int], None] | None = None,
        **conditions: Any,
    ) -> Output:
        """Draw `n` images of each text (or label=, or whatever else the model takes): the task `generate`.

        steps, solver, levels, guidance, clip: default to the model's own. solver: a name, or with its options, such as
        {"kind": "ddim", "eta": 1}. levels: how noise levels are chosen. guidance: 1 is none; more follows the condition
        more, at times in guidance_interval, with the contrast of samples without it by guidance_rescale; autoguide: a
        worse model that it leads away from. classifier_scale: of the guidance to label= by the model's classifier, or
        that of another model, classifier.
        guide: image files that samples are to look like. clip: hold every predicted x0 inside [-1, 1] (models of
        pixels). size: (H, W) in pixels or one number, a multiple of f. tile, overlap: in pixels, of tiles to denoise
        in, for sizes far beyond training. Image i has seed + i, whatever `n` and `batch` are. reuse: deep features
        serve so many evaluations; faster, other images. batch, bf16, mode, progress: as in `run`.
        """
        return self.run(
            "generate",
            text=text, n=n, steps=steps, solver=solver, levels=levels, guidance=guidance,
            guidance_interval=guidance_interval, guidance_rescale=guidance_rescale,
            classifier_scale=classifier_scale, autoguide=autoguide, classifier=classifier, clip=clip, reuse=reuse,
            seed=seed, size=size, guide=guide, guide_scale=guide_scale, guide_loss=guide_loss, tile=tile,
            overlap=overlap, batch=batch, bf16=bf16, mode=mode, progress=progress, **conditions
        )  # fmt: skip

    def reconstruct(self, images: Sequence[str | Path]) -> Output:
        """Image files through the first stage and back, at their own size (cropped to what fits).

        One at a time, so that an image does not depend on those beside it, to the bit.
        """
        return self.run("reconstruct", batch=1, images=images)

    def edit(self, text: str, to: str | None = None, **options: Any) -> Output:
        """Images of `text`, each followed by what becomes of it where its prompt is changed: the task `edit`.

        to: the changed prompt. options: image=, a file that `text` describes, instead of drawing one; weight={"star":
        1.5}, cross_share=, self_share=, and those of `sample`.
        """
        return self.run("edit", text=text, to=to, **options)

    def inpaint(self, file: str | Path, text: str | Sequence[str] | None = None, **options: Any) -> Output:
        """Fill the hole of an image file: mask=, box= or its transparency; the options of the task `inpaint`."""
        return self.run("inpaint", file=file, text=text, **options)

    def outpaint(self, file: str | Path, text: str | Sequence[str] | None = None, **options: Any) -> Output:
        """Continue an image file by left=, right=, top=, bottom= pixels; the options of the task `outpaint`."""
        return self.run("outpaint", file=file, text=text, **options)

    def vary(self, file: str | Path, text: str | Sequence[str] | None = None, **options: Any) -> Output:
        """Vary an image file by strength=; the options of the task `vary`."""
        return self.run("vary", file=file, text=text, **options)

    def interpolate(self, **options: Any) -> Output:
        """Frames between two seeds=, texts=, labels= or files=; the options of the task `interpolate`."""
        return self.run("interpolate", **options)

    def colorize(self, file: str | Path, **options: Any) -> Output:
        """Give a grey image file colours; the options of the task `colorize`."""
        return self.run("colorize", file=file, **options)

    def upscale(self, images: str | Path | Sequence[str | Path], *, batch: int = BATCH, **options: Any) -> Output:
        """Image files several times as large: the task `upscale`; options as of `sample`, `size` of the result."""
        paths = [images] if isinstance(images, str | Path) else images
        return self.run("upscale", batch=batch, images=paths, **options)
