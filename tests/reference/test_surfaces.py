"""What people call gives the published numbers too: `lt.load`, `Pipeline.sample`, and the training step."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

import latentry as lt
from latentry import rng
from latentry.checkpoints.compvis.training import diffusion_objective
from latentry.config import load_yaml
from latentry.data.sample import Example
from latentry.training.recipe.diffusion import DiffusionSection
from latentry.training.stages.diffusion.draws import Draws
from latentry.training.stages.diffusion.stage import DiffusionStage
from tests.reference.close import assert_close
from tests.shared import SHARED, needs_shared
from tests.unit.training.small_stages import ALONE

NAMES = {"text_kl": "text", "class_vq": "label", "uncond_kl_std": None}
INPUTS = {"text": "in.token_ids", "label": "in.class_label"}
each = pytest.mark.parametrize("name", NAMES)
pytestmark = [needs_shared]


@cache
def expected(name: str) -> dict[str, Tensor]:
    return load_file(SHARED / "compat" / name / "expected.safetensors")


def told(name: str) -> dict[str, Any]:
    condition = NAMES[name]
    return {condition: expected(name)[INPUTS[condition]]} if condition else {}


@pytest.mark.parametrize(
    ("name", "run", "how"),
    [
        ("class_vq", "ddim20_cfg3", {"steps": 20, "guidance": 3.0}),
        ("class_vq", "plms20", {"steps": 20, "guidance": 1.0, "solver": "plms"}),
        ("uncond_kl_std", "ddim20", {"steps": 20, "solver": "ddim"}),
    ],
)
def test_sampling_from_the_published_noise(name: str, run: str, how: dict[str, Any], monkeypatch) -> None:
    """The config beside the checkpoint is found; averaged weights and the published grid are the default."""
    given, pipe = expected(name), lt.load(SHARED / "compat" / name / "model.ckpt")
    starts, plain = iter(given["in.x_T"].split(1)), rng.normal

    def normal(seed: int, stream: str, *place: Any) -> Tensor:
        return next(starts) if stream == "sampling start" else plain(seed, stream, *place)

    monkeypatch.setattr(rng, "normal", normal)
    conditions = {key: value.tolist() for key, value in told(name).items()}
    out = pipe.sample(n=1 if conditions else 2, **how, **conditions)
    assert_close(out.tensor, ((given[f"out.{run}.decoded"] + 1) / 2).clamp(0, 1), run, 1e-3)


@each
def test_training_loss_and_gradients(name: str, monkeypatch) -> None:
    """The stage's loss of the fixture's latents, times and noise, from the raw weights."""
    folder, given = SHARED / "compat" / name, expected(name)
    pipe = lt.load(folder / "model.ckpt", weights="raw")
    assert pipe.denoiser is not None
    options = {**pipe.denoiser.options.model_dump(), "train": {"batch": 4, "ema": None, "precision": "fp32"}}
    options["objective"] = diffusion_objective(load_yaml(folder / "config.yaml")["model"]["params"])
    section, nothing = DiffusionSection.model_validate(options), None
    stage = DiffusionStage(pipe.denoiser, pipe.autoencoder, section, nothing, None, {}, seed=0, world=ALONE)  # type: ignore[arg-type]
    x0 = given["in.x0"] / pipe.autoencoder.latent_scale
    moments = x0 if pipe.autoencoder.quantiser else torch.cat([x0, torch.full_like(x0, -60.0)], dim=1)
    draws = Draws(given["in.t4"], given["in.noise"], torch.ones(1, 4), torch.ones(4), torch.zeros_like(x0))
    monkeypatch.setattr(stage, "draw", lambda *place: draws)
    conditions: Any = {key: torch.cat([value, value]) for key, value in told(name).items()}
    loss, errors, _ = stage.losses(Example(None, moments, conditions, [0, 1, 2, 3]), step=0)
    assert_close(loss.detach(), given["out.loss.total"], "total")
    assert_close(errors.detach(), given["out.loss.per_sample"], "errors")
    loss.backward()
    assert_close(norm(pipe.denoiser.unet), given["out.grad.model_norm"], "model norm", 1e-4)
    if "out.grad.cond_stage_norm" in given:
        assert_close(norm(pipe.denoiser.conditioners), given["out.grad.cond_stage_norm"], "condition norm", 1e-4)


def norm(module: nn.Module) -> Tensor:
    """L2 norm over all gradients of a module."""
    return get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
