"""Folders as diffusers' own tools make them: published configs at full size, and pipelines built there from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LDMTextToImagePipeline,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel
from torch import nn
from transformers import BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from latentry.checkpoints.diffusers import autoencoder, read, scheduler, unet, unet_names
from latentry.checkpoints.diffusers.text import bert, clip
from latentry.conditioning.words.clip_tokenizer import END, START
from latentry.models.autoencoder import Autoencoder
from latentry.nn.unet import UNet
from latentry.pipeline.load import assemble
from tests.reference.close import assert_close
from tests.reference.diffusers_models import randomised
from tests.reference.test_diffusers_pipelines import PROMPT, drawn, theirs_as_tensor
from tests.unit.conditioning.small_clip import MERGES, vocabulary
from tests.unit.nn.networks import normal

# As in the folders CompVis/stable-diffusion-v1-4, CompVis/ldm-celebahq-256 and CompVis/ldm-text2im-large-256.
SD_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.2.2", "act_fn": "silu", "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False, "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"], "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1,
    "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}  # fmt: skip
SD_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
SD_CLIP: dict[str, Any] = {
    "hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77, "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 49408,
}  # fmt: skip
SD_PNDM: dict[str, Any] = {
    "_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
    "trained_betas": None, "clip_sample": False,
}  # fmt: skip
FACES_UNET: dict[str, Any] = {
    "_class_name": "UNet2DModel", "act_fn": "silu", "attention_head_dim": 32,
    "block_out_channels": [224, 448, 672, 896], "center_input_sample": False,
    "down_block_types": ["DownBlock2D", *["AttnDownBlock2D"] * 3], "downsample_padding": 1, "flip_sin_to_cos": True,
    "freq_shift": 0, "in_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 64, "time_embedding_type": "positional",
    "up_block_types": [*["AttnUpBlock2D"] * 3, "UpBlock2D"],
}  # fmt: skip
FACES_VQ: dict[str, Any] = {
    "_class_name": "VQModel", "act_fn": "silu", "block_out_channels": [128, 256, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 3, "in_channels": 3, "latent_channels": 3, "layers_per_block": 2,
    "num_vq_embeddings": 8192, "out_channels": 3, "sample_size": 256, "up_block_types": ["UpDecoderBlock2D"] * 3,
}  # fmt: skip
KINDS: dict[str, Any] = {
    "UNet2DConditionModel": UNet2DConditionModel,
    "UNet2DModel": UNet2DModel,
    "AutoencoderKL": AutoencoderKL,
    "VQModel": VQModel,
}


def theirs_at_full_size(config: dict[str, Any]) -> dict[str, torch.Size]:
    with torch.device("meta"):
        made = KINDS[config["_class_name"]](**{k: v for k, v in config.items() if not k.startswith("_")})
    return shapes(made)


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(("config", "millions"), [(SD_UNET, 859.520964), (FACES_UNET, 274.056163)])
def test_published_denoisers(config: dict[str, Any], millions: float) -> None:
    """Every weight of the published model has its place and shape here, and none is left over."""
    options, s = unet.from_config(config, "test")
    with torch.device("meta"):
        arguments = options.model_dump(exclude={"context_channels"})
        ours = UNet(
            in_channels=s["in_channels"],
            out_channels=s["out_channels"],
            context_channels=options.context_channels,
            **arguments,
        )
    found = unet_names.to_theirs(ours.state_dict(), options)
    assert {name: tensor.shape for name, tensor in found.items()} == theirs_at_full_size(config)
    assert sum(parameter.numel() for parameter in ours.parameters()) == round(millions * 1e6)


@pytest.mark.parametrize(("config", "scale"), [(SD_VAE, 0.18215), (FACES_VQ, 1.0)])
def test_published_first_stages(config: dict[str, Any], scale: float) -> None:
    options, s = autoencoder.from_config(config, "test")
    assert s["scaling_factor"] == scale
    with torch.device("meta"):
        ours = Autoencoder(options, 3)
    found = autoencoder.to_theirs(ours.state_dict(), len(options.multipliers))
    assert {name: tensor.shape for name, tensor in found.items()} == theirs_at_full_size(config)


def test_published_text_encoders_and_scheduler() -> None:
    options, rows = clip.options(SD_CLIP, "test")
    with torch.device("meta"):
        theirs = CLIPTextModel(CLIPTextConfig(**SD_CLIP))
        ours = clip.network(options, rows)
    assert shapes(ours) == {f"text_model.{name}": shape for name, shape in shapes(theirs).items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) == 123_060_480
    plain, rows = bert.options({}, "test")
    assert (plain.width, plain.layers, plain.heads, plain.head_channels, rows) == (1280, 32, 8, 64, 30522)
    diffusion, sample = scheduler.from_config(SD_PNDM, "test")
    assert sample == {"solver": "plms", "levels": "published", "clip": False}
    assert diffusion["schedule"]["end"] == 0.012


UNET: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
    "attention_head_dim": 2, "cross_attention_dim": 12,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 8, 16), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "norm_num_groups": 4, "sample_size": 64,
}  # fmt: skip


@torch.no_grad()
def test_stable_diffusion_made_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline built, randomised and saved by diffusers draws the same images here, with its own settings."""
    rows, merges = vocabulary(), list[Any](MERGES)
    text = CLIPTextConfig(
        vocab_size=len(rows), hidden_size=12, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=rows[START], eos_token_id=rows[END], pad_token_id=rows[END],
    )  # fmt: skip
    made: Any = StableDiffusionPipeline(
        vae=randomised(AutoencoderKL(**VAE)),
        text_encoder=randomised(CLIPTextModel(text)),
        tokenizer=CLIPTokenizer(vocab=rows, merges=merges, model_max_length=77),
        unet=randomised(UNet2DConditionModel(**UNET)),
        scheduler=PNDMScheduler.from_config(SD_PNDM),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(tmp_path / "sd")
    ours, latents = assemble(read(tmp_path / "sd"), "test"), normal(1, 4, 8, 8)
    assert ours.config.sample.guidance == 7.5
    images = made([PROMPT], latents=latents, num_inference_steps=5, output_type="np").images
    assert_close(drawn(ours, latents, monkeypatch, text=PROMPT, steps=5), theirs_as_tensor(images), "images", 1e-4)


@torch.no_grad()
def test_text_to_image_made_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "circle", "##s", "on", "white", "##d"]
    text = LDMBertConfig(
        vocab_size=len(words), d_model=12, encoder_layers=2, encoder_ffn_dim=48, encoder_attention_heads=2, head_dim=8
    )
    bert_tokenizer: Any = BertTokenizer
    made: Any = LDMTextToImagePipeline(
        vqvae=randomised(AutoencoderKL(**VAE)),
        bert=randomised(LDMBertModel(text)).eval(),
        tokenizer=bert_tokenizer(vocab={word: number for number, word in enumerate(words)}),
        unet=randomised(UNet2DConditionModel(**UNET)),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(tmp_path / "ldm")
    ours, latents = assemble(read(tmp_path / "ldm"), "test"), normal(1, 4, 8, 8)
    assert ours.config.sample.levels == "leading"
    asked: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 3.0, "output_type": "np"}
    images = made(["A red  circles, on White"], latents=latents, **asked).images
    found = drawn(ours, latents, monkeypatch, text="A red  circles, on White", steps=5, guidance=3.0)
    assert_close(found, theirs_as_tensor(images), "images", 1e-4)
