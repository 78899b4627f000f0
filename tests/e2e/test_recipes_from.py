"""If these fail, who has a model from elsewhere must copy its every key by hand to train it on images of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import latentry as lt
from latentry.checkpoints import model_folder
from latentry.cli import run
from latentry.pipeline.foreign import import_model, read_model
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata
from tests.e2e.test_foreign_kinds import CROSS, ENCODERS, checkpoint, tree
from tests.reference.test_diffusers_folders import published

STILL = ["diffusion.train.steps=1", "diffusion.train.batch=2", "diffusion.train.lr=1e-30", "diffusion.train.ema=null",
         "diffusion.train.warmup=0", "diffusion.train.precision=fp32", "sample.steps=2"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_images(tmp_path_factory.mktemp("images"), noise(12, (32, 32, 3)))
    (folder / "maps").mkdir()
    for number in range(12):
        array = np.full((32, 32), number % 5, np.uint8)
        Image.fromarray(array).save(folder / "maps" / f"{number}.png")
    write_metadata(
        folder,
        [{"text": f"picture {n}", "label": str(n % 3), "semantic": f"maps/{n}.png"} for n in range(12)],
    )
    return folder


def silent(_: str) -> None:
    return None


def recipe_of(model: Path, folder: Path) -> Path:
    out = folder / "further.yaml"
    assert run(["recipes", "from", str(model), "--out", str(out)]) == 0
    return out


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def begun(recipe: Path, data: Path, out: Path, *changes: str) -> Path:
    assert run(["train", str(recipe), *STILL, *changes, "--data", str(data), "--out", str(out)]) == 0
    return out


def same_denoiser(source: Path, out: Path) -> None:
    """Every tensor of the second stage, but rows for the classes that the images have."""
    expected, found = lt.load(source, device="cpu").denoiser, lt.load(out / "model", device="cpu").denoiser
    assert expected is not None
    assert found is not None
    theirs = found.state_dict()
    for name, value in expected.state_dict().items():
        if name != "conditioners.label.embedding.weight":
            torch.testing.assert_close(theirs[name], value.float(), rtol=0, atol=1e-20)


def class_model(folder: Path) -> Path:
    """A checkpoint with a ClassEmbedder of 7 rows."""
    from tests.e2e import test_foreign_kinds

    stage = {"target": f"{ENCODERS}.ClassEmbedder", "params": {"n_classes": 7, "embed_dim": 16}}
    content = tree(stage, {**CROSS, "context_dim": 16}, conditioning_key="crossattn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(test_foreign_kinds.KINDS, "classes", (content, {}))
        return checkpoint("classes", folder)


IMPORTED = ["unconditional vq", "unconditional kl", "super-resolution", "semantic", "inpainting", "pixels"]


@pytest.mark.parametrize("name", IMPORTED)
def test_an_imported_model_goes_on_where_it_was(name: str, data: Path, tmp_path: Path) -> None:
    """From its weights, by a recipe that nobody touched; the size and conditions are its own."""
    model_folder.write(tmp_path / "model", import_model(checkpoint(name, tmp_path / "in"), report=silent))
    recipe = recipe_of(tmp_path / "model", tmp_path)
    out = begun(recipe, data, tmp_path / "run")
    same_denoiser(tmp_path / "model", out)
    first, second = model_folder.read(tmp_path / "model"), model_folder.read(out / "model")
    assert first.config.diffusion is not None
    assert second.config.diffusion is not None
    assert second.config.diffusion.unet == first.config.diffusion.unet
    assert second.config.diffusion.schedule == first.config.diffusion.schedule
    for key, tensor in first.tensors["autoencoder"].items():
        assert torch.equal(second.tensors["autoencoder"][key], tensor)


def test_its_first_loss_is_that_of_a_recipe_copied_by_hand(data: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    model_folder.write(source, import_model(checkpoint("unconditional kl", tmp_path / "in"), report=silent))
    by_hand = {
        "name": "by hand",
        "data": {"size": 32},
        "autoencoder": {"from": str(source)},
        "diffusion": {
            "from": str(source),
            "schedule": {"kind": "scaled_linear", "start": 0.0015, "end": 0.0195, "rounded": True},
            "unet": {"channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2], "heads": 2,
                     "transformer_depth": 0},
        },
    }  # fmt: skip
    (tmp_path / "hand.yaml").write_text(yaml.safe_dump(by_hand))
    expected = rows(begun(tmp_path / "hand.yaml", data, tmp_path / "a"))
    found = rows(begun(recipe_of(source, tmp_path), data, tmp_path / "b"))
    losses = [
        [row["loss"] for row in part if row["stage"] == "diffusion" and "loss" in row] for part in (expected, found)
    ]
    assert losses[0]
    assert losses[0] == losses[1]


def test_a_checkpoint_itself_and_a_folder_of_diffusers(data: Path, tmp_path: Path) -> None:
    """Neither has to be imported first."""
    path = checkpoint("unconditional vq", tmp_path / "in")
    same_denoiser(path, begun(recipe_of(path, tmp_path / "a"), data, tmp_path / "a" / "run"))
    folder, _ = published(tmp_path / "ddpm", beside=True, before=True, variance="fixed_large")
    out = begun(recipe_of(folder, tmp_path / "b"), data, tmp_path / "b" / "run")
    same_denoiser(folder, out)
    diffusion = model_folder.read(out / "model").config.diffusion
    assert diffusion is not None
    assert diffusion.unet.frequency_shift == 1
    assert diffusion.schedule.v_posterior == 1


def test_published_classes_become_those_of_the_folder(data: Path, tmp_path: Path) -> None:
    """Names that are numbers keep the rows of those numbers; this model always needs a class, so none is dropped."""
    source = class_model(tmp_path / "in")
    recipe = recipe_of(source, tmp_path)
    content = yaml.safe_load(recipe.read_text())
    assert content["diffusion"]["train"]["drop_condition"] == {"label": 0.0}
    out = begun(recipe, data, tmp_path / "run")
    same_denoiser(source, out)
    before, after = (model.tensors["conditioning"] for model in (read_model(source), model_folder.read(out / "model")))
    key = "conditioners.label.embedding.weight"
    torch.testing.assert_close(after[key], before[key][:3], rtol=0, atol=1e-20)


def test_a_model_of_ones_own_with_words_and_classes(data: Path, tmp_path: Path) -> None:
    conditioning = {"text": {**TEXT, "pooled": "words", "tokens": "words"},
                    "label": {"kind": "class_label", "via": "vector", "width": 8}}  # fmt: skip
    changes = {"data.text": "text", "data.label": "label", "diffusion.conditioning": conditioning}
    source = run_tiny(tmp_path / "source", data, changes).path
    out = begun(recipe_of(source, tmp_path), data, tmp_path / "run")
    same_denoiser(source / "model", out)


def test_a_first_stage_alone_is_tuned(data: Path, tmp_path: Path) -> None:
    path = checkpoint("unconditional kl", tmp_path / "in")
    model = import_model(path, report=silent)
    alone = {"autoencoder": model.tensors["autoencoder"]}
    config = model.config.model_copy(update={"diffusion": None})
    model_folder.write(tmp_path / "model", model_folder.ModelFolder(config, alone))
    content = yaml.safe_load(recipe_of(tmp_path / "model", tmp_path).read_text())
    assert content["autoencoder"]["tune"] is True
    assert content["autoencoder"]["from"] == str(tmp_path / "model")


@pytest.mark.parametrize(("name", "said"), [("text", "--vocabulary")])
def test_what_no_folder_can_train_is_said(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint(name, tmp_path / "in")
    assert run(["recipes", "from", str(path)]) != 0
    assert said in capsys.readouterr().err


def test_a_model_of_layouts_is_trained_further_on_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes", "from", str(checkpoint("layout", tmp_path / "in"))]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["boxes"] == "objects"


def test_it_is_printed_and_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint("unconditional vq", tmp_path / "in")
    assert run(["recipes", "from", str(path)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["diffusion"]["from"] == str(path)
    (tmp_path / "mine.yaml").write_text("name: mine")
    assert run(["recipes", "from", str(path), "--out", str(tmp_path / "mine.yaml")]) != 0
    assert (tmp_path / "mine.yaml").read_text() == "name: mine"
