"""Open a run or a model folder."""

from __future__ import annotations

from pathlib import Path

import torch

from latentry import devices
from latentry.checkpoints.model_folder import ModelFolder
from latentry.models.modes import Mode, checked
from latentry.pipeline import opening
from latentry.pipeline.opening import Weights
from latentry.pipeline.pipeline import Pipeline


def load(
    path: str | Path,
    config: str | Path | None = None,
    *,
    device: str | torch.device = devices.AUTO,
    weights: Weights = "ema",
    step: int | str | None = None,
    vocabulary: str | Path | None = None,
    mode: str | Mode | None = None,
) -> Pipeline:
    """Open what `train` or `import` made, or a checkpoint of another program.

    path: a model folder, a run (its newest good checkpoint, or that of `step`, a number or `best`), a CompVis
    checkpoint (config: its YAML, by default the one beside it; vocabulary: BERT's vocab.txt, for prompts), or a folder
    of diffusers. Nothing of a foreign file is run. device: `auto` (the best there is), `cuda`, `cuda:1`, `mps` or
    `cpu`.
    mode: how a step is computed: of fp32, bf16, channels_last, compile, frozen one or several, as in
    "bf16,channels_last", or `auto`: the fastest of those whose pictures are the same, timed here and remembered.
    weights: averaged or raw ones, where there are both.
    Raises UsageError for anything else and for a device that is not there, LatentryError for what is damaged.
    """
    chosen, how = devices.choose(device), checked(mode)
    pipe = assemble(opening.read(Path(path), config, weights, step, vocabulary), str(Path(path)))
    pipe.opened = {"step": step, **pipe.opened, "weights": weights}
    pipe.opened |= {name: str(file) for name, file in (("config", config), ("vocabulary", vocabulary)) if file}
    pipe.mode = how
    return pipe.to(chosen)


def assemble(model: ModelFolder, source: str) -> Pipeline:
    """Modules with these weights, ready to use, on the CPU. Of raw and averaged weights it takes the averaged."""
    made = opening.networks(model, source)
    how = {"model_hash": opening.hash_of(model), "source": source}
    return Pipeline(
        made.config, made.autoencoder, made.denoiser, classifier=made.classifier, **how, opened={"step": model.step}
    )
