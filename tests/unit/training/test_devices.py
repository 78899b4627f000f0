"""A stage computes where it was put. `meta` stands for a GPU here: a tensor left on the CPU cannot meet one of meta.

The same runs on a real GPU where there is one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latentry.training.loop.world import World
from tests.unit.training.small_stages import DISCRIMINATOR, first_stage, images, second_stage, train

PRESENT = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
META = World(0, 1, torch.device("meta"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


@pytest.mark.parametrize("drop", [True, False])
def test_the_second_stages_loss(root: Path, drop: bool) -> None:
    stage = second_stage(root, META, objective__learn_log_variance=True)
    stage.autoencoder.to("meta")
    (example,) = next(stage.batches(0))
    loss, errors, t = stage.losses(example, 0, drop=drop)
    assert {tensor.device.type for tensor in (loss, errors, t)} == {"meta"}
    loss.backward()
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in stage.model.unet.parameters())


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_the_first_stages_losses(root: Path, kind: str) -> None:
    perceptual = {"net": "none", "weight": 0.5}
    discriminator = {**DISCRIMINATOR, "start": 0}
    objective = {"objective__discriminator": discriminator, "objective__perceptual": perceptual}
    stage = first_stage(root, META, kind=kind, train__recolour=0.5, **objective)
    (batch,) = next(stage.batches(0))
    x, places, _ = stage._part(0, batch, 0)
    features, latent = stage.reconstruct(x, places, 0, "posterior")
    terms = stage.objective.generator_loss(x, features, stage.model.decoder.conv_out, latent, 0)
    terms.loss.backward()
    other = stage.objective.discriminator_loss(x, terms.reconstruction, 0)
    other.loss.backward()
    computed = [*terms, *other, *(p.grad for p in stage.model.parameters())]
    assert {value.device.type for value in computed if isinstance(value, torch.Tensor)} == {"meta"}


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_both_stages_on_a_real_one(root: Path, device: str) -> None:
    if not PRESENT[device]:
        pytest.skip(f"no {device.upper()} device here")
    world = World(0, 1, torch.device(device))
    second = second_stage(root, world)
    second.autoencoder.to(device)
    for stage in (first_stage(root, world, objective__discriminator={**DISCRIMINATOR, "start": 0}), second):
        assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in train(stage, 2))
        assert {p.device.type for p in stage.model.parameters()} == {device}
        assert stage.validate(0)
