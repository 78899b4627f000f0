"""If these fail, a study of wrong folders is drawn up, or a mistake is told by a traceback."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import tifffile

from latentry.cli import run
from latentry.study import STUDIES
from latentry.study.preference.asking import Study
from latentry.study.preference.making import make
from latentry.study.preference.options import PreferenceOptions
from tests.unit.study.studies import answer_all, folder, folders, study_of


def test_every_study_has_its_command():
    from latentry.cli.study import COMMANDS

    assert COMMANDS.keys() == STUDIES.keys()


def study(*words: object) -> int:
    return run(["study", "preference", *map(str, words), "--no-serve"])


def empty(root: Path) -> list[object]:
    (root / "a").mkdir()
    return ["--a", root / "a", "--b", folder(root / "b", 1)]


def fewer(root: Path) -> list[object]:
    return ["--a", folder(root / "a", 1), "--b", folder(root / "b", 1, count=5)]


def larger(root: Path) -> list[object]:
    return ["--a", folder(root / "a", 1), "--b", folder(root / "b", 1, size=(16, 32))]


def coloured(root: Path) -> list[object]:
    return ["--a", folder(root / "a", 1), "--b", folder(root / "b", 1, mode="RGB")]


def half_named(root: Path) -> list[object]:
    words: list[object] = ["--a", folder(root / "a", 1), "--b", folder(root / "b", 1)]
    (root / "b" / "3.png").rename(root / "b" / "other.png")
    return words


def damaged(root: Path) -> list[object]:
    words: list[object] = ["--a", folder(root / "a", 1), "--b", folder(root / "b", 1)]
    whole = (root / "b" / "3.png").read_bytes()
    (root / "b" / "3.png").write_bytes(whole[: len(whole) - 30])
    return words


def both(*more: object):
    def words(root: Path) -> list[object]:
        return ["--a", folder(root / "a", 1), "--b", folder(root / "b", 1), *more]

    return words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (empty, "holds no images"),
        (fewer, "holds 5 images and --a 6"),
        (larger, "is 16x32 and its partner in --a 16x16"),
        (coloured, "has 3 channels and its partner in --a 1"),
        (half_named, "and not 3"),
        (damaged, "3.png"),
        (both("--truth", "nowhere"), "does not exist"),
        (both("--pairs", 7), "6 images each"),
        (both("--checks", 3), "accepted: 0 for none, or 5 and more"),
        (both("--seconds", 0), "seconds"),
        (both("--about", "upscaling"), "name its folder with --input"),
        (both("--about", "upscale"), 'did you mean "upscaling"?'),
        (lambda root: ["--a", folder(root / "a", 1)], "--b: is missing"),
        (lambda root: [], "--a: is missing"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_and_nothing_is_written(words, told, tmp_path, capsys):
    line = words(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert study(*line, "--out", tmp_path / "study") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_there_stays_as_it_is(tmp_path, capsys):
    given = both()(tmp_path)
    assert study(*given, "--out", tmp_path / "a") == 2
    assert "already exists and is no study" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert study(*given, "--out", tmp_path / "file" / "study") == 2
    assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="the system's root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    given = both()(tmp_path)
    (tmp_path / "closed").mkdir(mode=0o500)
    assert study(*given, "--out", tmp_path / "closed" / "study") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_taken_port_is_told_before_a_study_is_drawn_up(tmp_path, capsys):
    given = both()(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["study", "preference", *given, "--out", tmp_path / "study", "--port", port]
        assert run(list(map(str, words))) == 2
    assert f"--port: {port} is taken" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_the_same_line_goes_on_and_another_is_refused(tmp_path, capsys):
    given = both("--seed", 4)(tmp_path)
    assert study(*given, "--out", tmp_path / "study") == 0
    made = (tmp_path / "study" / "study.json").read_bytes()
    assert study(*given, "--out", tmp_path / "study") == 0
    assert study("--out", tmp_path / "study") == 0
    capsys.readouterr()
    assert study(*given[:-1], 5, "--out", tmp_path / "study") == 2
    assert "--seed: found 5; the study in" in capsys.readouterr().err
    assert (tmp_path / "study" / "study.json").read_bytes() == made


def test_the_report_is_a_table_and_json(tmp_path, capsys):
    path = study_of(tmp_path, "a", "b", "truth")
    answer_all(Study(path), "Ada", lambda *_: 0)
    assert run(["study", "report", str(path)]) == 0
    told = capsys.readouterr().out
    assert "A over B" in told
    assert "Ada" in told
    assert run(["study", "report", str(path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain == json.loads((path / "report.json").read_text())
    assert plain["contests"][2]["rate"] == 1
    assert plain["contests"][2]["p"] == 2 / 2**6


@pytest.mark.parametrize("content", [None, "{", "[]", '{"study": "pref"}', '{"study": "preference"}'])
def test_what_is_no_study_is_told_in_a_line(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    assert run(["study", "report", str(tmp_path)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_bands_and_sixteen_bits_are_shown(tmp_path):
    """Of one band grey, of five the first three as colours; both in 8 bits."""
    for role in ("a", "b"):
        (tmp_path / role).mkdir()
        deep = np.full((12, 10, 5), [0, 65535, 32768, 1, 2], np.uint16)
        tifffile.imwrite(tmp_path / role / "x.tif", deep, photometric="minisblack", planarconfig="contig")
    made = make(PreferenceOptions(a=tmp_path / "a", b=tmp_path / "b", checks=5), tmp_path / "study")
    from PIL import Image

    with Image.open(tmp_path / "study" / "images" / "00000-a.png") as image:
        assert image.mode == "RGB"
        assert image.size == (10, 12)
        assert image.getpixel((3, 4)) == (0, 255, 128)
    assert made.spoilt == (0,) * 5


def test_images_of_no_common_name_belong_together_in_order(tmp_path):
    given = folders(tmp_path, "a", "b")
    for path in sorted(given["b"].iterdir()):
        path.rename(path.with_name(f"other-{path.name}"))
    made = make(PreferenceOptions(a=given["a"], b=given["b"]), tmp_path / "study")
    assert [(one.a, one.b) for one in made.pairs] == [(f"{k}.png", f"other-{k}.png") for k in range(6)]
