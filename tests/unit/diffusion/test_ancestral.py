"""Ancestral steps are the published code's: from betas in float64, with `v_posterior`. If not, pixel models drift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

import latentry as lt
from latentry import rng
from latentry.checkpoints import model_folder
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.process import posterior_log_variance, posterior_mean, posterior_variance
from latentry.diffusion.schedule import CLEAN, Level, build_schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.weighting import elbo_weights
from latentry.pipeline.foreign import export_model, import_model
from latentry.verify.compare import verify
from tests.e2e.test_foreign_kinds import checkpoint

PLAIN: dict[str, Any] = {"kind": "linear", "start": 1e-4, "end": 2e-2, "steps": 1000, "rounded": True}
each = pytest.mark.parametrize("v", [0.0, 0.3, 1.0])


def published(betas: Any, v: float) -> dict[str, Any]:
    """Tables of the published code, in float64 as it makes them."""
    abar = np.cumprod(1 - betas)
    before = np.append(1.0, abar[:-1])
    variance = (1 - v) * betas * (1 - before) / (1 - abar) + v * betas
    return {
        "variance": variance,
        "log": np.log(np.maximum(variance, 1e-20)),
        "of_x0": betas * np.sqrt(before) / (1 - abar),
        "of_x": (1 - before) * np.sqrt(1 - betas) / (1 - abar),
    }


@each
def test_coefficients_are_those_of_betas(v: float) -> None:
    """Of a rounded abar they are off by 1.6e-4 at small times."""
    schedule, tables = build_schedule({**PLAIN, "v_posterior": v}), published(np.linspace(1e-4, 2e-2, 1000), v)
    np.testing.assert_allclose(posterior_variance(schedule).numpy(), tables["variance"], rtol=1e-10)
    np.testing.assert_allclose(posterior_log_variance(schedule).numpy(), tables["log"], rtol=1e-10)
    t, one = torch.arange(10), torch.ones(10, 1, 1, 1)
    mean = posterior_mean(schedule, one, 0 * one, t).flatten().numpy()
    np.testing.assert_allclose(mean, tables["of_x0"][:10], rtol=1e-6)
    mean = posterior_mean(schedule, 0 * one, one, t).flatten().numpy()
    np.testing.assert_allclose(mean, tables["of_x"][:10], rtol=1e-6)


@each
def test_the_variational_bound_is_weighed_by_that_variance(v: float) -> None:
    schedule, betas = build_schedule({**PLAIN, "v_posterior": v}), np.linspace(1e-4, 2e-2, 1000)
    weights = betas[1:] ** 2 / (2 * published(betas, v)["variance"] * (1 - betas) * (1 - np.cumprod(1 - betas)))[1:]
    np.testing.assert_allclose(elbo_weights(schedule, "epsilon").numpy()[1:], weights, rtol=2e-4)


@each
def test_a_walk_is_the_published_one(v: float) -> None:
    schedule, tables = build_schedule({**PLAIN, "v_posterior": v}), published(np.linspace(1e-4, 2e-2, 1000), v)
    noise = torch.randn(5, 1, 2, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = expected = torch.full((1, 2, 2, 2), 0.7, dtype=torch.float64)
    levels = [*(schedule.exact.level(t) for t in (4, 3, 2, 1, 0)), CLEAN]
    for step in SOLVERS["ddpm"].solve(lambda x, _: x.tanh(), x, levels, noise=lambda i: noise[i], v_posterior=v):
        t = 4 - step.index
        expected = tables["of_x0"][t] * expected.tanh() + tables["of_x"][t] * expected
        expected = expected + (t > 0) * np.exp(0.5 * tables["log"][t]) * noise[step.index]
        torch.testing.assert_close(step.x, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("variance", "of_data"), [("posterior", 0.0), ("beta", 1.0)])
def test_each_variance_is_exact_for_the_data_it_was_derived_for(variance: str, of_data: float) -> None:
    """Ho et al. 2020, section 3.2: the posterior's where the data are one point, beta where they are standard normal.

    In few steps, where the two differ: after each the deviation is the process's own.
    """
    schedule = build_schedule({**PLAIN, "rounded": False, "v_posterior": 0.5})
    levels, draw = LEVELS["uniform"](schedule, 6), torch.Generator().manual_seed(0)
    noise = torch.randn(7, 100_000, generator=draw, dtype=torch.float64)

    def perfect(x: Tensor, level: Level) -> Tensor:
        return of_data * level.alpha * x  # E[x0 | x_t] of N(0, of_data), alpha^2 + sigma^2 = 1

    for step in SOLVERS["ddpm"].solve(perfect, noise[6], levels[:-1], noise=lambda i: noise[i], variance=variance):
        exact = of_data * step.level.alpha**2 + step.level.sigma**2
        assert float(step.x.var()) == pytest.approx(exact, rel=0.02)


def pixels(v: float, folder: Path, **params: Any) -> Path:
    """A checkpoint of the published base class whose config says `v_posterior`."""
    path = checkpoint("pixels", folder)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    content["model"]["params"] |= {"v_posterior": v, "beta_schedule": "sqrt_linear", **params}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    state = torch.load(path, weights_only=True)
    kept = {k: t for k, t in state["state_dict"].items() if "." in k}
    torch.save({**state, "state_dict": kept}, path)
    return path


@each
@torch.no_grad()
def test_a_model_samples_with_what_its_config_says(v: float, tmp_path: Path) -> None:
    pipe = lt.load(pixels(v, tmp_path / "in"), device="cpu")
    tables, shape = published(np.linspace(1e-4, 2e-2, 20), v), (3, 16, 16)
    assert pipe.denoiser is not None

    def drawn(stream: str, step: int) -> Tensor:
        return rng.normal(5, stream, [0], step, shape)

    x = drawn("sampling start", 0)
    for index, t in enumerate(reversed(range(20))):
        x0 = pipe.denoiser.unet(x, torch.tensor([t])).clamp(-1, 1)
        mean = float(tables["of_x0"][t]) * x0 + float(tables["of_x"][t]) * x
        x = mean + (t > 0) * float(np.exp(0.5 * tables["log"][t])) * drawn("sampling noise", index)
    steps = list(pipe.steps(seed=5))
    torch.testing.assert_close(steps[-1].x, x, rtol=0, atol=2e-5)


def test_it_goes_out_and_comes_back(tmp_path: Path) -> None:
    given = import_model(pixels(0.25, tmp_path / "in"))
    model_folder.write(tmp_path / "model", given)
    export_model(tmp_path / "model", "compvis", tmp_path / "out.ckpt")
    config = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert config["model"]["params"]["v_posterior"] == 0.25
    assert import_model(tmp_path / "out.ckpt").config == given.config


def test_verify_compares_the_gradient_of_a_learned_log_variance(tmp_path: Path) -> None:
    """The published loss is mean(per / exp(lv_t) + lv_t), whose gradient is (1 - per / exp(lv_t)) / B by hand."""
    folder = tmp_path / "in"
    checkpoint("unconditional kl", folder)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    content["model"]["params"] |= {"learn_logvar": True, "logvar_init": 0.2, "l_simple_weight": 1.0}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    state = torch.load(folder / "model.ckpt", weights_only=True)
    learned = torch.linspace(-0.5, 0.5, 1000)
    state["state_dict"]["logvar"] = learned
    torch.save(state, folder / "model.ckpt")
    model_folder.write(tmp_path / "model", import_model(folder / "model.ckpt"))
    pipe = lt.load(tmp_path / "model", device="cpu", weights="raw")
    draw = torch.Generator().manual_seed(3)
    x0, noise = torch.randn(2, 4, 3, 8, 8, generator=draw)
    t = torch.tensor([0, 17, 500, 999])
    assert pipe.denoiser is not None
    alpha, sigma = (part.view(-1, 1, 1, 1) for part in pipe.denoiser.schedule.at(t))
    with torch.no_grad():
        per = (pipe.denoiser.unet(alpha * x0 + sigma * noise, t) - noise).square().mean((1, 2, 3))
    expected = torch.zeros(1000)
    expected[t] = (1 - per / learned[t].exp()) / 4
    tensors = {"in.x_t": x0[:2].clone(), "in.x0": x0, "in.noise": noise, "in.t4": t, "out.grad.logvar": expected}
    save_file({k: v.clone() for k, v in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps({"tensors": {}}))
    (line,) = verify(tmp_path / "model", folder)
    assert line.good, line
    save_file({**tensors, "out.grad.logvar": 1.01 * expected}, folder / "expected.safetensors")
    assert not next(verify(tmp_path / "model", folder)).good
