"""Our first stages give the published numbers. If not, every published latent would decode to a wrong image."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from latentry.nn.posterior import Gaussian
from tests.reference.first_stages import FirstStage, assert_close, ours, state
from tests.shared import SHARED, needs_shared

FOLDERS = sorted(p.parent for p in (SHARED / "compat").glob("*/config.yaml") if "first_stage_config" in p.read_text())
pytestmark = [needs_shared, pytest.mark.skipif(not FOLDERS, reason="no fixture with a first stage")]
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)


@cache
def model(folder: Path) -> FirstStage:
    params = yaml.safe_load((folder / "config.yaml").read_text())["model"]["params"]
    first_stage = FirstStage(params["first_stage_config"]["params"])
    first_stage.load_state_dict(ours(state(folder), "first_stage_model."))
    return first_stage.eval().requires_grad_(False)


@cache
def expected(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


def scale(folder: Path) -> Tensor:
    """The factor between the first stage's latent and the one diffusion sees."""
    params = yaml.safe_load((folder / "config.yaml").read_text())["model"]["params"]
    return state(folder).get("scale_factor", torch.tensor(params.get("scale_factor", 1.0)))


def clean(folder: Path, image: str) -> Tensor:
    """The posterior mean (KL) or pre-quantised latent (VQ) of an input image."""
    z = model(folder).encode(expected(folder)[image])
    return Gaussian(z).mean if model(folder).kind == "kl" else z


@each
def test_encoding(folder: Path) -> None:
    tensors, first_stage = expected(folder), model(folder)
    z = first_stage.encode(tensors["in.image"])
    if first_stage.kind == "kl":
        posterior = Gaussian(z)
        assert_close(posterior.mean, tensors["out.posterior_mean"], "posterior mean")
        assert_close(posterior.log_variance, tensors["out.posterior_logvar"], "posterior log-variance")
        assert_close(posterior.kl(), tensors["out.posterior_kl"], "KL")
        z = posterior.sample(tensors["in.posterior_noise"])
    assert_close(z * scale(folder), tensors["out.z"], "latent")
    assert_close(clean(folder, "in.image_rect"), tensors["out.rect_z"], "latent of a non-square image")
    assert_close(clean(folder, "in.image_flat"), tensors["out.flat_z"], "latent of a low-contrast image")


@each
def test_scale_measured_from_a_batch(folder: Path) -> None:
    tensors = expected(folder)
    if "out.std_rescale_factor" not in tensors:
        pytest.skip("this fixture's scale is fixed by its config")
    z = Gaussian(model(folder).encode(tensors["in.image"])).sample(tensors["in.posterior_noise"])
    assert_close(1.0 / z.std(), tensors["out.std_rescale_factor"], "1 / deviation")


@each
def test_quantisation(folder: Path) -> None:
    tensors, first_stage = expected(folder), model(folder)
    if first_stage.kind == "kl":
        pytest.skip("a KL first stage has no codebook")
    quantised = first_stage.quantiser(first_stage.encode(tensors["in.image"]))
    assert torch.equal(quantised.indices.flatten(), tensors["out.code_indices"])
    assert_close(quantised.z, tensors["out.z_quantised"], "codes")
    assert_close(quantised.codebook_loss, tensors["out.codebook_loss"], "quantiser loss")


@each
def test_decoding(folder: Path) -> None:
    tensors, first_stage = expected(folder), model(folder)
    unscaled = tensors["out.z"] / scale(folder)
    if first_stage.kind == "kl":
        assert_close(first_stage.decode(unscaled), tensors["out.reconstruction"], "reconstruction")
        mean = first_stage.decode(tensors["out.posterior_mean"])
        assert_close(mean, tensors["out.reconstruction_mode"], "reconstruction of the mean")
        z = tensors["in.z"] / scale(folder)
        rect = tensors["out.rect_z"]
    else:
        quantise = first_stage.quantiser
        assert_close(first_stage.decode(quantise(unscaled).z), tensors["out.reconstruction"], "reconstruction")
        plain = first_stage.decode(unscaled)
        assert_close(plain, tensors["out.reconstruction_unquantised"], "reconstruction without quantisation")
        z = quantise(tensors["in.z"] / scale(folder)).z
        rect = quantise(tensors["out.rect_z"]).z
    assert_close(first_stage.decode(z), tensors["out.decoded_z"], "decoding of given latents")
    assert_close(first_stage.decode(rect), tensors["out.rect_reconstruction"], "non-square reconstruction")
    small = first_stage.decode(tensors["in.z_small"])
    assert_close(small, tensors["out.small_z_decoded"], "decoding of tiny latents: the norms' epsilon")


@each
def test_attention_alone(folder: Path) -> None:
    tensors = expected(folder)
    if "in.probe.first_stage_attention" not in tensors:
        pytest.skip("this fixture's first stage has no attention")
    actual = model(folder).encoder.middle.attention(tensors["in.probe.first_stage_attention"])
    assert_close(actual, tensors["out.probe.first_stage_attention"], "attention on tiny inputs: the norm's epsilon")
