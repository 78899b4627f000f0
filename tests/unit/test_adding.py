"""The recipes of docs/architecture.md ("How to add"), followed with toys through what users use.

If one fails, adding a solver, a conditioner, a task or a metric takes more than its file and its line of the table. The
stage is in tests/unit/training/test_third_stage.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

import latentry as lt
from latentry.cli import run as command
from latentry.cli.tasks import Commands, list_tasks
from latentry.conditioning import CONDITIONERS, BuildContext, Cond, Conditioner, ConditionerKind
from latentry.data.sample import Sample
from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers import SOLVERS, solver_kind
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.metrics import METRICS, Metric
from latentry.models.model import Model
from latentry.tasks import TASKS, Entry, Request, Task
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images, write_metadata
from tests.unit.pipeline.small_pipelines import pipeline

CAPTIONS = ["a", "a red", "a red circle", "a red circle on white"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_images(tmp_path_factory.mktemp("adding") / "data", noise(4, (16, 16, 3)))
    write_metadata(folder, [{"text": caption} for caption in CAPTIONS])
    return folder


class LeapOptions(KindOptions):
    kind: Literal["toy"] = "toy"
    share: float = 1.0


@torch.no_grad()
def leap(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, share: float) -> Iterator[Step]:
    """All the way to the first x0, or a share of it."""
    x0 = denoise(x, levels[0])
    yield Step(0, levels[-1], share * x0, x0)


def test_a_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS, "toy", solver_kind(LeapOptions, leap, order=1))
    pipe = pipeline()
    first = next(pipe.steps("a red circle", solver="ddim", seed=3))
    image = pipe.sample("a red circle", solver="toy", seed=3)
    assert torch.allclose(image.tensor, ((pipe.decode(first.x0) + 1) / 2).clamp(0, 1), atol=1e-5)
    assert image.facts[0]["solver"] == "toy"
    (half,) = pipe.steps("a red circle", solver={"kind": "toy", "share": 0.5}, seed=3)
    assert torch.allclose(half.x, first.x0 / 2, atol=1e-5)
    with pytest.raises(UsageError, match="shar: unknown key"):
        pipe.sample(solver={"kind": "toy", "shar": 0.5})


class LengthOptions(KindOptions):
    kind: Literal["toy"] = "toy"
    width: int = 8


class Length(Conditioner):
    """How many words the caption has, along a learnt direction."""

    reads = frozenset({"caption"})

    def __init__(self, options: LengthOptions) -> None:
        super().__init__()
        self.options, self.vector_width = options, options.width
        self.direction = nn.Parameter(torch.ones(options.width))

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> int:
        return len(sample.caption.split())

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        lengths = torch.tensor([float(value or 0) for value in values], device=self.device)
        return Cond(vector=lengths[:, None] * self.direction)


def build_length(options: LengthOptions, context: BuildContext) -> Length:
    return Length(options)


def test_a_conditioner(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(CONDITIONERS, "toy", ConditionerKind(LengthOptions, build_length, Length))
    seen = set[int]()
    encode = Length.encode

    def watched(self: Length, values: Sequence[Any] | Tensor) -> Cond:
        seen.update(int(value or 0) for value in values)
        return encode(self, values)

    monkeypatch.setattr(Length, "encode", watched)
    changes: dict[str, Any] = {"data.text": "text", "data.held_out": 0}
    changes |= {"diffusion.conditioning": {"length": "toy"}, "diffusion.train.lr": 0.02}
    changes |= {"diffusion.train.steps": 8, "diffusion.train.drop_condition": 0.2}
    run = run_tiny(tmp_path, data, changes).path
    assert seen == {0, 1, 2, 3, 5}, "training fed it something else than the captions' lengths and the null"
    pipe = lt.load(run)
    assert pipe.denoiser is not None
    (own,) = pipe.denoiser.named_conditioners().values()
    assert isinstance(own, Length)
    assert not torch.equal(own.direction, torch.ones(8)), "it was not trained, or not kept in the model"
    short, long = (pipe.sample(length=length, seed=1).tensor for length in (1, 5))
    assert not torch.equal(short, long)
    assert "| conditions | length (toy) |" in (run / "model" / "README.md").read_text()


class MirrorOptions(Sampling):
    """As `generate`, mirrored."""

    upright: bool = Field(False, description="Leave them as they are.")


def mirror_request(options: MirrorOptions, model: Model) -> Request:
    values, seeds = values_and_seeds(options, model)
    way = "upright" if options.upright else "mirrored"
    return Request(values, seeds, (16, 16), facts=[{"way": way}] * len(seeds))


def mirrored(images: Tensor, request: Request) -> Tensor:
    return images if request.facts[0]["way"] == "upright" else images.flip(-1)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(MirrorOptions, mirror_request, no_denoiser, mirrored)
    monkeypatch.setitem(TASKS, "toy", Entry("toy", "Sample mirror images.", task))


def test_a_task_in_python(mirror: None) -> None:
    pipe = pipeline()
    plain = pipe.sample("a red circle", n=2, seed=4)
    assert torch.equal(pipe.run("toy", text="a red circle", n=2, seed=4).tensor, plain.tensor.flip(-1))
    assert torch.equal(pipe.run("toy", text="a red circle", n=2, seed=4, upright=True).tensor, plain.tensor)


def test_a_task_as_a_command(
    mirror: None, monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_tiny(tmp_path, data, {"diffusion.conditioning": {}}).path
    app = typer.Typer(cls=Commands)  # the commands are listed when latentry.cli is imported
    list_tasks(app)
    monkeypatch.setattr("latentry.cli.commands", lambda: app)
    assert command(["--help"]) == 0
    assert "Sample mirror images." in capsys.readouterr().out
    assert command(["toy", str(run), "-n", "2", "--seed", "4", "--out", str(tmp_path / "drawn")]) == 0
    drawn = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "drawn").iterdir())]
    plain = [np.asarray(image) for image in lt.load(run).sample(n=2, seed=4).images]
    assert all(np.array_equal(a, b[:, ::-1]) for a, b in zip(drawn, plain, strict=True))
    assert command(["toy", str(run), "--uprigth", "--out", str(tmp_path / "none")]) == 2
    assert "--upright" in capsys.readouterr().err


def mean_error(real: Tensor, again: Tensor) -> Tensor:
    return (real - again).abs().mean()


def test_a_metric(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METRICS, "toy", Metric("Mean error", mean_error, digits=3))
    chosen, run = recipe(tmp_path, {"diffusion.conditioning": {}, "data.held_out": 0}), tmp_path / "run"
    assert command(["train", chosen, "--data", str(data), "--out", str(run)]) == 0
    figures = json.loads((run / "figures.json").read_text())
    assert list(figures) == ["PSNR of training reconstructions (dB)", "Mean error of training reconstructions"]
    value = figures["Mean error of training reconstructions"]
    images = np.stack([np.asarray(Image.open(file)) for file in sorted(data.glob("*.png"))])
    real, pipe = torch.tensor(images).movedim(-1, 1) / 255, lt.load(run)
    again = ((pipe.decode(pipe.encode(real * 2 - 1)) + 1) / 2).clamp(0, 1)
    assert value == pytest.approx(float((real - again).abs().mean()), abs=6e-4)
    assert f"| Mean error of training reconstructions | {value} |" in (run / "model" / "README.md").read_text()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Mean error" in line]
    assert line.split()[-1] == f"{value:g}"
