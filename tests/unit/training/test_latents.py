"""Cached latents are those of the images, and of these weights; else the second stage learns something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from latentry.models.autoencoder import Autoencoder
from latentry.training.stages.autoencoder.build import fresh
from latentry.training.stages.autoencoder.scale import measure_scale
from latentry.training.stages.latents import LatentCache
from tests.unit.training.small_stages import ALONE, images, planned


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def parts(root: Path, kind: str = "kl", flip: bool = False):
    """(first stage, training images) with latents far from unit deviation."""
    made = planned(root, {"autoencoder.kind": kind, "data.flip": flip})
    autoencoder = fresh(made).eval()
    autoencoder.quant_conv.weight.data *= 3.0
    return autoencoder, made.data


def cache(autoencoder: Autoencoder, data, folder: Path, fingerprint: str = "f") -> tuple[LatentCache, list[str]]:
    said: list[str] = []
    return LatentCache(autoencoder, data, fingerprint, folder, ALONE, said.append), said


@torch.no_grad()
def encoded(autoencoder: Autoencoder, data, index: int, flip: bool = False) -> Tensor:
    image = data.sample(index).image[None]
    return autoencoder.moments(image.flip(-1) if flip else image)[0]


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_moments_of_every_image(root: Path, tmp_path: Path, kind: str) -> None:
    autoencoder, data = parts(root, kind)
    found, _ = cache(autoencoder, data, tmp_path)
    indices = [3, 0, len(data) - 1]
    for index, moments in zip(indices, found(indices, [False] * 3), strict=True):
        assert torch.allclose(moments, encoded(autoencoder, data, index), atol=1e-4)


def test_mirrored_images_are_encoded_for_themselves(root: Path, tmp_path: Path) -> None:
    """The encoder pads on the right: the latent of a mirrored image is not the mirrored latent."""
    autoencoder, data = parts(root, flip=True)
    found, _ = cache(autoencoder, data, tmp_path)
    plain, mirrored = found([2, 2], [False, True])
    assert torch.allclose(mirrored, encoded(autoencoder, data, 2, flip=True), atol=1e-4)
    assert not torch.allclose(mirrored, plain.flip(-1), atol=1e-2)


def test_latents_are_encoded_once(root: Path, tmp_path: Path) -> None:
    autoencoder, data = parts(root)
    assert cache(autoencoder, data, tmp_path)[1]
    autoencoder.latent_scale.fill_(2.0)  # the scale is applied to what is cached
    assert not cache(autoencoder, data, tmp_path)[1]


def test_other_weights_or_images_are_encoded_anew(root: Path, tmp_path: Path) -> None:
    autoencoder, data = parts(root)
    cache(autoencoder, data, tmp_path)
    assert cache(autoencoder, data, tmp_path, "other images")[1]
    autoencoder.quant_conv.weight.data += 0.1
    found, said = cache(autoencoder, data, tmp_path, "other images")
    assert said
    assert torch.allclose(found([1], [False])[0], encoded(autoencoder, data, 1), atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 1  # what is of no more use is removed


def test_a_broken_off_cache_is_not_used(root: Path, tmp_path: Path) -> None:
    autoencoder, data = parts(root)
    first, _ = cache(autoencoder, data, tmp_path)
    (first.folder / "complete").unlink()
    (first.folder / "moments.npy").write_bytes(b"")
    found, said = cache(autoencoder, data, tmp_path)
    assert said
    assert torch.allclose(found([1], [False])[0], encoded(autoencoder, data, 1), atol=1e-4)


def test_scale_makes_sampled_latents_unit_deviation(root: Path) -> None:
    autoencoder, data = parts(root)
    deviation = measure_scale(autoencoder, data, seed=0, world=ALONE)
    draws = []
    for index in range(len(data)):
        posterior = autoencoder.posterior(encoded(autoencoder, data, index)[None])
        draws.append(posterior.sample(torch.randn_like(posterior.mean)))
    expected = torch.cat(draws).std()
    assert expected > 1.1
    assert deviation == pytest.approx(float(expected), rel=0.03)  # other draws of the posterior
    assert measure_scale(autoencoder, data, seed=0, world=ALONE) == deviation


def test_scale_of_vq_is_that_of_the_latent_before_its_codes(root: Path) -> None:
    autoencoder, data = parts(root, "vq")
    expected = torch.stack([encoded(autoencoder, data, index) for index in range(len(data))]).std()
    assert measure_scale(autoencoder, data, seed=0, world=ALONE) == pytest.approx(float(expected), rel=1e-4)
