"""Warnings come where something is wrong, and only there; else nobody would heed them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.training.stages.autoencoder.health import Health
from tests.unit.training.small_stages import first_stage, images, second_stage, train

CODES = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def kl_moments(deviations: list[float], log_variance: float = -6.0) -> Tensor:
    """Posteriors whose means have the given deviation in each channel."""
    means = torch.randn(64, len(deviations), 8, 8, generator=torch.Generator().manual_seed(0))
    means *= torch.tensor(deviations)[:, None, None]
    return torch.cat([means, torch.full_like(means, log_variance)], dim=1)


def warned(kind: str, moments: Tensor, indices: Tensor | None = None) -> list[str]:
    health = Health(kind, CODES)
    if indices is not None:
        health.count(indices)
    return health.warnings(health.latents(moments), 0)


def test_healthy_latents() -> None:
    assert not warned("kl", kl_moments([1.0, 0.3, 2.0]))
    assert not warned("vq", kl_moments([1.0, 0.3])[:, :2], torch.arange(16).repeat(40))


def test_a_channel_without_signal() -> None:
    (text,) = warned("kl", kl_moments([1.0, 0.001, 2.0]))
    assert "latent channel 1 carries nothing" in text


def test_all_channels_drowned_in_noise() -> None:
    """A heavy KL term: every posterior is the prior."""
    (text,) = warned("kl", kl_moments([0.02, 0.03], log_variance=0.0))
    assert "latent channel 0, 1 carries nothing" in text
    assert "kl_weight" in text


def test_statistics_are_those_of_the_latents() -> None:
    moments = kl_moments([2.0, 0.5], log_variance=-2.0)
    moments[:, 1] += 3.0
    found = Health("kl", 0).latents(moments)
    assert found["latent_0_deviation"] == pytest.approx(2.0, rel=0.05)
    assert found["latent_1_mean"] == pytest.approx(3.0, rel=0.05)
    assert found["latent_0_noise"] == pytest.approx(0.3679, rel=1e-3)


def test_dead_codes() -> None:
    health = Health("vq", CODES)
    health.count(torch.arange(4).repeat(100).view(4, 10, 10))
    found = health.latents(torch.randn(2, 2, 4, 4))
    assert found["codes_used"] == 0.25
    assert found["perplexity"] == pytest.approx(4.0)
    (text,) = health.warnings(found, 0)
    assert text.startswith("dead codes: only 25% of the 16")


def test_unused_codes_are_not_dead_before_enough_were_drawn() -> None:
    health = Health("vq", CODES)
    health.count(torch.arange(4))
    assert "codes_used" not in health.latents(torch.randn(2, 2, 4, 4))
    health.count(torch.arange(16).repeat(20))  # what was counted before is not lost
    assert health.latents(torch.randn(2, 2, 4, 4))["codes_used"] == 1.0


def test_counts_survive_a_resume() -> None:
    first, second = Health("vq", CODES), Health("vq", CODES)
    first.count(torch.tensor([1, 1, 5]))
    second.count(torch.tensor([9]))
    second.load(first.state())
    assert torch.equal(first.counts, second.counts)


def test_heavy_kl_is_seen_in_training(root: Path) -> None:
    stage = first_stage(root, objective__kl_weight=1e3, objective__reduction="mean", train__lr=1e-2, train__batch=4)
    train(stage, 50)
    assert any("collapsed channels" in text for text in stage.warnings(stage.validate(50), 50))


def test_an_ordinary_training_has_no_warnings(root: Path) -> None:
    for kind in ("kl", "vq"):
        stage = first_stage(root, kind=kind, objective__discriminator={"channels": 4, "layers": 1})
        rows = train(stage, 15)
        texts = [text for row in [*rows, stage.validate(15)] for text in stage.warnings(row, 15)]
        assert [text for text in texts if "dead codes" not in text] == []


def test_discriminator_that_wins(root: Path) -> None:
    """Against an autoencoder that draws grey and hardly learns, a quick discriminator soon tells every image."""
    strong = {"channels": 8, "layers": 1, "start": 0, "weight": 0.0}
    rates: dict[str, Any] = {"train__lr": 1e-8, "train__discriminator_lr": 2e-2}
    stage = first_stage(root, objective__discriminator=strong, train__batch=4, **rates)
    stage.model.decoder.conv_out.weight.data.zero_()
    assert not stage.warnings(mean(train(stage, 5)), 5)
    train(stage, 25, start=5)
    (text,) = stage.warnings(mean(train(stage, 20, start=30)), 50)
    assert "discriminator has won" in text


def test_discriminator_that_loses(root: Path) -> None:
    weak = {"channels": 8, "layers": 1, "start": 0, "ramp": 0, "weight": 100.0, "adaptive": False}
    rates: dict[str, Any] = {"train__lr": 1e-2, "train__discriminator_lr": 1e-10}
    stage = first_stage(root, objective__discriminator=weak, objective__reduction="mean", train__batch=4, **rates)
    assert stage.objective.discriminator is not None
    *_, last, _ = stage.objective.discriminator.parameters()  # the last weight, before its bias
    last.data *= 30.0  # sure of itself, and never taught better
    (text,) = stage.warnings(mean(train(stage, 5)), 5)
    assert "discriminator has lost" in text


def test_discriminator_that_tells_nothing() -> None:
    """Logits alike from its first step, and a term that weaves a grid into every picture: 250 steps without a word."""
    health = Health("kl", 0)
    row = {"adaptive_weight": 9.0, "logits_real": 0.010, "logits_fake": 0.012, "discriminator_loss": 1.0}
    assert not any(health.warnings(row, step) for step in range(50, 250, 50))
    (text,) = health.warnings(row, 250)
    assert "tells nothing" in text
    resumed = Health("kl", 0)
    resumed.load(health.state())
    assert resumed.warnings(row, 300) == [text]
    assert not health.warnings(row | {"logits_real": 0.9, "logits_fake": -0.6, "discriminator_loss": 0.4}, 350)
    assert not health.warnings(row, 400)  # it has told something, and is silent for a short time


def test_reconstructions_worse_since_the_discriminators_start() -> None:
    """From its first step PSNR fell from 30.3 to 27.4, and nobody was told."""
    health = Health("kl", 0)
    assert health.reconstructed(30.3, before=True) == {}
    assert not health.warnings(health.reconstructed(29.8, before=False), 400)
    row = health.reconstructed(27.4, before=False)
    assert row == {"psnr_before_discriminator": 30.3, "psnr_with_discriminator": 27.4}
    (text,) = health.warnings(row, 500)
    assert "27.4 dB since the discriminator's start, and had 30.3 before" in text


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """As the log has them."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def rows_of(held_out: list[float], train_error: list[float]) -> list[dict[str, Any]]:
    return [{"held_out_error": h, "train_error": t} for h, t in zip(held_out, train_error, strict=True)]


def test_overfitting(root: Path) -> None:
    stage = second_stage(root)
    healthy = rows_of([1.0, 0.8, 0.7, 0.72, 0.69], [1.0, 0.8, 0.7, 0.69, 0.68])
    assert not any(stage.warnings(row, 0) for row in healthy)
    stage = second_stage(root)
    spoilt = rows_of([1.0, 0.7, 0.75, 0.8], [1.0, 0.7, 0.5, 0.3])
    assert [bool(stage.warnings(row, 0)) for row in spoilt] == [False, False, False, True]
    stage = second_stage(root)
    diverging = rows_of([1.0, 0.7, 0.9], [1.0, 0.7, 0.9])  # bad, but no overfitting
    assert not any(stage.warnings(row, 0) for row in diverging)


def test_validation_is_the_same_each_time(root: Path) -> None:
    """The same images, times and noise, so that its curve shows the model and not the draw."""
    stage = second_stage(root)
    train(stage, 1)
    first, second = stage.validate(1), stage.validate(500)
    assert first == second
    assert first.keys() == {"held_out_error", "train_error"}
    train(stage, 5, start=1)
    assert stage.validate(6) != first
