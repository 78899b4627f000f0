"""What one trains with latentry's own recipes can be taken elsewhere. If these fail, models are locked in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from latentry import config as tools
from latentry.checkpoints import model_folder
from latentry.checkpoints.diffusers import read, summary
from latentry.checkpoints.model_folder import ModelFolder
from latentry.cli import run
from latentry.conditioning import Cond
from latentry.conditioning.words.guess import Guess
from latentry.conditioning.words.tokenizer import train, train_words
from latentry.errors import UsageError
from latentry.models.config import ModelConfig
from latentry.pipeline import Pipeline
from latentry.pipeline.foreign import HOLDS, export_model, import_model
from latentry.pipeline.load import assemble
from latentry.training.plan import recipes
from tests.reference.close import assert_close
from tests.reference.diffusers_models import CAPTIONS, CROSS, FIRST_STAGE, TEXT, UNET, assert_same_model, config, model
from tests.unit.nn.networks import normal

ROOT = Path(__file__).parents[2]
LABELS = ("circle", "star")
SMALL: dict[str, Any] = {"autoencoder.channels": 32, "diffusion.unet.channels": 32}
EMOJI: dict[str, Any] = {
    "autoencoder.channels": 8, "diffusion.unet.channels": 32, "diffusion.conditioning.text.width": 16,
    "diffusion.conditioning.text.layers": 1, "diffusion.conditioning.label.width": 16,
    "diffusion.conditioning.label.classes": 2, "sample.solver": "ddim",
}  # fmt: skip
NARROW = {"autoencoder.multipliers": [1, 2, 2], "diffusion.unet.multipliers": [1, 2], "diffusion.unet.blocks": 1,
          "diffusion.unet.attention": [2]}  # fmt: skip
WORDS = {"diffusion.conditioning": {"text": {"kind": "text", "width": 64}}}
CLASSES = {"diffusion.conditioning": {"label": {"kind": "class_label", "via": "vector", "classes": 2}}}
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "small-128": ("small-128", {**SMALL, "diffusion.conditioning": {}}),
    "small-128 with classes": ("small-128", {**SMALL, **CLASSES}),
    "small-128 with captions": ("small-128", {**SMALL, **WORDS}),
    "small-256": ("small-256", {**SMALL, "diffusion.conditioning": {}, **NARROW}),
    "small-256 with classes": ("small-256", {**SMALL, **CLASSES, **NARROW}),
    "small-256 with captions": ("small-256", {**SMALL, **WORDS, **NARROW}),
    "emoji": ("emoji", {**EMOJI, **NARROW}),
    "emoji in patches": ("emoji", {**EMOJI, **NARROW, "autoencoder.patch": 2, "autoencoder.multipliers": [1, 2]}),
    "small-64": ("small-64", {"autoencoder.channels": 8, "diffusion.unet.channels": 32, "diffusion.conditioning": {}}),
}


def made(name: str, **more: Any) -> ModelFolder:
    """A model as that recipe trains it, narrower, with random weights in every layer."""
    base, changes = RECIPES[name]
    recipe = recipes.load(base, {"data.size": 32, **changes})
    diffusion, texts = recipe.diffusion.architecture().model_dump(), {}
    for options in diffusion["conditioning"].values():
        if options["kind"] == "text":
            tokenizer = (train_words if options["tokens"] == "words" else train)(CAPTIONS, 200)
            texts["tokenizer.json"] = tokenizer.to_str(pretty=True)
            options["vocabulary"] = tokenizer.get_vocab_size()
        if options["kind"] == "class_label":
            options["names"], options["classes"] = list(LABELS), len(LABELS)
            if options["guess"]:
                texts["words.json"] = Guess.of([("a red circle", 0), ("a star", 1)]).to_text()
    tree = {
        "name": "mine",
        "version": "0.0.1",
        "data": {"size": (32, 32), "channels": 3, "labels": LABELS},
        "autoencoder": recipe.autoencoder.architecture().model_dump(),
        "diffusion": diffusion,
        "sample": recipe.sample.model_dump(),
        **more,
    }
    chosen = tools.validate(ModelConfig, tree, "test")
    return model(chosen, scale=0.3, texts=texts)


def saved(given: ModelFolder, path: Path) -> Path:
    model_folder.write(path, given)
    return path


def asked(pipe: Pipeline) -> dict[str, Any]:
    """A value for each condition, two images."""
    assert pipe.denoiser is not None
    values: dict[str, Any] = {"text": ["a red circle on white", "two green stars"], "label": ["star", "circle"]}
    return {name: values[name] for name in pipe.denoiser.conditioners}


def predicted(pipe: Pipeline, x: Tensor, t: Tensor) -> tuple[Tensor, Cond]:
    assert pipe.denoiser is not None
    cond = pipe.denoiser.condition(asked(pipe), 2)
    return pipe.denoiser(x, t, cond), cond


@pytest.mark.parametrize("name", RECIPES)
@torch.no_grad()
def test_a_recipe_of_ours_goes_out_in_full(name: str, tmp_path: Path) -> None:
    """To the format that the table of docs/checkpoints.md says: the same prediction there, and the same model back."""
    given = made(name)
    source = saved(given, tmp_path / "model")
    holding = [to for to in ("compvis", "diffusers") if to in table()[name]]
    assert holding
    for to in HOLDS:
        if to not in holding:
            with pytest.raises(UsageError, match=f"Use --format {holding[0]}, which holds this model in full"):
                export_model(source, to, tmp_path / to)
            continue
        (path,) = export_model(source, to, tmp_path / to)
        assert_same_model(given, path)
        ours, again = assemble(given, "test"), assemble(read(path), "test")
        x, t = normal(2, 4, *(side // ours.autoencoder.factor for side in (32, 32))), torch.tensor([3, 700])
        expected, cond = predicted(ours, x, t)
        assert torch.equal(predicted(again, x, t)[0], expected)
        network: Any = UNet2DConditionModel.from_pretrained(path / "unet")
        context = torch.zeros(2, 1, network.config.cross_attention_dim) if cond.context is None else cond.context
        assert_close(expected, network(x, t, context, class_labels=cond.vector).sample, "prediction")


@pytest.mark.parametrize("name", RECIPES)
@torch.no_grad()
def test_diffusers_draws_the_same_images(name: str, tmp_path: Path) -> None:
    """Opened by diffusers with the code in the folder, where none of its own pipelines would do."""
    given = made(name)
    (path,) = export_model(saved(given, tmp_path / "model"), "diffusers", tmp_path / "out")
    theirs: Any = DiffusionPipeline.from_pretrained(path, trust_remote_code=True)
    theirs.set_progress_bar_config(disable=True)
    ours = assemble(given, "test")
    values, side = asked(ours), 32 // ours.autoencoder.factor
    latents = normal(2, 4, side, side)
    told: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 2.0, "output_type": "np", "latents": latents}
    if "text" in values:
        told["prompt"] = values["text"]
    if "label" in values:
        told["label"] = values["label"]
    if "prompt" not in told and type(theirs).__name__ != "LatentryPipeline":
        told |= {"batch_size": 2}
    images = torch.from_numpy(theirs(**told).images).permute(0, 3, 1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentry.rng.normal", lambda seed, *_: latents[seed : seed + 1])
        how: dict[str, Any] = {"steps": 4, "guidance": 2.0 if values else 1.0}
        found = ours.sample(**values, n=1 if values else 2, **how).tensor
    assert_close(found, images, "images", 2e-4)


@pytest.mark.parametrize("name", ["emoji", "small-128 with classes"])
def test_what_diffusers_saves_again_is_the_same_model(name: str, tmp_path: Path) -> None:
    given = made(name)
    (path,) = export_model(saved(given, tmp_path / "model"), "diffusers", tmp_path / "out")
    assert summary(path)["class"] == "LatentryPipeline"
    theirs: Any = DiffusionPipeline.from_pretrained(path, trust_remote_code=True)
    theirs.conditioning.save_pretrained(tmp_path / "again")
    for file in (path / "conditioning").glob("*.safetensors"):
        file.unlink()
    for file in (tmp_path / "again").iterdir():
        (path / "conditioning" / file.name).write_bytes(file.read_bytes())
    (path / "latentry.yaml").unlink()
    assert read(path).config == given.config


def test_a_folder_that_was_changed_is_named(tmp_path: Path) -> None:
    (path,) = export_model(saved(made("emoji"), tmp_path / "model"), "diffusers", tmp_path / "out")
    content = json.loads((path / "unet" / "config.json").read_text())
    (path / "unet" / "config.json").write_text(json.dumps({**content, "norm_num_groups": 8}))
    with pytest.raises(UsageError, match=r"unet/config\.json say another model than latentry\.yaml"):
        read(path)


def table() -> dict[str, str]:
    """The table of recipes and formats in docs/checkpoints.md: what is behind each recipe."""
    text = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)`([^|]*)\|([^|]*\|[^|]*)\|$", text, re.MULTILINE)
    found = {f"{name}{rest.rstrip()}": formats for name, rest, formats in rows}
    found["emoji in patches"] = found["emoji"]
    return {
        name: " ".join(to for to, cell in zip(("compvis", "diffusers"), cells.split("|"), strict=True) if "yes" in cell)
        for name, cells in found.items()
    }


def test_the_table_names_every_recipe() -> None:
    assert table().keys() | {"emoji in patches"} >= RECIPES.keys()


MAP = {"map": {"kind": "semantic", "classes": 5, "channels": 3, "stages": 1}}
WIDE = {**FIRST_STAGE, "channels": 32, "norm_groups": 32}
PLAIN = {**UNET, "channels": 32, "norm_groups": 32, "head_channels": 16}
ODD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a map": (
        {"unet": PLAIN, "conditioning": MAP},
        "diffusers",
        "Use --format compvis, which holds this model in full",
    ),
    "a map, velocity": (
        {"unet": PLAIN, "conditioning": MAP, "prediction": "velocity"},
        "diffusers",
        "No format holds all of it: .*--stage autoencoder --format compvis",
    ),
    "two kinds of condition": (
        {"unet": CROSS, "conditioning": {"text": TEXT, **MAP}},
        "compvis",
        "No format holds all of it: .*--stage autoencoder",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_each_refusal_is_true(name: str, tmp_path: Path) -> None:
    """It names a format that holds the model, after asking that, or says that none does and what goes."""
    diffusion, to, said = ODD[name]
    given = model(config(WIDE, diffusion))
    source = saved(given, tmp_path / "model")
    with pytest.raises(UsageError, match=said) as error:
        export_model(source, to, tmp_path / "out")
    assert "can only be used here" not in str(error.value)
    other = "compvis" if "compvis" in said or to == "diffusers" else "diffusers"
    stage = "autoencoder" if "--stage" in str(error.value) else None
    found = re.search(r"--format (\w+)", str(error.value))
    assert found is not None
    assert other in HOLDS
    export_model(source, found[1], tmp_path / "again", stage=stage)


def test_the_command_writes_a_first_stage_alone(tmp_path: Path) -> None:
    given = made("emoji")
    source = saved(given, tmp_path / "model")
    command = ["export", str(source), "--format", "diffusers", "--stage", "autoencoder", "--out", str(tmp_path / "out")]
    assert run(command) == 0
    found = read(tmp_path / "out")
    assert found.config.diffusion is None
    assert all(torch.equal(found.tensors["autoencoder"][n], t) for n, t in given.tensors["autoencoder"].items())


def test_equal_channels_said_twice_are_no_difference(tmp_path: Path) -> None:
    """latent_channels written out, as a recipe or a folder of diffusers may."""
    given = model(config({**WIDE, "latent_channels": 3}, {"unet": PLAIN}))
    export_model(saved(given, tmp_path / "model"), "compvis", tmp_path / "out.ckpt")
    back = import_model(tmp_path / "out.ckpt").config
    assert back.model_copy(update={"trained": given.config.trained}) == given.config
