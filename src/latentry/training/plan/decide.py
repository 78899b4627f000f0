"""Make the plan of a run: read, check and settle everything, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from latentry import __version__
from latentry.data.dataset import ImageData
from latentry.data.ranges.meaning import number
from latentry.errors import LatentryError, UsageError, did_you_mean
from latentry.models.classifier import ClassifierOptions
from latentry.models.config import DataFacts, ModelConfig, check_size
from latentry.training.advice.latent import small_latent
from latentry.training.advice.made_for import check_judge, own_images_explained
from latentry.training.advice.rates import rate_changes
from latentry.training.loop.log import Report
from latentry.training.loop.world import World, join
from latentry.training.plan import precision, recipes, record
from latentry.training.plan.auto import resolve
from latentry.training.plan.conditions import Conditions, settle_conditions
from latentry.training.plan.images import Images, check_images
from latentry.training.plan.plan import Plan, StageName
from latentry.training.plan.recipes import Recipe
from latentry.training.plan.sources import Sources, read_sources
from latentry.training.recipe.drawn import drawn_folder
from latentry.training.recipe.memory import check_memory
from latentry.training.stages import STAGES
from latentry.training.stages.classifier.classes import settle_classifier


def _silent(_: str) -> None:
    return None


def plan(
    recipe: str | Recipe,
    data: str | Path | None,
    out: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    stage: StageName | None = None,
    world: World | None = None,
    report: Report = print,
    accept_data_change: bool = False,
    doing: Report = _silent,
) -> Plan:
    """Decide everything; nothing is written. Arguments as of `latentry.train`.

    What the folder, the machine and an earlier call on this run leave open is settled: conditions, precision, the
    vocabulary. Models are read, networks built without memory for their weights. doing: called with what comes next,
    where it may take long.
    Raises UsageError (LatentryError for missing weights) with everything that would fail later.
    """
    _check_stage(stage)
    wanted = recipe if isinstance(recipe, Recipe) else recipes.load(recipe, overrides)
    selected = _selected(wanted, stage)
    world, out = world or join(), Path(out)
    _check_batches(wanted, world)
    check_memory(wanted)
    data = data or _drawn(wanted, report)
    doing("reading the folder of images")
    earlier = record.earlier_recipe(out)
    wanted = resolve(record.as_begun(wanted, out), Path(data), report)
    images = read_images(wanted, data, selected, report)
    wanted = wanted.model_copy(update={"data": images.options})
    wanted, changes = record.settled(wanted, out)
    sources = read_sources(wanted, out)
    sound = record.is_sound(wanted, out, report)
    unfinished = [name for name in _sections(wanted) if not record.is_finished(wanted, out, name, sound)]
    stages = tuple(_to_train(wanted, out, selected, unfinished))
    problems = _Problems()
    with problems.collected():
        _check_out(images, out)
    with problems.collected():
        _check_size(wanted, sources)
    conditions = None
    doing("building the conditions")
    with problems.collected(), own_images_explained(wanted):
        conditions = settle_conditions(wanted, images, sources, report)
    classifier = None
    with problems.collected():
        classifier = settle_classifier(wanted, images, out)
    model = _model(wanted, images, sources, conditions, classifier)
    unread, texts = Images.unread(), conditions.texts if conditions else {}
    made = Plan(wanted, model, texts, images, None, unread, sources, out, world, report, selected, stages, changes)
    _check_stages(made, unfinished if conditions else [n for n in unfinished if not STAGES[n].needs], problems)
    problems.raise_all(f"recipe {wanted.name}")
    doing("hashing the images")
    listing = check_images(images, out, accept_data_change)
    for line in (*images.source.survey.lines(images.options), *_other_range(model, sources)):
        report(f"data: {line}")
    _advise(wanted, earlier, out, stages, report)
    return precision.settle(replace(made, held_out=_held_out(images, report), images=listing), doing)


def _drawn(recipe: Recipe, report: Report) -> Path:
    """The folder of the images that the recipe brings itself. Raises UsageError where it brings none."""
    if recipe.images is None:
        raise UsageError("data: name the folder of images (--data DIR)")
    return drawn_folder(recipe.images, recipe.data.height_width, report)


def read_images(recipe: Recipe, data: str | Path, selected: Sequence[StageName], report: Report) -> ImageData:
    """The images to train on. Raises UsageError where there are none, or not those that the recipe is for."""
    with own_images_explained(recipe):
        images = ImageData(recipe.data, data, "train", recipe.seed, report=report)
        if "diffusion" in selected:
            check_judge(recipe, images)
    if not len(images):
        held_out = len(images.other("held_out"))
        raise UsageError(f"{data}: no images to train on; {held_out} are held out. Lower data.held_out.")
    return images


def _advise(recipe: Recipe, earlier: Recipe | None, out: Path, stages: Sequence[StageName], report: Report) -> None:
    """Say what of the experiment will go otherwise than a person may think."""
    lines = rate_changes(recipe, earlier, out, stages) if earlier is not None else [small_latent(recipe)]
    for line in filter(None, lines):
        report(line)


def _sections(recipe: Recipe) -> dict[StageName, Any]:
    """The sections of the stages that take part."""
    sections = recipe.sections()
    return {name: sections[name] for name in STAGES if name in sections}


def _check_stage(stage: StageName | None) -> None:
    if stage is not None and stage not in STAGES:
        raise UsageError(f'--stage: found "{stage}"; accepted: {", ".join(STAGES)}{did_you_mean(stage, STAGES)}')


def _selected(recipe: Recipe, stage: StageName | None) -> tuple[StageName, ...]:
    """The stages that are to be trained, finished or not. Raises UsageError for one that is none or has no training."""
    sections = _sections(recipe)
    if stage is None:
        return tuple(name for name, section in sections.items() if section.trains)
    if stage not in sections:
        raise UsageError(f"--stage {stage}: the recipe has no section `{stage}`; it has {', '.join(sections)}")
    if not sections[stage].trains:
        source = getattr(sections[stage], "from_", None)
        which = f"is taken from {source}" if source else "has no weights"
        raise UsageError(f"--stage {stage}: it {which}; there is nothing to train")
    return (stage,)


def _check_batches(recipe: Recipe, world: World) -> None:
    for name, section in _sections(recipe).items():
        world.check_batch(f"{name}.train", section.train.batch, section.train.accumulate)


def _to_train(recipe: Recipe, out: Path, selected: Sequence[StageName], unfinished: Sequence[StageName]) -> list[str]:
    """The stages that are selected and not finished, and needed ones that are trained but not in the model yet.

    Raises UsageError for a needed stage that is neither finished, given, nor to be trained.
    """
    sections, wanted = _sections(recipe), [name for name in selected if name in unfinished]
    for need in dict.fromkeys(need for name in wanted for need in STAGES[name].needs):
        if need in unfinished and need not in wanted and sections[need].trains:
            step, steps = record.newest_step(out, need), sections[need].train.steps
            if step < steps:
                raise UsageError(
                    f"{out}: the {need} is at step {step} of {steps}; finish that stage first (no --stage, or "
                    f"--stage {need}), or set {need}.train.steps to what it has."
                )
            wanted.append(need)
    return [name for name in STAGES if name in wanted]


def _check_out(data: ImageData, out: Path) -> None:
    if out.resolve().is_relative_to(data.root):
        raise UsageError(
            f"--out {out}: lies in the data folder, so that sheets of samples would become training images. "
            "Choose a folder outside it."
        )


def _check_size(recipe: Recipe, sources: Sources) -> None:
    taken = None if sources.taken is None else sources.taken.config.diffusion
    unet = (taken or recipe.diffusion).unet
    problem = check_size(recipe.data.height_width, sources.architecture(recipe), unet)
    if problem:
        raise UsageError(f"data.{problem}")


def _model(
    recipe: Recipe,
    data: ImageData,
    sources: Sources,
    conditions: Conditions | None,
    classifier: ClassifierOptions | None,
) -> ModelConfig:
    return ModelConfig(
        name=recipe.name,
        version=__version__,
        data=_facts(data, conditions),
        autoencoder=sources.architecture(recipe),
        diffusion=conditions.options if conditions else None,
        classifier=classifier,
        sample=recipe.sample,
    )


def _facts(data: ImageData, conditions: Conditions | None) -> DataFacts:
    """What the model will know of the images."""
    options = data.options
    mapped = None if options.range in ("auto", "set") else options.range
    return DataFacts(
        size=options.height_width,
        channels=options.channels,
        depth=data.depth,
        background=options.background,
        labels=conditions.labels if conditions else (),
        range=mapped,
        percentiles=options.percentiles if mapped == "file" else None,
        dtype=data.source.dtype if isinstance(mapped, tuple) else None,
        no_data=None if options.no_data == "auto" else options.no_data,
        transparent=data.source.transparent if options.channels in (2, 4) else None,
    )


def _other_range(model: ModelConfig, sources: Sources) -> list[str]:
    """A line where the first stage was trained on values that meant something else in units; most know no units."""
    if sources.first is None or sources.first.config.data.range in (None, model.data.range):
        return []
    ranges = [config.data.range or "auto" for config in (sources.first.config, model)]
    theirs, ours = (f"[{', '.join(map(number, one))}]" if isinstance(one, tuple) else one for one in ranges)
    return [
        f"WARNING: the first stage was trained with data.range: {theirs}, these images have {ours}: the same value is "
        f"another grey to it. Set data.range: {theirs}, or go on if the pictures look alike."
    ]


def _check_stages(made: Plan, stages: Sequence[StageName], problems: _Problems) -> None:
    for name in stages:
        with problems.collected():
            STAGES[name].check(made)


def _held_out(data: ImageData, report: Report) -> ImageData | None:
    """The held-out images, if any of them can be read."""
    held_out = data.other("held_out")
    if not len(held_out):
        return None
    try:
        held_out.sample(0)
    except LatentryError as error:
        report(f"held-out images: {error} Training goes on without them.")
        return None
    return held_out


@dataclass
class _Problems:
    """Errors that are raised together."""

    errors: list[LatentryError] = field(default_factory=list)

    @contextmanager
    def collected(self) -> Iterator[None]:
        try:
            yield
        except LatentryError as error:
            self.errors.append(error)

    def raise_all(self, where: str) -> None:
        """Raise one error with all texts, if there are any."""
        if not self.errors:
            return
        texts = [str(problem) for problem in self.errors]
        text = texts[0] if len(texts) == 1 else "\n  ".join([f"{len(texts)} errors", *texts])
        kind = UsageError if any(isinstance(problem, UsageError) for problem in self.errors) else LatentryError
        raise kind(f"{where}: {text}")
