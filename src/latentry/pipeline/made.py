"""How the images of an output were drawn, written into their files as a `Record` each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latentry.checkpoints import manifest
from latentry.data.files.of_file import OfFile
from latentry.models.config import SampleOptions
from latentry.models.modes import Mode
from latentry.pipeline.record import SOFTWARE, DrawnBy, Record
from latentry.tasks.sampling import Sampling
from latentry.text import printable

TILES = {"tile", "overlap"}


@dataclass(frozen=True)
class Made:
    """How the images of one output were drawn; whatever is not said of them was the model's own.

    options: the task's, checked. files: as in `Record`. chosen, size: what they and the model's own came to; no size
    where that of a file decides. first: of the images of the request the first of the output.
    """

    task: str
    options: Sampling
    chosen: SampleOptions
    size: tuple[int, int] | None
    batch: int
    mode: Mode
    device: str
    model: DrawnBy
    autoguide: DrawnBy | None = None
    classifier: DrawnBy | None = None
    files: Mapping[str, dict[str, str]] = field(default_factory=dict)
    first: int = 0

    def image(self, index: int) -> str:
        """The record of one image: with those that were drawn beside it."""
        place = self.first + index
        if self.options.count != self.options.asked:
            return self._record(*self._plain(), self.options.n, self.options.seed, self.batch, None, place)
        start = place // self.batch * self.batch
        rows = range(start, min(start + self.batch, self.options.count))
        conditions, incomplete = self._plain()
        spread = {name: [v[i // self.options.n % len(v)] for i in rows] for name, v in conditions.items()}
        alike = all(value == values[0] for values in spread.values() for value in values)
        if alike:
            spread = {name: values[:1] for name, values in spread.items()}
        n = len(rows) if alike else 1
        return self._record(spread, incomplete, n, self.options.seed + start, len(rows), place - start)

    def sheet(self) -> str:
        """The record of all of them."""
        return self._record(*self._plain(), self.options.n, self.options.seed, self.batch, None)

    def only(self, index: int) -> Made:
        """Of one image, still with those that were drawn beside it."""
        return replace(self, first=self.first + index)

    def _plain(self) -> tuple[dict[str, list[Any]], list[str]]:
        """The conditions that JSON can hold, arrays of files by their names, and the names of the others."""
        told = {name: [self._told(name, one) for one in each] for name, each in self.options.conditions().items()}
        lost = [name for name, values in told.items() if not _is_plain(values)]
        return {name: values for name, values in told.items() if name not in lost}, lost

    def _told(self, name: str, value: Any) -> Any:
        if isinstance(value, OfFile) and _as_text(value.path) in self.files.get(name, {}):
            return _as_text(value.path)
        return value.item() if isinstance(value, np.generic) else value

    def _size(self) -> dict[str, str]:
        """As it was asked for, or what it came to; none for a task that has no such option."""
        asked = getattr(self.options, "size", None)
        size = self.size if asked is None else (asked, asked) if isinstance(asked, int) else asked
        return {} if size is None or "size" not in type(self.options).model_fields else {"size": "{}x{}".format(*size)}

    def _record(
        self,
        conditions: dict[str, list[Any]],
        lost: list[str],
        n: int,
        seed: int,
        batch: int,
        index: int | None,
        place: int | None = None,
    ) -> str:
        common = {*Sampling.model_fields, "size"} - TILES
        further = [name for name in type(self.options).model_fields if name not in common]
        rest = {name: _as_text(getattr(self.options, name)) for name in further}
        kept = {name: value for name, value in rest.items() if _is_plain(value)}
        used = {name: [one for one in each if isinstance(one, str)] for name, each in conditions.items()}
        files = {
            name: {path: digest for path, digest in each.items() if name not in used or path in used[name]}
            for name, each in self.files.items()
        }
        return Record(
            task=self.task,
            conditions=conditions,
            options={**kept, **self.chosen.model_dump(mode="json"), **self._size()},
            n=n,
            seed=seed,
            batch=batch,
            index=index,
            place=place,
            incomplete=[*lost, *(name for name in rest if name not in kept)],
            mode=str(self.mode),
            precision=self.mode.precision,
            device=self.device,
            model=self.model,
            autoguide=self.autoguide,
            classifier=self.classifier,
            files=files,
            software=SOFTWARE,
        ).text()


def files_of(options: Sampling) -> dict[str, dict[str, str]]:
    """By option, the files that it names or that its arrays are of, each with its SHA-256."""
    values = {name: getattr(options, name) for name in type(options).model_fields}
    listed = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    named = {name: [one for one in ones if isinstance(one, Path)] for name, ones in listed.items()}
    for name, each in options.conditions().items():
        named[name] = [one.path for one in each if isinstance(one, OfFile) and one.path is not None]
    there = {name: {path for path in paths if path.is_file()} for name, paths in named.items()}
    return {name: {_as_text(path): manifest.digest(path) for path in paths} for name, paths in there.items() if paths}


def _as_text(value: Any) -> Any:
    """Paths as text; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(map(_as_text, value))
    return printable(str(value)) if isinstance(value, Path) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(one) for name, one in value.items())
    return value is None or isinstance(value, str | int | float)
