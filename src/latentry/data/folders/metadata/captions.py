"""Captions in text files: NAME.txt of NAME.png, as tools for fine-tuning write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from latentry import text
from latentry.data.files.header import shown
from latentry.data.folders.record import Record, Remarks, parts_of
from latentry.errors import UsageError

LONGEST = 10_000
"""Characters of a caption that are read: far more than any text encoder takes in."""
_BYTES = 4 * LONGEST + 4
_LOOKED_AT = 200
"""Text files beside no image that are opened."""
_FOLDER = re.compile(r"(.*/)?(captions?|texts?|txts?|prompts?|tags)", re.IGNORECASE)
"""Folders of captions beside those of images."""
_BETWEEN = re.compile(r"[,;|#\s\"']+")


def add_text_files(root: Path, records: Sequence[Record], beside: dict[str, str], remarks: Remarks) -> list[Record]:
    """The records with `text` from the text file beside each image, where the metadata has none for it.

    beside: of `text_files`. Raises `UsageError` for a text that cannot be decoded.
    """
    if not beside:
        return list(records)
    missing = [record for record in records if record.path in beside and record.fields.get("text") is None]
    captions, long = _read(root, {record.path: beside[record.path] for record in missing})
    _tell(records, beside, captions, long, remarks)
    return [
        record._replace(fields={**record.fields, "text": captions[record.path]})
        if record.path in captions and record.fields.get("text") is None
        else record
        for record in records
    ]


def left_over(root: Path, records: Sequence[Record], texts: Sequence[str]) -> list[str]:
    """Lines for text files beside no image; one that names images is a list of them, with captions or classes."""
    if not texts:
        return []
    names = {name for record in records for name in (record.path, parts_of(record.path).name)}
    lists = [path for path in texts[:_LOOKED_AT] if _names_images(root / path, names)]
    lines = [
        f"{shown(path)}, whose lines name images: write them into a metadata.csv of the columns file_name and text, "
        "label or split"
        for path in lists[:5]
    ]
    others = [path for path in texts if path not in lists]
    if others:
        lines.append(f"{_count(others, 'text file')} beside no image (first: {shown(others[0])})")
    return lines


def _names_images(path: Path, names: set[str]) -> bool:
    """Whether two of the first lines of a text have the name of an image, or its path, among their words."""
    try:
        start = text.start_of(path, 4096, shown(str(path))).decode("utf-8", "replace")
    except UsageError:
        return False
    words = (set(_BETWEEN.split(line)) | {line.strip()} for line in start.splitlines()[:20])
    found = (any(w in names or w.rpartition("/")[2] in names for w in line) for line in words)
    return sum(found) > 1


def text_files(records: Sequence[Record], texts: Sequence[str]) -> dict[str, str]:
    """The text file of each image that has one: a/b.txt, or a/b.png.txt, of a/b.png; else captions/b.txt beside
    the folder a."""
    stems: dict[str, str] = {}
    for path in texts:
        stems.setdefault(parts_of(path).stem, path)
    found = {}
    for record in records:
        name = stems.get(parts_of(record.path).stem) or stems.get(record.path)
        if name is not None:
            found[record.path] = name
    apart = {stem: path for stem, path in stems.items() if _FOLDER.fullmatch(stem.rpartition("/")[0])}
    return _named_after(records, apart) | found if apart else found


def _named_after(records: Sequence[Record], apart: dict[str, str]) -> dict[str, str]:
    """The text file of each image that alone has its name below the folder in which that of the texts lies.

    apart: text files in folders of captions, by their path without the suffix.
    """
    images: dict[str, list[str]] = {stem.rpartition("/")[2]: [] for stem in apart}
    for record in records:
        for name in {parts_of(record.path).name, parts_of(record.path).stem.rpartition("/")[2]} & images.keys():
            images[name].append(record.path)
    found = {}
    for stem, path in apart.items():
        folder, _, name = stem.rpartition("/")
        above = folder.rpartition("/")[0]
        near = [image for image in images[name] if image.startswith(f"{above}/" if above else "")]
        if len(near) == 1:
            found[near[0]] = path
    return found


def _read(root: Path, files: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The caption of each image, and the files of which only the start is read."""
    captions, long = {}, []
    for image, path in files.items():
        captions[image], whole = _caption(root / path)
        if not whole:
            long.append(path)
    return captions, long


def _caption(path: Path) -> tuple[str, bool]:
    """(the caption on one line, whether it is the whole file)."""
    where = shown(str(path))
    data = text.start_of(path, _BYTES + 1, where)
    whole = len(data) <= _BYTES
    caption = " ".join((text.decode(data, where) if whole else _start(data[:_BYTES], where)).split())
    return caption[:LONGEST], whole and len(caption) <= LONGEST


def _start(data: bytes, where: str) -> str:
    """The text of a part that may end inside a character."""
    for cut in range(3):
        with suppress(UsageError):
            return text.decode(data[: len(data) - cut], where)
    return text.decode(data[:-3], where)


def _tell(
    records: Sequence[Record], beside: dict[str, str], captions: dict[str, str], long: list[str], remarks: Remarks
) -> None:
    paths = {record.path for record in records}
    captioned = {record.path for record in records if record.fields.get("text") is not None}
    if captions:
        empty, without = sum(not caption for caption in captions.values()), len(paths - captioned - captions.keys())
        apart = any(parts_of(image).folder != parts_of(beside[image]).folder for image in captions)
        of = "of" if apart else "beside"
        parts = [f"captions are read from NAME.txt {of} {len(captions)} of {len(paths)} images"]
        parts += [f"{without} images have none"] if without else []
        parts += [f"{empty} of the files are empty"] if empty else []
        remarks.read.append("; ".join(parts))
    unread = len(beside) - len(captions)
    if unread:
        remarks.left.append(f"{unread} NAME.txt files beside images of which the metadata has a caption")
    if long:
        remarks.read.append(
            f"of {_count(long, 'caption')} only the first {LONGEST} characters are read (first: {shown(long[0])})"
        )


def _count(things: Sequence[str] | dict[str, str], what: str) -> str:
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"
