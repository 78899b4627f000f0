"""What the options classes of tasks are made of. The class is the command line's options and Python's keywords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from latentry.errors import shown
from latentry.kinds import Options

SAME: Any = object()
"""As a default on the command line: that of the class."""


class TaskOptions(Options):
    """Base of a task's options. Every field has a description, which is its help.

    These classes are imported for `--help`: their files import torch inside functions only.
    """

    @property
    def count(self) -> int:
        """How many images the task makes."""
        return 1

    def sampling(self) -> dict[str, Any]:
        """Those that replace the model's own `SampleOptions`, by their names there."""
        return {}


@dataclass(frozen=True)
class OnCommandLine:
    """In a field's annotation: what is special about it as an option of a command.

    flags: instead of `--name`. positional: an argument without a flag. metavar: what stands for its value in the help.
    default: where a command has another one than a Python call. hidden: no option of the command.
    each: the task is done for each of its values by itself.
    """

    flags: tuple[str, ...] = ()
    positional: bool = False
    metavar: str | None = None
    default: Any = SAME
    hidden: bool = False
    each: bool = False


@dataclass(frozen=True)
class Between:
    """In a field's annotation: lowest and highest value, and advice below: `n: 0; ask for at least one image`."""

    lowest: int
    advice: str
    highest: int

    def _checked(self, value: Any) -> Any:
        if value < self.lowest:
            raise ValueError(f"{shown(value)}; {self.advice}")
        if value > self.highest:
            raise ValueError(f"{shown(value)}; at most {self.highest}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, of: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(of), "minimum": self.lowest, "maximum": self.highest}
