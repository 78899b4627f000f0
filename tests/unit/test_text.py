"""If these fail, a file from Windows is read as rubbish, or a wrong byte ends in a traceback or in a wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from latentry import text
from latentry.errors import UsageError

SAID = 'a: {b: "Füße, 日本, 🍎"}\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_the_marks_of_windows_is_the_same_text(encoding: str) -> None:
    assert text.decode(SAID.encode(encoding), "x") == SAID


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_in_both_orders_with_and_without_its_mark(order: str) -> None:
    mark = "\ufeff".encode(f"utf-16-{order}")
    assert text.decode(mark + SAID.encode(f"utf-16-{order}"), "x") == SAID
    assert text.decode("plain: words".encode(f"utf-16-{order}"), "x") == "plain: words"
    assert text.decode(b"", "x") == ""


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"caf\xe9 au lait", "byte 3 is not UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9", "byte 6 is not UTF-8"),
        (b"\xff\xfe\0", "byte 0 is not UTF-8, and byte 2 is not UTF-16"),
        (b"\xff\xfea\0\0\xdcb\0", "byte 4 is not UTF-16"),
    ],
)
def test_a_wrong_byte_is_named_by_its_place(data: bytes, place: str) -> None:
    with pytest.raises(UsageError, match=place) as caught:
        text.decode(data, "photos/metadata.csv")
    assert str(caught.value).startswith("photos/metadata.csv: ")
    assert "\n" not in str(caught.value)


def test_a_pipe_a_folder_and_a_file_that_is_too_long_are_refused_at_once(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to waits for ever."""
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "long.txt").write_bytes(b"x" * 11)
    for path, what in (
        (tmp_path / "pipe.txt", "is a named pipe"),
        (tmp_path, "a"),
        (Path("/dev/zero"), "is a device"),
        (tmp_path / "long.txt", "is longer than 10 bytes"),
        (tmp_path / "none.txt", "No such file"),
        (tmp_path / "nul\0.txt", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=what):
            text.read(path, limit=10)
    (tmp_path / "short.txt").write_text("x" * 10)
    assert text.read(tmp_path / "short.txt", limit=10) == "x" * 10


def test_names_that_are_not_utf8_have_a_form_that_files_can_hold() -> None:
    assert text.printable(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert text.printable("half \ud83d, whole 🍎") == "half \\ud83d, whole 🍎"
    text.printable("\udc00\udfff\udce9").encode()
    assert text.printable("a\nb") == "a\nb"
    assert text.one_line("a\nb\x1b[31m\u202e\udce9 🍎") == "a\\nb\\x1b[31m\\u202e\\xe9 🍎"
