"""The log of a run: what is in it once is in it for good, whatever was killed, full or torn meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from latentry.training.loop.log import Log, Window


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setattr(Log, "_open_board", lambda *_: None)
    return Log(tmp_path, pytest.fail)


def rows(folder: Path, name: str = "log.jsonl") -> list[tuple[str, int]]:
    return [(row["stage"], row["step"]) for row in map(json.loads, (folder / name).read_text().splitlines())]


def test_what_a_resume_does_again_is_forgotten(log: Log, tmp_path: Path) -> None:
    """Rows of other stages stay; those of the saved step beyond the number that was saved go."""
    for stage, step in (("a", 5), ("a", 10), ("a", 10), ("b", 5), ("b", 10), ("b", 10), ("b", 15)):
        log.row(stage, step, {"loss": 1.0})
    log.rewind("b", 10, rows=2)
    assert rows(tmp_path) == [("a", 5), ("a", 10), ("a", 10), ("b", 5), ("b", 10)]
    assert log.rows["b"] == 2
    log.rewind("b", 5)
    assert rows(tmp_path)[-1] == ("b", 5)
    log.rewind("b", 0)
    log.rewind("a", 0)
    assert rows(tmp_path) == []


def test_events_are_taken_back_too(tmp_path: Path) -> None:
    said: list[str] = []
    log = Log(tmp_path, said.append)
    for step in (1, 2, 3):
        log.event("a", step, f"event {step}")
    log.rewind("a", 2)
    log.close()
    assert rows(tmp_path, "events.jsonl") == [("a", 1), ("a", 2)]
    assert said == ["event 1", "event 2", "event 3"]


@pytest.mark.parametrize("torn", [b'{"stage": "a", "st', b'{"stage": "a", "step": 3}', b"\x00\x00\x00\n", b"[1]\n"])
def test_a_torn_line_hides_no_other(log: Log, tmp_path: Path, torn: bytes) -> None:
    """A power cut leaves half a line, or zeros."""
    log.row("a", 1, {"loss": 1.0})
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(torn)
    log.rewind("a", 5)
    log.row("a", 6, {"loss": 1.0})
    assert rows(tmp_path) == [("a", 1), ("a", 6)]


def test_a_torn_line_of_others_is_closed_before_the_next(log: Log, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"half")
    log.row("a", 1, {"loss": 1.0})
    assert (tmp_path / "log.jsonl").read_bytes().startswith(b'half\n{"stage": "a"')


def test_nothing_is_kept_without_a_run() -> None:
    said: list[Any] = []
    log = Log(None, said.append)
    log.rewind("a", 0)
    log.row("a", 1, {"loss": 1.0})
    log.event("a", 1, "told")
    log.sync()
    log.close()
    assert said == ["told"]


def test_means_of_what_was_added_since() -> None:
    window = Window()
    window.add({"loss": 1.0, "rare": 5.0})
    window.add({"loss": 3.0})
    assert window.means() == {"loss": 2.0, "rare": 5.0}
    window.clear()
    assert window.means() == {}
