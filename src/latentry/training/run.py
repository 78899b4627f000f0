"""A whole experiment: from a recipe and a folder to a model folder, resumed by the same call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from latentry.checkpoints import lock
from latentry.checkpoints.lock import RunLock
from latentry.checkpoints.manifest import recover
from latentry.checkpoints.store import Store
from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from latentry.training import card
from latentry.training.dry_run import dry_run as rehearse
from latentry.training.experiment import Experiment
from latentry.training.figures import FILE as FIGURES
from latentry.training.figures import measure, read_figures, write_figures
from latentry.training.loop.log import Log
from latentry.training.loop.loop import Loop, Progress
from latentry.training.loop.signals import StopRequest
from latentry.training.loop.stage import Stage
from latentry.training.loop.world import World, join
from latentry.training.plan import feasible, record
from latentry.training.plan import recipe as recipes
from latentry.training.plan.auto import resolve
from latentry.training.plan.plugins import load_plugins
from latentry.training.plan.settle import settle_precision

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
    if stage == "autoencoder" and not asked.autoencoder.trains:
        which = f"is taken from {asked.autoencoder.from_}" if asked.autoencoder.from_ else "has no weights"
        raise UsageError(f"--stage autoencoder: it {which}; there is nothing to train")
    if data is None:
        raise UsageError("data: name the folder of images (--data DIR)")
    world, out = join(), Path(out)
    for name, training in (("autoencoder", asked.autoencoder.train), ("diffusion", asked.diffusion.train)):
        world.check_batch(f"{name}.train", training.batch, training.accumulate)
    say = _unbreakable(report) if world.chief else _silent
    if world.chief and not dry_run:
        lock.refuse_if_held(out)
    asked = resolve(asked, Path(data), say)
    images = ImageData(asked.data, data, "train", asked.seed, report=say)
    if not len(images):
        raise UsageError(
            f"{data}: no images to train on; {len(images.other('held_out'))} are held out. Lower data.held_out."
        )
    feasible.check(asked, images, out)
    if dry_run:
        return Run(out, rehearse(asked, images, out, say, stage))
    request = StopRequest(launched=world.size > 1)
    stops = request.entered(lambda: say("stopped; the same command goes on from here"))
    with stops, RunLock(out, say) if world.chief else nullcontext():
        session = Session(out, world, say, request, _unbreakable(progress) if progress else None)
        return session.train(asked, images, stage, accept_data_change)


@dataclass
class Session:
    """One call of `train`, holding the lock of its run."""

    out: Path
    world: World
    say: Callable[[str], None]
    request: StopRequest
    progress: Callable[[Progress], None] | None

    def train(self, asked: recipes.Recipe, images: ImageData, stage: StageName | None, accept_data_change: bool) -> Run:
        """What of both stages is not yet done, then the figures."""
        (asked, changes), judge_before = record.settled(asked, self.out), record.judge(self.out)
        known = record.check_data(images, self.out, accept_data_change)
        if known.new and known.changes:
            self.say(f"data: goes on although {known.changes[-1]}")
        if self.world.chief:
            recover(self.out, "model*")
        self.world.barrier()
        experiment = Experiment(
            asked, images, known.listing.fingerprint, self.out, self.world, self.say, "; ".join(known.changes)
        )
        chosen = settle_precision(experiment)
        record.write(chosen, images, known, changes, self.out, self.world)
        trained = self._stages(experiment, stage)
        if not self.world.chief:
            return Run(self.out)
        judge = None if stage == "autoencoder" else chosen.judge
        earlier = None if trained or judge != judge_before else read_figures(self.out)
        if earlier is not None:
            return Run(self.out, earlier)
        figures = measure(self.out, images, judge, chosen.seed)
        card.redo(self.out, chosen, images, experiment.fingerprint, figures, experiment.notes)
        write_figures(self.out, figures)
        return Run(self.out, figures)

    def _stages(self, experiment: Experiment, stage: StageName | None) -> bool:
        """Train what is not finished; whether anything was."""
        log, first, second = Log(self.out if self.world.chief else None, self.say), False, False
        try:
            if stage != "diffusion" and experiment.given is None and not self._finished(experiment, "autoencoder"):
                first = True
                self._fit(experiment, experiment.autoencoder_stage(), log)
            experiment.finish_autoencoder()
            self.world.barrier()
            if stage != "autoencoder" and not self._finished(experiment, "diffusion"):
                second = True
                self._fit(experiment, experiment.diffusion_stage(), log)
                experiment.finish_diffusion()
        finally:
            log.close()
        return first or second

    def _finished(self, experiment: Experiment, stage: StageName) -> bool:
        return record.is_finished(experiment.recipe, self.out, stage)

    def _fit(self, experiment: Experiment, stage: Stage, log: Log) -> None:
        training, folder = stage.training, self.out / stage.name
        store = Store(folder, training.keep, training.milestones, self.say)
        if self.world.chief:
            (self.out / FIGURES).unlink(missing_ok=True)
            store.clean()
        self.world.barrier()
        loop = Loop(
            stage,
            store,
            log,
            self.request,
            previews=self.out / "samples",
            constants=experiment.constants(),
            progress=self.progress,
        )
        loop.run()


def _unbreakable(tell: Callable[[Any], None]) -> Callable[[Any], None]:
    """A terminal that is gone does not end a training."""

    def told(what: Any) -> None:
        with suppress(OSError):
            tell(what)

    return told


def _silent(_: str) -> None:
    return None
