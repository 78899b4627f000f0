"""Whole models to diffusers and back: its pipelines draw our images, and a model that returns is the one that left."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from latentry import rng
from latentry.checkpoints.diffusers import is_diffusers, read, summary
from latentry.checkpoints.diffusers.pipelines import configs
from latentry.checkpoints.diffusers.write import facts_of
from latentry.checkpoints.foreign import file as foreign_file
from latentry.checkpoints.model_folder import ModelFolder
from latentry.errors import LatentryError, UsageError
from latentry.pipeline import Pipeline
from latentry.pipeline.load import assemble
from tests.reference.close import assert_close
from tests.reference.diffusers_models import CROSS, FIRST_STAGE, TEXT, UNET, assert_same_model, config, exported, model
from tests.unit.conditioning.small_clip import clip_text
from tests.unit.nn.networks import normal

KL: dict[str, Any] = {**FIRST_STAGE, "kind": "kl", "z_channels": 4}
PROMPT = "a red circle on white"


def whole(name: str, **more: Any) -> ModelFolder:
    """A small model that becomes the pipeline `name`."""
    if name == "LDMPipeline":
        return model(config(FIRST_STAGE, {"unet": UNET}, **more), scale=0.8)
    if name == "LDMTextToImagePipeline":
        return model(config(KL, {"unet": CROSS, "conditioning": {"text": TEXT}}, **more), scale=0.3)
    if name == "LDMSuperResolutionPipeline":
        told = {"image": {"kind": "image", "channels": 3}}
        return model(config(FIRST_STAGE, {"unet": UNET, "conditioning": told}, **more))
    if name == "StableDiffusionPipeline":
        told = {"text": {"kind": "clip_text", "width": 12, "layers": 2, "heads": 2}}
        chosen = config(KL, {"unet": CROSS, "conditioning": told}, **more)
        return model(chosen, scale=0.3, texts={"clip_tokenizer.json": clip_text()})
    assert name in ("DDPMPipeline", "DDIMPipeline")
    of_ddpm = {"solver": "ddpm", "levels": "leading", "clip": True}
    solver = {**(of_ddpm if name == "DDPMPipeline" else {"solver": "ddim"}), "steps": 5}
    first = {"kind": "identity", "z_channels": 3}
    return model(config(first, {"unet": UNET}, **{"sample": solver, **more}))


NAMES = [
    "LDMPipeline",
    "LDMTextToImagePipeline",
    "LDMSuperResolutionPipeline",
    "StableDiffusionPipeline",
    "DDPMPipeline",
    "DDIMPipeline",
]


def opened(path: Path) -> Any:
    """Diffusers' pipeline of a folder that we wrote."""
    made: Any = DiffusionPipeline.from_pretrained(path)
    made.set_progress_bar_config(disable=True)
    return made


def drawn(
    ours: Pipeline, start: Tensor, patch: pytest.MonkeyPatch, noise: list[Tensor] | None = None, **asked: Any
) -> Tensor:
    """Our images (B, C, H, W) in [0, 1] from that starting noise, one a seed."""
    later = {} if noise is None else dict(enumerate(noise))

    def normal(seed: int, stream: str, position: Any, step: int, shape: Any) -> Tensor:
        found = start[seed : seed + 1] if stream == "sampling start" else later.get(step, start)[seed : seed + 1]
        assert found.shape[1:] == tuple(shape)
        return found

    patch.setattr(rng, "normal", normal)
    return ours.sample(**asked).tensor


def theirs_as_tensor(images: Any) -> Tensor:
    return torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("levels", ["published", "leading", "trailing"])
@pytest.mark.parametrize("first", ["vq", "kl"])
@torch.no_grad()
def test_unconditional(levels: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(
        KL if first == "kl" else FIRST_STAGE, {"unet": UNET}, sample={"solver": "ddim", "levels": levels, "steps": 5}
    )
    path, ours = exported(model(chosen, scale=0.8), tmp_path)
    theirs = opened(path)
    assert type(theirs).__name__ == "LDMPipeline"
    shape = (2, 4 if first == "kl" else 3, 8, 8)
    images = theirs(2, torch.Generator().manual_seed(3), num_inference_steps=5, output_type="np").images
    start = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    assert_close(drawn(ours, start, monkeypatch, n=2), theirs_as_tensor(images), "images", 1e-4)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("prediction", ["epsilon", "velocity"])
@torch.no_grad()
def test_text_to_image(guidance: float, prediction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is asked of neither; the factor is 2, and the pipeline's code takes it for 8."""
    diffusion = {"unet": CROSS, "conditioning": {"text": TEXT}, "prediction": prediction}
    path, ours = exported(model(config(KL, diffusion), scale=0.3), tmp_path)
    theirs, latents = opened(path), normal(2, 4, 8, 8)
    asked: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": guidance, "output_type": "np"}
    images = theirs([PROMPT, "a green star"], latents=latents, **asked).images
    found = drawn(ours, latents, monkeypatch, text=[PROMPT, "a green star"], guidance=guidance)
    assert_close(found, theirs_as_tensor(images), "images", 1e-4)
    ids = theirs.tokenizer([PROMPT, ""], padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    assert ours.denoiser is not None
    ours_said = ours.denoiser.condition({"text": [PROMPT, ""]}, 2).context
    assert ours_said is not None
    assert_close(ours_said, theirs.bert(ids.input_ids)[0], "text")


@pytest.mark.parametrize(
    "sample",
    [{"solver": "ddim", "levels": "published"}, {"levels": "trailing"}, {"solver": "plms", "levels": "published"}],
)
@torch.no_grad()
def test_stable_diffusion(sample: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not square, guided against the empty prompt; PNDM counts its first step, of two calls, once as we do."""
    given = whole("StableDiffusionPipeline", sample={**sample, "steps": 5}, data={"size": (16, 32), "channels": 3})
    path, ours = exported(given, tmp_path)
    theirs, latents = opened(path), normal(2, 4, 8, 16)
    asked: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 4.0, "output_type": "np"}
    images = theirs([PROMPT, "a green star"], latents=latents, **asked).images
    found = drawn(ours, latents, monkeypatch, text=[PROMPT, "a green star"], guidance=4.0)
    assert_close(found, theirs_as_tensor(images), "images", 1e-4)


@torch.no_grad()
def test_super_resolution(tmp_path: Path) -> None:
    path, ours = exported(whole("LDMSuperResolutionPipeline"), tmp_path)
    theirs, low = opened(path), normal(2, 3, 8, 8).clamp(-1, 1)
    images = theirs(low, num_inference_steps=5, generator=torch.Generator().manual_seed(3), output_type="np").images
    start = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    with pytest.MonkeyPatch.context() as patch:
        found = drawn(ours, start, patch, image=list(low))
    assert_close(found, theirs_as_tensor(images), "images", 1e-4)


@torch.no_grad()
def test_images_without_a_first_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ours = exported(whole("DDPMPipeline"), tmp_path)
    theirs, generator = opened(path), torch.Generator().manual_seed(3)
    images = theirs(2, torch.Generator().manual_seed(3), num_inference_steps=5, output_type="np").images
    start, *noise = [torch.randn((2, 3, 16, 16), generator=generator) for _ in range(6)]
    assert_close(drawn(ours, start, monkeypatch, noise, n=2), theirs_as_tensor(images), "images", 1e-4)


@torch.no_grad()
def test_images_without_a_first_stage_by_ddim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ours = exported(whole("DDIMPipeline"), tmp_path)
    images = opened(path)(2, torch.Generator().manual_seed(3), num_inference_steps=5, output_type="np").images
    start = torch.randn((2, 3, 16, 16), generator=torch.Generator().manual_seed(3))
    assert_close(drawn(ours, start, monkeypatch, n=2), theirs_as_tensor(images), "images", 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_round_trip_gives_every_bit_back(name: str, tmp_path: Path) -> None:
    given = whole(name)
    path, _ = exported(given, tmp_path)
    assert is_diffusers(path)
    assert_same_model(given, path)
    assert not list(path.rglob("*.bin"))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_diffusers_saves_again_is_the_same_model(name: str, tmp_path: Path) -> None:
    """Saved by diffusers, a folder has none of our own options: its files alone must say the model."""
    given = whole(name)
    path, ours = exported(given, tmp_path)
    opened(path).save_pretrained(tmp_path / "again")
    again = read(tmp_path / "again")
    assert again.config.name == "again"
    assert again.config.data.size == given.config.data.size
    assert again.config.autoencoder.kind == given.config.autoencoder.kind
    assert again.config.sample.levels == given.config.sample.levels
    assert again.config.sample.solver == given.config.sample.solver
    assert again.config.sample.clip == given.config.sample.clip
    assert again.config.diffusion is not None
    assert given.config.diffusion is not None
    assert again.config.diffusion.schedule == given.config.diffusion.schedule
    for group, tensors in given.tensors.items():
        assert all(torch.equal(again.tensors[group][key], tensor) for key, tensor in tensors.items())
    if "text" in given.config.diffusion.conditioning:
        told = [pipe.denoiser.condition({"text": [PROMPT]}, 1) for pipe in (ours, assemble(again, "")) if pipe.denoiser]
        assert told[0].context is not None
        assert told[1].context is not None
        assert torch.equal(told[0].context, told[1].context)


def test_what_no_file_of_diffusers_says_is_kept_beside_them(tmp_path: Path) -> None:
    """Steps, guidance and eta are arguments of its calls; the order of heads is no question there."""
    sample = {"solver": {"kind": "ddim", "eta": 0.5}, "levels": "published", "steps": 7, "guidance": 2.5}
    network = {**UNET, "split_heads_first": False, "attention": (2, 8), "heads": 4, "head_channels": None}
    given = model(config(FIRST_STAGE, {"unet": network, "schedule": {"kind": "cosine", "s": 0.02}}, sample=sample))
    assert_same_model(given, exported(given, tmp_path)[0])


def test_a_vocabulary_of_another_size_is_named(tmp_path: Path) -> None:
    path, _ = exported(whole("LDMTextToImagePipeline"), tmp_path)
    (path / "tokenizer" / "tokenizer.json").unlink()
    (path / "tokenizer" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises(LatentryError, match="5 tokens, the encoder's table has"):
        read(path)


def test_a_published_vocabulary_is_read(tmp_path: Path) -> None:
    """Older folders have BERT's vocab.txt instead of a tokenizer.json."""
    given = whole("LDMTextToImagePipeline")
    path, ours = exported(given, tmp_path)
    words = json.loads((path / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    (path / "tokenizer" / "tokenizer.json").unlink()
    (path / "tokenizer" / "vocab.txt").write_text("\n".join(sorted(words, key=words.__getitem__)))
    again = assemble(read(path), "test")
    for pipe in (ours, again):
        assert pipe.denoiser is not None
    said = [pipe.denoiser.condition({"text": [PROMPT]}, 1).context for pipe in (ours, again) if pipe.denoiser]
    assert said[0] is not None
    assert said[1] is not None
    assert torch.equal(said[0], said[1])


def test_describe_counts_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = whole("LDMTextToImagePipeline")
    path, ours = exported(given, tmp_path)
    headers_alone = partial(foreign_file.read, weights=False)
    monkeypatch.setattr(foreign_file, "read", lambda path, *, weights: headers_alone(path) if not weights else None)
    told = summary(path)
    assert told["class"] == "LDMTextToImagePipeline"
    assert told["latent_scale"] == 0.3
    assert {name: part["class"] for name, part in told["components"].items()} == {
        "vqvae": "AutoencoderKL",
        "unet": "UNet2DConditionModel",
        "bert": "LDMBertModel",
        "scheduler": "DDIMScheduler",
        "tokenizer": "PreTrainedTokenizerFast",
    }
    assert ours.denoiser is not None
    wanted = sum(parameter.numel() for parameter in ours.denoiser.unet.parameters())
    assert told["components"]["unet"]["parameters"] == wanted
    assert told["components"]["unet"]["config"]["cross_attention_dim"] == 12
    assert summary(path / "vqvae")["class"] == "AutoencoderKL"
    assert summary(path / "vqvae")["latent_scale"] == 0.3


LABEL = {"kind": "class_label", "classes": 3, "width": 12}
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"unet": CROSS, "conditioning": {"label": LABEL}}, {}, r"conditioning label \(class_label\)"),
    ({"unet": UNET, "conditioning": {"label": {**LABEL, "via": "vector"}}}, {}, r"label \(class_label\)"),
    ({"unet": CROSS, "conditioning": {"text": TEXT, "label": LABEL}}, {}, r"text \(text\), label \(class_label\)"),
    ({"unet": CROSS, "conditioning": {"text": {**TEXT, "pooled": "tokens"}}}, {}, "text with pooled tokens"),
    ({"unet": CROSS, "conditioning": {"text": {**TEXT, "length": 16}}}, {}, "text with length 16"),
    ({"unet": {**CROSS, "context_channels": 8}, "conditioning": {"text": TEXT}}, {}, "unet.context_channels 8"),
    ({"unet": UNET, "conditioning": {"image": {"kind": "image", "channels": 1}}}, {}, "conditioning image of 1"),
    ({"unet": UNET, "conditioning": {"image": {"kind": "image", "factor": 8}}}, {}, "conditioning image of factor 8"),
    ({"unet": CROSS}, {}, "transformer_depth 1 without a context"),
    ({"unet": {**CROSS, "attention": (1, 2)}, "conditioning": {"image": {"kind": "image"}}}, {}, "without a context"),
    ({"unet": UNET}, {"data": {"size": (16, 32), "channels": 3}}, "data.size 16x32"),
    ({"unet": UNET}, {"sample": {"solver": "ddim", "levels": "karras"}}, "sample.levels karras"),
    ({"unet": UNET}, {"sample": {"solver": "ddim", "clip": True}}, "sample.clip with solver ddim"),
]


OWN = {text for _, _, text in REFUSED[:1] + REFUSED[2:6] + [REFUSED[8], REFUSED[10]]}
"""What diffusers' own pipelines do not do, and the folder's code does (`tests/reference/test_export_formats.py`)."""


@pytest.mark.parametrize(("diffusion", "more", "text"), REFUSED, ids=[text for _, _, text in REFUSED])
def test_what_no_pipeline_does_is_refused_by_name(
    diffusion: dict[str, Any], more: dict[str, Any], text: str, tmp_path: Path
) -> None:
    given = model(config(FIRST_STAGE, diffusion, **more))
    with pytest.raises(UsageError, match=text) as error:
        configs(given.config, facts_of(given))
    assert "\n" not in str(error.value)
    if text in OWN:
        path, _ = exported(given, tmp_path)
        assert json.loads((path / "model_index.json").read_text())["_class_name"] == ["pipeline", "LatentryPipeline"]
        assert_same_model(given, path)
        return
    with pytest.raises(UsageError, match=text):
        exported(given, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_scaled_latent_is_refused_where_the_pipeline_ignores_it(tmp_path: Path) -> None:
    told = {"unet": UNET, "conditioning": {"image": {"kind": "image", "channels": 3}}}
    with pytest.raises(UsageError, match=r"latent_scale 0\.5"):
        exported(model(config(FIRST_STAGE, told), scale=0.5), tmp_path)


def test_a_unet_alone_and_other_pipelines_are_refused_by_name(tmp_path: Path) -> None:
    path, _ = exported(whole("LDMPipeline"), tmp_path)
    with pytest.raises(UsageError, match=r"a UNet2DModel alone.*whole pipeline"):
        read(path / "unet")
    index = json.loads((path / "model_index.json").read_text())
    (path / "model_index.json").write_text(json.dumps({**index, "_class_name": "KandinskyPipeline"}))
    with pytest.raises(UsageError, match=r"KandinskyPipeline; known: LDMPipeline"):
        read(path)
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path)
    assert hasattr(diffusers, "LDMTextToImagePipeline")
