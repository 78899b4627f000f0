"""Every kind of published model, small and with random weights: in, asked for images, out and in again.

If these fail, a whole family of the zoo cannot be opened or used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import latentry as lt
from latentry.checkpoints import model_folder
from latentry.checkpoints.compvis.config import translate
from latentry.checkpoints.compvis.locations import locations
from latentry.checkpoints.compvis.write import schedule_tables
from latentry.conditioning.words import tokenizer
from latentry.diffusion.schedule import build_schedule
from latentry.errors import UsageError
from latentry.pipeline.foreign import export_model, import_model

ENCODERS = "ldm.modules.encoders.modules"
DDCONFIG = {"double_z": False, "z_channels": 3, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
            "ch_mult": [1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip
UNET = {"image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32, "attention_resolutions": [2],
        "num_res_blocks": 1, "channel_mult": [1, 2], "num_heads": 2}  # fmt: skip
CROSS = {"use_spatial_transformer": True, "transformer_depth": 1}


def tree(cond: Any, unet: dict[str, Any] | None = None, kind: str = "VQModelInterface", **more: Any) -> dict[str, Any]:
    """A published config of a small latent diffusion model."""
    kl = kind == "AutoencoderKL"
    dd = {**DDCONFIG, "double_z": kl}
    first = {"embed_dim": 3, "ddconfig": dd, "lossconfig": {"target": "torch.nn.Identity"}}
    first |= {} if kl else {"n_embed": 32}
    params = {
        "linear_start": 0.0015,
        "linear_end": 0.0195,
        "timesteps": 1000,
        "image_size": 8,
        "channels": 3,
        "unet_config": {"target": "openaimodel.UNetModel", "params": {**UNET, **(unet or {})}},
        "first_stage_config": {"target": f"ldm.models.autoencoder.{kind}", "params": first},
        "cond_stage_config": cond,
        **more,
    }
    return {
        "model": {"base_learning_rate": 1e-4, "target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}
    }


def pixels() -> dict[str, Any]:
    """A config of the base class, which predicts x0 of images themselves."""
    unet = {"target": "openaimodel.UNetModel", "params": {**UNET, "image_size": 16}}
    params = {"unet_config": unet, "timesteps": 20, "image_size": 16, "channels": 3, "parameterization": "x0"}
    return {"model": {"base_learning_rate": 1e-4, "target": "ldm.models.diffusion.ddpm.DDPM", "params": params}}


def bert(**params: Any) -> dict[str, Any]:
    return {"target": f"{ENCODERS}.BERTEmbedder", "params": {"n_embed": 16, "n_layer": 1, **params}}


RESCALER = {"target": f"{ENCODERS}.SpatialRescaler", "params": {"n_stages": 2, "in_channels": 5, "out_channels": 3}}
LAYOUT = bert(vocab_size=64, max_seq_len=9, use_tokenizer=False)
IMAGE = torch.linspace(-1, 1, 3 * 32 * 32).view(3, 32, 32)
MASK = torch.ones(1, 32, 32)
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "unconditional vq": (tree("__is_unconditional__"), {}),
    "unconditional kl": (tree("__is_unconditional__", kind="AutoencoderKL", scale_by_std=True), {}),
    "layout": (tree(LAYOUT, {**CROSS, "context_dim": 16}, conditioning_key="crossattn"), {"layout": [[1, 2, 3]]}),
    "text": (tree(bert(vocab_size=200), {**CROSS, "context_dim": 16}, conditioning_key="crossattn"), {"text": ""}),
    "super-resolution": (tree({"target": "torch.nn.Identity"}, {"in_channels": 6}), {"image": IMAGE[:, :8, :8]}),
    "semantic": (tree(RESCALER, {"in_channels": 6}), {"semantic": torch.arange(32 * 32).view(32, 32) % 5}),
    "inpainting": (tree("__is_first_stage__", {"in_channels": 7}), {"masked": (IMAGE, MASK)}),
    "retrieval": (
        tree({"target": "torch.nn.Identity"}, {**CROSS, "context_dim": 12}, conditioning_key="crossattn"),
        {"embedding": torch.ones(4, 12)},
    ),
    "pixels": (pixels(), {}),
}
each = pytest.mark.parametrize("name", KINDS)


def checkpoint(name: str, folder: Path) -> Path:
    """A file with random weights under the published names, and its config beside it."""
    config = KINDS[name][0]
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    published = translate(config, name)
    words = {"tokenizer.json": tokenizer.without_words(200).to_str()} if name == "text" else {}
    found = locations(published.config, words)
    draw = torch.Generator().manual_seed(0)
    shapes = {key: p.shape for key, p in (*found.kept.items(), *found.averaged.items())}
    state = {key: 0.2 * torch.randn(shape, generator=draw) for key, shape in shapes.items()}
    state |= {key: state[repeated] for key, repeated in found.doubled.items()}
    assert published.config.diffusion is not None
    state |= schedule_tables(build_schedule(published.config.diffusion.schedule))
    state |= {"model_ema.num_updates": torch.tensor(7, dtype=torch.int32), "model_ema.decay": torch.tensor(0.9999)}
    if published.scale is None:
        state["scale_factor"] = torch.tensor(0.25)
    torch.save({"state_dict": state, "epoch": 1, "global_step": 2}, folder / "model.ckpt")
    return folder / "model.ckpt"


def silent(_: str) -> None:
    return None


@each
def test_it_samples_with_what_it_takes(name: str, tmp_path: Path) -> None:
    pipe = lt.load(checkpoint(name, tmp_path / "in"))
    asked: Any = KINDS[name][1]
    how: Any = {} if name == "pixels" else {"steps": 3}
    made = pipe.sample(n=2, seed=1, guidance=1.0, **how, **asked).tensor
    assert made.shape == (2, 3, *pipe.config.data.size)
    assert bool(made.isfinite().all())
    assert torch.equal(made, pipe.sample(n=2, seed=1, guidance=1.0, **how, **asked).tensor)
    if asked and name != "text":
        others = {"layout": [[9]], "masked": (-IMAGE, MASK), "embedding": -torch.ones(4, 12)}
        condition, value = next(iter(asked.items()))
        latents = [
            list(pipe.steps(seed=1, guidance=1.0, **how, **{condition: given}))[-1].x
            for given in (value, others.get(condition, value * 0))
        ]
        assert not torch.equal(*latents), "the condition says nothing"


@each
def test_guidance_and_what_is_always_needed(name: str, tmp_path: Path) -> None:
    """A model that must be told something says so; with it guidance works where there is a null."""
    pipe = lt.load(checkpoint(name, tmp_path / "in"))
    asked: Any = KINDS[name][1]
    if name in ("super-resolution", "semantic", "inpainting", "retrieval"):
        with pytest.raises(UsageError, match="nothing was given; this model always takes"):
            pipe.sample(steps=2)
    if asked:
        assert bool(pipe.sample(steps=2, guidance=2.0, **asked).tensor.isfinite().all())


@each
def test_it_goes_out_and_comes_back(name: str, tmp_path: Path) -> None:
    model = import_model(checkpoint(name, tmp_path / "in"), report=silent)
    model_folder.write(tmp_path / "model", model)
    export_model(tmp_path / "model", "compvis", tmp_path / "out.ckpt")
    back = import_model(tmp_path / "out.ckpt", report=silent)
    assert back.config == model.config
    for group, tensors in model.tensors.items():
        assert tensors.keys() == back.tensors[group].keys()
        assert all(torch.equal(tensor, back.tensors[group][n]) for n, tensor in tensors.items()), group
