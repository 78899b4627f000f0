"""Tables of kinds: a name, the options it takes (pydantic), and the function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializeAsAny
from pydantic_core import PydanticCustomError, core_schema

from latentry.bounds import LONGEST_TEXT
from latentry.errors import UsageError, did_you_mean, shown


class Options(BaseModel):
    """Base of every options class: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=LONGEST_TEXT)


class KindOptions(Options):
    """Options of one entry of a table; `kind` is the entry's name."""

    kind: str


@dataclass(frozen=True)
class Kind:
    """One entry of a table.

    options: the options class, a subclass of `KindOptions`.
    build: called with the options first, then with what the table's builder documents.
    """

    options: type[KindOptions]
    build: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class _Choice:
    table: Mapping[str, Kind]
    what: str

    def parse(self, value: Any) -> KindOptions:
        if isinstance(value, KindOptions):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        names = ", ".join(self.table)
        if not isinstance(value, Mapping) or "kind" not in value:
            raise PydanticCustomError(
                "kind", "has no `kind`; known {what}: {known}", {"what": self.what, "known": names}
            )
        name = value["kind"]
        if not isinstance(name, str) or name not in self.table:
            hint = did_you_mean(name, self.table)
            text = 'no {what} "{name}"; known: {known}{hint}'
            raise PydanticCustomError(
                "kind", text, {"what": self.what, "name": shown(name), "known": names, "hint": hint}
            )
        return self.table[name].options.model_validate(dict(value))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse, serialization=core_schema.plain_serializer_function_ser_schema(lambda o: o.model_dump())
        )

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        entries = []
        for name, kind in self.table.items():
            entry = handler(kind.options.__pydantic_core_schema__)
            properties = {**entry.get("properties", {}), "kind": {"const": name}}
            entries.append({**entry, "properties": properties, "required": [*entry.get("required", []), "kind"]})
        return {"anyOf": [*entries, {"enum": list(self.table)}]}


def choice(table: Mapping[str, Kind], what: str) -> Any:
    """A pydantic field type: `{kind: NAME, ...options}` or just `NAME`, checked against the table when validated.

    what: the plural word for messages, for example "schedules". New entries of the table are seen at once.
    """
    return Annotated[SerializeAsAny[KindOptions], _Choice(table, what)]


def lookup(table: Mapping[str, Any], name: str, what: str) -> Any:
    """The entry called `name`, or a `UsageError` that lists the known ones. what: singular word, e.g. "solver"."""
    if name not in table:
        raise UsageError(f'{what}: no "{shown(name)}"; known: {", ".join(table)}{did_you_mean(name, table)}')
    return table[name]


def build(table: Mapping[str, Kind], options: KindOptions, *args: Any) -> Any:
    """Build the entry that `options` were made for."""
    return lookup(table, options.kind, "kind").build(options, *args)
