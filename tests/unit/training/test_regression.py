"""The regression baseline: x0 from the conditions alone, in one step. If these fail, it is another model than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline import Pipeline
from latentry.training.stages.diffusion.stage import DiffusionStage
from tests.unit.pipeline.small_pipelines import pipeline
from tests.unit.training.small_stages import images, planned, second_stage, train

IMAGE = {"low": {"kind": "image", "factor": 2}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> DiffusionStage:
    root = images(tmp_path_factory.mktemp("images"), 12)
    return second_stage(root, prediction="regression", conditioning=IMAGE, objective__weighting="min_snr")


def calls(model: LatentDiffusion) -> tuple[list[tuple[Tensor, Tensor]], Any]:
    """What the network is called with, as a list that fills; and the handle that ends it."""
    seen: list[tuple[Tensor, Tensor]] = []

    def note(_: Any, words: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append((words[0].detach().clone(), words[1].clone()))

    return seen, model.unet.register_forward_pre_hook(note, with_kwargs=True)


def test_it_is_trained_on_zeros_at_the_last_time_towards_the_latent(stage: DiffusionStage) -> None:
    """The mean squared error of the network's output and the latent; no noise, no other time."""
    (example,) = next(stage.batches(0))
    seen, handle = calls(stage.model)
    loss, errors, t = stage.losses(example, 0)
    handle.remove()
    ((x, times),) = seen
    assert not x.any()
    assert times.tolist() == t.tolist() == [999] * 8
    draws = stage.draw("train", range(8), 0, x.shape[1:])
    z = stage.autoencoder.latent(example.moments, draws.posterior)  # type: ignore[arg-type]
    out = stage.model(torch.zeros_like(z), torch.full((8,), 999), stage.model.condition(example.values, 8))
    torch.testing.assert_close(errors, (out - z).square().flatten(1).mean(1))
    torch.testing.assert_close(loss, errors.mean())


def test_it_trains(stage: DiffusionStage) -> None:
    rows = train(stage, 3)
    assert all(row["error"] == row["error_quarter_4"] for row in rows)


def regression() -> Pipeline:
    return pipeline(conditions="vector", prediction="regression")


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_is_sampled_in_one_step_whatever_the_seed(solver: str) -> None:
    """The result is the network's output itself: no noise is left in it, and more steps would be the same."""
    pipe = regression()
    assert pipe.denoiser is not None
    seen, handle = calls(pipe.denoiser)
    ends = [
        [*pipe.steps(label="star", seed=seed, steps=steps, solver=solver, guidance=1.0)]
        for seed, steps in ((0, 4), (7, 50))
    ]
    handle.remove()
    assert [len(steps) for steps in ends] == [1, 1]
    assert torch.equal(ends[0][0].x, ends[1][0].x)
    assert [(float(x.abs().sum()), times.tolist()) for x, times in seen] == [(0, [999])] * 2
    with torch.no_grad():
        cond = pipe.denoiser.condition({"label": ["star"]}, 1)
        out = pipe.denoiser(torch.zeros(1, 4, 8, 8), torch.tensor([999]), cond)
    torch.testing.assert_close(ends[0][0].x, out, rtol=1e-4, atol=1e-4)


def test_its_pictures_say_that_it_was_one_step() -> None:
    assert regression().sample(label="star", steps=20).facts[0]["steps"] == "1"


def test_without_a_condition_it_is_refused_before_training(tmp_path: Path) -> None:
    root = images(tmp_path / "images", 4)
    with pytest.raises(
        UsageError, match=r"diffusion\.prediction: regression without a condition would predict the mean"
    ):
        planned(root, {"diffusion.prediction": "regression", "diffusion.conditioning": {}})
