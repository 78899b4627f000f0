"""Look at every file of a data folder once and say what is wrong, what is odd, and what there is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from latentry.data import pages, transform
from latentry.data.content import POINTER
from latentry.data.files import images
from latentry.data.files.header import BadImage, Header
from latentry.data.folders import pixel_fields, select
from latentry.data.folders.foreign import sorted_out
from latentry.data.folders.framing import boxes_astray, cut_away
from latentry.data.folders.metadata.fields import OBJECTS
from latentry.data.folders.record import Record
from latentry.data.folders.records import known_fields, read_folder
from latentry.data.folders.scan import Scan, real_root, scan, where_to
from latentry.data.folders.source import common_depth, grey_in_colour, pointer_line, refuse_too_small
from latentry.data.options import DataOptions
from latentry.data.prepare import mismatch
from latentry.data.ranges.report import Values
from latentry.errors import UsageError

_TINY = 8
_FORMAT_OF = {".dcm": "DICOM", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


@dataclass
class Report:
    """The result of `check`.

    images: number listed. bad: (path, reason) of files that cannot be used. notes: (path, what is odd) of files that
    can. problems: what is wrong with the folder as a whole. channels, depths, formats, sizes (width, height): files
    that have each. fields: images with a value, by metadata field. labels: images, by label. split: images in each.
    values: files, by type and the values they hold. advice: what could be better, though training would do without.
    captions, empty_captions: how many. objects: boxes, by class, of `boxed` images. unlisted: images that no metadata
    names. foreign: files of kinds that are not read and may be images, by suffix; others: files of any other kind.
    read: what captions, names and splits were taken from, in words. unread: what takes no part. warnings: of what would
    train, but hardly as meant.
    """

    root: Path
    images: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    channels: Counter[int] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    fields: dict[str, int] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)
    boxed: int = 0
    captions: int = 0
    empty_captions: int = 0
    unlisted: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of training."""
        return not self.bad and not self.problems


def check(
    root: str | os.PathLike[str],
    options: DataOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Decode every image of a folder and report, in one pass.

    options: a recipe's `data`, to be checked against too (channels, depth, fields, size); without them only the files
    themselves are. progress: called with (done, all). Raises `UsageError` only for a folder that does not exist.
    """
    folder = real_root(root)
    content = scan(folder)
    report = Report(folder)
    _odd_entries(report, content)
    records = _read(report, content, options)
    report.fields = known_fields(records)
    if options is not None:
        records = pages.expanded(folder, _apply_options(report, records, options), options)
    else:
        _count_usual(report, records)
    headers = _decode_all(report, records, options or DataOptions(), options is not None, progress)
    _mixtures(report, headers, options)
    if report.boxed and not report.problems:
        report.warnings += boxes_astray(headers, records, options or DataOptions(boxes=OBJECTS))
    pointers = [path for path, reason in report.bad if reason == POINTER]
    if pointers:
        report.bad = [(path, reason) for path, reason in report.bad if reason != POINTER]
        report.problems.append(pointer_line(pointers))
    return report


def _read(report: Report, content: Scan, options: DataOptions | None) -> list[Record]:
    """The records, or where the metadata cannot be followed one for each image, so that all are looked at."""
    try:
        folder = read_folder(report.root, options, content)
    except UsageError as error:
        report.problems.append(str(error))
        foreign = sorted_out(report.root, content.others)
        report.foreign, report.others, report.unread = foreign.images, foreign.others, foreign.lines()
        return [Record(path) for path in content.images]
    report.foreign, report.others = folder.foreign.images, folder.foreign.others
    report.read, report.unread = folder.remarks.read, folder.remarks.left
    report.unlisted = len(folder.unlisted)
    return folder.records


def _odd_entries(report: Report, content: Scan) -> None:
    report.notes += [(path, f"link, not followed: {where_to(report.root, path)}") for path in content.links]
    report.notes += [(path, f"{what}; not opened" if "folder" not in what else what) for path, what in content.odd]
    report.bad += [(path, "folder cannot be opened") for path in content.unreadable]


def _count_usual(report: Report, records: list[Record]) -> None:
    """Without a recipe: the classes, captions and splits that one of `auto` would take."""
    label = next((field for field in ("label", select.FOLDER) if select.are_classes(records, field)), None)
    if label:
        report.labels = Counter(select.name_of(select.value_of(record, label)) for record in records)
    if any(select.value_of(record, "text") is not None for record in records):
        _count_captions(report, records, "text")
    if any(isinstance(record.fields.get(OBJECTS), Mapping) for record in records):
        _count_boxes(report, records, OBJECTS)
    report.split = Counter(record.split for record in records if record.split)


def _count_boxes(report: Report, records: list[Record], field: str) -> None:
    try:
        names = [pixel_fields.boxes_of(record, field)[1] for record in records]
    except UsageError as error:
        report.problems.append(str(error))
        return
    report.objects, report.boxed = Counter(name for row in names for name in row), sum(map(bool, names))


def _count_captions(report: Report, records: list[Record], field: str) -> None:
    texts = [text for record in records for text in select.captions_of(record, field)]
    report.captions, report.empty_captions = len(texts), texts.count("")
    report.read += select.long_captions(records, field)


def _apply_options(report: Report, records: list[Record], options: DataOptions) -> list[Record]:
    try:
        select.require_fields(records, options)
        records = select.selected(records, options)
        select.label_names(records, options.label)
        pixel_fields.check(report.root, records, options, len(records))
    except UsageError as error:
        report.problems.append(str(error))
    if options.label:
        report.labels = Counter(select.name_of(select.value_of(record, options.label)) for record in records)
    if options.text:
        _count_captions(report, records, options.text)
    if options.boxes:
        _count_boxes(report, records, options.boxes)
    report.split = Counter("held_out" if select.held_out(record, options) else "train" for record in records)
    return records


def _decode_all(
    report: Report,
    records: Sequence[Record],
    options: DataOptions,
    strict: bool,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Header]:
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(record.path, record)
    report.images = len(first)
    headers: dict[str, Header] = {}
    values = Values(options, len(first))
    for done, (path, record) in enumerate(first.items(), 1):
        header = _examine(report, path, options, strict, values)
        if header is not None:
            headers[path] = header
            _examine_pixel_fields(report, record, header, options)
        if progress is not None:
            progress(done, len(first))
    report.values, report.advice = values.seen(), values.advice()
    report.problems += values.problems()
    return headers


def _examine_pixel_fields(report: Report, record: Record, header: Header, options: DataOptions) -> None:
    geometry = transform.geometry(header.height, header.width, options)
    try:
        pixel_fields.read(report.root, record, options, pixel_fields.KINDS, geometry)
    except BadImage as error:
        report.bad.append((error.path.removeprefix(f"{report.root}/"), error.reason))
    except UsageError as error:
        report.problems.append(str(error))


def _examine(report: Report, path: str, options: DataOptions, strict: bool, values: Values) -> Header | None:
    try:
        header, array = images.decode(report.root / path, options.limits)
        values.add(path, header, array)
        if strict:
            refuse_too_small(path, header, options)
    except BadImage as error:
        report.bad.append((path, error.reason))
        return None
    report.channels[header.channels] += 1
    report.depths[header.depth] += 1
    report.formats[header.format] += 1
    report.sizes[header.width, header.height] += 1
    suffix = Path(images.stack_file(path)).suffix.lower()
    if _FORMAT_OF.get(suffix, suffix[1:].upper()) != header.format:
        report.notes.append((path, f"named {suffix} but is {header.format}: read by its content"))
    report.notes += [(path, note) for note in header.notes]
    if not strict and min(header.width, header.height) < _TINY:
        report.notes.append((path, f"only {header.height}x{header.width} pixels"))
    return header


def _mixtures(report: Report, headers: dict[str, Header], options: DataOptions | None) -> None:
    if not headers:
        return
    if options is None:
        _note_minority(report, {p: f"{h.channels - h.alpha} colour channels" for p, h in headers.items()})
        _note_minority(report, {p: f"{h.depth} bits a channel" for p, h in headers.items()})
        return
    report.warnings += grey_in_colour(headers, options) + cut_away(headers, options)
    wrong = {path: mismatch(header, options) for path, header in headers.items()}
    report.bad += [(p, f"{why}, but data.channels is {options.channels}") for p, why in wrong.items() if why]
    try:
        common_depth(headers, options)
    except UsageError as error:
        report.problems.append(str(error))


def _note_minority(report: Report, kinds: dict[str, str]) -> None:
    """Without a recipe a mixture is only odd: name the files that differ from most."""
    counts = Counter(kinds.values())
    usual = counts.most_common(1)[0][0]
    report.notes += [(p, f"{kind}, where most have {usual.split()[0]}") for p, kind in kinds.items() if kind != usual]
