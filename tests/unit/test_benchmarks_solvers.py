"""If these fail, the plot that says which solver to take in how many evaluations is wrong, or cannot be had at all."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.distances.kernel import mmd2
from tests.unit.pipeline.small_pipelines import pipeline


@pytest.fixture
def solvers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    module = importlib.import_module("solvers")

    def vectors(images: Tensor) -> Tensor:
        """In place of features: the mean colour."""
        return images.mean((2, 3))

    monkeypatch.setattr(module, "SqueezeNetFeatures", lambda: SimpleNamespace(to=lambda device: vectors))
    monkeypatch.setattr(module, "load", lambda *_, **__: pipeline(conditions="vector"))
    return module


def test_a_row_for_each_solver_and_what_is_known_is_not_measured_again(
    solvers: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["solvers.py", "small", "--count", "6", "--steps", "30", "--batch", "4", "--out", str(tmp_path)]
    asked = ["--solvers", "ddim", "heun", "--evaluations", "4", "30", "--levels", "trailing"]
    monkeypatch.setattr(sys, "argv", [*words, *asked])
    assert solvers.main() == 0
    found = json.loads((tmp_path / "solvers-small.json").read_text())["rows"]
    reference, *rows = found
    assert reference["interval"][0] <= reference["kid"] <= reference["interval"][1]
    assert [(row["solver"], row["evaluations"]) for row in rows] == [
        ("ddim", 4),
        ("ddim", 30),
        ("heun", 3),
        ("heun", 29),
    ]
    assert rows[1]["error"] == 0, "it is the very walk that all are compared with"
    assert rows[1]["kid"] == reference["kid"]
    assert rows[0]["error"] > rows[3]["error"] > 0
    assert (tmp_path / "solvers-small.svg").read_text().count("<svg") == 1
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [*words, *asked[:3], "unipc", *asked[3:5], *asked[6:]])
    assert solvers.main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["unipc"]
    assert json.loads((tmp_path / "solvers-small.json").read_text())["rows"][:5] == found


def test_the_kernel_distance_of_two_apart_is_not_that_of_one(solvers: ModuleType) -> None:
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 200, 4, generator=draw)
    low, high = solvers.kid(one, other)["interval"]
    assert low < 0 < high
    assert solvers.kid(one, other + 1)["interval"][0] > high


def test_two_sets_of_the_same_prompts_are_no_nearer_than_nothing(solvers: ModuleType) -> None:
    """Far prompts, in turn: the estimate of equation 3 would be far below 0 (`mmd2`)."""
    draw = torch.Generator().manual_seed(0)
    prompts = 3 * torch.randn(8, 16, generator=draw).repeat(12, 1)
    one, other = prompts + torch.randn(2, 96, 16, generator=draw)
    found = solvers.kid(one, other)
    assert found["interval"][0] < 0 < found["interval"][1]
    assert mmd2(one, other) < found["interval"][0]
    assert solvers.kid(one, other + 1)["interval"][0] > found["interval"][1]


def test_a_model_with_words_of_its_own_needs_prompts(solvers: ModuleType, tmp_path: Path) -> None:
    pipe = pipeline()
    with pytest.raises(UsageError, match="--prompts"):
        solvers.prompts_of(SimpleNamespace(prompts=None, count=3), pipe)
    (tmp_path / "words.txt").write_text("a red circle\na star\n")
    given = SimpleNamespace(prompts=tmp_path / "words.txt", count=3)
    assert solvers.prompts_of(given, pipe) == ["a red circle", "a star", "a red circle"]


def test_of_solvers_that_add_noise_no_error_is_drawn(solvers: ModuleType) -> None:
    assert not any(map(solvers.adds_noise, ["ddim", "heun", "ddim:eta=0", "{kind: dpmpp_2m, eta: 0}"]))
    assert all(map(solvers.adds_noise, ["ddpm", "ddim:eta=0.5", "{kind: heun, churn: 4}"]))
