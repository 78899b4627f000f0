"""`--from PICTURE`: what a picture's file says of how it was drawn, as the words of a command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentry.cli.fields import is_several, on_command_line, shown
from latentry.cli.output import warn
from latentry.errors import UsageError
from latentry.tasks import TASKS, Entry
from latentry.text import one_line

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
        how = f"Draw it again by: {line_of(record, drawn)}" if drawn else "Use another version of latentry."
        raise UsageError(f"{picture}: was not drawn by `latentry {entry.command}`. {how}")
    return record


def line_of(record: Record, drawn: Entry, out: str = "again") -> str:
    """The command that draws a picture again: from the picture itself, or with all that it was asked for."""
    if not any(field.is_required() for field in drawn.task.options.model_fields.values()):
        return f"latentry {drawn.command} --from PICTURE --out {out}"
    words, fields = record.words({"batch": record.batch}), shown(drawn.task.options)
    line, untold = [drawn.command, record.model.source or "MODEL"], [*(record.conditions.keys() - fields.keys())]
    for name, field in fields.items():
        text = texts_of(words.get(name), is_several(field), name in record.conditions)
        if text is None:
            untold.append(name)
        if not text:
            continue
        special = on_command_line(field)
        flag = special.flags[0] if special.flags else "--" + name.replace("_", "-")
        line += text if special.positional else [word for one in text for word in (flag, one)]
    line += [] if record.mode is None else ["--mode", record.mode]
    line += ["--weights", "raw"] if record.model.weights == "raw" else []
    line += [] if record.model.step is None else ["--step", str(record.model.step)]
    missing = f" with {', '.join(untold)}, which is no text of a command: by pipe.again in Python" if untold else ""
    return one_line("latentry " + shlex.join([*line, "--out", out]) + missing)


def texts_of(value: Any, several: bool, condition: bool) -> list[str] | None:
    """The words of the command line for the value of an option; None for what no word can say.

    several: whether there may be more than one. condition: a list is then of a value for each image.
    """
    from latentry.pipeline.guides.autoguide import AT_STEP
    from latentry.pipeline.record import DrawnBy

    if value is None:
        return []
    if isinstance(value, DrawnBy):
        return [value.source + ("" if value.step is None else f"{AT_STEP}{value.step}")]
    if isinstance(value, dict):
        parts = [f"{name}={one}" for name, one in value.items() if name != "kind" and one is not None]
        return [":".join(part for part in (str(value.get("kind", "")), ",".join(parts)) if part)]
    if isinstance(value, list | tuple):
        if not all(isinstance(one, str | int | float) for one in value) or (condition and len(value) > 1):
            return None
        return list(map(str, value)) if several else [",".join(map(str, value))] if value else []
    return [str(value)]


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
