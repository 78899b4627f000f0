"""`latentry sample`, `latentry reconstruct`, ...: a command for every task of `TASKS`, made from its options class."""

from __future__ import annotations

from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from latentry.cli.output import JSON, bar, emit_json, one_of, say, warn
from latentry.interrupts import working
from latentry.tasks import TASKS, Entry


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

    entry = TASKS[task]
    fields = {name: parameter(name, field) for name, field in shown(entry.task.options).items()}
    file = "one image, or a sheet of all" if each_of(entry.task.options) is None else "for one image"

    def command(
        model: Path, weights: str, step: int | None, device: str, out: Path, as_json: bool, **words: Any
    ) -> None:
        one_of("--weights", weights, ("ema", "raw"))
        how = {"weights": weights, "step": step, "device": device}
        draw(task, entry, words, model, how, out, as_json)

    parameters: list[Parameter] = [
        named("model", Path, typer.Argument(help="A model folder or a run folder.")),
        *fields.values(),
        named("weights", str, typer.Option(help="ema or raw."), "ema"),
        named("step", int | None, typer.Option(min=0, help="A checkpoint of a run; default: the newest."), None),
        named("device", str, typer.Option(help="auto, cuda, cuda:1, mps or cpu."), "auto"),
        named("out", Path, typer.Option(help=f"Folder for the images; a .png: {file}.")),
        named("as_json", bool, JSON, False),
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(entry.command, help=entry.help)(command)
    return typer.main.get_command(alone)


def draw(
    task: str, entry: Entry, words: dict[str, Any], model: Path, how: dict[str, Any], out: Path, as_json: bool
) -> None:
    """Do a task, save its images and say where. words: its options as they were typed. how: the model is opened."""
    from latentry import config
    from latentry.cli.fields import each_of

    checked = config.validate(entry.task.options, words, entry.command)
    options, count, each = {name: getattr(checked, name) for name in words}, checked.count, each_of(type(checked))
    sheet = count > 1 and each is None and out.suffix.lower() == ".png"
    from latentry import pipeline
    from latentry.pipeline.output import check_target

    check_target(out, 1 if sheet else count)
    pipe = pipeline.load(model, **how)
    text = options.get("text")
    unknown = pipe.unknown_words(text) if text else []
    runs = [options] if each is None else [{**options, each: (value,)} for value in options[each]]
    with working(), bar(entry.command) as progress:
        outputs = (pipe.run(task, **one, progress=progress) for one in runs)
        files = [[output.save_sheet(out)] if sheet else output.save(out) for output in outputs]
    paths = [[str(path) for path in written] for written in files]
    if unknown:
        warn(f"text: the model does not know {', '.join(unknown)}; it used the rest")
    if each is not None:
        _say_each(dict(zip(map(str, options[each]), paths, strict=True)), as_json)
    elif as_json:
        emit_json({"images": paths[0], **{name: options[name] for name in ("seed",) if name in options}})
    else:
        say(f"{count} image{'s' * (count != 1)} in {out}")


def _say_each(paths: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        emit_json(paths)
    else:
        for value, written in paths.items():
            say(f"{value} -> {', '.join(written)}")
