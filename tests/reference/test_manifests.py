"""Every published config becomes a model with exactly the published keys and shapes.

If these fail, a published checkpoint cannot be opened, or a part of it is left out in silence.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from latentry.checkpoints.compvis.config import Published, translate
from latentry.checkpoints.compvis.first_stage_config import objective_arguments
from latentry.checkpoints.compvis.first_stage_names import to_ours, to_published
from latentry.checkpoints.compvis.locations import EMA_COUNTERS, Locations, locations
from latentry.conditioning.words import clip_tokenizer, tokenizer
from latentry.nn.lpips import LPIPS
from latentry.training.objectives import AdversarialObjective, ObjectiveOptions
from tests.shared import SHARED, needs_shared

MANIFESTS = SHARED / "compat" / "manifests.json"
MODELS = json.loads(MANIFESTS.read_text())["models"] if MANIFESTS.is_file() else []
FIRST_STAGES = [m for m in MODELS if "ddconfig" in m["config"]["model"]["params"]]
pytestmark = [needs_shared, pytest.mark.skipif(not MODELS, reason="no manifests")]
each = pytest.mark.parametrize("manifest", MODELS, ids=lambda m: m["path"])


def opened(manifest: dict[str, Any]) -> tuple[Published, Locations]:
    """What an import would look for."""
    published = translate(manifest["config"], "model")
    diffusion = published.config.diffusion
    text: Any = next((o for o in diffusion.conditioning.values() if o.kind == "text"), None) if diffusion else None
    words = {"tokenizer.json": tokenizer.without_words(text.vocabulary).to_str()} if text else {}
    return published, locations(published.config, words)


def shapes(found: dict[str, Any]) -> dict[str, list[int]]:
    return {key: list(getattr(value, "shape", value)) for key, value in found.items()}


def test_there_are_all_of_them() -> None:
    assert len(MODELS) == 32


@each
def test_keys_and_shapes(manifest: dict[str, Any]) -> None:
    published, found = opened(manifest)
    ours = shapes(found.kept) | shapes(found.unused)
    ours |= {key: ours[repeated] for key, repeated in found.doubled.items()}
    if published.scale is None and published.config.diffusion is not None:
        ours["scale_factor"] = []
    assert ours == manifest["keys"]


@each
def test_moving_averages(manifest: dict[str, Any]) -> None:
    _, found = opened(manifest)
    theirs = manifest.get("ema_keys") or manifest.get("ema_keys_if_kept") or {}
    assert shapes(found.averaged) | {key: [] for key in EMA_COUNTERS if theirs} == theirs


@pytest.mark.parametrize("manifest", FIRST_STAGES, ids=lambda m: m["path"])
def test_losses(manifest: dict[str, Any]) -> None:
    params = manifest["config"]["model"]["params"]
    options = ObjectiveOptions.model_validate(objective_arguments(params["lossconfig"]["params"]))
    kl = opened(manifest)[0].config.autoencoder.kind == "kl"
    with torch.device("meta"):
        objective = AdversarialObjective(options, image_channels=3, sums=kl)
        perceptual = torch.nn.ModuleDict({"perceptual": LPIPS("vgg16")})
    state = {**objective.state_dict(), **perceptual.state_dict()}
    ours = {to_published(name): list(value.shape) for name, value in state.items()}
    if not kl:  # the published VQ loss has no log-variance
        del ours["loss.logvar"]
    assert ours == manifest["loss"]


@each
def test_parameters(manifest: dict[str, Any]) -> None:
    """Of every part, as the published classes count them."""
    _, found = opened(manifest)
    counted: dict[str, int] = {}
    for place in found.kept.values():
        counted[place.group] = counted.get(place.group, 0) + torch.Size(place.shape).numel()
    theirs = manifest["parameters"]
    unused = sum(torch.Size(s).numel() for key, s in found.unused.items() if key.startswith("cond_stage_model."))
    assert counted.get("unet_raw", 0) == theirs.get("model", 0)
    assert counted.get("conditioning", 0) + unused == theirs.get("cond_stage_model", 0)
    whole = theirs["total"] - theirs.get("loss", 0)
    assert counted["autoencoder"] == theirs.get("first_stage_model", whole)


def test_names_are_one_to_one() -> None:
    names = {name for m in FIRST_STAGES for name in (*m["keys"], *m["loss"])}
    assert len({to_ours(name) for name in names}) == len(names)
    assert [name for name in names if to_published(to_ours(name)) != name] == []


STABLE = {
    "unet_config": {
        "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
        "params": {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320,
                   "attention_resolutions": [4, 2, 1],
                   "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_heads": 8,
                   "use_spatial_transformer": True, "transformer_depth": 1, "context_dim": 768, "legacy": False},
    },
    "first_stage_config": {
        "target": "ldm.models.autoencoder.AutoencoderKL",
        "params": {"embed_dim": 4, "lossconfig": {"target": "torch.nn.Identity"},
                   "ddconfig": {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3,
                                "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [],
                                "dropout": 0.0}},
    },
    "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"},
    "conditioning_key": "crossattn", "image_size": 64, "channels": 4, "scale_factor": 0.18215, "use_ema": False,
    "linear_start": 0.00085, "linear_end": 0.012, "timesteps": 1000, "cond_stage_trainable": False,
}  # fmt: skip


def test_stable_diffusion_1() -> None:
    """Its three networks by their well-known sizes; keys as in the files that people have."""
    tree = {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": STABLE}}
    published = translate(tree, "sd")
    words = {"clip_tokenizer.json": clip_tokenizer.without_words(77).to_str()}
    found = locations(published.config, words)
    counted = dict.fromkeys(("unet_raw", "conditioning", "autoencoder"), 0)
    for place in found.kept.values():
        counted[place.group] += torch.Size(place.shape).numel()
    assert counted == {"unet_raw": 859_520_964, "conditioning": 123_060_480, "autoencoder": 83_653_863}
    layer = "cond_stage_model.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight"
    assert found.kept[layer].shape == (768, 768)
    assert found.unused["cond_stage_model.transformer.text_model.embeddings.position_ids"] == (1, 77)
    assert published.config.sample.guidance == 7.5
