"""If these fail, a value that somebody mistyped, or sent to do harm, ends in a traceback or is believed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentry import config
from latentry.cli import run
from latentry.data.folders.records import Record
from latentry.data.folders.select import label_names
from latentry.errors import UsageError, did_you_mean, shown
from latentry.training.plan.recipes import load
from tests.unit.pipeline.small_pipelines import pipeline

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: !!bool x", 'line 1, column 4: "x" is not true or false'),
        ("a: 1\nb: !!bool ''", 'line 2, column 4: "" is not true or false'),
        ('a: !!float ""', 'line 1, column 4: "" is not a number'),
        ("a: !!float one", '"one" is not a number'),
        ("a: !!int x", '"x" is not a whole number'),
        ("a: !!int 1.5", "is not a whole number"),
        ("a: !!int [1]", "!!int stands before something else"),
        ("a: !!map x", "!!map stands before something else"),
        ("a: !!seq {a: 1}", "!!seq stands before something else"),
        ("a: !!str [x]", "!!str stands before something else"),
        ("a: !!null x", '"x" is not null'),
        ("a: !!timestamp 2001-01-01", "tag tag:yaml.org,2002:timestamp is not accepted"),
        ("a: !!binary aGk=", "binary is not accepted"),
        ("a: !!set {x}", "set is not accepted"),
        ("!!bool x: 1", "is not true or false"),
        (f"a: {'9' * 5000}", "a number of 5000 digits; at most 400"),
        (f"a: 0x{'f' * 5000}", "a number of 5002 digits"),
        (f"a: {'9' * 100_000}x\nb: [", "line 2"),
        (f"a: 1.{'0' * 5000}", "digits; at most 400"),
        ('a: "\\ud800"', "half of a pair of escapes"),
        ('"\\udc00": 1', "half of a pair of escapes"),
        ("a: caf\udce9", "unacceptable character"),
        ("a: b\x00", "special characters are not allowed"),
        ("a:\n\t- b", "line 2"),
        ("a: " + "[" * 60 + "]" * 60, "line 1, column 53: is nested too deeply, in more than 50 levels"),
        ("a: " + "{a: " * 100_000, "nested too deeply"),
        ("\n".join(" " * i + "a:" for i in range(1000)), "nested too deeply"),
        ("? " * 3000, "nested too deeply"),
        (LAUGHS, "line 1, column 4: anchors and aliases are not accepted"),
        (f"{'k' * 900}: 1\n{'k' * 900}: 2", "stands twice"),
        ("a: 1\n...\n---\nb: 2", "found another document"),
        ("x" * 4_000_001, "has 4000001 letters; accepted: YAML of at most 4000000"),
    ],
    ids=range(32),
)
def test_bad_values_in_yaml_are_one_short_line_with_their_place(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.parse_yaml(text, "r.yaml")
    said = str(caught.value)
    assert said.startswith("r.yaml: ")
    assert part in said
    assert "\n" not in said
    assert len(said) < 300


def test_tags_that_say_what_is_so_are_read() -> None:
    text = 'h: 1_000.5\na: !!int 5\nb: !!float "1e-4"\nc: !!str 7\nd: !!bool true\ne: !!null ""\nf: !!seq [1]'
    text += "\ng: !!map {a: 1}"
    expected = {"a": 5, "b": 1e-4, "c": "7", "d": True, "e": None, "f": [1], "g": {"a": 1}, "h": 1000.5}
    assert config.parse_yaml(text, "r") == expected


@pytest.mark.parametrize("content", [b"name: caf\xe9", b"\xff\xfe\x00", b"name: \xed\xa0\x80", b"\x80" * 10])
def test_a_recipe_that_is_no_text_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=r"byte \d+ is not UTF|is a str; accepted: a mapping") as caught:
        load(str(tmp_path / "r.yaml"))
    assert "\n" not in str(caught.value)


def test_a_recipe_may_come_from_windows_but_not_from_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("extends: tiny-shapes\nname: größe\n", encoding="utf-16")
    assert load(str(tmp_path / "r.yaml")).name == "größe"
    (tmp_path / "large.yaml").write_bytes(b"a: 1\n" * 100_000)
    with pytest.raises(UsageError, match="is longer than 250000 bytes; accepted: at most"):
        load(str(tmp_path / "large.yaml"))
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UsageError):
        load(str(tmp_path / "pipe.yaml"))


def test_a_value_is_shown_short_and_in_one_line() -> None:
    assert shown("short") == "short"
    assert shown("a\nb\x1b[31m\udce9") == "a?b?[31m?"
    assert (len(shown("x" * 10**6)), shown("ab" * 100)[:3], shown("ab" * 100)[-3:]) == (80, "aba", "bab")
    assert shown(10**6000) == "a number of about 6001 digits"
    assert did_you_mean("ddmi" * 10**6, ["ddim"]) == ""
    assert did_you_mean(10**6000, ["ddim"]) == ""


LABELS = ["--5", "-5", "5", "-", "--", "٣", "9" * 5000, "cat", "", "1e5"]


def test_labels_that_look_like_numbers_are_in_order() -> None:
    """A folder called `--5`, or of 200 digits, ended the reading of a data folder."""
    records = [Record(path=f"{label}/a.png", fields={"label": label}) for label in LABELS]
    assert label_names(records, "label")[:2] == ["-5", "5"]
    assert set(label_names(records, "label")) == set(LABELS)


NO_LABELS = ["--5", "-5", "9" * 5000, "٣", "1.5", "", "\x00", 10**6000, -7, 1.5, object(), [1], {}]


@pytest.mark.parametrize("label", NO_LABELS, ids=range(len(NO_LABELS)))
def test_a_label_that_is_none_is_one_short_line(label: Any) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline().sample(label=[label])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "line", [["--label", "--5"], ["--label=--5"], ["--label", "-5"], ["--", "--5"], ["--seed", "9" * 5000]]
)
def test_a_label_may_begin_like_an_option(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It reaches the model, here none, instead of being taken for an option."""
    assert run(["sample", str(tmp_path / "none"), "--out", str(tmp_path / "o"), *line]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "none: no such file" in said or "seed" in said
    assert len(said) < 600


BYTES = [
    ["sample", "MODEL", b"caf\xe9"],
    ["sample", "MODEL", "--label", b"caf\xe9"],
    ["sample", "MODEL", "--solver", b"caf\xe9"],
    ["sample", b"MODEL\xe9"],
    ["train", b"caf\xe9"],
    ["train", "tiny-shapes", b"name=caf\xe9"],
    ["train", "tiny-shapes", b"caf\xe9=1"],
    ["train", "tiny-shapes", "--stage", b"caf\xe9"],
    ["train", "tiny-shapes", "--data", b"caf\xe9"],
    [b"caf\xe9"],
]


@pytest.mark.parametrize("line", BYTES, ids=range(len(BYTES)))
def test_arguments_that_are_not_utf_8_are_one_line(
    line: list[str | bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python makes them of the bytes that the shell of a machine that is set to Latin-1 hands over."""
    words = [os.fsdecode(word) for word in line] + (["--out", str(tmp_path / "o")] if len(line) > 1 else [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace"))  # as Python's own
    assert run(words) == 2
    sys.stderr.seek(0)
    errors = sys.stderr.read()
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


def test_an_argument_in_bytes_that_are_not_utf_8_is_one_line(tmp_path: Path) -> None:
    """By a process of its own, from the bytes."""
    words = [os.fsencode(word) for word in (sys.executable, "-m", "latentry", "train", b"caf\xe9", "--out", "o")]
    done = subprocess.run(words, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


def test_prompts_are_whole_and_not_endless() -> None:
    pipe = pipeline()
    for text, part in (("caf\udce9", r"text: \\xe9 at letter 4 is not UTF-8"), ("x" * 100_001, "text: 100001 letters")):
        with pytest.raises(UsageError, match=part):
            pipe.sample([text, "a red circle"])
        with pytest.raises(UsageError, match=part):
            next(pipe.steps(text))
    assert pipe.sample("x" * 100_000, steps=1).tensor.shape[0] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"n": 10**9},
        {"n": 10**6000},
        {"n": float("nan")},
        {"steps": 10**9},
        {"size": 10**6},
        {"size": "1000000x1000000"},
        {"size": "9" * 5000},
        {"size": 10**6000},
        {"seed": 10**6000},
        {"batch": 10**9},
        {"batch": 0},
        {"guidance": 1e300},
        {"guidance": float("inf")},
        {"levels": "x" * 10**6},
        {"solver": "x" * 10**6},
        {"solver": {"kind": ["ddim"]}},
        {"solver": {"kind": "ddim", "eta": 1e300}},
        {"solver": "ddim:eta=" + "9" * 5000},
        {"label": "x" * 50_000},
        {"x" * 50_000: 1},
    ],
    ids=range(20),
)
def test_absurd_requests_are_one_short_line(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline().sample("a red circle", **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("word", ["x" * 5000, "--" + "x" * 5000])
def test_endless_words_are_not_repeated(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ([word], ["sample", "m", word, "--out", "o"], ["train", word, "--out", "o"], ["inspect", word]):
        assert run(line) in (1, 2)
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert len(said) < 700
