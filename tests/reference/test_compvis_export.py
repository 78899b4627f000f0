"""What is exported for the old code is what came from it. If not, models people get back are not the ones they gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from latentry.checkpoints import model_folder
from latentry.cli import run
from latentry.errors import UsageError
from latentry.pipeline.foreign import export_model, import_model
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata
from tests.shared import SHARED, needs_shared

FOLDERS = sorted(path.parent for path in (SHARED / "compat").glob("*/expected.safetensors"))
UNREAD = ("to_logits", "model_ema.decay")


def silent(_: str) -> None:
    return None


def same(first: model_folder.ModelFolder, second: model_folder.ModelFolder) -> None:
    """Config, texts and every tensor, to the bit."""
    assert first.config == second.config
    assert first.texts == second.texts
    assert first.tensors.keys() == second.tensors.keys()
    for group, tensors in first.tensors.items():
        assert tensors.keys() == second.tensors[group].keys()
        assert all(torch.equal(tensors[name], second.tensors[group][name]) for name in tensors), group


@needs_shared
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_out_and_in_again_and_the_file_is_the_published_one(folder: Path, tmp_path: Path) -> None:
    model, back = tmp_path / "model", tmp_path / "back"
    source = [str(folder / "model.ckpt"), "--config", str(folder / "config.yaml")]
    assert run(["import", *source, "--out", str(model)]) == 0
    assert run(["export", str(model), "--format", "compvis", "--out", str(tmp_path / "out")]) == 0
    assert run(["import", str(tmp_path / "out/model.ckpt"), "--out", str(back)]) == 0
    same(model_folder.read(model), model_folder.read(back))
    theirs = torch.load(folder / "model.ckpt", weights_only=True)
    ours = torch.load(tmp_path / "out/model.ckpt", weights_only=True)
    assert {key: ours[key] for key in ("epoch", "global_step")} == {k: theirs[k] for k in ("epoch", "global_step")}
    published, found = theirs["state_dict"], ours["state_dict"]
    assert found.keys() | {"scale_factor"} == published.keys() | {"scale_factor"}  # here it is in the YAML
    for key in found.keys() - {k for k in found if any(part in k for part in UNREAD)}:
        torch.testing.assert_close(found[key], published[key], rtol=2e-5, atol=1e-7, msg=key)
    tree, given = (yaml.safe_load(path.read_text()) for path in (tmp_path / "out/config.yaml", folder / "config.yaml"))
    assert tree["model"]["target"].rsplit(".")[-1] == given["model"]["target"].rsplit(".")[-1]
    assert tree["model"]["base_learning_rate"] == given["model"]["base_learning_rate"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_images(tmp_path_factory.mktemp("images"), noise(12, (16, 16, 3)))
    write_metadata(folder, [{"text": f"picture {number}", "label": number % 3} for number in range(12)])
    return folder


WIDE: dict[str, Any] = {
    "autoencoder.channels": 32,
    "autoencoder.norm_groups": 32,
    "diffusion.unet": {"channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2], "head_channels": 16,
                       "norm_groups": 32, "transformer_depth": 0},
}  # fmt: skip
LABEL = {"kind": "class_label", "width": 8}
CASES: dict[str, dict[str, Any]] = {
    "unconditional": {},
    "pixels": {"autoencoder": {"kind": "identity", "z_channels": 3}},
    "vq": {"autoencoder.kind": "vq", "autoencoder.codes": 16, "autoencoder.middle_attention": True},
    "labels": {"data.label": "label", "diffusion.conditioning": {"kind_of_picture": LABEL},
               "diffusion.unet.transformer_depth": 1},
    "x0": {"diffusion.prediction": "sample", "diffusion.schedule": "cosine"},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_our_own_models_go_out_and_come_back(name: str, data: Path, tmp_path: Path) -> None:
    """Labels, sizes and the like, which the old code has no place for, included."""
    run_ = run_tiny(tmp_path, data, {**WIDE, **CASES[name]})
    export_model(run_.path / "model", "compvis", tmp_path / "out.ckpt")
    back = import_model(tmp_path / "out.ckpt", weights="ema", report=silent)
    given = model_folder.read(run_.path / "model")
    assert back.config.model_copy(update={"trained": given.config.trained}) == given.config
    for group, tensors in given.tensors.items():
        assert all(torch.equal(tensors[n], back.tensors[group][n]) for n in tensors), group


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "groups": ({"autoencoder.norm_groups": 8}, "autoencoder.norm_groups 8"),
    "velocity": ({"diffusion.prediction": "velocity"}, "prediction velocity"),
    "words": ({"data.text": "text", "diffusion.conditioning": {"text": TEXT}, "diffusion.unet.transformer_depth": 1},
              "a vocabulary of its own"),
    "vector": ({"data.label": "label", "diffusion.conditioning": {"label": {**LABEL, "via": "vector"}}},
               "a class label via vector"),
    "factor": ({"diffusion.conditioning": {"image": {"kind": "image", "factor": 1}}}, "an image of factor 1"),
    "regression": ({"diffusion.conditioning": {"image": {"kind": "image", "factor": 2}},
                    "diffusion.prediction": "regression"}, "prediction regression"),
    "depth": ({"diffusion.unet.transformer_depth": 1}, "unet.transformer_depth without a context"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_has_no_place_for_is_refused_by_name(name: str, data: Path, tmp_path: Path) -> None:
    changes, said = REFUSED[name]
    run_ = run_tiny(tmp_path, data, {**WIDE, **changes})
    with pytest.raises(UsageError, match=f"export compvis: {said}"):
        export_model(run_.path / "model", "compvis", tmp_path / "out")
    assert not (tmp_path / "out").exists()
