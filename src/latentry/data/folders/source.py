"""A data folder, checked once: its images, what their headers say, and which are bad."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from latentry.data import pages
from latentry.data.content import POINTER
from latentry.data.files import images
from latentry.data.files.header import BadImage, BadValues, Header, shown
from latentry.data.folders import pixel_fields, select
from latentry.data.folders.framing import boxes_astray, cut_away
from latentry.data.folders.record import Record, Remarks
from latentry.data.folders.records import not_entered, read_folder, real_root
from latentry.data.options import DataOptions
from latentry.data.prepare import mismatch
from latentry.data.ranges.meaning import dtype_of, meaning, number
from latentry.data.ranges.survey import Survey, advice_on_values
from latentry.data.ranges.tally import Tally, range_of_set, survey
from latentry.data.transform import enlargement
from latentry.errors import LatentryError, UsageError

HEADERS_READ = 20_000


class Source:
    """The images that both splits draw from.

    remarks: how the folder was read, and what of it takes no part. warnings: of what will train, but hardly as meant.
    options: with `range: set` as numbers. depth: 8, 16, or 32 (float) bits a channel of prepared images. dtype: that
    holds the values of all files. transparent: the last of 2 or 4 channels is transparency, not a band. bad: reason by
    path of files that cannot be used.
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
        self.warnings = grey_in_colour(headers, options) + cut_away(headers, options)
        self.warnings += boxes_astray(headers, self.records, options)
        for line in self.warnings:
            report(f"warning: {line}")
        self._headers = headers
        self.dtype = dtype_of({header.dtype for header in headers.values()})
        self.transparent = 2 * sum(h.alpha for h in headers.values()) > len(headers)
        self.options = self._with_numbers(headers)
        self._refuse_bad_values({path: header for path, header in headers.items() if not header.plain})
        self.depth = common_depth(headers, self.options)

    @cached_property
    def survey(self) -> Survey:
        """Which values the images use, by a look at some of them."""
        return survey(self.root, self._headers, self.options)

    def _with_numbers(self, headers: dict[str, Header]) -> DataOptions:
        """The options with a range that is left to the files: percentiles over the set, or the bits that all state."""
        options = self.options
        if options.range == "set":
            self.report(f"data.range: reading the values of {min(len(headers), HEADERS_READ)} images")
            limits = range_of_set(self.root, list(headers), options, HEADERS_READ)
            if limits is None:
                raise self._too_many("no image holds a value that data.range: set could be taken of")
            low, high = map(number, options.percentiles)
            self.report(
                f"data.range: [{number(limits.low)}, {number(limits.high)}], percentiles {low} "
                f"and {high} over all images"
            )
            return options.model_copy(update={"range": tuple(limits)})
        stated = stated_bits(headers) if options.range == "auto" else None
        if stated is not None:
            top = 2**stated - 1
            if options.depth != "auto":
                raise UsageError(
                    f"data.depth: {options.depth}, but the files use {stated} bits of 16; accepted with a range: auto. "
                    f"Set data.range: [0, {top}] and leave depth out."
                )
            self.report(f"data.range: [0, {top}], the {stated} bits that every file says it uses")
            return options.model_copy(update={"range": (0.0, float(top))})
        return options

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

    def _refuse_bad_values(self, headers: dict[str, Header]) -> None:
        """Whether a picture holds NaN or leaves 0..1 is known only by decoding it; do so before a night of training."""
        wrong: list[str] = []
        tally = Tally(self.options, len(headers))
        for path in headers:
            with contextlib.suppress(BadImage):
                header, array = images.decode(self.root / path, self.options.limits)
                tally.add(header, array)
                try:
                    meaning(path, header, array, self.options)
                except BadValues as error:
                    wrong.append(f"{shown(path)} ({error.reason})")
        if wrong:
            finite = not any("not finite" in reason for reason in wrong)
            kinds = "float" if all(h.dtype == "float32" for h in headers.values()) else "float, signed or 32-bit"
            where = f"data folder {shown(str(self.root))}"
            raise UsageError(
                f"{where}: {len(wrong)} of {len(headers)} {kinds} images cannot be used: {'; '.join(wrong[:5])}. "
                + advice_on_values(tally.survey(), self.options, finite)
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


def stated_bits(headers: dict[str, Header]) -> int | None:
    """The bits that every file says it uses, where its type has more. Raises `UsageError` for several."""
    bits = Counter(header.bits or header.depth for header in headers.values())
    fewer = [p for p, h in headers.items() if h.dtype == "uint16" and (h.bits or 16) < 16]
    if not fewer:
        return None
    if len(bits) == 1:
        return next(iter(bits))
    first = ", ".join(f"{shown(path)} ({headers[path].bits})" for path in fewer[:5])
    raise UsageError(
        f"data.range: {len(fewer)} of {len(headers)} files use other bits of 16 than the rest: {first}. "
        f"Set data.range: [0, {2 ** max(bits) - 1}], or set (percentiles over all images), or move them to a folder of "
        "their own."
    )


def pointer_line(paths: Sequence[str]) -> str:
    """One line for all of them: a clone without git-lfs has nothing else."""
    are = "is a git-lfs pointer" if len(paths) == 1 else "are git-lfs pointers"
    files = f"{len(paths)} file{'s' * (len(paths) != 1)}"
    return f"{files} {are}, not images (first: {shown(paths[0])}): run `git lfs pull` in the folder"


def refuse_too_small(path: str, header: Header, options: DataOptions) -> None:
    """Raise `BadImage` for a picture with too few pixels to be worth stretching."""
    times = enlargement(header.height, header.width, options)
    if times > options.enlarge:
        reason = f"{header.height}x{header.width} is too small: enlarged {times:.0f} times, limit data.enlarge = "
        raise BadImage(path, "; ".join((f"{reason}{options.enlarge:g}", *header.notes)))


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
    """The depth to prepare in: 32 (float) with a range, which all depths go by.

    Raises `UsageError` naming the first five odd files if `auto` finds several.
    """
    if options.range != "auto":
        return 32
    stated_bits(headers)
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
        "data.range to map the values of all by it, or move them to a folder of their own."
    )


def _bits(depth: int) -> str:
    return "float" if depth == 32 else f"{depth}-bit"
