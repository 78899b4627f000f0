"""What a picture's file says of how it was drawn, so that the same picture can be drawn again, to the bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tifffile
from PIL import Image
from pydantic import Field

from latentry import __version__, config
from latentry.bounds import MOST_IMAGES, Name, Seed
from latentry.checkpoints import manifest
from latentry.errors import UsageError, shown
from latentry.kinds import Options
from latentry.models.modes.mode import LONGEST as LONGEST_MODE
from latentry.tasks import inputs

if TYPE_CHECKING:
    from latentry.pipeline.output import Output
    from latentry.pipeline.pipeline import Pipeline

KEY = "latentry"
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
    of them on one sheet, or the picture is number `place` of all, of a request of which no image is drawn by itself.
    mode: how the step was computed; `precision` is all that earlier pictures say of it.
    incomplete: what text cannot hold, such as a condition that is an array of no file.
    """

    task: str = Field(max_length=100)
    conditions: dict[str, Annotated[list[Any], Field(max_length=MOST_IMAGES)]] = Field(max_length=100)
    options: dict[str, Any] = Field(max_length=100)
    n: int = Field(ge=1, le=MOST_IMAGES)
    seed: Seed
    batch: int = Field(ge=1, le=MOST_AT_ONCE)
    index: int | None = Field(None, ge=0, lt=MOST_AT_ONCE)
    place: int | None = Field(None, ge=0, lt=MOST_IMAGES)
    incomplete: list[Name] = Field([], max_length=100)
    mode: str | None = Field(None, max_length=LONGEST_MODE)
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
        conditions = {name: v[0] if len(v) == 1 and isinstance(v[0], str) else v for name, v in conditions.items()}
        how: dict[str, Any] = {} if changes else {"batch": self.batch}
        how |= {} if self.autoguide is None else {"autoguide": self.autoguide}
        how |= {} if self.classifier is None else {"classifier": self.classifier}
        mode = self.mode or self.precision
        return {**conditions, **self.options, "n": n, "seed": seed, "mode": mode, **how, **changes}


def read(path: Path) -> Record:
    """The record in a picture that latentry saved. Raises UsageError for one that has none."""
    where = f"{path}: its text"
    try:
        tree = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise UsageError(f"{where} is damaged. Take another copy of the picture.") from None
    record = config.validate(Record, tree, where)
    lengths = {len(values) for values in record.conditions.values()}
    read_from = {(name, one) for name in inputs.READERS for one in record.conditions.get(name, ()) if type(one) is str}
    unkept = any(one not in record.files.get(name, {}) for name, one in read_from)
    if 0 in lengths or len(lengths - {1}) > 1 or (record.index or 0) >= record.batch or unkept:
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


def check_files(record: Record, changes: Mapping[str, Any]) -> None:
    """Raises UsageError where a file that the picture was drawn with, and that `changes` do not replace, is not what it
    was."""
    for option in record.files.keys() - changes.keys():
        for name, digest in record.files[option].items():
            if not Path(name).is_file() or manifest.digest(Path(name)) != digest:
                raise UsageError(
                    f"{option}: {shown(name)}, with which the picture was drawn, is not here or is another file now. "
                    f"Put it back, or name another: --{option} PATH."
                )


def again(pipe: Pipeline, record: Record, changes: Mapping[str, Any], **how: Any) -> Output:
    """The same picture, or with other options. how: `progress` and `mode` of `Pipeline.run`.

    Raises UsageError where a file that it was drawn with is not what it was.
    """
    check_files(record, changes)
    output, which = pipe.run(record.task, **{**record.words(changes), **how}), record.index
    which = record.place if which is None else which
    if changes or which is None:
        return output
    if which >= len(output.facts):
        raise UsageError(f"place: {which} of {len(output.facts)} images; the text of the picture contradicts itself.")
    return output.only(which)


def differences(record: Record, pipe: Pipeline) -> list[str]:
    """Why the picture may differ in its last bits, one text each."""
    found = [
        (f"by {shown(record.software)}", record.software, SOFTWARE),
        (f"on {shown(record.device)}", record.device.partition(":")[0], pipe.device.type),
    ]
    return [f"was drawn {how}, now {now}: some bits may differ" for how, then, now in found if then != now]
