"""A checkpoint is judged by the samplers of the code that it comes from; by others, a good import looks wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from latentry import __version__
from latentry.checkpoints import model_folder
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.run_folder import split_denoiser
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, DataFacts, ModelConfig
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.verify.compare import compare, verify
from latentry.verify.fixture import Subject
from latentry.verify.sampler_checks import walk
from tests.unit.models.small_models import LABELS, denoiser

STEPS, SCALE, GUIDANCE = 5, 1000, 3.0
LABEL, NOTHING = torch.tensor([2, 0]), torch.tensor([-1, -1])


def published_ddim(model: LatentDiffusion, x: Tensor, guidance: float) -> Tensor:
    """ldm/models/diffusion/ddim.py, eta 0: whatever the network is trained to give is taken for the noise."""
    abar = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, SCALE) ** 2)
    times = np.arange(0, SCALE, SCALE // STEPS) + 1
    before = np.concatenate([abar[:1], abar[times[:-1]]])
    for t, a, b in reversed(list(zip(times, abar[times], before, strict=True))):
        with_label, without = (
            model(x, torch.full((2,), int(t)), model.condition({"label": v}, 2)) for v in (LABEL, NOTHING)
        )
        e = without + guidance * (with_label - without)
        x0 = (x - (1 - a) ** 0.5 * e) / a**0.5
        x = b**0.5 * x0 + (1 - b) ** 0.5 * e
    return x


def write_model(folder: Path, model: LatentDiffusion) -> None:
    """A model folder of this second stage and a first one."""
    torch.manual_seed(0)
    shape = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "norm_groups": 4, "z_channels": 4}
    autoencoder = Autoencoder(AutoencoderOptions.model_validate(shape), 3)
    config = ModelConfig(
        name="small",
        version=__version__,
        data=DataFacts(size=(16, 16), channels=3, labels=LABELS),
        autoencoder=autoencoder.options,
        diffusion=model.options.model_copy(
            update={"conditioning": {n: c.options for n, c in model.conditioners.items()}}
        ),
    )
    groups = {"autoencoder": autoencoder.state_dict(), **split_denoiser(model.state_dict())}
    model_folder.write(folder, ModelFolder(config, groups))


def subject(root: Path, prediction: str) -> tuple[LatentDiffusion, Path, Path]:
    """(the model, its folder, a folder of reference numbers)."""
    model = denoiser("vector", prediction=prediction)
    write_model(root / "model", model)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    tensors = {"in.x_T": x, "in.x_t": x.clone(), "in.class_label": LABEL, "in.class_label_uncond": NOTHING}
    with torch.no_grad():
        tensors[f"out.ddim{STEPS}_cfg{GUIDANCE}"] = published_ddim(model, x, GUIDANCE)
        tensors[f"out.ddim{STEPS}"] = published_ddim(model, x, 1.0)
    fixture = root / "fixture"
    fixture.mkdir()
    save_file(tensors, fixture / "expected.safetensors")
    (fixture / "expected.json").write_text(json.dumps({"tensors": {}}))
    (fixture / "config.yaml").write_text(yaml.safe_dump({"model": {"params": {"cond_stage_key": "class_label"}}}))
    return model, root / "model", fixture


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "velocity"])
def test_published_ddim_takes_any_output_for_the_noise(tmp_path: Path, prediction: str) -> None:
    _, model, fixture = subject(tmp_path, prediction)
    lines = list(verify(model, fixture))
    assert len(lines) == 2
    assert [line for line in lines if not line.good] == []


def test_the_model_keeps_its_own_prediction(tmp_path: Path) -> None:
    """Else what is checked after a sampler would be another model than the one imported."""
    _, model, fixture = subject(tmp_path, "velocity")
    s = Subject(model, fixture, torch.device("cpu"))
    prediction = s.denoiser().prediction
    walk(s, "ddim", str(STEPS), None, None)
    assert s.denoiser().prediction is prediction


def test_one_walk_for_all_its_tensors(tmp_path: Path) -> None:
    """A sampler or a loss computed anew for each of its tensors makes a check of minutes one of an hour."""
    _, model, fixture = subject(tmp_path, "epsilon")
    s = Subject(model, fixture, torch.device("cpu"))
    name, calls = f"out.ddim{STEPS}", []
    s.denoiser().unet.register_forward_pre_hook(lambda *_: calls.append(1))
    s.tensors |= {f"{name}.{part}": torch.zeros(1) for part in ("x_steps", "x0_last")}
    notes = [compare(s, tensor).note for tensor in (name, f"{name}.x_steps", f"{name}.x0_last")]
    assert notes == ["", "shape (5, 2, 4, 8, 8), expected (1,)", "shape (2, 4, 8, 8), expected (1,)"]
    assert len(calls) == STEPS
