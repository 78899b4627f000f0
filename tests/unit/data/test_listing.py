"""Naming what happened to a data folder between two days."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from latentry.data.dataset import ImageData
from latentry.data.folders import listing
from latentry.data.folders.records import Record, read_records
from latentry.errors import LatentryError
from tests.unit.data.files import flat, metadata, numbered, options


def now(root: Path) -> listing.Listing:
    return listing.take(root, read_records(root))


def test_changes_appearances_and_vanishings_are_named(tmp_path: Path) -> None:
    """A resume on other data is another experiment."""
    numbered(tmp_path, 8)
    saved = listing.Listing.from_bytes(now(tmp_path).to_bytes())
    assert not listing.difference(saved, now(tmp_path))
    (tmp_path / "0001.png").unlink()
    flat(tmp_path / "new.png")
    content = (tmp_path / "0002.png").read_bytes()
    (tmp_path / "0002.png").write_bytes((tmp_path / "0003.png").read_bytes())
    assert len(content) == (tmp_path / "0002.png").stat().st_size, "the sizes should not give it away"
    found = listing.difference(saved, listing.take(tmp_path, read_records(tmp_path), earlier=saved))
    assert found == (["0002.png"], ["new.png"], ["0001.png"])
    assert found.text() == "1 changed: 0002.png; 1 appeared: new.png; 1 vanished: 0001.png"


def test_a_copied_folder_is_the_same_data(tmp_path: Path) -> None:
    """Copying to another disk changes every time stamp and nothing else; no one should be stopped for that."""
    numbered(tmp_path / "a", 5)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    for path in (tmp_path / "b").iterdir():
        os.utime(path, (1, 1))
    assert now(tmp_path / "a").fingerprint == now(tmp_path / "b").fingerprint
    assert not listing.difference(
        now(tmp_path / "a"), listing.take(tmp_path / "b", read_records(tmp_path / "b"), now(tmp_path / "a"))
    )


def test_a_changed_caption_is_a_change(tmp_path: Path) -> None:
    """Captions are data too."""
    flat(tmp_path / "a.png")
    metadata(tmp_path, [{"file_name": "a.png", "text": "a cat"}])
    saved = now(tmp_path)
    metadata(tmp_path, [{"file_name": "a.png", "text": "a dog"}])
    found = listing.difference(saved, listing.take(tmp_path, read_records(tmp_path), saved))
    assert found.changed == ["a.png"]
    assert now(tmp_path).fingerprint != saved.fingerprint


def test_odd_names_survive_and_damage_is_one_clear_error(tmp_path: Path) -> None:
    """The saved form must hold any name a file can have."""
    names = [os.fsdecode(b"caf\xe9.png"), "a\tb.png", "ü\n.png"]
    for name in names:
        flat(tmp_path / name)
    saved = now(tmp_path)
    assert set(saved.entries) == set(names)
    again = listing.Listing.from_bytes(saved.to_bytes())
    assert again == saved
    assert again.fingerprint == saved.fingerprint
    for damaged in (b"", b"rubbish", saved.to_bytes()[:-5]):
        with pytest.raises(LatentryError, match="damaged"):
            listing.Listing.from_bytes(damaged)


def test_the_saved_form_of_a_large_set_is_small() -> None:
    """A run folder should not weigh as much as its data: under 40 bytes a file."""
    rng = np.random.default_rng(0)
    entries = {}
    for n in range(20_000):
        size, modified = int(rng.integers(20_000, 90_000)), 1_700_000_000_000_000_000 + int(rng.integers(10**15))
        entries[f"images/part{n // 1000}/{n:08d}.jpg"] = listing.Entry(size, modified, rng.bytes(6).hex(), "")
    assert len(listing.Listing(entries).to_bytes()) < 40 * 20_000


def test_beyond_the_limit_the_time_stands_in_for_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten million files are not read at every start, and changes are still seen."""
    monkeypatch.setattr(listing, "CONTENT_READ", 2)
    numbered(tmp_path, 4)
    saved = now(tmp_path)
    os.utime(tmp_path / "0002.png", (5, 5))
    assert listing.difference(saved, now(tmp_path)).changed == ["0002.png"]


def test_the_listing_covers_both_splits_and_a_vanished_file(tmp_path: Path) -> None:
    """A change among the held-out images changes the figures; a file gone since the scan is no crash."""
    numbered(tmp_path, 20)
    data = ImageData(options(size=8, held_out=0.5), tmp_path)
    assert len(data.listing().entries) == 20
    assert data.fingerprint == data.other("held_out").fingerprint
    assert listing.take(tmp_path, [Record("gone.png")]).entries["gone.png"].size == -1
