"""The command line. Commands import what they need when they run, so that `--help` is at once there."""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from latentry import __version__, interrupts
from latentry.cli import data, recipes, study
from latentry.cli.distill import distill
from latentry.cli.evaluate import evaluate
from latentry.cli.models.bench import bench
from latentry.cli.models.export_checkpoint import export_checkpoint
from latentry.cli.models.import_checkpoint import import_checkpoint
from latentry.cli.models.inspect import inspect
from latentry.cli.models.verify import verify
from latentry.cli.output import complain, drop_output, first_process
from latentry.cli.reports.compare import compare
from latentry.cli.serve import serve
from latentry.cli.tasks import Commands, list_tasks
from latentry.cli.train import train
from latentry.errors import LatentryError, UsageError, is_out_of_memory, shown

FULL_DISK = 74
FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST_WORD = 300  # that a message repeats

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(train)
list_tasks(app)
app.command()(distill)
app.command()(evaluate)
app.command()(inspect)
app.command("import")(import_checkpoint)
app.command("export")(export_checkpoint)
app.command()(verify)
app.command()(compare)
app.command()(serve)
app.command()(bench)
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"latentry {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """From a folder of images to your own latent diffusion model, trained, measured and sampled."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed, 2 wrong usage, 74 disk full, 75 another process lost, 130 or 143
    interrupted."""
    interrupts.take()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is not UTF-8 is shown with escapes
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


@functools.cache
def commands() -> Any:
    """All commands with their options, put together once in a process."""
    return typer.main.get_command(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. A mistake of the user is one text on stderr, never a traceback."""
    try:
        result = commands()(args=arguments, prog_name="latentry", standalone_mode=False)
    except LatentryError as error:
        if first_process() or not isinstance(error, UsageError):  # wrong usage is the same in every process
            complain(str(error))
        return error.exit_code
    except interrupts.Interrupted as stop:
        interrupts.told()
        complain("interrupted")
        return int(str(stop.code))
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return 130
    except OSError as error:
        return _system_error(error)
    except Exception as error:
        if is_out_of_memory(error):
            complain("not enough memory. Ask for fewer or smaller images, or close other programs.")
            return 1
        if not hasattr(error, "format_message"):
            raise
        _explain_usage(error)
        return int(getattr(error, "exit_code", 2))
    return result if isinstance(result, int) else 0


def _shown_path(path: str | bytes | int) -> str:
    """A path as an error has it; what is not UTF-8 in it stays, for the stream to show."""
    text = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
    return text if len(text) <= LONGEST_WORD else shown(text, LONGEST_WORD)


def _system_error(error: OSError) -> int:
    """The exit code, after one line: of a path, or of the output itself; anything else is a defect of ours."""
    if error.filename is not None:
        complain(f"{_shown_path(error.filename)}: {error.strerror}. Choose a path that can be read and written.")
    elif is_out_of_memory(error):
        complain("not enough memory. Ask for fewer or smaller images, or close other programs.")
    elif error.errno in FULL:
        drop_output()
        complain("not written, the disk is full. Free some space and run the same command again.")
    elif error.errno == errno.EPIPE:  # whoever read the output, such as `head`, has had enough
        drop_output()
        return 1
    else:
        raise error
    return FULL_DISK if error.errno in FULL else 1


def _explain_usage(error: Exception) -> None:
    """Say what is wrong with the arguments in one line (typer's own errors; their class moved between versions)."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message())  # type: ignore[attr-defined]
        return
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "latentry"
    text = " ".join(shown(word, LONGEST_WORD) for word in error.format_message().split())  # type: ignore[attr-defined]
    stop = "" if text.endswith((".", "?")) else "."
    complain(f"{command}: {text}{stop} `{command} --help` shows what is accepted.")
