"""What lies in a folder and is no image. If these fail, somebody's scans take no part, and nobody is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from latentry.data.dataset import ImageData
from latentry.data.files.images import EXTENSIONS
from latentry.data.folders.check import check
from latentry.data.folders.foreign import BY_SUFFIX
from latentry.errors import LatentryError
from tests.unit.data.files import flat, noise, numbered, options

SCANS = {
    "scan.dcm": (b"\0" * 128 + b"DICM", "DICOM"),
    "brain.nii.gz": (b"\x1f\x8b" + b"\0" * 64, "NIfTI"),
    "slide.svs": (b"II*\0", "whole-slide"),
    "slide.ndpi": (b"II*\0", "whole-slide"),
    "slide.mrxs": (b"", "whole-slide"),
    "cell.czi": (b"ZISRAWFILE", "microscopy"),
    "cell.lif": (b"", "microscopy"),
    "cell.nd2": (b"", "microscopy"),
    "phone.heic": (b"\0\0\0\x18ftypheic", "HEIC"),
    "a.avif": (b"", "another format"),
    "a.jxl": (b"", "another format"),
    "a.psd": (b"8BPS", "another format"),
    "a.jp2": (b"", "JPEG 2000"),
    "a.exr": (b"", "high dynamic range"),
    "a.svg": (b"<svg/>", "drawing"),
    "a.pdf": (b"%PDF", "pages"),
    "a.cr2": (b"II*\0", "raw"),
    "a.nef": (b"MM\0*", "raw"),
    "a.mp4": (b"", "video"),
    "a.zip": (b"PK\3\4", "unpack it"),
    "a.tar": (b"", "unpack it"),
    "a.tar.gz": (b"", "unpack it"),
    "rows.parquet": (b"", "a file of its own"),
    "rows.h5": (b"", "file of its own"),
    "arrays.npz": (b"", "file of its own"),
}


def test_every_kind_that_may_be_images_is_counted_and_says_how_it_is_brought_in(tmp_path: Path) -> None:
    numbered(tmp_path, 1)
    left = {name: what for name, what in SCANS.items() if Path(name).suffix not in EXTENSIONS}
    for name, (content, _) in left.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "again.nd2").write_bytes(b"")
    report = check(tmp_path)
    assert report.ok
    assert report.foreign[".nd2"] == 2
    assert sum(report.foreign.values()) == len(left) + 1
    for name, (_, words) in left.items():
        (line,) = [line for line in report.unread if f"first: {name})" in line or (".nd2" in name and ".nd2" in line)]
        assert words in line
    said: list[str] = []
    ImageData(options(size=8, held_out=0), tmp_path, report=said.append)
    assert [line.removeprefix("data: not read: ") for line in said if "not read" in line] == report.unread


def test_what_has_no_telling_name_is_told_by_its_content(tmp_path: Path) -> None:
    """Scanners write IM000001; downloads end in no suffix at all."""
    numbered(tmp_path, 1)
    (tmp_path / "IM000001").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    (tmp_path / "photo").write_bytes((tmp_path / "0000.png").read_bytes())
    (tmp_path / "notes.md").write_text("notes")
    report = check(tmp_path)
    assert report.foreign == {"DICOM (no suffix)": 1, "PNG (no suffix)": 1}
    assert report.others == {".md": 1}
    assert [line for line in report.unread if "photo" in line and "rename them" in line]


def test_no_kind_of_the_table_is_one_that_is_read() -> None:
    """`.npy` is read where the files' room reads it; its line in the table is then never used."""
    assert not (set(BY_SUFFIX) & set(EXTENSIONS)) - {".npy", ".dcm", ".dicom"}


def pointers(root: Path, count: int) -> Path:
    root.mkdir(exist_ok=True)
    for n in range(count):
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{n:064x}\nsize 12345\n"
        (root / f"{n}.png").write_text(text)
    return root


def test_twenty_pointers_are_one_line_in_the_check_and_in_training(tmp_path: Path) -> None:
    """A clone without git-lfs: one cause, one cure."""
    report = check(pointers(tmp_path, 20))
    line = "20 files are git-lfs pointers, not images (first: 0.png): run `git lfs pull` in the folder"
    assert (report.bad, report.problems) == ([], [line])
    said: list[str] = []
    with pytest.raises(LatentryError) as caught:
        ImageData(options(size=8), tmp_path, report=said.append)
    assert str(caught.value).count("git-lfs") == 1
    assert line in str(caught.value)
    assert said == [f"skipped: {line}"]


def test_a_few_pointers_among_images_are_one_line_too(tmp_path: Path) -> None:
    numbered(pointers(tmp_path, 3), 9)
    said: list[str] = []
    assert len(ImageData(options(size=8, held_out=0), tmp_path, report=said.append)) == 9
    assert said == [
        "skipped: 3 files are git-lfs pointers, not images (first: 0.png): run `git lfs pull` in the folder"
    ]


DAMAGES = {
    "cut in its header": (lambda png: png[:20], "damaged"),
    "cut in its first bytes": (lambda png: png[:10], "damaged"),
    "a wrong sum in its header": (lambda png: png[:30] + b"\xff" + png[31:], "damaged"),
    "a lost high bit": (lambda png: b"\x09" + png[1:], "damaged"),
    "cut in its pixels": (lambda png: png[: len(png) // 2], "damaged"),
    "a flipped byte in its pixels": (lambda png: png[:80] + bytes([png[80] ^ 255]) + png[81:], "damaged"),
    "zeros": (lambda png: b"\0" * len(png), "damaged"),
    "a web page": (lambda _: b"<!DOCTYPE html><html>404</html>", "a web page"),
    "text": (lambda _: b"hello", "not an image"),
    "a zip": (lambda _: b"PK\x03\x04....", "ZIP under another name"),
    "a phone's": (lambda _: b"\0\0\0\x18ftypheic....", "HEIC under another name"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_png_is_called_damaged(name: str, tmp_path: Path) -> None:
    """ "Not an image" sends its owner to look for a wrong file, not for a broken disk."""
    change, words = DAMAGES[name]
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(change((tmp_path / "a.png").read_bytes()))
    ((path, reason),) = check(tmp_path).bad
    assert path == "a.png"
    assert words in reason
    assert ("damaged" in reason) == (words == "damaged")


def test_pipes_sockets_devices_and_folders_named_like_images_are_listed_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "metadata.jsonl")
    flat(tmp_path / "folder.png" / "inside.png")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        notes = dict(check(tmp_path).notes)
    assert notes["pipe.png"] == "a named pipe (FIFO); not opened"
    assert notes["metadata.jsonl"] == "a named pipe (FIFO); not opened"
    assert notes["socket.png"] == "a socket; not opened"
    assert notes["folder.png"] == "a folder, though named like an image"
    assert check(tmp_path).images == 3
    said: list[str] = []
    ImageData(options(size=8, held_out=0), tmp_path, report=said.append)
    assert "data: not read: pipe.png: a named pipe (FIFO)" in said


def test_links_say_where_they_lead(tmp_path: Path) -> None:
    root = tmp_path / "data"
    numbered(root / "in", 1)
    outside = flat(tmp_path / "outside" / "a.png")
    (root / "self.png").symlink_to(root / "self.png")
    (root / "one.png").symlink_to(root / "two.png")
    (root / "two.png").symlink_to(root / "one.png")
    (root / "in" / "up").symlink_to(root)
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "away.png").symlink_to(outside)
    (root / "away").symlink_to(outside.parent)
    (root / "beside").symlink_to(root / "in")
    (root / "zero.png").symlink_to("/dev/zero")
    notes = {path: note.removeprefix("link, not followed: ") for path, note in check(root).notes}
    itself = "a loop: it leads back to itself"
    assert notes["self.png"] == notes["one.png"] == notes["two.png"] == itself
    assert notes["in/up"] == "a loop: it leads to a folder that it lies in"
    assert notes["gone.png"] == "leads to nothing (nowhere.png)"
    assert notes["away.png"] == f"leads to {outside}, a file outside of this folder"
    assert notes["away"] == f"leads to {outside.parent}, a folder outside of this folder"
    assert notes["beside"] == f"leads to {root / 'in'}, a folder in this folder"
    assert notes["zero.png"] == "leads to /dev/zero, a device outside of this folder"


def test_images_kept_in_a_cloud_are_counted(tmp_path: Path) -> None:
    numbered(tmp_path, 1)
    (tmp_path / ".IMG_1.png.icloud").write_bytes(b"bplist")
    assert check(tmp_path).unread == ["1 files that are kept in the cloud (first: .IMG_1.png.icloud): download them"]
