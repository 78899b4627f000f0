"""Files that hold several images, as a list of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from latentry.data.files import images
from latentry.data.files.header import BadImage, Header
from latentry.data.folders.record import Record
from latentry.data.options import DataOptions


def expanded(root: Path, records: Sequence[Record], options: DataOptions) -> list[Record]:
    """With `pages: each`, a record for every image of a file: `stack.tif#3` is the fourth. Only headers are read.

    A file that cannot be read stays as it is, to be named as bad like any other.
    """
    if options.pages != "each":
        return list(records)
    return [each for record in records for each in _each(root, record, options)]


def _each(root: Path, record: Record, options: DataOptions) -> list[Record]:
    if not record.path.lower().endswith(images.STACKS):
        return [record]
    try:
        count = images.header(root / record.path, options.limits).frames
    except BadImage:
        count = 1
    if count == 1:
        return [record]
    return [record._replace(path=f"{record.path}#{number}") for number in range(count)]


def remarks(headers: Iterable[Header]) -> list[str]:
    """One line for every way in which files of several images are read, with their number."""
    counts = Counter(header.stack[0] for header in headers if header.stack)
    return [f"{count} of the images: {taken}" for taken, count in counts.most_common()]
