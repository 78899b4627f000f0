"""If these fail, one bad byte on a disk makes a finished run or a model a traceback, or a command that never ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import latentry as lt
from latentry.checkpoints.manifest import verify
from latentry.cli import run as command
from latentry.errors import LatentryError
from latentry.training.run import train
from tests.e2e.damages import DAMAGES, flip, in_time
from tests.e2e.small_runs import TEXT, noise, recipe, write_images, write_metadata

FILES = ("model.yaml", "manifest.json", "README.md", "tokenizer.json")
RUN_FILES = ("recipe.yaml", "data.listing", "figures.json", "log.jsonl", "events.jsonl", "lock")
FLIPS = 12
CHANGES = {"data.text": "text", "diffusion.conditioning": {"text": TEXT}}


def cases(names: Sequence[str], whole: int) -> list[tuple[str, str]]:
    """Each damage of each of the first `whole` files, and each once more among the others."""
    others = names[whole:]
    pairs = [(name, damage) for name in names[:whole] for damage in DAMAGES]
    return pairs + [(others[i % len(others)], damage) for i, damage in enumerate(DAMAGES)]


class Made:
    """A finished run; `train` goes on with a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        self.data = write_images(folder / "data", noise(6, (16, 16, 3)))
        write_metadata(self.data, [{"text": f"thing {i}"} for i in range(6)])
        self.run = folder / "run"
        self.train(self.run)

    def train(self, run: Path, **more: Any) -> None:
        self.said.clear()
        train(recipe(self.folder, CHANGES), self.data, run, report=self.said.append, **more)

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.run, to / "run"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


def files_of(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir()}


def one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """A command that works or says in one line what is wrong; what it said."""
    with in_time():
        code = command(words)
    errors = capsys.readouterr().err
    assert (code == 0) == (not errors), (code, errors)
    assert errors.count("\n") <= 1
    assert "Traceback" not in errors
    return errors


def refusal(what: Callable[[], Any], else_: str = "") -> str:
    """The text with which something is refused; `else_`, where it works."""
    try:
        with in_time():
            what()
    except LatentryError as error:
        return str(error)
    return else_


@pytest.mark.parametrize(("name", "damage"), cases(FILES, whole=2))
def test_a_damaged_model_is_one_line_and_a_finished_run_writes_it_anew(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    run = made.copy(tmp_path)
    DAMAGES[damage](run / "model" / name)
    with in_time(), pytest.raises(LatentryError) as refused:
        lt.load(run / "model", device="cpu")
    assert name in str(refused.value)
    one_line(["inspect", str(run / "model")], capsys)
    one_line(["inspect", str(run)], capsys)
    error = one_line(["sample", str(run / "model"), "--out", str(tmp_path / "out")], capsys)
    assert name in error
    with in_time():
        made.train(run)
    assert len([line for line in made.said if "written anew from its checkpoints" in line and name in line]) == 1
    assert verify(run / "model") == []
    assert files_of(run / "model") == files_of(made.run / "model")


@pytest.mark.parametrize(("name", "damage"), cases(RUN_FILES, whole=1))
def test_a_damaged_text_of_a_run_is_one_line_or_does_not_matter(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    run = made.copy(tmp_path)
    if not (run / name).exists() or not (run / name).read_bytes():
        (run / name).write_bytes(b"something")
    DAMAGES[damage](run / name)
    one_line(["inspect", str(run)], capsys)
    assert str(run) in refusal(lambda: made.train(run), str(run))


@pytest.mark.parametrize("seed", range(FLIPS))
def test_any_flipped_bit_of_any_text(made: Made, tmp_path: Path, seed: int) -> None:
    """Of all files in turn, checkpoints' too; what is wrong is told in one text, and what can be mended is."""
    run = made.copy(tmp_path)
    texts = [path for path in sorted(run.rglob("*")) if path.suffix in (".json", ".yaml", ".jsonl", ".md", ".listing")]
    path = texts[seed % len(texts)]
    flip(path, seed)
    for what in (lambda: lt.load(run, device="cpu"), lambda: lt.load(run / "model"), lambda: made.train(run)):
        assert "\n" not in refusal(what)


def test_weights_with_a_flipped_bit_are_written_anew(made: Made, tmp_path: Path) -> None:
    run = made.copy(tmp_path)
    for name in ("unet.safetensors", "autoencoder.safetensors"):
        flip(run / "model" / name, 7)
        made.train(run)
        assert files_of(run / "model") == files_of(made.run / "model"), name


def test_a_model_whose_checkpoints_are_gone_is_not_trained_again(made: Made, tmp_path: Path) -> None:
    """People remove them to save space: the message must come before two nights of training do."""
    run = made.copy(tmp_path)
    shutil.rmtree(run / "diffusion")
    flip(run / "model" / "manifest.json")
    with pytest.raises(LatentryError, match=r"manifest.json.*cannot be written anew.*diffusion has no undamaged"):
        made.train(run)
    assert not (run / "diffusion").exists()


def test_the_scale_of_latents_stays_where_the_images_have_changed(made: Made, tmp_path: Path) -> None:
    """The second stage was trained on that scale; measured on other images it would be another."""
    run = made.copy(tmp_path)
    data = Path(shutil.copytree(made.data, tmp_path / "data"))
    write_images(data, noise(3, (16, 16, 3), seed=5))
    before = lt.load(run / "model").describe()["latent_scale"]
    flip(run / "model" / "model.yaml")
    train(recipe(made.folder, CHANGES), data, run, accept_data_change=True, report=made.said.append)
    assert lt.load(run / "model").describe()["latent_scale"] == before
