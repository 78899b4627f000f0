"""Our process gives the published code's numbers. If not, published models would be denoised at the wrong levels."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.objective import DiffusionObjectiveOptions, Objective
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.process import posterior_log_variance, posterior_mean, posterior_variance, q_sample
from latentry.diffusion.schedule import CLEAN, Level, ScaledLinear, Schedule, build_schedule
from latentry.diffusion.solvers.ddim import ancestral, ddim
from latentry.diffusion.solvers.ddpm import ddpm
from latentry.diffusion.weighting import elbo_weights
from tests.shared import SHARED, needs_shared

FOLDERS = sorted(p.parent for p in (SHARED / "compat").glob("*/config.yaml") if "linear_start" in p.read_text())
pytestmark = [needs_shared, pytest.mark.skipif(not FOLDERS, reason="no fixture with a diffusion process")]
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
from_either = pytest.mark.parametrize("source", ["options", "imported"])
RUNS = ["ddim5", "ddim20", "ddim5_eta1"]


@cache
def expected(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


@cache
def params(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())["model"]["params"]


@cache
def schedule(folder: Path, source: str = "options") -> Schedule:
    """From the config's numbers, or from the checkpoint's float32 table as an import would take it."""
    if source == "imported":
        state = torch.load(folder / "model.ckpt", map_location="cpu", weights_only=False)["state_dict"]
        assert state["alphas_cumprod"].dtype == torch.float32
        return Schedule(state["alphas_cumprod"])
    given = params(folder)
    return build_schedule(ScaledLinear(start=given["linear_start"], end=given["linear_end"], steps=given["timesteps"]))


def assert_close(ours: Tensor, theirs: Tensor, of_largest: float) -> None:
    """Within a share of their largest magnitude."""
    tolerance = of_largest * float(theirs.double().abs().max())
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=tolerance)


@each
@from_either
def test_q_sample(folder: Path, source: str) -> None:
    given = expected(folder)
    x_t = q_sample(given["in.x0"], given["in.noise"], *schedule(folder, source).at(given["in.t4"]))
    assert_close(x_t, given["out.q_sample"], 1e-6)


@each
@from_either
def test_x0_from_epsilon(folder: Path, source: str) -> None:
    given = expected(folder)
    x0 = PREDICTIONS["epsilon"].x0(given["in.x_t4"], given["in.eps4"], *schedule(folder, source).at(given["in.t4"]))
    assert_close(x0, given["out.ddpm.x0_from_eps"], 3e-6)


@each
def test_posterior(folder: Path) -> None:
    given, ours = expected(folder), schedule(folder)
    t, x_t = given["in.t4"], given["in.x_t4"]
    assert_close(posterior_mean(ours, given["in.x0"], x_t, t), given["out.ddpm.posterior_mean"], 1e-6)
    assert_close(posterior_variance(ours)[t], given["out.ddpm.posterior_variance"], 1e-6)
    assert_close(posterior_log_variance(ours)[t], given["out.ddpm.posterior_log_variance"], 1e-6)
    mean = posterior_mean(ours, given["out.ddpm.x0_from_eps"], x_t, t)
    assert_close(mean, given["out.ddpm.mean_from_eps"], 3e-6)


@each
@from_either
def test_one_ancestral_step(folder: Path, source: str) -> None:
    """A solver's step from level t to t - 1, at t = 0 to clean, is the published p_sample with the same noise."""
    given, ours = expected(folder), schedule(folder, source)
    noise_part = given["out.ddpm.p_sample"] - given["out.ddpm.p_mean"]
    for i, t in enumerate(given["in.t4"].tolist()):
        levels = [ours.level(t), ours.level(t - 1) if t else CLEAN]
        x0 = given["out.ddpm.x0_from_eps"][i]
        (step,) = ddpm(lambda x, level: x0, given["in.x_t4"][i], levels, noise=lambda k: given["in.p_noise"][i])  # noqa: B023
        assert_close(step.x, given["out.ddpm.mean_from_eps"][i] + noise_part[i], 1e-5)


@each
@from_either
def test_elbo_weights(folder: Path, source: str) -> None:
    weights, theirs = elbo_weights(schedule(folder, source), "epsilon"), expected(folder)["out.lvlb_weights"]
    # theirs are float32 and lose five digits in 1 - abar; an imported table loses a sixth in abar_t / abar_{t-1}
    torch.testing.assert_close(weights, theirs.double(), rtol=1.5e-5 if source == "options" else 1e-4, atol=0)


@each
@pytest.mark.parametrize("run", RUNS)
@from_either
def test_published_grid(folder: Path, run: str, source: str) -> None:
    given = expected(folder)
    if f"out.{run}.timesteps" not in given:
        pytest.skip(f"the fixture has no {run}")
    times = given[f"out.{run}.timesteps"].flip(0)
    levels = LEVELS["published"](schedule(folder, source), len(times))
    assert [level.t for level in levels] == [*times.tolist(), 0]
    alphas = torch.tensor([level.alpha**2 for level in levels], dtype=torch.float64)
    assert_close(alphas[:-1], given[f"out.{run}.alphas"].flip(0), 1e-7)
    assert_close(alphas[1:], given[f"out.{run}.alphas_prev"].flip(0), 1e-7)
    eta = 1.0 if run.endswith("eta1") else 0.0
    fresh = [ancestral(now, after, eta)[0] for now, after in pairwise(levels)]
    torch.testing.assert_close(
        torch.tensor(fresh, dtype=torch.float64), given[f"out.{run}.sigmas"].flip(0), rtol=0, atol=1e-6
    )


@each
@pytest.mark.parametrize("run", [*RUNS, "ddim5_cfg3", "ddim20_cfg3"])
def test_last_ddim_step(folder: Path, run: str) -> None:
    """From the published x before the last step and its x0, our step ends where the published sampler ends."""
    given = expected(folder)
    if f"out.{run}" not in given:
        pytest.skip(f"the fixture has no {run}")
    walk = given[f"out.{run}.x_steps"]
    levels = LEVELS["published"](schedule(folder), len(walk))
    eta = 1.0 if run.endswith("eta1") else 0.0

    def denoise(x: Tensor, level: Level) -> Tensor:
        return given[f"out.{run}.x0_last"]

    def noise(index: int) -> Tensor:
        return given["in.ddim_noise"][-1]

    (step,) = ddim(denoise, walk[-2], levels[-2:], noise=noise, eta=eta)
    assert_close(step.x, given[f"out.{run}"], 3e-6)


@each
def test_loss_from_the_published_errors(folder: Path) -> None:
    """The bound and the total from each sample's error; the errors themselves need a network and are tested with it."""
    given = expected(folder)
    per_sample = given["out.loss.per_sample"]
    loss = params(folder).get("loss_type", "l2")
    objective = Objective(DiffusionObjectiveOptions(loss=loss), schedule(folder), "epsilon")
    out = per_sample.view(-1, 1) if loss == "l1" else per_sample.sqrt().view(-1, 1)
    result = objective(out, torch.zeros_like(out), given["in.t4"], objective.initial_log_variance())
    assert_close(result.total, given["out.loss.total"], 1e-6)
    assert_close(result.simple.mean(), given["out.loss.loss_simple"], 1e-6)
    assert_close(result.elbo.mean(), given["out.loss.loss_vlb"], 3e-5)
