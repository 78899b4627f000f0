"""`latentry sample`, `latentry reconstruct`, ...: a command for every task of `TASKS`, made from its options class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from latentry.cli.output import JSON, bar, checkpoint, decoding, emit_json, one_of, say, warn
from latentry.errors import UsageError
from latentry.interrupts import working
from latentry.tasks import TASKS, Entry

EVALUATIONS = "network evaluations"
MODE = (
    "How a step is computed: of fp32, bf16, channels_last, compile, frozen one or several, as in bf16,frozen; auto: "
    "the fastest here of those with the same pictures."
)


class Commands(TyperGroup):
    """The commands. Those of tasks get their options when they are called, so that the list of them is quick."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command to call, with all its options."""
        name, command, rest = super().resolve_command(ctx, args)
        tasks = [task for task, entry in TASKS.items() if entry.command == name]
        return name, (task_command(tasks[0]) if tasks else command), rest


def list_tasks(app: typer.Typer) -> None:
    """Put every task into the list of commands; what is called is what `Commands` makes of it."""
    for entry in TASKS.values():
        app.command(entry.command, help=entry.help)(lambda: None)


def task_command(task: str) -> Any:
    """The command of a task: the model, the options of its class, then where the images go."""
    from latentry.cli.fields import each_of, named, parameter, shown
    from latentry.tasks.sampling import Sampling

    entry = TASKS[task]
    fields = {name: parameter(name, field) for name, field in shown(entry.task.options).items()}
    file = "one image, or a sheet of all" if each_of(entry.task.options) is None else "for one image"

    def command(context: typer.Context, **words: Any) -> None:
        typed = {name for name in words if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
        from latentry.models.modes.mode import checked

        checked(words["mode"], "--mode")
        one_of("--weights", words["weights"], ("ema", "raw"))
        draw(task, entry, {name: words[name] for name in fields}, Line(typed=typed, **_others(words, fields)))

    parameters: list[Parameter] = [
        named("context", typer.Context, None),
        *fields.values(),
        named("weights", str, typer.Option(help="ema or raw."), "ema"),
        named(
            "step",
            str | None,
            typer.Option(metavar="N", help="A checkpoint of a run: a step, or best; default: the newest."),
            None,
        ),
        named("device", str, typer.Option(help="auto, cuda, cuda:1, mps or cpu."), "auto"),
        named("mode", str | None, typer.Option(metavar="auto|MODE", help=MODE), None),
        named("out", Path, typer.Option(help=f"Folder for the images; a .png: {file}.")),
        named("no_metadata", bool, typer.Option("--no-metadata", help="Files without text, prompts among it."), False),
        named("as_json", bool, JSON, False),
    ]
    whole = not any(field.is_required() for field in entry.task.options.model_fields.values())
    if issubclass(entry.task.options, Sampling) and whole:  # what must be typed anyway is not taken from a picture
        help_ = "A picture or sheet to draw again; MODEL may be left out, other options replace its own."
        parameters.insert(1, named("model", Path | None, typer.Argument(help="A model folder or a run folder."), None))
        parameters.append(
            named("from_picture", Path | None, typer.Option("--from", metavar="PICTURE", help=help_), None)
        )
    else:
        parameters.insert(1, named("model", Path, typer.Argument(help="A model folder or a run folder.")))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(entry.command, help=entry.help)(command)
    return typer.main.get_command(alone)


@dataclass(frozen=True)
class Line:
    """What stands on the line besides the options of the task. typed: the names of all that was typed."""

    model: Path | None
    weights: str
    step: str | None
    device: str
    mode: str | None
    out: Path
    no_metadata: bool
    as_json: bool
    typed: set[str]
    from_picture: Path | None = None

    @property
    def how(self) -> dict[str, Any]:
        """How the model is opened."""
        return {"weights": self.weights, "step": checkpoint(self.step), "device": self.device, "mode": self.mode}


def _others(words: dict[str, Any], fields: dict[str, Parameter]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if name not in fields}


def draw(task: str, entry: Entry, words: dict[str, Any], line: Line) -> None:
    """Do a task, save its images and say where. words: its options as they were typed."""
    from latentry import config
    from latentry.cli.fields import each_of

    if line.from_picture is not None:
        draw_again(line.from_picture, entry, {name: words[name] for name in words if name in line.typed}, line)
        return
    if line.model is None:
        raise UsageError(f"{entry.command}: MODEL is missing; give a model folder or a run, or --from PICTURE")
    checked = config.validate(entry.task.options, words, entry.command)
    options, count, each = {name: getattr(checked, name) for name in words}, checked.count, each_of(type(checked))
    sheet = count > 1 and each is None and line.out.suffix.lower() == ".png"
    from latentry import pipeline
    from latentry.pipeline.output import check_target

    check_target(line.out, 1 if sheet else count)
    pipe = pipeline.load(line.model, **line.how)
    pipe.tell = warn
    if not sheet:
        pipe.check_target(line.out, getattr(checked, "size", None))
    unknown = _unknown_words(pipe, options.get("text"), options.get("to"))
    runs = [options] if each is None else [{**options, each: (value,)} for value in options[each]]
    for one in (
        runs if len(runs) > 1 else ()
    ):  # what is wrong with the last shall not be told after the first is written
        pipe.check(task, **one)
    with working(), bar(entry.command, EVALUATIONS) as progress:
        outputs = (pipe.run(task, **one, progress=progress) for one in runs)
        paths = [_saved(output, line, sheet, progress) for output in outputs]
    _warn_of(unknown)
    if each is not None:
        _say_each(dict(zip(map(str, options[each]), paths, strict=True)), line.as_json)
    elif line.as_json:
        emit_json({"images": paths[0], **{name: options[name] for name in ("seed",) if name in options}})
    else:
        say(f"{count} image{'s' * (count != 1)} in {line.out}")


def draw_again(picture: Path, entry: Entry, changes: dict[str, Any], line: Line) -> None:
    """Draw what a picture's file says, save it and say where. changes: the options of the task that were typed."""
    from latentry import config
    from latentry.cli import again
    from latentry.pipeline import record as records
    from latentry.pipeline.output import check_target

    record = again.read(picture, entry)
    records.check_files(record, changes)
    words = record.words(changes)
    checked = config.validate(entry.task.options, _own(words), entry.command)
    count = checked.count if changes or record.index is None is record.place else 1
    sheet = count > 1 and line.out.suffix.lower() == ".png"
    check_target(line.out, 1 if sheet else count)
    pipe = again.opened(picture, record, line.model, line.how, line.typed)
    pipe.tell = warn
    if not sheet:
        pipe.check_target(line.out, getattr(checked, "size", None))
    unknown = _unknown_words(pipe, changes.get("text"))
    how = {} if line.mode is None else {"mode": line.mode}
    with working(), bar(entry.command, EVALUATIONS) as progress:
        paths = _saved(records.again(pipe, record, changes, progress=progress, **how), line, sheet, progress)
    _warn_of(unknown)
    if line.as_json:
        emit_json({"images": paths, "from": str(picture)})
    else:
        say(f"{count} image{'s' * (count != 1)} in {line.out}, from {picture}")


def _own(words: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `Pipeline.run` without those that are not the task's."""
    return {name: value for name, value in words.items() if name not in ("batch", "mode")}


def _saved(output: Any, line: Line, sheet: bool, progress: Callable[..., None] | None) -> list[str]:
    """progress: of the bar, where there is one."""
    from latentry.pipeline.pictures.large import LargeOutput

    how: dict[str, Any] = {"metadata": False} if line.no_metadata else {}
    if isinstance(output, LargeOutput) and not sheet and not line.as_json:
        size = "{}x{}".format(*output.size)
        told = decoding(f"{line.out}: {size} pixels")
        how["progress"] = told if progress is None else lambda part, done, total: progress(done, total, f"{part}s")
    written = [output.save_sheet(line.out, **how)] if sheet else output.save(line.out, **how)
    for note in getattr(output, "notes", ()):
        warn(note)
    return [str(path) for path in written]


def _unknown_words(pipe: Any, *texts: Any) -> list[str]:
    return list(dict.fromkeys(word for text in texts if text for word in pipe.unknown_words(text)))


def _warn_of(unknown: list[str]) -> None:
    if unknown:
        warn(f"text: the model does not know {', '.join(unknown)}; it used the rest")


def _say_each(paths: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        emit_json(paths)
    else:
        for value, written in paths.items():
            say(f"{value} -> {', '.join(written)}")
