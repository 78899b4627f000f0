"""A model that samples in one or a few steps, of one that takes many: the run that distills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentry import devices
from latentry.checkpoints.run_folder import is_run, read_recipe
from latentry.errors import UsageError
from latentry.training.loop.loop import Progress
from latentry.training.plan import recipes
from latentry.training.run import Run, train


def distill(
    model: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    recipe: str | None = None,
    device: str = devices.AUTO,
    dry_run: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[Progress], None] | None = None,
    doing: Callable[[str], None] | None = None,
    accept_data_change: bool = False,
) -> Run:
    """Distill a model with both stages; the same call resumes where it stopped.

    model: a run, a model folder, or a checkpoint of another program. data: the folder of the images it was trained on;
    None: that of its run. out: the new run's folder; None: `runs/NAME-distilled`. overrides: as of `latentry.train`, of
    the recipe that trains the model further with a section `distill`. recipe: one by whose `data:` the folder is read;
    None: the run's own. The rest as of `latentry.train`.
    Raises UsageError before anything is written.
    """
    source = Path(model)
    of_run = read_recipe(source) if is_run(source) else {}
    made = recipes.to_distill(source, recipes.read(recipe) if recipe is not None else of_run, overrides)
    return train(
        made,
        data=data or folder_of(source, of_run, made),
        out=out if out is not None else Path("runs") / made.name,
        device=device,
        dry_run=dry_run,
        report=report,
        progress=progress,
        doing=doing,
        accept_data_change=accept_data_change,
    )


def folder_of(source: Path, of_run: Mapping[str, Any], made: recipes.Recipe) -> Path | None:
    """The images of the model's run; None where the recipe draws them itself. Raises UsageError where none is known."""
    if made.images is not None:
        return None
    named = dict(of_run.get("made_with") or {}).get("folder")
    if isinstance(named, str) and Path(named).is_dir():
        return Path(named)
    found = f"its images were in {named}, which is no folder now" if named else "it does not say which images made it"
    raise UsageError(f"{source}: {found}. Name their folder: --data DIR.")
