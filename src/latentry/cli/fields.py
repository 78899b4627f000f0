"""A field of a task's options class as a parameter of its command: type, bounds, default and help are the field's."""

from __future__ import annotations

from inspect import Parameter
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from latentry.tasks.options import SAME, Between, OnCommandLine, TaskOptions

WORDS = (bool, int, float, str, Path)
"""What a word of the command line is read as; a field of another type takes it as text and reads it itself."""


def on_command_line(field: FieldInfo) -> OnCommandLine:
    """What is special about a field as an option of a command."""
    return next((note for note in field.metadata if isinstance(note, OnCommandLine)), OnCommandLine())


def each_of(options: type[TaskOptions]) -> str | None:
    """The field for each of whose values the task is done by itself, if there is one."""
    return next((name for name, field in options.model_fields.items() if on_command_line(field).each), None)


def shown(options: type[TaskOptions]) -> dict[str, FieldInfo]:
    """The fields that a command has options for: arguments first, and of these those that must be there."""

    def order(field: FieldInfo) -> int:
        return 2 if not on_command_line(field).positional else 0 if field.is_required() else 1

    fields = {name: field for name, field in options.model_fields.items() if not on_command_line(field).hidden}
    return dict(sorted(fields.items(), key=lambda item: order(item[1])))


def parameter(name: str, field: FieldInfo) -> Parameter:
    """The parameter of a function for typer."""
    special = on_command_line(field)
    default = field.get_default() if special.default is SAME else special.default
    how: dict[str, Any] = {"help": field.description, "metavar": special.metavar, **_bounds(field)}
    info = typer.Argument(**how) if special.positional else typer.Option(*special.flags, **how)
    return named(name, _word_type(field), info, Parameter.empty if field.is_required() else default)


def is_several(field: FieldInfo) -> bool:
    """Whether an option is given once for each of its values."""
    return isinstance(_word_type(field), GenericAlias)


def named(name: str, type_: Any, info: Any, default: Any = Parameter.empty) -> Parameter:
    """A parameter with typer's description of it; without a default it must be there."""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[type_, info])


def _bounds(field: FieldInfo) -> dict[str, Any]:
    """The lowest and the highest value of a number."""
    bounds: dict[str, Any] = {}
    for note in field.metadata:
        if isinstance(note, Between):
            bounds |= {"min": note.lowest, "max": note.highest}
        elif isinstance(note, Ge):
            bounds["min"] = note.ge
        elif isinstance(note, Le):
            bounds["max"] = note.le
    return bounds


def _word_type(field: FieldInfo) -> Any:
    """What typer reads: one of WORDS, a list of one for several; or None where that is the default."""
    kinds = [kind for kind in _members(field.annotation) if kind is not type(None)]
    kind = kinds[0] if len(kinds) == 1 else str
    inner = get_args(kind)
    if get_origin(kind) in (list, tuple) and inner and inner[0] in WORDS:
        return GenericAlias(list, (inner[0],))
    plain = kind if kind in WORDS else str
    return plain if field.is_required() or field.get_default() is not None else plain | None


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of a union; another type alone."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
