"""What a picture's file says of how it was drawn, so that the same picture can be drawn again, to the bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tifffile
from PIL import Image
from pydantic import Field

from latentry import __version__, config
from latentry.bounds import MOST_IMAGES, Name, Seed
from latentry.checkpoints import manifest
from latentry.errors import UsageError, shown
from latentry.kinds import Options
from latentry.models.config import SampleOptions
from latentry.tasks.options import TaskOptions
from latentry.tasks.sampling import Sampling
from latentry.text import printable

if TYPE_CHECKING:
    from latentry.pipeline.output import Output
    from latentry.pipeline.pipeline import Pipeline

KEY = "latentry"
TILES = {"tile", "overlap"}
LONGEST = 4_000_000
"""Letters of a record. It holds the prompts of the images drawn at once, and of all on a sheet."""
MOST_AT_ONCE = 65_536
SOFTWARE = f"latentry {__version__}"


class DrawnBy(Options):
    """The model: where it was, what it is, and how it was opened."""

    source: str = ""
    hash: str = ""
    weights: Literal["ema", "raw"] = "ema"
    step: int | None = Field(None, ge=0, le=10**12)
    config: str | None = None
    vocabulary: str | None = None

    def __str__(self) -> str:
        step = "" if self.step is None else f", step {self.step}"
        return f"{self.hash or 'without a hash'} ({self.weights} weights{step})"


class Record(Options):
    """One picture, or a sheet of several, as a request.

    conditions: of each a value for every image, or one for all. options: the task's others, none left to a default.
    autoguide: the worse model that guided. classifier: the model whose classifier did. files: by option, the
    files it names, each with its SHA-256.
    batch: how many images were worked on at once, on which the last bits depend. index: of these the picture; null: all
    of them on one sheet. incomplete: what text cannot hold, such as a condition that is an array.
    """

    task: str = Field(max_length=100)
    conditions: dict[str, Annotated[list[Any], Field(max_length=MOST_IMAGES)]] = Field(max_length=100)
    options: dict[str, Any] = Field(max_length=100)
    n: int = Field(ge=1, le=MOST_IMAGES)
    seed: Seed
    batch: int = Field(ge=1, le=MOST_AT_ONCE)
    index: int | None = Field(None, ge=0, lt=MOST_AT_ONCE)
    incomplete: list[Name] = Field([], max_length=100)
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = Field("cpu", max_length=40)
    model: DrawnBy = DrawnBy()
    autoguide: DrawnBy | None = None
    classifier: DrawnBy | None = None
    files: dict[str, Annotated[dict[str, str], Field(max_length=MOST_IMAGES)]] = Field({}, max_length=100)
    software: str = Field("", max_length=200)

    def text(self) -> str:
        """As a file holds it."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))

    def words(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `Pipeline.run`. changes: options of the task that replace its own.

        Without any, all images of its batch are drawn; else a picture that was one of several is drawn by itself.
        """
        conditions: dict[str, Any] = dict(self.conditions)
        n, seed = self.n, self.seed
        if changes and self.index is not None:
            conditions = {name: [v[self.index if len(v) > 1 else 0]] for name, v in conditions.items()}
            n, seed = 1, seed + self.index
        how: dict[str, Any] = {} if changes else {"batch": self.batch}
        how |= {} if self.autoguide is None else {"autoguide": self.autoguide}
        how |= {} if self.classifier is None else {"classifier": self.classifier}
        bf16 = self.precision == "bf16"
        return {**conditions, **self.options, "n": n, "seed": seed, "bf16": bf16, **how, **changes}


@dataclass(frozen=True)
class Made:
    """How the images of one output were drawn; whatever is not said of them was the model's own.

    options: the task's, checked. files: as in `Record`. chosen, size: what they and the model's own came to. first: of
    the images of the request the first of the output.
    """

    task: str
    options: Sampling
    chosen: SampleOptions
    size: tuple[int, int]
    batch: int
    precision: Literal["fp32", "bf16"]
    device: str
    model: DrawnBy
    autoguide: DrawnBy | None = None
    classifier: DrawnBy | None = None
    files: Mapping[str, dict[str, str]] = field(default_factory=dict)
    first: int = 0

    def image(self, index: int) -> str:
        """The record of one image: with those that were drawn beside it."""
        place = self.first + index
        start = place // self.batch * self.batch
        rows = range(start, min(start + self.batch, self.options.count))
        conditions, incomplete = _plain(self.options.conditions())
        spread = {name: [v[i // self.options.n % len(v)] for i in rows] for name, v in conditions.items()}
        alike = all(value == values[0] for values in spread.values() for value in values)
        if alike:
            spread = {name: values[:1] for name, values in spread.items()}
        n = len(rows) if alike else 1
        return self._record(spread, incomplete, n, self.options.seed + start, len(rows), place - start)

    def sheet(self) -> str:
        """The record of all of them."""
        conditions, incomplete = _plain(self.options.conditions())
        return self._record(conditions, incomplete, self.options.n, self.options.seed, self.batch, None)

    def only(self, index: int) -> Made:
        """Of one image, still with those that were drawn beside it."""
        return replace(self, first=self.first + index)

    def _record(
        self, conditions: dict[str, list[Any]], lost: list[str], n: int, seed: int, batch: int, index: int | None
    ) -> str:
        common = {*Sampling.model_fields, "size"} - TILES
        further = [name for name in type(self.options).model_fields if name not in common]
        rest = {name: _as_text(getattr(self.options, name)) for name in further}
        kept = {name: value for name, value in rest.items() if _is_plain(value)}
        return Record(
            task=self.task,
            conditions=conditions,
            options={**kept, **self.chosen.model_dump(mode="json"), "size": "{}x{}".format(*self.size)},
            n=n,
            seed=seed,
            batch=batch,
            index=index,
            incomplete=[*lost, *(name for name in rest if name not in kept)],
            precision=self.precision,
            device=self.device,
            model=self.model,
            autoguide=self.autoguide,
            classifier=self.classifier,
            files=dict(self.files),
            software=SOFTWARE,
        ).text()


def read(path: Path) -> Record:
    """The record in a picture that latentry saved. Raises UsageError for one that has none."""
    where = f"{path}: its text"
    try:
        tree = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise UsageError(f"{where} is damaged. Take another copy of the picture.") from None
    record = config.validate(Record, tree, where)
    lengths = {len(values) for values in record.conditions.values()}
    if 0 in lengths or len(lengths - {1}) > 1 or (record.index or 0) >= record.batch:
        raise UsageError(f"{where} contradicts itself. Take another copy of the picture.")
    return record


def _text(path: Path) -> str:
    """The text of the record. Nothing is decoded but the head of the file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a picture that latentry saved")
    try:
        with path.open("rb") as file:
            tiff = file.read(2) in (b"II", b"MM")
        if tiff:
            with tifffile.TiffFile(path) as pages:
                described = pages.pages.first.description
            found = json.loads(described) if len(described) <= LONGEST and described.startswith("{") else {}
        else:
            with Image.open(path, formats=["PNG"]) as image:
                found = image.info
        text = str(found.get(KEY, "")) if isinstance(found, Mapping) else ""
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or 'is no PNG or TIFF'}; accepted: pictures latentry saved"
        ) from None
    except Exception as error:  # tifffile and Pillow raise anything for a file of others
        raise UsageError(f"{path}: cannot be read ({shown(str(error))}); accepted: pictures latentry saved") from None
    if not text or len(text) > LONGEST:
        raise UsageError(
            f"{path}: does not say how it was drawn; accepted: pictures that `latentry sample` saved with their text. "
            "Other programs, and --no-metadata, leave it out."
        )
    return text


def check(path: Path, record: Record, pipe: Pipeline) -> None:
    """Raises UsageError where the picture was drawn by another model, or its text does not hold all of it."""
    if record.model.hash != pipe.model_hash:
        raise UsageError(
            f"{path}: was drawn by the model {shown(record.model)}, not by {pipe.source}, which is "
            f"{pipe.drawn_by()}. Give the model it was drawn by."
        )
    if record.incomplete:
        missing = shown(", ".join(record.incomplete))
        raise UsageError(f"{path}: {missing} was no text, so that its file does not hold it. Draw it by a Python call.")


def again(pipe: Pipeline, record: Record, changes: Mapping[str, Any], **how: Any) -> Output:
    """The same picture, or with other options. how: `progress` of `Pipeline.run`.

    Raises UsageError where a file that it was drawn with is not what it was.
    """
    for option in record.files.keys() - changes.keys():
        for name, digest in record.files[option].items():
            if not Path(name).is_file() or manifest.digest(Path(name)) != digest:
                raise UsageError(
                    f"{option}: {shown(name)}, with which the picture was drawn, is not here or is another file now. "
                    f"Put it back, or name another: --{option} PATH."
                )
    output = pipe.run(record.task, **record.words(changes), **how)
    return output if changes or record.index is None else output.only(record.index)


def differences(record: Record, pipe: Pipeline) -> list[str]:
    """Why the picture may differ in its last bits, one text each."""
    found = [
        (f"by {shown(record.software)}", record.software, SOFTWARE),
        (f"on {shown(record.device)}", record.device.partition(":")[0], pipe.device.type),
    ]
    return [f"was drawn {how}, now {now}: some bits may differ" for how, then, now in found if then != now]


def _plain(conditions: Mapping[str, list[Any]]) -> tuple[dict[str, list[Any]], list[str]]:
    """Those that JSON can hold, and the names of the others."""
    kept = {name: [v.item() if isinstance(v, np.generic) else v for v in vs] for name, vs in conditions.items()}
    lost = [name for name, values in kept.items() if not _is_plain(values)]
    return {name: values for name, values in kept.items() if name not in lost}, lost


def files_of(options: TaskOptions) -> dict[str, dict[str, str]]:
    """By option, the files that it names, each with its SHA-256."""
    values = {name: getattr(options, name) for name in type(options).model_fields}
    listed = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    named = {name: [one for one in ones if isinstance(one, Path) and one.is_file()] for name, ones in listed.items()}
    return {name: {_as_text(path): manifest.digest(path) for path in paths} for name, paths in named.items() if paths}


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
