"""Folders of images that belong together, looked at before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from latentry import rng
from latentry.data.files import images
from latentry.data.files.header import BadImage, Header
from latentry.data.folders.record import parts_of
from latentry.data.folders.scan import real_root, scan
from latentry.errors import UsageError
from latentry.study.preference.options import MOST_PAIRS, ROLES, PreferenceOptions
from latentry.text import one_line


class Source(NamedTuple):
    """One image: where it lies, its name in its folder, and its header."""

    path: Path
    name: str
    header: Header

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.header.height, self.header.width

    @property
    def bands(self) -> int:
        """Channels without transparency."""
        return self.header.channels - self.header.alpha


def matched(options: PreferenceOptions) -> list[dict[str, Source]]:
    """For each pair the images by role (a, b, and where there are such folders truth and input).

    Images of one name, whatever the suffix, belong together; where folders have no name in common, those of the same
    place in the order of names. Errors: `UsageError`, one line.
    """
    folders = {role: Path(path) for role in ROLES if (path := getattr(options, role)) is not None}
    for role in ("a", "b"):
        if role not in folders:
            raise UsageError(f"--{role}: is missing; a new study needs --a and --b, the folders of two methods")
    listed = {role: _stems(role, folder) for role, folder in folders.items()}
    _same_count(listed)
    rows = [_partners(listed, row) for row in range(len(listed["a"]))]
    if options.pairs is not None and options.pairs > len(rows):
        raise UsageError(f"--pairs: found {options.pairs}; the folders hold {len(rows)} images each. Ask for fewer.")
    count = options.pairs or len(rows)
    if count > MOST_PAIRS:
        raise UsageError(f"--pairs: {count} images of each folder; accepted: up to {MOST_PAIRS}. Name --pairs.")
    chosen = sorted(rng.generator(options.seed, "preference/pairs").permutation(len(rows))[:count].tolist())
    pairs = [{role: _source(role, folders[role], name) for role, name in rows[row].items()} for row in chosen]
    for pair in pairs:
        _comparable(pair)
    return pairs


def _stems(role: str, folder: Path) -> dict[str, str]:
    """The images of a folder in order, by their names without suffix."""
    try:
        root = real_root(folder)
    except UsageError as error:
        raise UsageError(f"--{role}: {error}") from None
    found: dict[str, str] = {}
    for name in scan(root).images:
        stem = parts_of(name).stem
        if stem in found:
            raise UsageError(
                f"--{role} {one_line(str(folder))}: {one_line(found[stem])} and {one_line(name)} have one name; "
                "accepted: one image of each name. Remove or rename one."
            )
        found[stem] = name
    if not found:
        raise UsageError(f"--{role} {one_line(str(folder))}: holds no images; give a folder of images")
    return found


def _same_count(listed: Mapping[str, Mapping[str, str]]) -> None:
    counts = {role: len(stems) for role, stems in listed.items()}
    for role, count in counts.items():
        if count != counts["a"]:
            raise UsageError(
                f"--{role}: holds {count} images and --a {counts['a']}; accepted: as many in each folder, those of the "
                "same name or place belong together. Remove those without a partner."
            )
        missing = listed["a"].keys() - listed[role].keys()
        if missing and len(missing) < counts["a"]:
            name = one_line(min(missing))
            raise UsageError(
                f"--{role}: has {counts['a'] - len(missing)} of the {counts['a']} names of --a, and not {name}; "
                "accepted: all names alike, or none, when the order of names decides. Rename or remove the others."
            )


def _partners(listed: Mapping[str, Mapping[str, str]], row: int) -> dict[str, str]:
    """The names of one pair by role."""
    stem = list(listed["a"])[row]
    return {role: stems.get(stem) or list(stems.values())[row] for role, stems in listed.items()}


def _source(role: str, folder: Path, name: str) -> Source:
    path = folder / name
    try:
        return Source(path, name, images.header(path))
    except BadImage as error:
        raise UsageError(f"--{role}: {error}. Repair or replace it.") from None


def _comparable(pair: Mapping[str, Source]) -> None:
    """Images of other sizes or channels would tell which method is which."""
    first = pair["a"]
    for role in ("b", "truth"):
        if role not in pair:
            continue
        other = pair[role]
        names = f"--{role} {one_line(other.name)}"
        if other.size != first.size:
            raise UsageError(
                f"{names}: is {_text(other)} and its partner in --a {_text(first)}; accepted: images of one size, else "
                "their size tells them apart. Bring them to one size."
            )
        if other.bands != first.bands and (role == "b" or {other.bands, first.bands} != {1, 3}):
            raise UsageError(
                f"{names}: has {other.bands} channels and its partner in --a {first.bands}; accepted: images of the "
                "same channels. Save both alike."
            )


def _text(source: Source) -> str:
    return f"{source.size[0]}x{source.size[1]}"
