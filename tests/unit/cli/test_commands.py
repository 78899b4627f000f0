"""If these fail, a command does something else than its line says, or its output cannot be read by a program."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from PIL import Image
from pydantic import Field

from latentry import pipeline
from latentry.cli import run
from latentry.cli.tasks import task_command
from latentry.tasks import TASKS, Entry, Task
from latentry.tasks.generate import Generate
from latentry.tasks.options import OnCommandLine
from latentry.tasks.sampling import Sampling
from latentry.training.loop.loop import Progress


class FakeOutput:
    """Writes one file for each image."""

    def __init__(self, count: int) -> None:
        self.count = count

    def save(self, out: Path) -> list[Path]:
        out.mkdir(parents=True)
        paths = [out / f"{index}.png" for index in range(self.count)]
        for path in paths:
            path.write_bytes(b"image")
        return paths

    def save_sheet(self, out: Path) -> Path:
        out.parent.mkdir(parents=True)
        Image.new("RGB", (8 * self.count, 8)).save(out)
        return out


class FakePipeline:
    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def run(self, task: str, **asked: Any) -> FakeOutput:
        self.task, self.asked = task, asked
        return FakeOutput(asked["n"] if task == "generate" else len(asked["images"]))

    def check_target(self, out: Path, size: Any = None) -> None:
        """Whatever the file is called."""

    def check(self, task: str, **asked: Any) -> None:
        pass

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word == "zebra"]

    def describe(self) -> dict[str, Any]:
        return {"name": "fake", "labels": ["a", "1e-4"]}


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr(pipeline, "load", lambda path, **how: fake.__dict__.update(loaded=(path, how)) or fake)
    return fake


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    asked: dict[str, Any] = {}

    def train(recipe: str, **how: Any) -> SimpleNamespace:
        asked.update(recipe=recipe, **how)
        how["report"]("begun")
        how["progress"](Progress("diffusion", 10, 10, 0.25, 12.0, 0.0))
        return SimpleNamespace(path=how["out"], figures={"psnr": 27.123456, "samples": 500})

    monkeypatch.setattr("latentry.training.run.train", train)
    return asked


def test_train_hands_on_what_was_asked(training, capsys):
    line = "train tiny-shapes a.b=1 --data d --out r c=[2,3] --stage diffusion --plugin own.py"
    assert run(line.split()) == 0
    assert training["recipe"] == "tiny-shapes"
    assert training["overrides"] == ["a.b=1", "c=[2,3]"]
    assert (training["data"], training["out"], training["stage"]) == (Path("d"), Path("r"), "diffusion")
    assert training["dry_run"] is False
    assert training["accept_data_change"] is False
    assert training["plugins"] == (Path("own.py"),)
    out = capsys.readouterr().out
    assert "begun\n" in out
    assert "diffusion  step 10/10  loss 0.25  12 images/s  0s left" in out
    assert "psnr     27.12" in out


def test_train_prints_json_alone_on_stdout(training, capsys):
    assert run(["train", "x", "--data", "d", "--out", "r", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"run": "r", "figures": {"psnr": 27.123456, "samples": 500}}
    assert "begun" in said.err


def test_only_the_first_of_several_processes_prints(training, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert run(["train", "x", "--data", "d", "--out", "r", "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_sample_hands_on_what_was_asked(pipe, tmp_path, capsys):
    line = ["sample", "m", "a red apple", "-n", "3", "--steps", "5", "--solver", "ddpm", "--guidance", "2.5"]
    line += ["--seed", "9", "--size", "96x64", "--label", "food", "--weights", "raw", "--step", "7"]
    line += ["--levels", "uniform", "--device", "cpu", "--tile", "32", "--overlap", "8"]
    assert run([*line, "--out", str(tmp_path / "s"), "--json"]) == 0
    assert pipe.__dict__["loaded"] == (Path("m"), {"weights": "raw", "step": 7, "device": "cpu", "mode": None})
    assert pipe.task == "generate"
    asked = {key: value for key, value in pipe.asked.items() if key != "progress"}
    defaults = Generate().model_dump()
    assert {key: value for key, value in asked.items() if value != defaults[key]} == {
        "text": "a red apple",
        "label": "food",
        "n": 3,
        "steps": 5,
        "solver": "ddpm",
        "levels": "uniform",
        "guidance": 2.5,
        "seed": 9,
        "size": (96, 64),
        "tile": 32,
        "overlap": 8,
    }
    told = json.loads(capsys.readouterr().out)
    assert len(told["images"]) == 3
    assert all(Path(path).is_file() for path in told["images"])


def test_sample_leaves_the_model_its_defaults(pipe, tmp_path):
    assert run(["sample", "m", "--out", str(tmp_path / "s")]) == 0
    assert pipe.asked["n"] == 16
    assert pipe.__dict__["loaded"][1]["device"] == "auto"
    assert [pipe.asked[key] for key in ("text", "label", "steps", "solver", "guidance", "size")] == [None] * 6


def test_words_that_the_model_does_not_know_are_named(pipe, tmp_path, capsys):
    assert run(["sample", "m", "a red zebra", "--out", str(tmp_path / "a")]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "text: the model does not know zebra; it used the rest"
    assert run(["sample", "m", "a red apple", "--out", str(tmp_path / "b")]) == 0
    assert "does not know" not in capsys.readouterr().err


def test_several_images_into_one_file_are_a_sheet(pipe, tmp_path):
    assert run(["sample", "m", "-n", "4", "--out", str(tmp_path / "new" / "sheet.png")]) == 0
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.size == (32, 8)


def test_a_task_of_the_table_is_a_command(pipe, tmp_path, monkeypatch, capsys):
    """Its class alone says what the command takes: words, numbers with bounds, files, and what stays Python's."""

    class Toy(Sampling):
        strength: float = Field(0.5, ge=0, le=1, description="How far.")
        picture: Annotated[Path, OnCommandLine(positional=True)] = Field(description="The picture.")
        fast: bool = Field(False, description="Sooner.")
        inner: Annotated[int, OnCommandLine(hidden=True)] = Field(3, description="Not here.")

    monkeypatch.setitem(TASKS, "toy", Entry("play", "Play.", Task(Toy, lambda options, model: pytest.fail("drawn"))))

    def go(line: str) -> None:
        task_command("toy")(args=line.split(), prog_name="play", standalone_mode=False)

    out = tmp_path / "s"
    monkeypatch.setattr(pipe, "run", lambda task, **asked: pipe.__dict__.update(asked=asked) or FakeOutput(2))
    go(f"m p.png red -n 2 --strength 0.25 --fast --out {out} --json")
    asked = {key: value for key, value in pipe.asked.items() if value is not None}
    assert asked == {"picture": Path("p.png"), "text": "red", "n": 2, "strength": 0.25, "fast": True, "seed": 0}
    assert json.loads(capsys.readouterr().out)["seed"] == 0
    go("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "How far." in shown
    assert "Not here." not in shown
    assert shown.index("The picture.") < shown.index("What the images should show")
    for wrong, part in (
        (f"m p.png --strength 2 --out {out}", "less than or equal to 1"),
        (f"m --out {out}", "picture"),
    ):
        with pytest.raises(Exception, match=part):
            go(wrong)


def test_reconstruct_and_inspect(pipe, tmp_path, capsys, monkeypatch):
    assert run(["reconstruct", "m", "a.png", "--out", str(tmp_path / "r"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a.png": [str(tmp_path / "r" / "0.png")]}
    monkeypatch.setattr("latentry.pipeline.inspecting.inspect_path", lambda path, config: pipe.describe())
    assert run(["inspect", "m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "fake"
    assert run(["inspect", "m"]) == 0
    assert "name: fake" in capsys.readouterr().out


def test_recipes_are_listed_shown_and_described(capsys):
    assert run(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert listed.index("tiny-shapes") < listed.index("The zoo") < listed.index("ldm-4-celebahq")
    assert run(["recipes", "list", "--json"]) == 0
    assert "tiny-shapes" in json.loads(capsys.readouterr().out)
    assert run(["recipes", "show", "tiny-shapes"]) == 0
    assert "name: tiny-shapes" in capsys.readouterr().out
    assert run(["recipes", "show", "ldm-4-ffhq"]) == 0
    assert "extends: ldm-4-celebahq" in capsys.readouterr().out
    assert run(["recipes", "show", "ldm-4-ffhq", "--whole"]) == 0
    assert "channels: 224" in capsys.readouterr().out
    assert run(["recipes", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"data", "autoencoder", "diffusion", "sample"} <= schema["properties"].keys()


def test_shapes_are_written_and_checked(tmp_path, capsys):
    folder = tmp_path / "shapes"
    assert run(["data", "shapes", "--out", str(folder), "--count", "6", "--size", "32x48"]) == 0
    capsys.readouterr()
    assert run(["data", "check", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["images"], told["sizes"]) == (True, 6, {"32x48": 6})
    first = next(folder.glob("images/*.png"))
    first.write_bytes(first.read_bytes()[:200])
    assert run(["data", "check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert f"bad: images/{first.name}: " in out
    assert out.splitlines()[-1].startswith("1 bad files")
