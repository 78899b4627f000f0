"""Folders of strangers, trained on to the end. If these fail, a night ends without captions, or without a model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import latentry as lt
from latentry import config
from latentry.cli import run as command
from latentry.errors import UsageError
from latentry.training.plan.decide import plan
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images, write_metadata
from tests.unit.training.small_stages import CLASSIFIER

AUTO: dict[str, Any] = {"data.text": "auto", "data.label": "auto", "diffusion.conditioning": "auto"}
LABEL = {"kind": "class_label", "via": "vector", "width": 8}


def labels_of(run: Path) -> list[str]:
    return list(lt.load(run).model.config.data.labels)


def recipe_of(run: Path) -> dict[str, Any]:
    return config.load_yaml(run / "recipe.yaml")


def card_of(run: Path) -> str:
    return (run / "model" / "README.md").read_text(encoding="utf-8")


def test_names_that_are_not_utf8_are_trained_on_and_sampled_by_their_printed_form(tmp_path: Path) -> None:
    """Row 25 and 29 of the faults: both stages trained, and then the model could not be written."""
    data = tmp_path / "data"
    classes = [b"caf\xe9", b"\xff\xfe", b"plain"]
    for name in classes:
        write_images(Path(os.fsdecode(os.fsencode(data) + b"/" + name)), noise(4, (16, 16, 3)))
    shutil.copy(data / "plain" / "0.png", os.fsdecode(os.fsencode(data) + b"/plain/\xfc.png"))
    changes = {"data.label": "folder", "diffusion.conditioning": {"label": LABEL}}
    words = ["train", recipe(tmp_path, changes), "--data", data, "--out", tmp_path / "run"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PYTHONIOENCODING": "utf-8"}
    for arguments in (words, ["data", "check", data, "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "latentry", *map(str, arguments)], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        assert b"Traceback" not in done.stderr
    for arguments in (words, ["data", "check", data]):
        assert command([str(word) for word in arguments]) == 0
    pipe = lt.load(tmp_path / "run")
    assert labels_of(tmp_path / "run") == ["\\xff\\xfe", "caf\\xe9", "plain"]
    assert len(pipe.sample(label="caf\\xe9", n=1, steps=2).images) == 1
    assert "caf\\xe9" in card_of(tmp_path / "run")


def test_a_lone_surrogate_and_line_breaks_in_labels_and_captions(tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", noise(6, (16, 16, 3)))
    labels = ["half \ud83d", "two\nlines", 'quo"te $HOME | `ls`']
    write_metadata(data, [{"text": f"{labels[n % 3]} {n}", "label": labels[n % 3]} for n in range(6)])
    run = run_tiny(tmp_path, data, {**AUTO, "diffusion.conditioning": {"label": LABEL}}).path
    pipe = lt.load(run)
    assert labels_of(run) == ["half \\ud83d", 'quo"te $HOME | `ls`', "two\nlines"]
    assert len(pipe.sample(label="two\nlines", n=1, steps=2).images) == 1
    card = card_of(run)
    assert ", two lines." in card, "a line break would end the row or the sentence that it stands in"
    assert not any("two" in line and "lines" not in line for line in card.splitlines())
    assert command(["data", "check", str(data)]) == 0


@pytest.mark.parametrize("form", ["text files", "csv", "other names", "utf-16"])
def test_captions_in_every_form_reach_the_model_the_record_and_the_card(form: str, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", noise(6, (16, 16, 3)))
    rows = [{"file_name": f"{n}.png", "text": f"thing {n}"} for n in range(6)]
    told = "captions are read from NAME.txt beside 6 of 6 images"
    if form == "text files":
        for n in range(6):
            (data / f"{n}.txt").write_text(f"thing {n}")
    elif form == "csv":
        (data / "metadata.csv").write_text("file_name,text\n" + "".join(f"{n}.png,thing {n}\n" for n in range(6)))
        told = "metadata.csv lists the images"
    elif form == "other names":
        lines = [json.dumps({"image": row["file_name"], "prompt": row["text"]}) for row in rows]
        (data / "metadata.jsonl").write_text("\n".join(lines))
        told = "the metadata has no `text`: `prompt` is read as text"
    else:
        (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-16")
        told = ""
    said: list[str] = []
    run = run_tiny(tmp_path, data, AUTO, report=said.append).path
    assert list(lt.load(run).model.config.diffusion.conditioning) == ["text"]  # type: ignore[union-attr]
    assert said[0] == "data: 6 images with text (text); conditioned on text"
    if told:
        assert f"data: {told}" in said
        assert told in recipe_of(run)["made_with"]["data_read"]
        assert told in card_of(run)


def split_folder(root: Path) -> Path:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            write_images(root / split / label, noise(3, (16, 16, 3)))
    return root


def test_splits_and_the_classes_in_them_are_trained_on(tmp_path: Path) -> None:
    said: list[str] = []
    run = run_tiny(tmp_path, split_folder(tmp_path / "data"), AUTO, report=said.append).path
    assert labels_of(run) == ["cat", "dog"]
    assert any("test (6) kept from training" in line for line in said)
    assert recipe_of(run)["made_with"]["images"] == 6
    assert "data, 6 for training" in card_of(run)


def test_a_run_of_before_there_were_splits_goes_on_without_them(tmp_path: Path) -> None:
    """Else a resume would train on other images than it began with."""
    data = split_folder(tmp_path / "data")
    run = run_tiny(tmp_path, data, {"data.splits": "off", "data.held_out": 0}, stage="autoencoder").path
    tree = recipe_of(run)
    del tree["data"]["splits"]
    (run / "recipe.yaml").write_text(config.dump_yaml(tree))
    again = run_tiny(tmp_path, data, {"data.held_out": 0}).path
    assert recipe_of(again)["made_with"]["images"] == 12
    assert recipe_of(again)["data"]["splits"] == "off"


def grey(root: Path, count: int = 6) -> Path:
    return write_images(root, noise(count, (16, 16, 1)))


def test_grey_images_make_a_grey_model_where_the_recipe_leaves_it_open(tmp_path: Path) -> None:
    run = run_tiny(tmp_path, grey(tmp_path / "data"), {"data.channels": "auto"}, stage="autoencoder").path
    assert lt.load(run).model.config.data.channels == 1
    run_tiny(tmp_path, tmp_path / "data", {"data.channels": "auto"})  # goes on as it began
    Image.new("RGB", (16, 16)).save(tmp_path / "data" / "colour.png")
    with pytest.raises(UsageError, match=r"colour\.png \(3 channels\)"):
        run_tiny(tmp_path, tmp_path / "data", {"data.channels": "auto"})


def test_check_and_training_say_the_same_of_grey_images_and_a_recipe_of_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """600 grey scans and a recipe of three channels were "ok"."""
    data = grey(tmp_path / "data")
    said: list[str] = []
    run_tiny(tmp_path, data, stage="autoencoder", report=said.append)
    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert warning.startswith("warning: all 6 images are grey, and data.channels is 3")
    capsys.readouterr()
    assert command(["data", "check", str(data), "--recipe", recipe(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert warning in lines
    assert lines[-1] == "ok, but for 1 warning"
    write_images(tmp_path / "large", noise(3, (64, 64, 1)))
    assert command(["data", "check", str(tmp_path / "large"), "--recipe", "small-256"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "read: data.channels: 1, as every image is grey" in lines
    assert lines[-1] == "ok"


REFUSED: dict[str, dict[str, Any]] = {
    "no captions": {"diffusion.conditioning": {"text": {"kind": "text"}}},
    "no classes": {"diffusion.conditioning": {"label": LABEL}},
    "a field that is not there": {"data.text": "txet"},
    "channels": {"data.channels": 4},
    "a share that leaves none": {"data.held_out": 0.9999},
    "no classes for a classifier": {"classifier": CLASSIFIER},
    "a field of classes that is not there": {"classifier": {**CLASSIFIER, "field": "kind"}},
    "one class": {"classifier": CLASSIFIER, "data.label": "folder"},
    "no such value": {"data.where": {"kind": "x"}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_training_refuses_of_a_folder_the_check_names(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_images(tmp_path / "data", noise(3, (16, 16, 3)))
    with pytest.raises(UsageError) as refused:
        run_tiny(tmp_path, data, REFUSED[name])
    assert command(["data", "check", str(data), "--recipe", recipe(tmp_path, REFUSED[name])]) == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    assert any(line.removeprefix("problem: ") in str(refused.value) for line in problems), (problems, refused.value)


def test_what_a_terminal_must_not_see_is_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name with control characters would clear the screen of whoever lists the folder."""
    write_images(tmp_path / "data", noise(2, (16, 16, 3)))
    (tmp_path / "data" / "\x1b[2J\n.png").write_text("x")
    (tmp_path / "data" / os.fsdecode(b"\xff.png")).write_text("x")
    assert command(["data", "check", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "bad: \\x1b[2J\\n.png: not an image" in said
    assert command(["data", "check", str(tmp_path / "data"), "--json"]) == 1
    paths = [entry["path"] for entry in json.loads(capsys.readouterr().out)["bad"]]
    assert sorted(map(os.fsencode, paths)) == [b"\x1b[2J\n.png", b"\xff.png"]


def test_auto_channels_are_those_of_the_first_stage_that_is_taken(tmp_path: Path) -> None:
    """Grey images became 3 channels for a first stage of 1, which then was refused; no colour must vanish unsaid."""
    grey, colours = (write_images(tmp_path / name, noise(6, (16, 16, c))) for name, c in (("grey", 1), ("colours", 3)))
    firsts = {c: run_tiny(tmp_path / f"of-{c}", data, {"data.channels": c}, stage="autoencoder").path
              for c, data in ((1, grey), (3, colours))}  # fmt: skip
    for data, channels in ((grey, 1), (grey, 3), (colours, 3)):
        said: list[str] = []
        changes = {"data.channels": "auto", "autoencoder": {"from": str(firsts[channels])}}
        made = plan(recipe(tmp_path, changes), data, tmp_path / "run", report=said.append)
        assert made.model.data.channels == channels
        assert f"data.channels: {channels}, as {firsts[channels]} has" in said
    with pytest.raises(UsageError, match=r"auto is 3, as the images are in colour, and .*of-1/run is made for 1\. Set"):
        plan(
            recipe(tmp_path, {"data.channels": "auto", "autoencoder": {"from": str(firsts[1])}}),
            colours,
            tmp_path / "run",
        )
