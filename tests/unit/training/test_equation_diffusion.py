"""The second stage computes the published equation; else it trains, with a falling loss, another model.

Every number comes from `scripts/freeze_equation.py`, which shares no code with the stage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.training.equation_parts import (
    ORACLE,
    assert_all_near,
    assert_averages,
    assert_near,
    diffusion,
    small_networks,
    weights_in_use,
    write_images,
)
from tests.unit.training.small_stages import gradients, train

__all__ = ["small_networks"]
pytestmark = pytest.mark.usefixtures("small_networks")
cases = pytest.mark.parametrize("name", ORACLE["diffusion_cases"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def seen_by_network(stage: Any, parts: list[Any], step: int, drop: bool) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, t and vector that the network is called with, over all parts of a batch."""
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def note(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        calls.append((arguments[0], arguments[1], keywords["vector"]))

    handle = stage.model.unet.register_forward_pre_hook(note, with_kwargs=True)
    for part in parts:
        stage.losses(part, step, drop=drop)
    handle.remove()
    x, t, vector = (torch.cat(values).detach() for values in zip(*calls, strict=True))
    return x, t, vector


def vectors(case: dict[str, Any], rows: dict[str, list[int]]) -> list[Any]:
    """The sum of both conditions' rows, for each image."""
    tables = {name: torch.tensor(case["weights"][f"conditioners.{name}.embedding.weight"]) for name in rows}
    return torch.stack([tables[name][row] for name, row in rows.items()]).sum(0).tolist()


@cases
def test_noised_latents_and_times(root: Path, name: str) -> None:
    """Latents drawn from the posterior, shifted and scaled, then noised: sqrt(abar) z + sqrt(1 - abar) eps."""
    stage, parts, case = diffusion(root, name)
    x, t, _ = seen_by_network(stage, parts, 0, drop=True)
    assert t.tolist() == case["expected"]["t"]
    assert_near("x_t", x, case["expected"]["x_t"])


@cases
def test_conditions_are_dropped_where_they_should_be(root: Path, name: str) -> None:
    """Never dropped, guidance has nothing to guide from; always dropped, a model does not know its conditions."""
    stage, parts, case = diffusion(root, name)
    pairs = [(one == 3, two == 3) for rows in case["expected"]["rows"] for one, two in zip(*rows.values(), strict=True)]
    assert set(pairs) == {(False, False), (False, True), (True, False), (True, True)}  # row 3 is that of no class
    for step, rows in enumerate(case["expected"]["rows"]):
        assert_near("vector", seen_by_network(stage, parts, step, drop=True)[2], vectors(case, rows))
    assert_near("vector", seen_by_network(stage, parts, 0, drop=False)[2], vectors(case, case["labels"]))


@cases
def test_loss_and_error_of_each_sample(root: Path, name: str) -> None:
    """Target, kind of error, weights of times and bound, and log-variance."""
    stage, parts, case = diffusion(root, name)
    results = [stage.losses(part, 0, drop=True) for part in parts]
    assert_near("loss", sum(result[0] for result in results) / len(parts), case["expected"]["loss"])
    assert_near("error", torch.cat([result[1] for result in results]), case["expected"]["error"])


@cases
def test_gradients(root: Path, name: str) -> None:
    """What the optimiser is handed: the mean over the batch, whatever parts it is worked through in."""
    stage, _, case = diffusion(root, name)
    handed = gradients(stage)["updater"]
    assert handed.keys() == case["expected"]["gradients"].keys()
    assert_all_near(handed, case["expected"]["gradients"])


@cases
def test_three_steps(root: Path, name: str) -> None:
    """Rates of warm-up and decay, clipping, update, and the average that follows it."""
    stage, _, case = diffusion(root, name)
    for row, expected in zip(train(stage, 3), case["expected"]["steps"], strict=True):
        assert_all_near(row, expected)
    named = {**dict(stage.model.named_parameters()), "log_variance": stage.log_variance}
    assert_all_near({n: w.detach() for n, w in named.items()}, case["expected"]["weights"])
    assert_all_near(stage.ema.shadow, case["expected"]["averages"])


@pytest.mark.parametrize("name", [name for name, case in ORACLE["diffusion_cases"].items() if case["kind"] == "kl"])
def test_validation_is_of_the_averaged_weights(root: Path, name: str) -> None:
    """From files to the number in the log. Of the raw weights it would be of another model than the one sampled."""
    stage, _, case = diffusion(root, name)
    assert len(stage.held_out) == 2
    metrics: dict[str, float] = {}
    seen = weights_in_use(stage.model.unet, stage.model, lambda: metrics.update(stage.validate(0)))
    assert_all_near(metrics, case["expected"]["validation"])
    assert_averages(seen, stage, case)


def test_preview_is_of_the_averaged_weights(root: Path, tmp_path: Path) -> None:
    """A picture of the raw weights would show another model than the one that is kept."""
    stage, _, case = diffusion(root, "velocity")
    seen = weights_in_use(stage.model.unet, stage.model, lambda: stage.preview(tmp_path / "preview.png"))
    assert (tmp_path / "preview.png").is_file()
    assert_averages(seen, stage, case)
