"""Folders of diffusers as they lie on the hub: pixel models beside their index, parts, variants, names of old.

If these fail, a published folder is refused, or draws other images than diffusers does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

import latentry as lt
from latentry.checkpoints.diffusers import read, summary, unet
from latentry.checkpoints.diffusers.files import NETWORK, weight_files
from latentry.cli import run
from latentry.errors import UsageError
from latentry.pipeline.load import assemble
from tests.reference.close import assert_close
from tests.reference.diffusers_models import exported, randomised
from tests.reference.test_diffusers_pipelines import drawn, theirs_as_tensor, whole
from tests.reference.test_diffusers_published import VAE
from tests.unit.nn.networks import normal

# As in the folders google/ddpm-cifar10-32 and google/ddpm-celebahq-256: configs beside the index, no VAE.
CIFAR: dict[str, Any] = {
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256], "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"], "downsample_padding": 0,
    "flip_sin_to_cos": False, "freq_shift": 1, "in_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1,
    "norm_eps": 1e-06, "norm_num_groups": 32, "out_channels": 3, "sample_size": 32,
    "time_embedding_type": "positional", "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
CELEBA: dict[str, Any] = {
    **CIFAR, "block_out_channels": [128, 128, 256, 256, 512, 512], "sample_size": 256,
    "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
}  # fmt: skip
SCHEDULER: dict[str, Any] = {
    "_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02, "beta_schedule": "linear",
    "beta_start": 0.0001, "clip_sample": True, "num_train_timesteps": 1000, "trained_betas": None,
    "variance_type": "fixed_large",
}  # fmt: skip
INDEX = {
    "_class_name": "DDPMPipeline", "_diffusers_version": "0.1.1", "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
}  # fmt: skip
SMALL = {"block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4, "layers_per_block": 1, "sample_size": 16}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old(name: str) -> str:
    for new, before in OLD.items():
        name = name.replace(f".{new}.", f".{before}.") if "attentions" in name else name
    return name


def published(folder: Path, *, beside: bool, before: bool, variance: str) -> tuple[Path, Any]:
    """The folder of a small pixel model, and diffusers' network of it.

    beside: files lie beside the index, as in those of 2022. before: pickled, with the names of that time.
    """
    config = {**CIFAR, **SMALL}
    network: Any = randomised(UNet2DModel(**{k: v for k, v in config.items() if not k.startswith("_")})).eval()
    unet, scheduler = (folder, folder) if beside else (folder / "unet", folder / "scheduler")
    for place in {folder, unet, scheduler}:
        place.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (unet / "config.json").write_text(json.dumps(config))
    (scheduler / "scheduler_config.json").write_text(json.dumps({**SCHEDULER, "variance_type": variance}))
    if before:
        torch.save({old(k): t for k, t in network.state_dict().items()}, unet / "diffusion_pytorch_model.bin")
    else:
        save_file(network.state_dict(), unet / "diffusion_pytorch_model.safetensors")
    return folder, network


@pytest.mark.parametrize("variance", ["fixed_large", "fixed_small"])
@pytest.mark.parametrize(("beside", "before"), [(True, True), (True, False), (False, True), (False, False)])
@torch.no_grad()
def test_a_published_pixel_model(beside: bool, before: bool, variance: str, tmp_path: Path) -> None:
    """The same prediction, and the same images by ancestral sampling, from both sides of its history."""
    folder, network = published(tmp_path / "ddpm", beside=beside, before=before, variance=variance)
    ours = lt.load(folder, device="cpu")
    assert ours.autoencoder.factor == 1
    assert ours.config.data.size == (16, 16)
    assert ours.denoiser is not None
    x, t = normal(2, 3, 16, 16), torch.tensor([0, 731])
    assert_close(ours.denoiser.unet(x, t), network(x, t).sample, "prediction", 1e-5)
    scheduler: Any = DDPMScheduler.from_config({**SCHEDULER, "variance_type": variance})
    theirs: Any = DDPMPipeline(unet=network, scheduler=scheduler)
    theirs.set_progress_bar_config(disable=True)
    images = theirs(2, torch.Generator().manual_seed(3), num_inference_steps=10, output_type="np").images
    generator = torch.Generator().manual_seed(3)
    start, *noise = [torch.randn((2, 3, 16, 16), generator=generator) for _ in range(11)]
    with pytest.MonkeyPatch.context() as patch:
        found = drawn(ours, start, patch, noise, n=2, steps=10)
    assert_close(found, theirs_as_tensor(images), "images", 1e-4)


@torch.no_grad()
def test_a_published_pixel_model_by_ddim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, network = published(tmp_path / "ddpm", beside=True, before=True, variance="fixed_small")
    scheduler: Any = DDIMScheduler.from_config({**SCHEDULER, "clip_sample": False})
    theirs: Any = DDIMPipeline(unet=network, scheduler=scheduler)
    theirs.set_progress_bar_config(disable=True)
    images = theirs(2, torch.Generator().manual_seed(3), num_inference_steps=10, output_type="np").images
    start = torch.randn((2, 3, 16, 16), generator=torch.Generator().manual_seed(3))
    asked: dict[str, Any] = {"solver": "ddim", "steps": 10, "clip": False, "levels": "leading"}
    found = drawn(lt.load(folder, device="cpu"), start, monkeypatch, n=2, **asked)
    assert_close(found, theirs_as_tensor(images), "images", 1e-4)


def test_it_is_imported_and_looked_at_by_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, network = published(tmp_path / "ddpm", beside=True, before=True, variance="fixed_large")
    told = summary(folder)
    assert told["class"] == "DDPMPipeline"
    assert told["components"]["unet"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert told["components"]["scheduler"]["class"] == "DDPMScheduler"
    assert run(["inspect", str(folder)]) == 0
    assert run(["import", str(folder), "--out", str(tmp_path / "model")]) == 0
    assert run(["sample", str(tmp_path / "model"), "-n", "1", "--steps", "2", "--out", str(tmp_path / "s")]) == 0
    assert run(["export", str(tmp_path / "model"), "--format", "diffusers", "--out", str(tmp_path / "back")]) == 0
    capsys.readouterr()
    again: Any = DDPMPipeline.from_pretrained(tmp_path / "back")
    assert again.scheduler.config.variance_type == "fixed_large"
    assert run(["export", str(tmp_path / "model"), "--format", "compvis", "--out", str(tmp_path / "no")]) != 0
    assert "unet" in capsys.readouterr().err


@pytest.mark.parametrize("config", [CIFAR, CELEBA])
def test_every_weight_of_the_published_networks_has_its_place(config: dict[str, Any]) -> None:
    from latentry.checkpoints.diffusers import unet_names
    from latentry.nn.unet import UNet

    options, s = unet.from_config(config, "test")
    with torch.device("meta"):
        ours = UNet(in_channels=3, out_channels=3, **options.model_dump(exclude={"context_channels"}))
        theirs: Any = UNet2DModel(**{k: v for k, v in config.items() if not k.startswith("_")})
    found = unet_names.to_theirs(ours.state_dict(), options)
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in theirs.state_dict().items()}
    assert s["sample_size"] == config["sample_size"]


def split(folder: Path, variant: str = "", suffix: str = ".safetensors") -> None:
    """The weights of a component in two files and the list of them, as diffusers names them."""
    whole_file = folder / f"{NETWORK}.safetensors"
    tensors = load_file(whole_file)
    whole_file.unlink()
    stem, names = f"{NETWORK}{f'.{variant}' if variant else ''}", sorted(tensors)
    table = {name: f"{stem}-0000{1 + number % 2}-of-00002{suffix}" for number, name in enumerate(names)}
    for file in set(table.values()):
        part = {name: tensors[name] for name in names if table[name] == file}
        save_file(part, folder / file) if suffix == ".safetensors" else torch.save(part, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": table}
    name = f"{NETWORK}{suffix}.index{f'.{variant}' if variant else ''}.json"
    (folder / name).write_text(json.dumps(index))


def renamed(folder: Path, name: str) -> None:
    (folder / f"{NETWORK}.safetensors").rename(folder / name)


def pickled(folder: Path, name: str) -> None:
    path = folder / f"{NETWORK}.safetensors"
    torch.save(load_file(path), folder / name)
    path.unlink()


STORED: dict[str, Callable[[Path], None]] = {
    "parts": split,
    "parts of a variant": lambda folder: split(folder, "fp16"),
    "pickled parts": lambda folder: split(folder, suffix=".bin"),
    "variant": lambda folder: renamed(folder, f"{NETWORK}.fp16.safetensors"),
    "another variant": lambda folder: renamed(folder, f"{NETWORK}.non_ema.safetensors"),
    "pickled": lambda folder: pickled(folder, f"{NETWORK}.bin"),
    "pickled variant": lambda folder: pickled(folder, f"{NETWORK}.fp16.bin"),
}


@pytest.mark.parametrize("name", STORED)
def test_the_same_weights_stored_otherwise(name: str, tmp_path: Path) -> None:
    given = whole("LDMPipeline")
    path, _ = exported(given, tmp_path)
    for folder in ("unet", "vqvae"):
        STORED[name](path / folder)
    again = read(path)
    for group, tensors in given.tensors.items():
        assert all(torch.equal(again.tensors[group][key], tensor) for key, tensor in tensors.items())
    assert summary(path)["components"]["unet"]["parameters"] == sum(t.numel() for t in given.tensors["unet"].values())


def test_full_precision_is_taken_before_half(tmp_path: Path) -> None:
    path, _ = exported(whole("LDMPipeline"), tmp_path)
    for name in (f"{NETWORK}.fp16.safetensors", f"{NETWORK}.bin", f"{NETWORK}.bf16.safetensors"):
        (path / "unet" / name).write_bytes(b"")
    assert [file.name for file in weight_files(path / "unet", NETWORK)] == [f"{NETWORK}.safetensors"]


@pytest.mark.parametrize(("name", "text"), [("gone.safetensors", "which is not there"), ("../x.bin", "files beside")])
def test_a_list_of_parts_that_are_not_there(name: str, text: str, tmp_path: Path) -> None:
    path, _ = exported(whole("LDMPipeline"), tmp_path)
    split(path / "unet")
    index = path / "unet" / f"{NETWORK}.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": name}}))
    with pytest.raises(UsageError, match=text):
        read(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LDMPipeline", "LatentDiffusionUncondPipeline"),
        ("LDMTextToImagePipeline", "LatentDiffusionPipeline"),
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
    ],
)
def test_pipelines_by_their_other_names(name: str, said: str, tmp_path: Path) -> None:
    given = whole(name)
    path, _ = exported(given, tmp_path)
    index = json.loads((path / "model_index.json").read_text())
    absent = {"safety_checker": [None, None], "feature_extractor": None, "image_encoder": [None, None]}
    (path / "model_index.json").write_text(json.dumps({**index, **absent, "_class_name": said}))
    assert read(path).config.diffusion == given.config.diffusion
    assert summary(path)["class"] == name


@torch.no_grad()
def test_a_halved_first_stage_with_the_names_of_2022(tmp_path: Path) -> None:
    """Half precision, attention named query and proj_attn, no scaling_factor, keys of newer versions beside."""
    theirs: Any = randomised(AutoencoderKL(**VAE)).half().float().eval()
    config = {k: v for k, v in theirs.config.items() if k != "scaling_factor"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "_class_name": "AutoencoderKL", "latents_mean": None}))
    weights = {old(k): t.half() for k, t in theirs.state_dict().items()}
    save_file(weights, tmp_path / f"{NETWORK}.fp16.safetensors", {"format": "pt"})
    ours, images = assemble(read(tmp_path), "test"), normal(1, 3, 32, 32).clamp(-1, 1)
    assert float(ours.autoencoder.latent_scale) == pytest.approx(0.18215)
    assert_close(ours.autoencoder.moments(images), theirs.encode(images).latent_dist.parameters, "moments")


def test_a_text_encoder_as_transformers_5_writes_it(tmp_path: Path) -> None:
    """No `text_model.` before the names, positions beside the weights, one tokenizer.json, weights in parts."""
    given = whole("StableDiffusionPipeline")
    path, _ = exported(given, tmp_path)
    folder, words = path / "text_encoder", path / "tokenizer"
    weights = {k.removeprefix("text_model."): t for k, t in load_file(folder / "model.safetensors").items()}
    weights["embeddings.position_ids"] = torch.arange(77)[None]
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    files = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in set(files.values()):
        save_file({n: weights[n] for n in names if files[n] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    config = json.loads((folder / "config.json").read_text())
    more = {"dtype": "float32", "transformers_version": "5.23.0", "attention_dropout": 0.0, "initializer_factor": 1.0}
    (folder / "config.json").write_text(json.dumps({**config, **more}))
    (words / "vocab.json").unlink()
    (words / "merges.txt").unlink()
    (words / "special_tokens_map.json").unlink()
    (words / "tokenizer.json").write_text(given.texts["clip_tokenizer.json"])
    again = read(path)
    for group, tensors in given.tensors.items():
        assert again.tensors[group].keys() == tensors.keys()
        assert all(torch.equal(again.tensors[group][key], tensor) for key, tensor in tensors.items())
    assert again.texts == given.texts


def test_a_vocabulary_is_given_as_the_folder_that_holds_it(tmp_path: Path) -> None:
    """The tokenizer folder of a pipeline serves a checkpoint of the same text encoder, in any of its forms."""
    from latentry.conditioning.words import clip_tokenizer, tokenizer
    from tests.unit.conditioning.small_clip import clip_text

    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "tokenizer.json").write_text(clip_text())
    read_clip = clip_tokenizer.read(tmp_path / "clip", 77)
    assert read_clip.encode("a red circle").ids == tokenizer.parse(clip_text(), "clip").encode("a red circle").ids
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red"]))
    assert tokenizer.read(tmp_path / "bert").get_vocab() == tokenizer.read(tmp_path / "bert" / "vocab.txt").get_vocab()
