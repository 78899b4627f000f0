"""Tasks: what a model can do, apart from how it is computed.

A new task is a file here that defines TASK, and a line in TASKS. The pipeline and the command line read this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from latentry.tasks.task import PerImage, Request, Task

__all__ = ["TASKS", "Entry", "PerImage", "Request", "Task"]


@dataclass(frozen=True)
class Entry:
    """A line of TASKS: all that `latentry --help` needs, which is shown before pydantic or torch could be imported.

    command: its name on the command line. help: what it does, in a sentence. source: the file of this folder that
    defines TASK, read when it is first used; or the Task itself.
    """

    command: str
    help: str
    source: str | Task[Any]

    @property
    def task(self) -> Task[Any]:
        """The task itself."""
        if isinstance(self.source, Task):
            return self.source
        task: Task[Any] = import_module(f"{__name__}.{self.source}").TASK
        return task


TASKS: dict[str, Entry] = {
    "generate": Entry("sample", "Sample images.", "generate"),
    "reconstruct": Entry(
        "reconstruct", "Encode images and decode them again: what the first stage keeps of them.", "reconstruct"
    ),
    "edit": Entry("edit", "Change a prompt and keep the image: what words swapped, added or stressed change.", "edit"),
    "inpaint": Entry("inpaint", "Fill a hole in an image, or remove an object from it.", "inpaint"),
    "outpaint": Entry("outpaint", "Continue an image beyond its sides.", "outpaint"),
    "vary": Entry("vary", "Vary an image: noise it to a strength and denoise it under a text or class.", "vary"),
    "interpolate": Entry("interpolate", "Frames between two seeds, texts, classes or image files.", "interpolate"),
    "colorize": Entry("colorize", "Give a grey image colours.", "colorize"),
    "upscale": Entry("upscale", "Make images several times as large: super-resolution.", "upscale"),
}
