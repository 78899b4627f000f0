"""Each loss term reaches what it should train and nothing else; parts of a batch add up to the batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry import rng
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from tests.unit.training.small_stages import (
    DISCRIMINATOR,
    Distance,
    assert_close,
    first_stage,
    gradients,
    images,
    second_stage,
    train,
    weights,
)

ADVERSARIAL = {**DISCRIMINATOR, "adaptive": False, "weight": 0.5}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def part(root: Path, with_term: dict[str, Any], without: dict[str, Any]) -> dict[str, Tensor]:
    """What one term adds to the autoencoder's first gradients."""
    more, less = (gradients(first_stage(root, **changes))["updater"] for changes in (with_term, without))
    return {name: more[name] - less[name] for name in less}


def by_hand(stage: AutoencoderStage, term: str) -> dict[str, Tensor]:
    """A term's gradients of the first batch by plain backpropagation through every network."""
    (batch,) = next(stage.batches(0))
    assert batch.image is not None
    model = stage.model.train()
    posterior = model.posterior(model.moments(batch.image))
    noise = rng.normal(stage.seed, "posterior", range(8), 0, posterior.mean.shape[1:])
    reconstruction = model.decoder(model.post_quant_conv(posterior.sample(noise)))
    if term == "perceptual":
        Distance()(batch.image, reconstruction).mean().backward()
    else:
        assert stage.objective.discriminator is not None
        (-stage.objective.discriminator.train()(reconstruction).mean()).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_perceptual_term_reaches_encoder_and_decoder(root: Path) -> None:
    values = 3 * 16 * 16  # a KL objective is summed over an image's values
    shared: dict[str, Any] = {"objective__kl_weight": 0.0}
    with_term = shared | {"objective__perceptual": {"net": "none", "weight": 0.5}}
    found = part(root, with_term, shared)
    expected = {n: 0.5 * values * g for n, g in by_hand(first_stage(root, **shared), "perceptual").items()}
    assert expected["encoder.conv_in.weight"].abs().max() > 0
    assert_close(found, expected, 1e-3)


def test_adversarial_term_reaches_encoder_and_decoder(root: Path) -> None:
    shared: dict[str, Any] = {"objective__kl_weight": 0.0, "objective__pixel": "l2"}
    weighty = {**ADVERSARIAL, "weight": 1e4}  # else it drowns in the rounding of the pixel term
    found = part(root, shared | {"objective__discriminator": weighty}, shared)
    stage = first_stage(root, objective__discriminator=weighty, **shared)
    expected = {n: 1e4 * g for n, g in by_hand(stage, "adversarial").items()}
    assert expected["encoder.conv_in.weight"].abs().max() > 0
    assert_close(found, expected, 1e-3)


def test_pixel_term_reaches_encoder_and_decoder(root: Path) -> None:
    found = gradients(first_stage(root, objective__kl_weight=0.0))["updater"]
    assert all(g.abs().max() > 0 for name, g in found.items() if not name.endswith("key.bias"))


def test_kl_term_trains_the_encoder_alone(root: Path) -> None:
    found = part(root, {"objective__kl_weight": 10.0}, {"objective__kl_weight": 0.0})
    decoder = [g.abs().max() for name, g in found.items() if name.startswith(("decoder.", "post_quant_conv."))]
    assert max(decoder) == 0
    assert found["encoder.conv_in.weight"].abs().max() > 0
    assert found["quant_conv.bias"].abs().max() > 0


def test_codebook_term_trains_encoder_and_codes(root: Path) -> None:
    found = part(
        root, {"kind": "vq", "objective__codebook_weight": 1.0}, {"kind": "vq", "objective__codebook_weight": 0.0}
    )
    assert max(g.abs().max() for name, g in found.items() if name.startswith("decoder.")) == 0
    assert found["encoder.conv_in.weight"].abs().max() > 0
    assert found["quantiser.codebook"].abs().max() > 0


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_no_gradient_stays_in_the_other_player(root: Path, kind: str) -> None:
    """A discriminator gradient left in the autoencoder (or the reverse) would be applied with its next update."""
    stage = first_stage(root, kind=kind, objective__discriminator=ADVERSARIAL)
    discriminator = stage.objective.discriminator
    assert stage.critic is not None
    assert discriminator is not None
    updates: list[str] = []

    def clean(module: torch.nn.Module) -> bool:
        return all(p.grad is None or not p.grad.any() for p in module.parameters())

    for name, updater, other in (("autoencoder", stage.updater, discriminator), ("other", stage.critic, stage.model)):
        apply = updater.step

        def checked(*of: Any, apply: Any = apply, name: str = name, other: Any = other) -> None:
            assert clean(other), f"before {name}'s update"
            apply(*of)
            assert clean(other), f"after {name}'s update"
            updates.append(name)

        updater.__dict__["step"] = checked
    train(stage, 3)
    assert updates == ["autoencoder", "other"] * 3
    assert clean(stage.model)
    assert clean(discriminator)


def test_discriminator_rests_until_its_start(root: Path) -> None:
    stage = first_stage(root, objective__discriminator={**ADVERSARIAL, "start": 2})
    before = weights(stage)
    rows = train(stage, 2)
    resting = [name for name in before if "discriminator" in name]
    assert resting
    assert all(torch.equal(weights(stage)[name], before[name]) for name in resting)
    assert not any("discriminator_loss" in row for row in rows)
    assert "discriminator_loss" in train(stage, 1, start=2)[0]


@pytest.mark.parametrize("changes", [{}, {"kind": "vq"}], ids=["kl", "vq"])
def test_accumulated_parts_are_the_whole_first_stage(root: Path, changes: dict[str, Any]) -> None:
    whole, parts = (gradients(first_stage(root, train__accumulate=n, **changes))["updater"] for n in (1, 2))
    assert_close(parts, whole, 1e-5)


def test_accumulated_parts_are_the_whole_second_stage(root: Path) -> None:
    whole, parts = (gradients(second_stage(root, train__accumulate=n))["updater"] for n in (1, 2))
    assert all(g.abs().max() > 0 for g in whole.values())
    assert_close(parts, whole, 1e-5)


@pytest.mark.parametrize("learnt", [True, False])
def test_log_variance_of_the_first_stage(root: Path, learnt: bool) -> None:
    """Learnt, it comes to the logarithm of the error, where the likelihood is greatest; else it stays."""
    stage = first_stage(
        root,
        objective__learn_log_variance=learnt,
        objective__log_variance_init=-1.0,
        objective__reduction="mean",
        train__lr=3e-2,
        train__optimiser="adam",
    )
    if not learnt:
        train(stage, 5)
        assert stage.objective.log_variance.item() == -1.0
        return
    stage.model.requires_grad_(False)  # so that the error to come to is known
    rows = train(stage, 60)
    error = sum(row["pixel"] for row in rows[-20:]) / 20
    assert stage.objective.log_variance.item() == pytest.approx(math.log(error), abs=0.05)


def test_log_variance_of_the_second_stage(root: Path) -> None:
    """One for each time: exactly the times that were drawn are trained."""
    stage = second_stage(root, objective__learn_log_variance=True, objective__log_variance_init=0.25)
    train(stage, 3)
    drawn = torch.cat([stage.draw("train", range(8), step, (4, 8, 8)).t for step in range(3)])
    moved = (stage.log_variance.detach() != 0.25).nonzero().flatten()
    assert moved.tolist() == sorted(set(drawn.tolist()))
    assert "log_variance" in stage.state().tensors["objective"]


def test_fixed_log_variance_of_the_second_stage(root: Path) -> None:
    stage = second_stage(root, objective__log_variance_init=0.25)
    before = weights(stage)
    train(stage, 2)
    assert (stage.log_variance == 0.25).all()
    assert any((weights(stage)[n] != w).any() for n, w in before.items())
    assert "objective" not in stage.state().tensors


def test_conditions_are_dropped_by_themselves_and_together(root: Path) -> None:
    """Shares of 2,000 draws: alone as the table says (0.1 where it is silent), together as `drop_all` says."""
    table = {"label": 0.5}
    stage = second_stage(root, train__drop_condition=table, train__drop_all=0.2)
    kept = stage.kept(stage.draw("train", range(2000), 0, (4, 8, 8)))
    shares = {
        "text": (kept["text"].double().mean(), 0.9 * 0.8),
        "label": (kept["label"].double().mean(), 0.5 * 0.8),
        "both": ((kept["text"] & kept["label"]).double().mean(), 0.9 * 0.5 * 0.8),
        "neither": ((~kept["text"] & ~kept["label"]).double().mean(), 0.2 + 0.8 * 0.1 * 0.5),
    }
    for name, (found, expected) in shares.items():
        assert float(found) == pytest.approx(expected, abs=0.04), name
    whole = second_stage(root, train__drop_condition=0.0)
    assert all(k.all() for k in whole.kept(whole.draw("train", range(100), 0, (4, 8, 8))).values())


def test_images_from_the_loader_and_from_the_cache_are_the_same(root: Path, tmp_path: Path) -> None:
    """Else caching latents would train another model: other pictures, captions or mirrorings."""
    from latentry.training.stages.latents import LatentCache

    direct = second_stage(root)
    cached = second_stage(root)
    cached.latents.caches = {
        "train": LatentCache(cached.autoencoder, cached.data, "", tmp_path, cached.world, lambda _: None)
    }
    for (one,), (other,), _ in zip(direct.batches(5), cached.batches(5), range(2)):
        assert one.moments is not None
        assert other.moments is not None
        assert torch.allclose(one.moments, other.moments, atol=1e-5)
        assert one.values == other.values
        assert one.positions == other.positions


def test_learning(root: Path) -> None:
    """Both stages get better at what they do."""
    first = [row["pixel"] for row in train(first_stage(root, train__lr=5e-3), 60)]
    assert sum(first[-10:]) < 0.7 * sum(first[:10])
    second = [row["error"] for row in train(second_stage(root, train__lr=3e-3), 40)]
    assert sum(second[-10:]) < 0.8 * sum(second[:10])
