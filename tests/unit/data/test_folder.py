"""From a folder to a list of images; nothing outside it is ever read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from latentry.data.folders.records import read_records, real_root, scan
from latentry.errors import UsageError
from tests.unit.data.files import flat, metadata


def paths(root: Path) -> list[str]:
    return [record.path for record in read_records(real_root(root))]


def test_images_anywhere_below_are_found_in_one_order_and_hidden_ones_are_not(tmp_path: Path) -> None:
    """An order that depends on the file system would make two runs differ."""
    for name in ("b.PNG", "a/z.jpeg", "a/c.png", "ü b.png", ".hidden.png", ".cache/x.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".DS_Store").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    assert paths(tmp_path) == ["a/c.png", "a/z.jpeg", "b.PNG", "ü b.png"]


def test_names_that_are_not_utf8_work(tmp_path: Path) -> None:
    """Old archives hold such names; the run must read them and print a line about them."""
    name = os.fsdecode(b"caf\xe9.png")
    flat(tmp_path / name)
    assert paths(tmp_path) == [name]


def test_links_out_of_the_folder_and_loops_are_not_followed(tmp_path: Path) -> None:
    """A loop would never end; a link outside would read what the user did not name."""
    outside = flat(tmp_path / "outside" / "secret.png")
    root = tmp_path / "data"
    flat(root / "real.png")
    (root / "loop").symlink_to(root)
    (root / "folder").symlink_to(outside.parent)
    (root / "leak.png").symlink_to(outside)
    (root / "inner.png").symlink_to(root / "real.png")
    (root / "circle.png").symlink_to(root / "circle.png")
    assert paths(root) == ["inner.png", "real.png"]
    assert sorted(scan(real_root(root)).links) == ["circle.png", "folder", "leak.png", "loop"]


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "a\0.png", "..\\secret.png", "C:\\x.png", ".."]
)
def test_metadata_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """metadata.jsonl comes with downloads; it must not make the run read the user's other files."""
    flat(tmp_path / "secret.png")
    flat(tmp_path / "data" / "a.png")
    metadata(tmp_path / "data", [{"file_name": name}])
    with pytest.raises(UsageError, match=r"metadata\.jsonl:1: file_name .* leads out"):
        paths(tmp_path / "data")


def test_metadata_naming_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """The same leak by another door; an encoded path is just a name that does not exist."""
    outside = flat(tmp_path / "secret.png")
    flat(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "link.png").symlink_to(outside)
    metadata(tmp_path / "data", [{"file_name": "link.png"}])
    with pytest.raises(UsageError, match=r"links out of the folder: 1 of 1: link\.png"):
        paths(tmp_path / "data")
    metadata(tmp_path / "data", [{"file_name": "%2e%2e/secret.png"}])
    with pytest.raises(UsageError, match="do not exist"):
        paths(tmp_path / "data")


def test_metadata_lists_the_images_with_every_field(tmp_path: Path) -> None:
    """An image that is not listed was left out on purpose."""
    flat(tmp_path / "x" / "a.png")
    flat(tmp_path / "b.png")
    metadata(tmp_path, [{"file_name": "./x/a.png", "text": "ein Äffchen", "objects": {"bbox": []}}])
    (record,) = read_records(real_root(tmp_path))
    assert record.path == "x/a.png"
    assert record.fields == {"text": "ein Äffchen", "objects": {"bbox": []}}


def test_metadata_in_subfolders_is_joined(tmp_path: Path) -> None:
    """Several sets side by side are one set; paths are relative to each list."""
    for part in ("one", "two"):
        flat(tmp_path / part / "a.png")
        metadata(tmp_path / part, [{"file_name": "a.png", "text": part}])
    assert [(r.path, r.fields["text"]) for r in read_records(real_root(tmp_path))] == [
        ("one/a.png", "one"),
        ("two/a.png", "two"),
    ]


def test_metadata_naming_missing_files_names_the_first_five(tmp_path: Path) -> None:
    """Otherwise a half-finished download fails in the middle of the night."""
    flat(tmp_path / "a.png")
    metadata(tmp_path, [{"file_name": "a.png"}, *({"file_name": f"gone{n}.png"} for n in range(8))])
    with pytest.raises(UsageError, match=r"8 of 9: gone0\.png, gone1\.png, gone2\.png, gone3\.png, gone4\.png\.$"):
        paths(tmp_path)


@pytest.mark.parametrize(
    ("line", "found"), [("{broken", "not a JSON object"), ("[1]", 'no "file_name"'), ("{}", 'no "file_name"')]
)
def test_a_broken_metadata_line_is_named(tmp_path: Path, line: str, found: str) -> None:
    """Ten thousand lines: say which."""
    flat(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n\n' + line + "\n")
    with pytest.raises(UsageError, match=rf"metadata\.jsonl:3: {found}"):
        paths(tmp_path)


def test_empty_absent_and_foreign_folders_say_what_to_do(tmp_path: Path) -> None:
    """The first thing a new user meets."""
    with pytest.raises(UsageError, match="does not exist"):
        paths(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no images found .* accepted: \.png"):
        paths(tmp_path)
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(UsageError, match=r"1 \.heic files are of a kind that is not read"):
        paths(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        paths(tmp_path / "a.heic")
