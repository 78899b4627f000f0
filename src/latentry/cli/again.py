"""`--from PICTURE`: what a picture's file says of how it was drawn, as the words of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentry.cli.output import warn
from latentry.errors import UsageError
from latentry.tasks import TASKS, Entry

if TYPE_CHECKING:
    from latentry.pipeline import Pipeline
    from latentry.pipeline.record import Record

OF_MODEL = ("weights", "step", "device")


def read(picture: Path, entry: Entry) -> Record:
    """The record of a picture that this command drew. Raises UsageError."""
    from latentry.pipeline import record as records

    record = records.read(picture)
    drawn = TASKS.get(record.task)
    if drawn is None or drawn.command != entry.command:
        command = f"`latentry {drawn.command} --from`" if drawn else "another version of latentry"
        raise UsageError(f"{picture}: was not drawn by `latentry {entry.command}`. Use {command}.")
    return record


def opened(picture: Path, record: Record, model: Path | None, how: dict[str, Any], typed: set[str]) -> Pipeline:
    """The model that drew the picture: MODEL, or the one its text names, if that is still what it was.

    how: as `load` takes it; those of `typed` were asked for, for the others the text counts. Raises UsageError.
    """
    from latentry import pipeline
    from latentry.checkpoints import run_folder
    from latentry.pipeline import record as records

    drawn_by = record.model
    path = Path(drawn_by.source) if model is None else model
    if model is None and (not drawn_by.source or not path.exists()):
        raise UsageError(
            f"{picture}: was drawn by the model {drawn_by} at {drawn_by.source or 'an unknown place'}, which is not "
            "here. Name it: MODEL."
        )
    kept: dict[str, Any] = {"weights": drawn_by.weights, "step": drawn_by.step if run_folder.is_run(path) else None}
    kept["device"] = _device(record.device, how["device"])
    chosen = {name: how[name] if name in typed else kept[name] for name in OF_MODEL}
    further: dict[str, Any] = {"config": drawn_by.config, "vocabulary": drawn_by.vocabulary}
    pipe = pipeline.load(path, **chosen, **{name: file for name, file in further.items() if file})
    if not typed & {"weights", "step"}:
        records.check(picture, record, pipe)
    for why in records.differences(record, pipe):
        warn(f"{picture}: {why}")
    return pipe


def _device(drawn_on: str, default: str) -> str:
    """Where it was drawn, if there is such a device."""
    from latentry import devices

    try:
        devices.choose(drawn_on)
    except UsageError:
        return default
    return drawn_on
