"""q and its posterior against Gaussian algebra. If these are off, the network is trained on the wrong inputs."""

from __future__ import annotations

import math

import pytest
import torch

from latentry.diffusion.prediction import PREDICTIONS, check_prediction
from latentry.diffusion.process import posterior_log_variance, posterior_mean, posterior_variance, q_sample
from latentry.diffusion.schedule import Schedule, build_schedule
from latentry.errors import UsageError

PATHS = {
    "variance preserving": (0.6, 0.8),
    "nearly noise": (0.012, math.sqrt(1 - 0.012**2)),
    "flow": (0.3, 0.7),
    "flow, nearly clean": (0.999, 0.001),
}


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_q_sample_uses_each_samples_own_level_even_when_the_batch_is_as_wide_as_the_image() -> None:
    x0, eps = normal(4, 3, 4, 4, seed=0), normal(4, 3, 4, 4, seed=1)
    alpha, sigma = torch.tensor([1.0, 0.8, 0.6, 0.0]).double(), torch.tensor([0.0, 0.6, 0.8, 1.0]).double()
    x = q_sample(x0, eps, alpha, sigma)
    for i in range(4):
        torch.testing.assert_close(x[i], float(alpha[i]) * x0[i] + float(sigma[i]) * eps[i])


def test_noising_step_by_step_has_the_marginal_of_q() -> None:
    schedule = build_schedule("scaled_linear")
    mean, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas.tolist()):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        assert (mean, math.sqrt(variance)) == pytest.approx(schedule.level(t)[1:], rel=1e-11)


@pytest.mark.parametrize("t", [1, 37, 999])
def test_posterior_is_bayes_rule(t: int) -> None:
    """p(x_{t-1}) = N(a' x0, s'^2) conditioned on x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) noise, by precisions."""
    schedule = build_schedule("linear")
    beta, before = float(schedule.betas[t]), float(schedule.abar[t - 1])
    x0, x_t = normal(2, 3, seed=0), normal(2, 3, seed=1)
    precision = 1 / (1 - before) + (1 - beta) / beta
    mean = (math.sqrt(before) / (1 - before) * x0 + math.sqrt(1 - beta) / beta * x_t) / precision
    torch.testing.assert_close(posterior_mean(schedule, x0, x_t, torch.tensor([t, t])), mean, rtol=1e-9, atol=1e-9)
    assert float(posterior_variance(schedule)[t]) == pytest.approx(1 / precision, rel=1e-9)


def test_posterior_at_the_first_time_is_x0_with_a_clipped_log_variance() -> None:
    schedule = build_schedule("scaled_linear")
    x0, x_t = normal(1, 3, seed=0), normal(1, 3, seed=1)
    torch.testing.assert_close(posterior_mean(schedule, x0, x_t, torch.tensor([0])), x0)
    assert float(posterior_variance(schedule)[0]) == 0
    assert float(posterior_log_variance(schedule)[0]) == pytest.approx(math.log(1e-20))
    torch.testing.assert_close(posterior_log_variance(schedule)[1:].exp(), posterior_variance(schedule)[1:])


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("path", PATHS)
def test_a_perfect_output_gives_back_x0_on_every_path(name: str, path: str) -> None:
    alpha, sigma = PATHS[path]
    x0, eps = normal(2, 3, 4, 4, seed=0), normal(2, 3, 4, 4, seed=1)
    prediction = PREDICTIONS[name]
    for a, s in ((alpha, sigma), (torch.full((2,), alpha).double(), torch.full((2,), sigma).double())):
        out = prediction.target(x0, eps, a, s)
        x_t = alpha * x0 + sigma * eps
        torch.testing.assert_close(prediction.x0(x_t, out, a, s), x0, rtol=1e-6, atol=1e-6)


def test_targets_are_what_their_names_say() -> None:
    x0, eps = torch.tensor([2.0]), torch.tensor([3.0])
    targets = {name: float(p.target(x0, eps, 0.6, 0.8)) for name, p in PREDICTIONS.items()}
    assert targets == pytest.approx({"epsilon": 3.0, "sample": 2.0, "velocity": 0.6 * 3 - 0.8 * 2, "regression": 2.0})


@pytest.mark.parametrize("name", ["sample", "velocity"])
def test_pure_noise_still_gives_x0(name: str) -> None:
    x0, eps = torch.tensor([2.0]), torch.tensor([3.0])
    out = PREDICTIONS[name].target(x0, eps, 0.0, 1.0)
    torch.testing.assert_close(PREDICTIONS[name].x0(eps, out, 0.0, 1.0), x0)


def test_epsilon_on_a_schedule_that_ends_in_pure_noise_is_refused() -> None:
    schedule = Schedule(torch.tensor([0.9, 0.4, 0.0]))
    with pytest.raises(UsageError, match=r"epsilon.*velocity"):
        check_prediction(schedule, "epsilon")
    check_prediction(schedule, "velocity")
    check_prediction(schedule, "sample")
    check_prediction(build_schedule("scaled_linear"), "epsilon")
