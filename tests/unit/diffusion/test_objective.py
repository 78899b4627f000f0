"""The loss is the published one, and min-SNR is the paper's. If not, a recipe's figures mean something else."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from latentry.diffusion.objective import DiffusionObjectiveOptions, Objective
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import Schedule, build_schedule
from latentry.diffusion.weighting import MinSNR, elbo_weights

SCHEDULE = build_schedule({"kind": "scaled_linear", "steps": 50, "start": 0.002, "end": 0.2})
OUT, TARGET = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [4.0, -2.0]])
T = torch.tensor([3, 40])


@pytest.mark.parametrize(("loss", "errors"), [("l1", [1.5, 3.0]), ("l2", [2.5, 10.0])])
def test_plain_loss_is_the_mean_error_and_each_sample_is_reported(loss: str, errors: list[float]) -> None:
    objective = Objective(DiffusionObjectiveOptions(loss=loss), SCHEDULE, "epsilon")
    result = objective(OUT, TARGET, T, objective.initial_log_variance())
    assert result.simple.tolist() == errors
    assert float(result.total) == pytest.approx(sum(errors) / 2)


def test_log_variance_and_bound_enter_as_published() -> None:
    options = DiffusionObjectiveOptions(simple_weight=2.0, elbo_weight=0.5, log_variance_init=0.3)
    objective = Objective(options, SCHEDULE, "epsilon")
    result = objective(OUT, TARGET, T, objective.initial_log_variance())
    elbo = elbo_weights(SCHEDULE, "epsilon")[T].tolist()
    simple = sum(e / math.exp(0.3) + 0.3 for e in (2.5, 10.0)) / 2
    assert float(result.total) == pytest.approx(2 * simple + 0.5 * (elbo[0] * 2.5 + elbo[1] * 10) / 2)
    assert result.elbo.tolist() == pytest.approx([elbo[0] * 2.5, elbo[1] * 10])


def test_a_learned_log_variance_settles_at_the_log_of_the_error() -> None:
    """Its gradient is 1 - error / exp(lv): zero there, and only at the times in the batch."""
    objective = Objective(DiffusionObjectiveOptions(learn_log_variance=True), SCHEDULE, "epsilon")
    log_variance = objective.initial_log_variance()
    log_variance[T] = torch.tensor([math.log(2.5), 0.0])
    log_variance.requires_grad_()
    objective(OUT, TARGET, T, log_variance).total.backward()
    assert log_variance.grad is not None
    assert float(log_variance.grad[3]) == pytest.approx(0, abs=1e-6)
    assert float(log_variance.grad[40]) == pytest.approx((1 - 10) / 2)
    assert log_variance.grad.count_nonzero() <= 2


def test_low_precision_outputs_do_not_round_the_loss() -> None:
    objective = Objective(DiffusionObjectiveOptions(), SCHEDULE, "epsilon")
    out = torch.full((1, 4, 64, 64), 1.0, dtype=torch.bfloat16)
    loss = objective(out, torch.full((1, 4, 64, 64), 1.01), torch.tensor([5]), objective.initial_log_variance())
    assert loss.total.dtype == torch.float32
    assert float(loss.total) == pytest.approx(1e-4, rel=1e-3)


NOISY = [name for name, prediction in PREDICTIONS.items() if not prediction.regresses]


def test_a_regression_has_one_time_whose_error_counts_once() -> None:
    """By its signal-to-noise ratio it would count a two-hundredth, though nothing is noisy."""
    for weighting in ("uniform", "min_snr"):
        weights = Objective(DiffusionObjectiveOptions(weighting=weighting), SCHEDULE, "regression").weights
        assert (weights == 1).all()


@pytest.mark.parametrize("gamma", [1.0, 5.0])
@pytest.mark.parametrize("prediction", NOISY)
def test_min_snr_values(prediction: str, gamma: float) -> None:
    options = DiffusionObjectiveOptions(weighting=MinSNR(gamma=gamma))
    weights = Objective(options, SCHEDULE, prediction).weights.tolist()
    for t in range(50):
        level = SCHEDULE.level(t)
        snr = level.alpha**2 / level.sigma**2
        clipped = min(snr, gamma)
        expected = {"epsilon": clipped / snr, "sample": clipped, "velocity": clipped / (snr + 1)}[prediction]
        assert weights[t] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("prediction", NOISY)
def test_min_snr_weighs_the_same_error_in_x0_the_same(prediction: str) -> None:
    """Whatever the network predicts, w |out - target|^2 must be min(SNR, gamma) |x0 error|^2."""
    weights = Objective(DiffusionObjectiveOptions(weighting="min_snr"), SCHEDULE, prediction).weights
    for t in (0, 20, 49):
        _, alpha, sigma = SCHEDULE.level(t)
        x_t, out, other = torch.tensor([0.4]).double(), torch.tensor([1.0]).double(), torch.tensor([1.3]).double()
        x0s = [PREDICTIONS[prediction].x0(x_t, o, alpha, sigma) for o in (out, other)]
        in_x0 = float((x0s[0] - x0s[1]) ** 2) * min(alpha**2 / sigma**2, 5.0)
        assert float(weights[t]) * 0.3**2 == pytest.approx(in_x0, rel=1e-5)


def test_epsilon_and_velocity_bounds_are_the_drop_of_snr() -> None:
    """Kingma et al. 2021: the bound weighs |x0 error|^2 by (SNR_{t-1} - SNR_t) / 2."""
    snr = SCHEDULE.snr
    drop = (snr[:-1] - snr[1:]) / 2
    of_epsilon = (1 - SCHEDULE.abar[1:]) / SCHEDULE.abar[1:]
    of_velocity = 1 - SCHEDULE.abar[1:]
    torch.testing.assert_close(elbo_weights(SCHEDULE, "epsilon")[1:], drop * of_epsilon, rtol=1e-9, atol=0)
    torch.testing.assert_close(elbo_weights(SCHEDULE, "velocity")[1:], drop * of_velocity, rtol=1e-9, atol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_weight_is_finite_and_the_first_is_the_second(prediction: str) -> None:
    weights = elbo_weights(SCHEDULE, prediction)
    assert weights.isfinite().all()
    assert weights[0] == weights[1]


@pytest.mark.parametrize("prediction", ["sample", "velocity"])
def test_a_schedule_that_ends_in_pure_noise_has_finite_weights(prediction: str) -> None:
    options = DiffusionObjectiveOptions(weighting="min_snr")
    objective = Objective(options, Schedule(torch.tensor([0.9, 0.4, 0.0])), prediction)
    assert objective.weights.isfinite().all()
    assert objective.elbo_weights.isfinite().all()


def test_the_bound_is_finite_for_one_time_near_clean() -> None:
    assert elbo_weights(build_schedule("cosine"), "epsilon").isfinite().all()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="no weightings"):
        DiffusionObjectiveOptions.model_validate({"weighting": "minsnr"})
    with pytest.raises(ValidationError):
        DiffusionObjectiveOptions.model_validate({"weighting": {"kind": "min_snr", "gama": 5}})
    with pytest.raises(ValidationError):
        DiffusionObjectiveOptions.model_validate({"los": "l1"})
