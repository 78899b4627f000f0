"""If these fail, a run goes on with another recipe or other images without a word, or refuses what may change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import latentry as lt
from latentry.errors import UsageError
from latentry.training.loop.signals import Stopped
from latentry.training.run import train
from tests.e2e.test_resume import stop_at
from tests.e2e.tiny import Tiny, begin, checkpoint, recipe, rows, same, write_recipe


def all_bytes(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file() and path.name != "lock"}


def images_with(tiny: Tiny, folder: Path) -> tuple[Path, list[Path]]:
    """A copy of the images, to be changed."""
    data = shutil.copytree(tiny.data, folder)
    return data, sorted((data / "images").iterdir())


def test_another_recipe_is_refused_listing_the_keys(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    run = begin("diffusion", tmp_path / "run", unbroken)
    before = all_bytes(run)
    changes = {"autoencoder.train.lr": 1.0, "diffusion.unet.channels": 16, "seed": 8, "diffusion.train.steps": 24}
    with pytest.raises(UsageError) as refused:
        tiny.train(run, overrides=changes)
    for text in ("autoencoder.train.lr (0.002 -> 1.0)", "diffusion.unet.channels (8 -> 16)", "seed (7 -> 8)"):
        assert text in str(refused.value)
    assert "diffusion.train.steps" not in str(refused.value)
    assert all_bytes(run) == before


def test_what_may_change_changes_nothing_else(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """Intervals, workers and how many checkpoints are kept are nobody's business but the user's."""
    run = begin("diffusion", tmp_path / "run", unbroken)
    with pytest.raises(Stopped):
        tiny.train(run, progress=stop_at("diffusion", 6))
    changes = {"workers": 2, "save_every": 2, "keep": 1, "validate_every": 4, "sample_every": 12, "log_every": 2}
    tiny.train(run, overrides={f"diffusion.train.{key}": value for key, value in changes.items()})
    assert sorted(path.name for path in (run / "diffusion").iterdir()) == ["latest", "step-12"]
    for name, content in checkpoint(unbroken, "diffusion").items():
        if name.endswith(".safetensors"):
            assert checkpoint(run, "diffusion")[name] == content, name
    losses = [row["step"] for row in rows(run, "diffusion") if "loss" in row]
    assert losses == [3, 6, 8, 10, 12]


def test_changed_images_are_refused_listing_the_files(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    run = begin("diffusion", tmp_path / "run", unbroken)
    data, files = images_with(tiny, tmp_path / "data")
    tiny.train(run, data=data, stage="autoencoder")
    shutil.copyfile(files[0], files[3])
    shutil.copyfile(files[0], data / "images" / "new.png")
    with (data / "metadata.jsonl").open("a") as metadata:
        metadata.write('{"file_name": "images/new.png", "text": "a red star", "label": "star"}\n')
    with pytest.raises(UsageError) as refused:
        tiny.train(run, data=data)
    assert f"1 changed: images/{files[3].name}" in str(refused.value)
    assert "1 appeared: images/new.png" in str(refused.value)
    assert "--accept-data-change" in str(refused.value)
    assert not (run / "diffusion").exists()


def test_accepted_changes_are_noted_in_the_card(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """Also when the run was stopped after the change was accepted, and went on without the flag."""
    run = begin("diffusion", tmp_path / "run", unbroken)
    data, files = images_with(tiny, tmp_path / "data")
    for number in (2, 3):
        shutil.copyfile(files[0], files[number])
        with pytest.raises(Stopped):
            tiny.train(run, data=data, accept_data_change=True, progress=stop_at("diffusion", 3 * number - 3))
    tiny.train(run, data=data)
    card = (run / "model" / "README.md").read_text()
    assert f"1 changed: images/{files[2].name}; 1 changed: images/{files[3].name}" in card


def test_a_label_that_came_later_is_refused(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """The model has no row for it: training would end in the middle, or mix up the classes."""
    run = begin("diffusion", tmp_path / "run", unbroken)
    data, _ = images_with(tiny, tmp_path / "data")
    with pytest.raises(Stopped):
        tiny.train(run, data=data, progress=stop_at("diffusion", 6))
    lines = (data / "metadata.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    (data / "metadata.jsonl").write_text("\n".join([json.dumps({**first, "label": "blob"}), *lines[1:]]) + "\n")
    with pytest.raises(UsageError, match="labels blob are new"):
        tiny.train(run, data=data, accept_data_change=True)


def test_words_that_came_later_are_unknown_words(tiny: Tiny, tmp_path: Path) -> None:
    """The table of words is as large as it was: the run goes on, and the new word is an unknown one."""
    tree = recipe(steps=12)
    tree["diffusion"]["conditioning"]["text"] |= {"tokens": "words", "drop_words": 0.1}
    words = str(write_recipe(tmp_path / "words.yaml", tree))
    data, _ = images_with(tiny, tmp_path / "data")
    with pytest.raises(Stopped):
        train(words, data, tmp_path / "run", report=tiny.said.append, progress=stop_at("diffusion", 6))
    lines = (data / "metadata.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    (data / "metadata.jsonl").write_text(
        "\n".join([json.dumps({**first, "text": "an octarine blob"}), *lines[1:]]) + "\n"
    )
    run = train(words, data, tmp_path / "run", report=tiny.said.append, accept_data_change=True)
    assert lt.load(run.path / "model").unknown_words("an octarine circle") == ["an", "octarine"]


def test_a_label_that_is_gone_leaves_the_others_their_numbers(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    run = begin("diffusion", tmp_path / "run", unbroken)
    data, _ = images_with(tiny, tmp_path / "data")
    with pytest.raises(Stopped):
        tiny.train(run, data=data, progress=stop_at("diffusion", 6))
    lines = [json.loads(line) for line in (data / "metadata.jsonl").read_text().splitlines()]
    gone = lines[0]["label"]
    kept = [line for line in lines if line["label"] != gone]
    (data / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    for line in lines:
        if line["label"] == gone:
            (data / line["file_name"]).unlink()
    tiny.train(run, data=data, accept_data_change=True)
    yaml = (run / "model" / "model.yaml").read_text()
    assert gone in yaml


def test_the_same_images_elsewhere_are_the_same(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    run = begin("diffusion", tmp_path / "run", unbroken)
    data, files = images_with(tiny, tmp_path / "moved")
    files[0].touch()
    tiny.train(run, data=data)
    same(run, unbroken, ["autoencoder"])
    assert checkpoint(run, "diffusion") == checkpoint(unbroken, "diffusion")
