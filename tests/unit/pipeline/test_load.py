"""If these fail, `lt.load` opens other weights than it was asked for, or a model that was copied does not open."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import latentry as lt
from latentry import devices
from latentry.checkpoints.store import Store
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of both stages, both with averaged weights, told by text and label."""
    folder = tmp_path_factory.mktemp("load")
    data = write_images(folder / "data", noise(6, (16, 16, 3)))
    write_metadata(data, [{"text": f"thing {i}", "label": ["red", "green"][i % 2]} for i in range(6)])
    changes: dict[str, Any] = {
        "data.text": "text",
        "data.label": "label",
        "diffusion.conditioning": {"text": TEXT, "label": {"kind": "class_label", "via": "vector", "width": 8}},
    }
    for stage in ("autoencoder", "diffusion"):
        more = {"steps": 3, "save_every": 1, "keep": 3, "ema": 0.99, "sample_every": 9, "validate_every": 9}
        changes |= {f"{stage}.train.{key}": value for key, value in more.items()}
    return run_tiny(folder, data, changes).path


def saved(run: Path, stage: str, step: int, group: str) -> dict[str, Tensor]:
    return Store(run / stage).at(step).tensors(group)


def unet(pipe: Pipeline) -> dict[str, Tensor]:
    assert pipe.denoiser is not None
    return pipe.denoiser.state_dict()


@pytest.mark.parametrize("step", [1, 3])
def test_a_step_and_its_raw_or_averaged_weights(run, step):
    raw, averaged = (unet(lt.load(run, step=step, weights=which, device="cpu")) for which in ("raw", "ema"))
    model, ema = (saved(run, "diffusion", step, group) for group in ("model", "ema"))
    assert all(torch.equal(raw[name], model[name]) for name in raw)
    assert all(torch.equal(averaged[name], ema[name]) for name in averaged if name in ema)
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)


def test_the_newest_averaged_weights_are_the_default_and_those_of_the_model(run):
    newest, model = lt.load(run, device="cpu"), lt.load(run / "model", device="cpu")
    ema = saved(run, "diffusion", 3, "ema")
    assert all(torch.equal(unet(newest)[name], ema[name]) for name in ema if name in unet(newest))
    assert all(torch.equal(unet(newest)[name], tensor) for name, tensor in unet(model).items())
    first = saved(run, "autoencoder", 3, "ema")
    assert all(torch.equal(model.autoencoder.state_dict()[name], first[name]) for name in first if name != "updates")
    assert float(newest.autoencoder.latent_scale) == float(model.autoencoder.latent_scale) != 1.0


def test_hashes_tell_weights_apart(run):
    hashes = [lt.load(run, step=2).model_hash, lt.load(run, step=3).model_hash, lt.load(run / "model").model_hash]
    hashes.append(lt.load(run, step=3, weights="raw").model_hash)
    assert len(set(hashes)) == 4
    assert all(len(one) == 12 for one in hashes)
    assert lt.load(run, step=2).model_hash == hashes[0]


def test_a_model_is_at_home_anywhere(run, tmp_path):
    """Nothing in it points back to the run, the data or the working folder."""
    here = lt.load(run / "model").sample("a thing", label="red", seed=4)
    elsewhere = shutil.copytree(run / "model", tmp_path / "other place" / "m")
    moved = run.with_name("moved")
    run.rename(moved)
    try:
        there = lt.load(elsewhere).sample("a thing", label="red", seed=4)
    finally:
        moved.rename(run)
    assert torch.equal(here.tensor, there.tensor)
    assert here.facts[0]["model"] == there.facts[0]["model"]
    assert not any(
        str(run.parent) in path.read_text() for path in elsewhere.iterdir() if path.suffix in (".yaml", ".md")
    )


def test_it_opens_on_the_device_of_choice(run, monkeypatch):
    """By default the best there is. The first stage, through which conditions may pass, moves with the rest."""
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    kinds = ["cpu"]
    monkeypatch.setattr(devices, "_count", lambda kind: int(kind in kinds))
    assert lt.load(run).device.type == "cpu"
    with pytest.raises(UsageError, match=r"device: there is no cuda device .* here; there is cpu"):
        lt.load(run, device="cuda")
    with pytest.raises(UsageError, match=r'device: no "gpu"; known: auto, cuda, mps, cpu'):
        lt.load(run, device="gpu")
    monkeypatch.setattr(devices, "choose", lambda name: torch.device("meta"))
    pipe = lt.load(run)
    assert pipe.denoiser is not None
    tensors = [*pipe.autoencoder.state_dict().values(), *pipe.denoiser.state_dict().values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_what_a_run_cannot_give(run):
    with pytest.raises(UsageError, match="no checkpoint of step 7; known: 1, 2, 3"):
        lt.load(run, step=7)
    with pytest.raises(UsageError, match="without raw weights"):
        lt.load(run / "model", weights="raw")
