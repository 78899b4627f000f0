"""If these fail, a user's mistake ends in a traceback, or a script cannot tell what happened from the exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from latentry import pipeline
from latentry.cli import run
from latentry.cli.data import parse_size
from latentry.errors import LatentryError, UsageError


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("trian", "'train'"),
        ("train", "argument 'recipe'"),
        ("train x", "'--out'"),
        ("train x --out r --otu y", "--otu"),
        ("train x --out r --stage difusion", 'did you mean "diffusion"'),
        ("sample m --out o -n x", "integer"),
        ("sample m --out o -n 0", "1"),
        ("sample m --out o --size axb", "HEIGHTxWIDTH"),
        ("sample m --out o --weights emma", 'did you mean "ema"'),
        ("sample m a b --out o", "b"),
        ("data shapes --out o --count 0", "1"),
        ("data", "Usage"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(line, part, capsys):
    assert run(line.split()) == 2
    said = capsys.readouterr()
    assert part in said.err + said.out
    if said.err:
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1


def fail_everywhere(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., NoReturn]) -> None:
    """Whatever a command opens fails so."""
    monkeypatch.setattr(pipeline, "load", fail)
    monkeypatch.setattr("latentry.pipeline.inspecting.inspect_path", fail)


@pytest.mark.parametrize(("error", "code"), [(UsageError("m: no"), 2), (LatentryError("m: broke"), 1)])
def test_an_error_is_its_text_and_its_exit_code(error, code, capsys, monkeypatch, tmp_path):
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    fail_everywhere(monkeypatch, fail)
    for line in (["inspect", "m"], ["sample", "m", "--out", str(tmp_path)], ["inspect", "m", "--json"]):
        assert run(line) == code
        said = capsys.readouterr()
        assert said.err == f"error: {error}\n"
        assert said.out == ""


def test_interrupting_is_130_and_a_saved_stop_keeps_its_code(monkeypatch, capsys):
    def interrupt(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    def stop(*_: object, **__: object) -> NoReturn:
        raise SystemExit(143)

    fail_everywhere(monkeypatch, interrupt)
    assert run(["inspect", "m"]) == 130
    fail_everywhere(monkeypatch, stop)
    with pytest.raises(SystemExit) as caught:
        run(["inspect", "m"])
    assert caught.value.code == 143


def test_a_path_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(["data", "shapes", "--count", "1", "--out", str(tmp_path / "file" / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'file'}")
    assert said.count("\n") == 1


def test_a_defect_of_ours_is_not_hidden(monkeypatch):
    def fail(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError

    fail_everywhere(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError):
        run(["inspect", "m"])


def test_sizes():
    assert parse_size("96x64") == (96, 64)
    assert parse_size("64") == (64, 64)
    assert parse_size(None) is None
    for text in ("0x64", "64x", "1x2x3", "-64", "٣", ""):
        with pytest.raises(UsageError):
            parse_size(text)


def test_the_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "latentry", "data", "check", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "none" in done.stderr
