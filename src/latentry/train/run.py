"""A whole experiment: from a recipe and a folder to a model folder, resumed by the same call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from latentry.checkpoints.lock import RunLock
from latentry.checkpoints.store import Store
from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from latentry.train import recipe as recipes
from latentry.train import record
from latentry.train.dry_run import dry_run as rehearse
from latentry.train.experiment import Experiment
from latentry.train.figures import measure
from latentry.train.fit import Loop, Progress
from latentry.train.log import Log
from latentry.train.plugins import load_plugins
from latentry.train.resolve import resolve
from latentry.train.world import World, join

StageName = Literal["autoencoder", "diffusion"]


@dataclass(frozen=True)
class Run:
    """A finished (or rehearsed) run. figures: what was measured at its end."""

    path: Path
    figures: Mapping[str, Any] = field(default_factory=dict)


def train(
    recipe: str,
    data: str | Path | None = None,
    out: str | Path = "runs/run",
    overrides: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    stage: StageName | None = None,
    dry_run: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[Progress], None] | None = None,
    accept_data_change: bool = False,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Train a recipe on a folder of images; the same call resumes where it stopped.

    recipe: a name that `recipes.names()` lists, or a path to a YAML file. data: the folder. out: the run folder.
    overrides: {"diffusion.train.steps": 20000} or ["diffusion.train.steps=20000"]. stage: train only that one.
    dry_run: rehearse a few real steps, one sample and one save, and say what the whole would take.
    Raises UsageError before anything is written if the recipe, the data and the run do not fit together.
    """
    load_plugins(plugins)
    asked = recipes.load(recipe, list(overrides) if isinstance(overrides, Sequence) else overrides)
    if stage not in (None, "autoencoder", "diffusion"):
        raise UsageError(f'stage: "{stage}"; stages are autoencoder and diffusion')
    if data is None:
        raise UsageError("data: name the folder of images (--data DIR)")
    world, out = join(), Path(out)
    for name, training in (("autoencoder", asked.autoencoder.train), ("diffusion", asked.diffusion.train)):
        world.check_batch(f"{name}.train", training.batch, training.accumulate)
    say = report if world.chief else _silent
    asked = resolve(asked, Path(data))
    images = ImageData(asked.data, data, "train", asked.seed, report=say)
    if not len(images):
        raise UsageError(
            f"{data}: no images to train on; {len(images.other('held_out'))} are held out. Lower data.held_out."
        )
    if dry_run:
        return Run(out, rehearse(asked, images, out, say))
    if world.chief:
        out.mkdir(parents=True, exist_ok=True)
        with RunLock(out, say):
            return _locked(asked, images, out, world, stage, say, progress, accept_data_change)
    return _locked(asked, images, out, world, stage, say, progress, accept_data_change)


def _locked(
    asked: recipes.Recipe,
    images: ImageData,
    out: Path,
    world: World,
    stage: StageName | None,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] | None,
    accept_data_change: bool,
) -> Run:
    asked = record.settled(asked, out)
    fingerprint, changes = record.check_data(images, out, accept_data_change, world)
    if changes:
        say(f"data: goes on although {changes}")
    experiment = Experiment(asked, images, fingerprint, out, world, say, changes)
    chosen = experiment.settle_precision()
    record.write(chosen, images, fingerprint, out, world)
    log = Log(out if world.chief else None, say)
    try:
        if stage in (None, "autoencoder") and chosen.autoencoder.from_ is None:
            _fit(experiment, experiment.autoencoder_stage(), "autoencoder", log, progress)
        experiment.finish_autoencoder()
        world.barrier()
        if stage == "autoencoder":
            return Run(out, measure(out, images, None, chosen.seed) if world.chief else {})
        _fit(experiment, experiment.diffusion_stage(), "diffusion", log, progress)
        experiment.finish_diffusion()
        return Run(out, measure(out, images, chosen.judge, chosen.seed) if world.chief else {})
    finally:
        log.close()


def _fit(
    experiment: Experiment, stage: Any, name: StageName, log: Log, progress: Callable[[Progress], None] | None
) -> None:
    training = stage.training
    store = Store(experiment.out / name, training.keep, training.milestones, experiment.report)
    if experiment.world.chief:
        store.clean()
    experiment.world.barrier()
    loop = Loop(
        stage, store, log, previews=experiment.out / "samples", constants=experiment.constants(), progress=progress
    )
    loop.run()


def _silent(_: str) -> None:
    return None
