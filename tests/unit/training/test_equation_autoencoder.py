"""The first stage computes the published losses and gradients of both players; else latents and images get worse.

Every number comes from `scripts/freeze_equation.py`, which shares no code with the stage.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training.equation_parts import (
    ORACLE,
    assert_all_near,
    assert_averages,
    autoencoder,
    small_networks,
    weights_in_use,
    write_images,
)
from tests.unit.training.small_stages import gradients, train

__all__ = ["small_networks"]
pytestmark = pytest.mark.usefixtures("small_networks")
cases = pytest.mark.parametrize("name", ORACLE["autoencoder_cases"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@cases
def test_gradients_of_both_players(root: Path, name: str) -> None:
    """Reconstruction, regulariser, and the adversarial term at its adaptive weight."""
    stage, _, case = autoencoder(root, name)
    expected = case["expected"]["gradients"]
    train(stage, expected["step"])
    handed = gradients(stage, expected["step"])
    for player in ("updater", "critic"):
        assert handed[player].keys() == expected[player].keys()
        assert_all_near(handed[player], expected[player])


@cases
def test_two_steps(root: Path, name: str) -> None:
    """The figures of the log, both players' updates and the average of the autoencoder."""
    stage, _, case = autoencoder(root, name)
    rows = train(stage, 2)
    for row, expected in zip(rows, case["expected"]["steps"], strict=True):
        regulariser = "codebook_loss" if name == "vq" else "kl"
        assert_all_near({**row, "regulariser": row[regulariser]}, expected)
        assert ("discriminator_loss" in row) == ("discriminator_loss" in expected)
    named = {**dict(stage.model.named_parameters()), "log_variance": stage.objective.log_variance}
    assert_all_near({n: w.detach() for n, w in named.items()}, case["expected"]["weights"])
    theirs = dict(stage.objective.discriminator.named_parameters())
    assert_all_near({n: w.detach() for n, w in theirs.items()}, case["expected"]["discriminator"])
    assert_all_near(stage.ema.shadow, case["expected"]["averages"])


@cases
def test_validation_is_of_the_averaged_weights(root: Path, name: str) -> None:
    stage, _, case = autoencoder(root, name)
    metrics: dict[str, float] = {}
    seen = weights_in_use(stage.model.encoder, stage.model, lambda: metrics.update(stage.validate(0)))
    assert_all_near(metrics, case["expected"]["validation"])
    assert_averages(seen, stage, case)


def test_preview_is_of_the_averaged_weights(root: Path, tmp_path: Path) -> None:
    stage, _, case = autoencoder(root, "kl, sum")
    seen = weights_in_use(stage.model.encoder, stage.model, lambda: stage.preview(tmp_path / "preview.png"))
    assert (tmp_path / "preview.png").is_file()
    assert_averages(seen, stage, case)
