"""A data folder, checked once: its images, what their headers say, and which are bad."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from latentry.data import pages
from latentry.data.files import images
from latentry.data.files.header import BadImage, BadValues, Header, shown
from latentry.data.files.kinds import POINTER
from latentry.data.files.limits import Limits
from latentry.data.folders import pixel_fields, select
from latentry.data.folders.record import Record, Remarks
from latentry.data.folders.records import not_entered, read_folder, real_root
from latentry.data.options import DataOptions
from latentry.data.prepare import mismatch
from latentry.data.transform import enlargement
from latentry.errors import LatentryError, UsageError

HEADERS_READ = 20_000


class Source:
    """The images that both splits draw from.

    remarks: how the folder was read, and what of it takes no part. warnings: of what will train, but hardly as meant.
    depth: 8, 16, or 32 (float) bits a channel of prepared images. bad: reason by path of files that cannot be used.
    Raises `UsageError` for a folder that does not fit the options and `LatentryError` for too many bad files.
    """

    def __init__(self, options: DataOptions, root: str | os.PathLike[str], report: Callable[[str], None]) -> None:
        self.options, self.report = options, report
        self.root: Path = real_root(root)
        folder = read_folder(self.root, options)
        select.require_fields(folder.records, options)
        self.records: list[Record] = pages.expanded(self.root, select.selected(folder.records, options), options)
        self.remarks: Remarks = folder.remarks
        self.remarks.left += not_entered(folder.content)
        self.remarks.read += select.long_captions(self.records, options.text)
        for line in self.remarks.lines():
            report(f"data: {line}")
        self.labels: list[str] = select.label_names(self.records, options.label)
        pixel_fields.check(self.root, self.records, options, HEADERS_READ)
        self.bad: dict[str, str] = {}
        headers = self._read_headers()
        self._tell_stacks(headers)
        self.records = [record for record in self.records if record.path not in self.bad]
        refuse_mixed_channels(headers, options)
        self.warnings = grey_in_colour(headers, options)
        for line in self.warnings:
            report(f"warning: {line}")
        self._refuse_bad_values([path for path, header in headers.items() if not header.plain])
        self.depth = common_depth(headers, options)

    def _tell_stacks(self, headers: dict[str, Header]) -> None:
        lines = pages.remarks(headers.values())
        self.remarks.read += lines
        for line in lines:
            self.report(f"data: {line}")

    def named_files(self) -> list[str]:
        """The files that metadata of the images names and the options read, each once."""
        return list(dict.fromkeys(pixel_fields.files_of(self.root, self.records, self.options)))

    def _read_headers(self) -> dict[str, Header]:
        """Headers by path; of very large folders an even sample, the rest is checked when it is decoded."""
        step = max(1, len(self.records) // HEADERS_READ)
        headers: dict[str, Header] = {}
        bad: list[BadImage] = []
        for record in self.records[::step]:
            header = self._header_or_reason(record.path)
            if isinstance(header, BadImage):
                bad.append(header)
            else:
                headers[record.path] = header
        self.note(bad)
        if not headers:
            raise self._too_many(f"none of the {len(self.records)} images can be used")
        return headers

    def _header_or_reason(self, path: str) -> Header | BadImage:
        try:
            header = images.header(self.root / path, self.options.limits)
            refuse_too_small(path, header, self.options)
        except BadImage as error:
            return error
        return header

    def _refuse_bad_values(self, float_paths: list[str]) -> None:
        """Whether a float picture holds NaN is known only by decoding it; do so before a night of training begins."""
        wrong: list[str] = []
        for path in float_paths:
            with contextlib.suppress(BadImage):
                wrong += _bad_values(self.root, path, self.options.limits)
        if wrong:
            raise UsageError(
                f"data folder {shown(str(self.root))}: {len(wrong)} of {len(float_paths)} float images cannot be used: "
                f"{'; '.join(wrong[:5])}. Fill in values that are not finite, and scale the others to 0..1."
            )

    def note(self, bad: Iterable[BadImage]) -> None:
        """Remember and report bad files; raises `LatentryError` naming them once there are over `max_bad`."""
        pointers = self._pointers()
        for error in bad:
            path = error.path.removeprefix(f"{self.root}/")
            if path not in self.bad:
                self.bad[path] = error.reason
                if error.reason != POINTER:
                    self.report(f"skipped {shown(path)}: {error.reason}")
        if len(self._pointers()) > len(pointers):
            self.report(f"skipped: {pointer_line(self._pointers())}")
        if len(self.bad) > self.options.max_bad:
            raise self._too_many(
                f"{len(self.bad)} files cannot be used, more than data.max_bad = {self.options.max_bad}"
            )

    def _pointers(self) -> list[str]:
        return sorted(path for path, reason in self.bad.items() if reason == POINTER)

    def _too_many(self, what: str) -> LatentryError:
        lines = [f"  {shown(path)}: {reason}" for path, reason in sorted(self.bad.items())[:100] if reason != POINTER]
        lines += [f"  {pointer_line(self._pointers())}"] if self._pointers() else []
        advice = f"Repair or remove them (latentry data check {shown(str(self.root))} lists all)."
        return LatentryError("\n".join([f"data folder {shown(str(self.root))}: {what}:", *lines, advice]))


def pointer_line(paths: Sequence[str]) -> str:
    """One line for all of them: a clone without git-lfs has nothing else."""
    are = "is a git-lfs pointer" if len(paths) == 1 else "are git-lfs pointers"
    files = f"{len(paths)} file{'s' * (len(paths) != 1)}"
    return f"{files} {are}, not images (first: {shown(paths[0])}): run `git lfs pull` in the folder"


def _bad_values(root: Path, path: str, limits: Limits) -> list[str]:
    try:
        images.picture(root / path, limits)
    except BadValues as error:
        return [f"{shown(path)} ({error.reason})"]
    return []


def refuse_too_small(path: str, header: Header, options: DataOptions) -> None:
    """Raise `BadImage` for a picture with too few pixels to be worth stretching."""
    times = enlargement(header.height, header.width, options)
    if times > options.enlarge:
        reason = f"{header.width}x{header.height} is too small: enlarged {times:.0f} times, limit data.enlarge = "
        raise BadImage(path, f"{reason}{options.enlarge:g}")


def refuse_mixed_channels(headers: dict[str, Header], options: DataOptions) -> None:
    """Raise one `UsageError` naming the first five files whose channels cannot become `data.channels`."""
    reasons = {path: mismatch(header, options) for path, header in headers.items()}
    wrong = [(path, reason) for path, reason in reasons.items() if reason]
    if not wrong:
        return
    first = ", ".join(f"{shown(path)} ({reason})" for path, reason in wrong[:5])
    counts = sorted({headers[path].channels for path, _ in wrong})
    if len(wrong) == len(headers) and len(counts) == 1:
        fix = f"Set data.channels: {counts[0]}"
    else:
        fix = "Move them to a folder of their own, or convert them"
    if any(headers[path].alpha for path, _ in wrong) and options.background is None:
        fix += ", or set data.background (white, for example) to put a colour behind transparency"
    raise UsageError(
        f"data.channels: {len(wrong)} of {len(headers)} files do not have the {options.channels} channels asked for: "
        f"{first}. Bands are never cut or made up. {fix}."
    )


def grey_in_colour(headers: dict[str, Header], options: DataOptions) -> list[str]:
    """A line if the model is of colour and every image is grey: it learns three times the same."""
    if options.channels != 3 or any(h.channels - h.alpha != 1 for h in headers.values()) or not headers:
        return []
    return [
        f"all {len(headers)} images are grey, and data.channels is 3: each is repeated three times. data.channels: 1 "
        "trains on what they have; keep 3 only to begin with a model of colour pictures."
    ]


def common_depth(headers: dict[str, Header], options: DataOptions) -> int:
    """The depth to prepare in. Raises `UsageError` naming the first five odd files if `auto` finds several."""
    if options.depth != "auto":
        return options.depth
    kinds: dict[int, list[str]] = {}
    for path, header in headers.items():
        kinds.setdefault(header.depth, []).append(path)
    if len(kinds) == 1:
        return next(iter(kinds))
    most = max(kinds, key=lambda depth: len(kinds[depth]))
    odd = [(path, depth) for depth, paths in kinds.items() if depth != most for path in paths]
    first = ", ".join(f"{shown(path)} ({_bits(depth)})" for path, depth in odd[:5])
    raise UsageError(
        f"data.depth: {len(odd)} of {len(headers)} files are not {_bits(most)} like the rest: {first}. "
        "Set data.depth: 16 to bring all to 16 bits without loss, data.depth: 8 to round to 8, "
        "or move them to a folder of their own."
    )


def _bits(depth: int) -> str:
    return "float" if depth == 32 else f"{depth}-bit"
