"""Latents are scaled on the way in and unscaled on the way out; a slip there makes every sample wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, UNetOptions, check_size

X = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def autoencoder(kind: str = "kl", **options) -> Autoencoder:
    torch.manual_seed(0)
    shape = {"channels": 8, "multipliers": [1, 2, 2], "blocks": 1, "norm_groups": 4, "codes": 32, "z_channels": 3}
    return Autoencoder(AutoencoderOptions.model_validate({"kind": kind, **shape, **options}), 3).eval()


@torch.no_grad()
def test_scale_and_shift_by_channel() -> None:
    model = autoencoder()
    plain = model.encode(X)
    model.latent_scale.fill_(0.5)
    model.latent_shift.copy_(torch.tensor([1.0, -2.0, 3.0]))
    expected = torch.stack([(plain[:, c] - s) / 2 for c, s in enumerate((1.0, -2.0, 3.0))], dim=1)
    assert torch.allclose(model.encode(X), expected, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_decoding_does_not_depend_on_the_scale(kind: str) -> None:
    model = autoencoder(kind)
    plain = model.decode(model.encode(X))
    model.latent_scale.fill_(0.25)
    model.latent_shift.fill_(0.5)
    assert torch.allclose(model.decode(model.encode(X)), plain, atol=1e-4)
    assert plain.shape == X.shape


@torch.no_grad()
def test_drawn_latents_of_kl() -> None:
    model = autoencoder()
    model.latent_scale.fill_(2.0)
    mean, log_variance = model.moments(X).chunk(2, dim=1)
    noise = torch.randn(mean.shape)
    assert mean.shape == (2, 3, 4, 6)
    assert torch.allclose(model.encode(X), 2 * mean, atol=1e-6)
    assert torch.allclose(model.encode(X, noise), 2 * (mean + (log_variance / 2).exp() * noise), atol=1e-5)


@torch.no_grad()
def test_vq_latents_are_those_before_quantisation_and_decoded_from_codes() -> None:
    model = autoencoder("vq")
    z = model.encode(X)
    assert torch.equal(z, model.moments(X))
    assert model.quantiser is not None
    codes = nearest_codes(model.quantiser.codebook, z)
    assert not torch.allclose(codes, z, atol=1e-3)
    assert torch.equal(model.decode(z), model.decoder.conv_out(model.features(codes)))


def nearest_codes(codebook: Tensor, z: Tensor) -> Tensor:
    """By comparing every vector with every code."""
    vectors = z.permute(0, 2, 3, 1)
    distances = (vectors[..., None, :] - codebook).square().sum(-1)
    return codebook[distances.argmin(-1)].permute(0, 3, 1, 2).contiguous()


def test_latents_narrower_than_z() -> None:
    model = autoencoder(latent_channels=2)
    assert model.encode(X).shape == (2, 2, 4, 6)
    assert model.decode(model.encode(X)).shape == X.shape


@pytest.mark.parametrize(
    ("size", "near"), [((60, 64), "48x64 or 64x64"), ((8, 8), "16x16"), ((33, 70), "32x64 or 48x80")]
)
def test_a_size_that_does_not_fit_names_the_nearest_that_do(size: tuple[int, int], near: str) -> None:
    options = autoencoder().options
    unet = UNetOptions(multipliers=(1, 2, 2), channels=32)
    problem = check_size(size, options, unet)
    assert problem is not None
    assert problem.endswith(f"nearest: {near}")
    assert "multiple of 16" in problem


def test_sizes_that_fit() -> None:
    assert check_size((32, 48), autoencoder().options, UNetOptions(multipliers=(1, 2, 2), channels=32)) is None
    assert check_size((4, 100), autoencoder().options, None) is None
