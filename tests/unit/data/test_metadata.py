"""Metadata as other programs write it. If these fail, captions are lost, or wrong files are trained on, silently."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from latentry.data.folders.records import Folder, read_folder, real_root
from latentry.errors import UsageError
from tests.unit.data.files import flat, metadata, numbered, options

ROWS = [{"file_name": f"{n:04d}.png", "text": f"corner, number {n}"} for n in range(3)]


def read(root: Path, **given: Any) -> Folder:
    return read_folder(real_root(root), options(**{"size": 8, "text": "auto", **given}))


def texts(folder: Folder) -> list[Any]:
    return [record.fields.get("text") for record in folder.records]


def lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_files_from_windows_are_read(encoding: str, tmp_path: Path) -> None:
    numbered(tmp_path, 3)
    (tmp_path / "metadata.jsonl").write_text(lines(ROWS).replace("\n", "\r\n"), encoding=encoding, newline="")
    assert texts(read(tmp_path)) == [row["text"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "divider", "encoding"),
    [
        ("metadata.csv", ",", "utf-8"),
        ("metadata.csv", ";", "utf-8-sig"),
        ("metadata.csv", "\t", "utf-16"),
        ("metadata.tsv", "\t", "utf-8"),
    ],
)
def test_tables_are_read_like_lines(name: str, divider: str, encoding: str, tmp_path: Path) -> None:
    """A spreadsheet saves with commas or semicolons, by the country it runs in."""
    numbered(tmp_path, 4)
    rows = [f'"{row["file_name"]}"{divider}"{row["text"]}"{divider}' for row in ROWS]
    table = [f"file_name{divider}text{divider}label", *rows, f'0003.png{divider}"two\nlines, ""quoted"""{divider}b', ""]
    (tmp_path / name).write_text("\r\n".join(table), encoding=encoding, newline="")
    folder = read(tmp_path, label="label")
    assert texts(folder) == [*(row["text"] for row in ROWS), 'two\nlines, "quoted"']
    assert [record.fields["label"] for record in folder.records] == [None, None, None, "b"]
    assert folder.remarks.read == [f"{name} lists the images"]


def test_a_table_may_hold_boxes_and_says_which_line_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(tmp_path, 1)
    (tmp_path / "metadata.csv").write_text('file_name,objects\n0000.png,"{""bbox"": [], ""categories"": []}"\n')
    assert read(tmp_path).records[0].fields["objects"] == {"bbox": [], "categories": []}
    (tmp_path / "metadata.csv").write_text("file_name,text\n0000.png,a cat, red\n")
    with pytest.raises(UsageError, match=r"metadata\.csv:2: 3 values, but the first line names 2 columns"):
        read(tmp_path)
    (tmp_path / "metadata.csv").write_text("name;title\n0000.png;a\n")
    with pytest.raises(UsageError, match=r'metadata\.csv:2: no "file_name"; fields: name, title'):
        read(tmp_path)
    monkeypatch.setattr("latentry.data.folders.metadata.rows._CELL", 1000)
    (tmp_path / "metadata.csv").write_bytes(b'file_name,text\n"0000.png,' + b"x" * 1001)
    with pytest.raises(UsageError, match=r"metadata\.csv: not a table that can be read"):
        read(tmp_path)


def test_parquet_is_read_where_pyarrow_is(tmp_path: Path) -> None:
    numbered(tmp_path, 3)
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "metadata.parquet")
    assert texts(read(tmp_path)) == [row["text"] for row in ROWS]
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 rubbish PAR1")
    with pytest.raises(UsageError, match="not a Parquet file"):
        read(tmp_path)


def test_parquet_without_pyarrow_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images must not be trained on without their captions."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    numbered(tmp_path, 1)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"pip install 'latentry\[parquet\]', or save it as metadata\.csv"):
        read(tmp_path)


def test_parquet_rows_are_read_like_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held by a stand-in too, so that the rows are followed where pyarrow is not installed."""

    class File:
        def __init__(self, path: Path) -> None:
            assert path.name == "metadata.parquet"

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def iter_batches(self) -> list[Any]:
            return [type("Batch", (), {"to_pylist": lambda _: ROWS})()]

    whole, part = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
    whole.ArrowException, whole.parquet, part.ParquetFile = ValueError, part, File  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", whole)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", part)
    numbered(tmp_path, 3)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    assert texts(read(tmp_path)) == [row["text"] for row in ROWS]


def test_windows_paths_mean_the_file_with_slashes(tmp_path: Path) -> None:
    flat(tmp_path / "a" / "b" / "0.png")
    flat(tmp_path / "a" / "b\\1.png")
    metadata(tmp_path, [{"file_name": ".\\a\\b\\0.png"}, {"file_name": "a/b\\1.png"}])
    folder = read(tmp_path)
    assert [record.path for record in folder.records] == ["a/b/0.png", "a/b\\1.png"], "a real name keeps its backslash"
    assert folder.remarks.read == ["metadata: paths are written with \\ and read with / (1 of 2 rows)"]


def test_names_in_another_case_form_or_without_suffix_mean_the_only_file_like_them(tmp_path: Path) -> None:
    """Another system writes IMG_1.JPG, or the ü of two parts."""
    for name in ("img_1.PNG", "m\u00fcll.png", "plain.png", "twice.png", "twice.jpg"):
        flat(tmp_path / name)
    metadata(tmp_path, [{"file_name": name} for name in ("IMG_1.png", "mu\u0308ll.png", "plain")])
    folder = read(tmp_path)
    assert [record.path for record in folder.records] == ["img_1.PNG", "m\u00fcll.png", "plain.png"]
    assert folder.remarks.read == ["metadata: names differ from the files' in case, accents or suffix (3 of 3 rows)"]
    metadata(tmp_path, [{"file_name": "twice"}])
    with pytest.raises(UsageError, match="names files that do not exist: 1 of 1: twice"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("metadata1000.jsonl", "metadata1000.jsonl looks like metadata; rename it to metadata.jsonl"),
        ("Metadata.CSV", "Metadata.CSV looks like metadata; rename it to metadata.csv"),
        ("metadata (1).csv", "metadata (1).csv looks like metadata; rename it to metadata.csv"),
        ("captions.jsonl", "captions.jsonl may be metadata; rename it to metadata.jsonl"),
        ("labels.json", "labels.json; metadata is read from metadata.jsonl, metadata.csv, metadata.tsv"),
        ("captions.xlsx", "captions.xlsx; metadata is read from metadata.jsonl"),
        ("0000.json", "1 files beside images (first: 0000.json)"),
    ],
)
def test_what_may_be_metadata_is_named(name: str, line: str, tmp_path: Path) -> None:
    numbered(tmp_path, 3)
    (tmp_path / name).write_text(lines(ROWS))
    folder = read(tmp_path)
    assert texts(folder) == [None] * 3
    assert [left for left in folder.remarks.left if left.startswith(line)], folder.remarks.left


def test_of_two_tables_one_is_read_and_the_other_named(tmp_path: Path) -> None:
    numbered(tmp_path, 3)
    numbered(tmp_path / "in", 2)
    metadata(tmp_path, ROWS)
    metadata(tmp_path / "in", ROWS[:2])
    (tmp_path / "metadata.csv").write_text("file_name,text\n0000.png,other\n")
    folder = read(tmp_path)
    assert texts(folder) == [row["text"] for row in ROWS]
    assert folder.remarks.left == [
        "metadata.csv, as metadata.jsonl lies beside it",
        "1 metadata files in folders, as metadata.jsonl at the top lists the images (first: in/metadata.jsonl)",
        "2 of 5 images, which the metadata does not name (first: in/0000.png)",
    ]


def test_maps_and_arrays_that_metadata_names_are_not_called_unread(tmp_path: Path) -> None:
    flat(tmp_path / "a.png")
    flat(tmp_path / "maps" / "a.png", 1, (16, 16), "L")
    (tmp_path / "a.npz").write_bytes(b"")
    metadata(tmp_path, [{"file_name": "a.png", "semantic": "maps\\a.png", "depth": "a.npz"}])
    assert read(tmp_path, semantic="semantic").remarks.left == []


def test_bytes_that_are_not_utf8_may_stand_in_file_names_alone(tmp_path: Path) -> None:
    """A table saved as Latin-1 would be trained on with letters missing."""
    name = b"caf\xe9.png"
    (tmp_path / "a.png").parent.joinpath(name.decode("utf-8", "surrogateescape")).write_bytes(b"")
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "' + name + b'", "text": "plain"}\n')
    assert [record.path for record in read(tmp_path).records] == ["caf\udce9.png"]
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "' + name + b'", "text": "caf\xe9"}\n')
    with pytest.raises(UsageError, match=r"metadata\.jsonl:1: byte 18 is not UTF-8; accepted"):
        read(tmp_path)


def test_pointers_and_addresses_in_place_of_what_they_stand_for(tmp_path: Path) -> None:
    numbered(tmp_path, 1)
    (tmp_path / "metadata.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(UsageError, match=r"is a git-lfs pointer, not the metadata itself\. Run `git lfs pull`"):
        read(tmp_path)
    metadata(tmp_path, [{"file_name": "https://example.org/a.png"}])
    with pytest.raises(UsageError, match=r"is an address\. Download the images"):
        read(tmp_path)
