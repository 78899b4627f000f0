"""If these fail, the first thing a newcomer types does not work. Sizes and steps are made small, nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from latentry.cli import run
from latentry.data import shapes
from latentry.tasks import TASKS
from latentry.tasks.sampling import Sampling
from latentry.training.plan.recipes import read_text
from tests.docs.blocks import ROOT, blocks, commands
from tests.e2e.test_foreign_kinds import checkpoint

README = ROOT / "README.md"
MODEL = ROOT / "models" / "emoji"
SCENES = ROOT / "models" / "shapes"
SMALL = {
    "autoencoder.channels": 8,
    "autoencoder.multipliers": [1, 1, 1, 1],
    "autoencoder.norm_groups": 4,
    "autoencoder.objective.perceptual": "none",
    "autoencoder.train.steps": 3,
    "autoencoder.train.batch": 4,
    "diffusion.unet.channels": 16,
    "diffusion.unet.head_channels": 16,
    "diffusion.unet.norm_groups": 8,
    "diffusion.train.steps": 3,
    "diffusion.train.batch": 4,
    "sample.steps": 2,
    "judge": None,
}
SAMPLING = {entry.command for entry in TASKS.values() if issubclass(entry.task.options, Sampling)}
needs_model = pytest.mark.skipif(
    not (MODEL.is_dir() and SCENES.is_dir()), reason="the shipped models are not in this checkout"
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder as the README's reader has it: images, a recipe and a checkpoint of their own, the model."""
    monkeypatch.chdir(tmp_path)
    shapes.write(tmp_path / "photos", 24, size=64)
    shutil.copy(next((tmp_path / "photos" / "images").iterdir()), tmp_path / "photo.png")
    (tmp_path / "my.yaml").write_text(read_text("tiny-shapes"))
    for file in checkpoint("unconditional vq", tmp_path / "theirs").parent.iterdir():
        shutil.move(file, tmp_path)
    if MODEL.is_dir():
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "emoji").symlink_to(MODEL)
        (tmp_path / "models" / "shapes").symlink_to(SCENES)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


def small(arguments: list[str]) -> list[str]:
    if arguments[0] == "train":
        return arguments + [f"{key}={'null' if value is None else value}" for key, value in SMALL.items()]
    if arguments[0] == "distill":
        return [*arguments, "distill.train.steps=2", "distill.train.batch=4", "distill.train.warmup=0"]
    if arguments[:2] == ["data", "shapes"]:
        return ["40" if before == "--count" else word for before, word in zip(["", *arguments], arguments)]
    if arguments[0] == "evaluate":
        return ["4" if before == "--samples" else word for before, word in zip(["", *arguments], arguments)]
    if arguments[0] == "bench":
        return [*arguments, "--parts", "decode", "--rounds", "1", "--modes", "fp32"]
    return [*arguments, "--steps", "2"] if arguments[0] in SAMPLING else arguments


def here(arguments: list[str]) -> bool:
    """Whether this process runs it: not under torchrun, which `tests/e2e` starts, nor with the shipped model."""
    return "small-128" not in arguments and not {"models/emoji", "models/shapes"} & set(arguments)


def test_the_commands_run_in_order(desk):
    for arguments in filter(here, commands(README)):
        assert run(small(arguments)) == 0, arguments
    assert len(list((desk / "samples").glob("*.png"))) == 16
    assert (desk / "runs" / "shapes" / "model" / "model.yaml").is_file()


@needs_model
def test_the_commands_of_the_shipped_model_run(desk):
    all_asked = [arguments for arguments in commands(README) if not here(arguments) and "small-128" not in arguments]
    asked = [arguments for arguments in all_asked if arguments[0] != "serve"]  # which ends when it is stopped
    assert len(asked) == 13 == len(all_asked) - 1
    for arguments in asked:
        assert run(small(arguments)) == 0, arguments
    assert len(list((desk / "samples").glob("*.png"))) == 4
    assert len(list((desk / "reconstructions").glob("*.png"))) == 1
    assert {asked[-1]: len(list((desk / asked[-1]).glob("*.png"))) for asked in asked[3:] if "." not in asked[-1]} == {
        "costs": 2,  # the plot, light and dark
        "varied": 4,
        "filled": 4,
        "apples": 2,
        "frames": 8,
        "guided": 4,
        "boxes": 8,
        "coloured": 4,
    }


@needs_model
def test_the_python_of_the_shipped_model_runs(desk):
    (code,) = [block for block in blocks(README, "python") if "lt.load" in block]
    names: dict[str, object] = {}
    exec(code, names)
    assert len(list((desk / "samples").glob("*.png"))) == 2
    assert names["x"].shape == names["out"].tensor.shape  # type: ignore[attr-defined]


def test_the_python_that_trains_runs(desk):
    (code,) = [block for block in blocks(README, "python") if "lt.train" in block]
    (desk / "data").mkdir()
    (desk / "photos").rename(desk / "data" / "shapes")
    exec(re.sub(r"overrides=\{.*?\}", f"overrides={SMALL}", code), {})
    assert (desk / "runs" / "a" / "model" / "model.yaml").is_file()
