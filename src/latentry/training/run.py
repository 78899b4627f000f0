"""A whole experiment: from a recipe and a folder to a model folder, resumed by the same call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from latentry import devices
from latentry.checkpoints import lock, model_folder
from latentry.checkpoints.lock import RunLock
from latentry.checkpoints.manifest import recover
from latentry.checkpoints.run_folder import MODEL, is_run
from latentry.checkpoints.store import Saved, Store
from latentry.errors import UsageError
from latentry.evaluation.card import update_card
from latentry.evaluation.figures import forget_figures, measure, read_figures, write_figures
from latentry.interrupts import working
from latentry.training.dry_run import dry_run as rehearse
from latentry.training.loop.log import Log
from latentry.training.loop.loop import Loop, Progress, reason
from latentry.training.loop.memory import explained
from latentry.training.loop.signals import StopRequest
from latentry.training.loop.stage import Stage
from latentry.training.loop.waiting import Waiting
from latentry.training.loop.world import join
from latentry.training.plan import record
from latentry.training.plan.about import about
from latentry.training.plan.decide import plan
from latentry.training.plan.plan import Plan
from latentry.training.plan.plugins import load_plugins
from latentry.training.recipe.recipe import Recipe
from latentry.training.rehearsal import rehearsed
from latentry.training.stages import STAGES
from latentry.training.stages.order import constants, walk
from latentry.training.stages.publish import update_sampling


@dataclass(frozen=True)
class Run:
    """A finished (or rehearsed) run. figures: what was measured at its end."""

    path: Path
    figures: Mapping[str, Any] = field(default_factory=dict)


def train(
    recipe: str | Recipe,
    data: str | Path | None = None,
    out: str | Path = "runs/run",
    overrides: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    stage: str | None = None,
    device: str = devices.AUTO,
    dry_run: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[Progress], None] | None = None,
    doing: Callable[[str], None] | None = None,
    accept_data_change: bool = False,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Train a recipe on a folder of images; the same call resumes where it stopped.

    recipe: a name that `recipes.names()` lists, a path to a YAML file, or a checked one, which takes no overrides.
    data: the folder. out: the run folder.
    overrides: {"diffusion.train.steps": 20000} or ["diffusion.train.steps=20000"]. stage: train only that one, a name
    of `STAGES`.
    device: auto, cuda, mps or cpu. dry_run: rehearse a few real steps, one sample and one save, and say what the whole
    would take. report: called with what a person should know. doing: called every few seconds with what goes on in a
    dry run; None: `report` is. Raises UsageError before anything is written if the recipe, the data and the run do not
    fit together.
    """
    load_plugins(plugins)
    world, out = join(device), Path(out)
    say = _unbreakable(report) if world.chief else _silent
    told = _unbreakable(doing) if doing and world.chief else say

    def decided(doing: Callable[[str], None]) -> Plan:
        how: dict[str, Any] = {"accept_data_change": accept_data_change, "report": say, "doing": doing}
        name = recipe.name if isinstance(recipe, Recipe) else recipe
        return rehearsed(partial(plan, recipe, data, out, overrides, stage=stage, world=world, **how), name)

    if dry_run:
        with Waiting(told, "dry run") as waiting:
            made = decided(waiting.doing)
            say(f"device: {devices.described(world.device)}")
            with working():
                return Run(out, rehearse(made, waiting.doing))
    if world.chief:
        lock.refuse_if_held(out)
    request = StopRequest(launched=world.size > 1)
    stopped = partial(say, "stopped; the same command goes on from here")
    with request.entered(stopped), world.together(), ExitStack() as held:
        begun = is_run(out)
        if begun and world.chief:
            held.enter_context(RunLock(out, say))
            recover(out, "model*")
        world.barrier()  # nobody reads a model that is only half in its place
        with Waiting(told, "before training") as waiting:
            made = decided(waiting.doing)
        say(f"device: {devices.described(world.device)}")
        if not begun and world.chief:
            held.enter_context(RunLock(out, say))
            if is_run(out):
                raise UsageError(f"{out}: another run was begun here just now. Choose another --out.")
        return _carry_out(made, request, _unbreakable(progress) if progress else None)


def _carry_out(plan: Plan, request: StopRequest, progress: Callable[[Progress], None] | None) -> Run:
    """What of the stages is not yet done, then the figures. The lock of the run is held."""
    world, out = plan.world, plan.out
    if plan.images.new and plan.images.changes:
        plan.report(f"data: goes on although {plan.images.changes[-1]}")
    world.barrier()  # all have read what the chief now writes
    if world.chief:
        record.write(plan)
    log, parts = Log(out if world.chief else None, plan.report), dict[str, Any]()
    try:
        for name in walk(plan):
            kind, saved = STAGES[name], None
            if name in plan.stages:
                section = plan.recipe.section(name)
                assert section is not None
                with explained(section.train, name, world, lambda: "before its first step"):
                    stage = kind.build(plan, parts)
                saved = _fit(plan, stage, log, request, progress)
            parts = dict(kind.finish(plan, parts, saved))
            world.barrier()
    finally:
        log.close()
    return Run(out, _conclude(plan)) if world.chief else Run(out)


def _fit(
    plan: Plan, stage: Stage, log: Log, request: StopRequest, progress: Callable[[Progress], None] | None
) -> Saved:
    """Train a stage to its last step; its last checkpoint."""
    training = stage.training
    store = Store(plan.out / stage.name, training.keep, training.milestones, plan.report)
    if plan.world.chief:
        forget_figures(plan.out)
        store.clean()
    plan.world.barrier()
    known, previews = constants(plan, stage.name), plan.out / "samples"
    Loop(stage, store, log, request, previews=previews, constants=known, progress=progress).run()
    saved = store.newest()
    assert saved is not None
    return saved


def _conclude(plan: Plan) -> Mapping[str, Any]:
    """The figures of the model, measured where they are not yet, and its card."""
    out, recipe = plan.out, plan.recipe
    update_sampling(plan)
    figures = read_figures(out)
    if figures is None:
        judge = recipe.judge if model_folder.has(out / MODEL, "unet") else None
        try:
            with Waiting(plan.report, "figures") as waiting:
                waiting.doing("measuring the model")
                figures = measure(out, plan.data, judge, recipe.seed, plan.world.device)
        except Exception as error:  # the model is there, whatever can be said of it
            plan.report(
                f"figures: could not be measured ({reason(error)}); the model is in {out / MODEL}, and the same "
                "command measures again"
            )
        else:
            write_figures(out, figures)
    update_card(out, about(plan), figures or {})
    return figures or {}


def _unbreakable(tell: Callable[[Any], None]) -> Callable[[Any], None]:
    """A terminal that is gone does not end a training."""

    def safely(what: Any) -> None:
        with suppress(OSError):
            tell(what)

    return safely


def _silent(_: str) -> None:
    return None
