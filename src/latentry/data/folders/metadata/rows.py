"""The rows of a metadata file: JSON lines, CSV, TSV or Parquet, each describing one image."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentry import text
from latentry.data.files.header import shown
from latentry.errors import UsageError

LIMIT = 4 * 2**30
"""Most bytes of a metadata file: rows of some ten million images."""
NAMES = ("file_name", "filename", "file", "image", "image_path", "img", "img_path", "path", "file_path", "filepath")
"""Fields that may hold the image's path; the first of these that a row has is it."""
_ROW = "each line is a JSON object with the image's path relative to the file"
_CELL = 64 * 2**20  # characters


class Row(NamedTuple):
    """where: file and line, for errors. name: of the image. by: the field that names it. fields: the rest."""

    where: str
    name: str
    by: str
    fields: Mapping[str, Any]


def rows(root: Path, path: str) -> Iterator[Row]:
    """The rows of a metadata file below `root`. Errors: `UsageError` with file and line, one line."""
    where = shown(str(root / path))
    if path.endswith(".parquet"):
        yield from (
            _named(f"{where}: row {n}", row, tuple(row)) for n, row in enumerate(_parquet(root / path, where), 1)
        )
        return
    content, wrong = _decoded(root / path, where)
    read = _json_lines(content, where) if path.endswith(".jsonl") else _table(content, where, path.endswith(".tsv"))
    for row in read:
        if wrong is not None and _has_halves(row.fields):
            raise UsageError(f"{row.where}: {str(wrong).removeprefix(f'{where}: ')}")
        yield row


def _decoded(path: Path, where: str) -> tuple[str, UsageError | None]:
    """The text, and what is wrong with it: then only file names may hold the bytes that are not UTF-8."""
    data = text.read_bytes(path, LIMIT, where)
    if data.startswith(b"version https://git-lfs"):
        raise UsageError(f"{where}: is a git-lfs pointer, not the metadata itself. Run `git lfs pull` in the folder.")
    try:
        return text.decode(data, where), None
    except UsageError as error:
        return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff"), error


def _has_halves(fields: Mapping[str, Any]) -> bool:
    written = json.dumps(fields, ensure_ascii=False, default=str)
    return text.printable(written) != written


def _json_lines(content: str, where: str) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(content, newline=None), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = text.one_line(str(error))[:200]
            raise UsageError(
                f"{where}:{number}: not a JSON object ({reason}). Each line describes one image."
            ) from None
        yield _named(f"{where}:{number}", row, tuple(row) if isinstance(row, dict) else ())


def _table(content: str, where: str, tabs: bool) -> Iterator[Row]:
    """CSV with a first line of names, divided by commas, semicolons or tabs, whichever that line has most of."""
    head = content[: content.find("\n") + 1 or len(content)]
    divider = "\t" if tabs else max(",;\t", key=head.count)
    before = csv.field_size_limit(_CELL)
    try:
        reader = csv.reader(io.StringIO(content, newline=""), delimiter=divider)
        columns = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not any(cells):
                continue
            place = f"{where}:{reader.line_num}"
            if len(cells) > len(columns):
                raise UsageError(
                    f"{place}: {len(cells)} values, but the first line names {len(columns)} columns. Quote values that "
                    f'hold "{divider}".'
                )
            yield _named(place, {c: _cell(v) for c, v in zip(columns, cells)}, tuple(columns))
    except csv.Error as error:
        raise UsageError(f"{where}: not a table that can be read ({error}). Save it as CSV in UTF-8.") from None
    finally:
        csv.field_size_limit(before)


def _cell(value: str) -> Any:
    """A cell's text; nothing for an empty one; the object that a cell like {"bbox": ...} writes."""
    if value.startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value or None


def _parquet(path: Path, where: str) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            f"{where}: Parquet needs a further package: pip install 'latentry[parquet]', or save it as metadata.csv."
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UsageError(
            f"{where}: not a Parquet file that can be read ({' '.join(str(error).split())[:200]})."
        ) from None


def _named(where: str, row: Any, columns: tuple[str, ...]) -> Row:
    if not isinstance(row, dict):
        raise UsageError(f'{where}: no "file_name"; {_ROW}.')
    for by in NAMES:
        name = row.get(by)
        if isinstance(name, dict) and by == "image":
            name = name.get("path")
        if isinstance(name, str) and name:
            return Row(where, name, by, {key: value for key, value in row.items() if key != by})
    have = f"; fields: {', '.join(text.one_line(str(c)) for c in columns[:12])}" if columns else ""
    raise UsageError(f'{where}: no "file_name"{have}; {_ROW}, or a row of a table with such a column.')
