"""First stages to diffusers and back: the same latents, the same images, and no weight lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, VQModel

from latentry.checkpoints.diffusers import is_diffusers, read
from latentry.errors import LatentryError, UsageError
from latentry.pipeline.load import assemble
from tests.reference.close import assert_close
from tests.reference.diffusers_models import FIRST_STAGE, assert_same_model, config, exported, model, randomised
from tests.unit.nn.networks import normal

VARIANTS: dict[str, dict[str, Any]] = {
    "kl": {"kind": "kl", "z_channels": 4},
    "kl without attention": {"kind": "kl", "middle_attention": False},
    "kl with attention": {"kind": "kl", "attention": (1, 4), "multipliers": (1, 2, 3), "blocks": 2},
    "vq": {},
    "vq of another width": {"latent_channels": 5, "attention": (2,)},
    "vq without attention": {"middle_attention": False, "norm_groups": 2},
}
IMAGES = normal(2, 3, 16, 24).clamp(-1, 1)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_diffusers_computes_what_we_export(name: str, tmp_path: Path) -> None:
    """Encoding, decoding and the latent's scale, on images that are not square."""
    given = model(config({**FIRST_STAGE, **VARIANTS[name]}), scale=0.37)
    path, ours = exported(given, tmp_path)
    kind = AutoencoderKL if given.config.autoencoder.kind == "kl" else VQModel
    theirs = kind.from_pretrained(path).eval()
    moments = ours.autoencoder.moments(IMAGES)
    if kind is AutoencoderKL:
        assert_close(moments, theirs.encode(IMAGES).latent_dist.parameters, "moments")
    else:
        assert_close(moments, theirs.encode(IMAGES).latents, "latents")
    assert theirs.config.scaling_factor == 0.37
    z = normal(2, ours.autoencoder.latent_channels, 8, 12)
    assert_close(ours.decode(z), theirs.decode(z / theirs.config.scaling_factor).sample, "image")
    assert list(path.rglob("*.safetensors")) == [path / "diffusion_pytorch_model.safetensors"]
    assert not list(path.rglob("*.bin"))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_round_trip_gives_every_bit_back(name: str, tmp_path: Path) -> None:
    given = model(config({**FIRST_STAGE, **VARIANTS[name]}), scale=0.37)
    assert_same_model(given, exported(given, tmp_path)[0])


DOWN = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D", "DownEncoderBlock2D")
UP = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D", "UpDecoderBlock2D")


@pytest.mark.parametrize("kind", [AutoencoderKL, VQModel])
@pytest.mark.parametrize("safe", [True, False])
@torch.no_grad()
def test_we_compute_what_diffusers_saved(kind: Any, safe: bool, tmp_path: Path) -> None:
    made = kind(
        block_out_channels=(8, 8, 16), down_block_types=DOWN, up_block_types=UP, norm_num_groups=2, sample_size=32
    )
    theirs = randomised(made).eval()
    theirs.save_pretrained(tmp_path, safe_serialization=safe)
    assert is_diffusers(tmp_path)
    ours = assemble(read(tmp_path), "test")
    assert ours.config.data.size == (32, 32)
    assert ours.config.autoencoder.attention == (2,)
    encoded = theirs.encode(IMAGES)
    assert_close(
        ours.autoencoder.moments(IMAGES), encoded.latents if kind is VQModel else encoded.latent_dist.parameters, "z"
    )
    z = normal(2, ours.autoencoder.latent_channels, 4, 6)
    assert_close(ours.decode(z), theirs.decode(z / theirs.config.scaling_factor).sample, "image")


def test_the_names_of_old_files_are_read(tmp_path: Path) -> None:
    """The published LDM folders were saved when attention's weights had other names."""
    given = model(config({**FIRST_STAGE, "attention": (2,)}))
    path, _ = exported(given, tmp_path)
    theirs = VQModel.from_pretrained(path).state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, before in old.items():
        theirs = {name.replace(new, before): tensor for name, tensor in theirs.items()}
    (path / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(theirs, path / "diffusion_pytorch_model.bin")
    assert_same_model(given, path)


def changed(path: Path, **values: Any) -> Path:
    found = {**json.loads((path / "config.json").read_text()), **values}
    (path / "config.json").write_text(json.dumps({k: v for k, v in found.items() if v != "absent"}))
    return path


def test_a_vq_model_that_says_no_scale_has_none(tmp_path: Path) -> None:
    """The published ones do not say it; with 0.18215, diffusers' default, their images are spoilt."""
    path, _ = exported(model(config(FIRST_STAGE)), tmp_path)
    assert float(read(changed(path, scaling_factor="absent")).tensors["autoencoder"]["latent_scale"]) == 1


def test_a_file_that_was_edited_is_believed(tmp_path: Path) -> None:
    """Our own options beside the files speak only while the files are those that were written."""
    path, _ = exported(model(config(FIRST_STAGE)), tmp_path)
    again = read(changed(path, scaling_factor=0.5, sample_size=64))
    assert float(again.tensors["autoencoder"]["latent_scale"]) == 0.5
    assert again.config.data.size == (64, 64)
    assert again.config.name == "exported"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"act_fn": "gelu"}, "act_fn 'gelu'"),
        ({"norm_type": "spatial"}, "norm_type 'spatial'"),
        ({"down_block_types": ["DownEncoderBlock2D", "KDownBlock2D"]}, "KDownBlock2D"),
        ({"down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]}, "attention at factors"),
        ({"block_out_channels": [8, 12]}, "block_out_channels"),
        ({"out_channels": 4}, "out_channels 4"),
        ({"temporal": 3}, "temporal 3"),
        ({"block_out_channels": None}, "no model that can be built"),
        ({"block_out_channels": [0, 0]}, "no model that can be built"),
        ({"norm_num_groups": 5}, "norm_groups 5 does not divide"),
        ({"latent_channels": "three"}, "no model that can be built"),
        ({"sample_size": {}}, "size"),
        ({"_class_name": "AutoencoderTiny"}, "AutoencoderTiny"),
    ],
)
def test_what_we_cannot_be_is_refused_by_name(values: dict[str, Any], text: str, tmp_path: Path) -> None:
    path, _ = exported(model(config(FIRST_STAGE)), tmp_path)
    with pytest.raises(UsageError, match=text) as error:
        read(changed(path, **values))
    assert "\n" not in str(error.value)


def test_kl_files_with_more_than_a_scale_are_refused(tmp_path: Path) -> None:
    path, _ = exported(model(config({**FIRST_STAGE, "kind": "kl"})), tmp_path)
    for key, value in {"shift_factor": 0.1, "latents_mean": [0.1] * 3, "use_quant_conv": False}.items():
        with pytest.raises(UsageError, match=key):
            read(changed(path, **{"shift_factor": None, "latents_mean": None, "use_quant_conv": True, key: value}))


@pytest.mark.parametrize(
    ("first_stage", "text"),
    [
        ({"kind": "kl", "latent_channels": 2}, "autoencoder.latent_channels 2"),
        ({"multipliers": (2, 2)}, "autoencoder.multipliers"),
        ({"dropout": 0.1}, "autoencoder.dropout 0.1"),
        ({"kind": "identity"}, "autoencoder.kind identity"),
    ],
)
def test_what_diffusers_cannot_be_is_refused_by_name(first_stage: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=text):
        exported(model(config({**FIRST_STAGE, **first_stage})), tmp_path)
    assert not (tmp_path / "exported").exists()


def test_a_shift_of_the_latent_is_refused(tmp_path: Path) -> None:
    given = model(config(FIRST_STAGE))
    given.tensors["autoencoder"]["latent_shift"].fill_(0.25)
    with pytest.raises(UsageError, match=r"latent_shift 0\.25"):
        exported(given, tmp_path)


def test_weights_of_another_config_are_named(tmp_path: Path) -> None:
    path, _ = exported(model(config(FIRST_STAGE)), tmp_path)
    with pytest.raises(LatentryError, match=r"quantiser\.codebook: found"):
        read(changed(path, num_vq_embeddings=17))
