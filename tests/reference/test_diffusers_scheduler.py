"""Sampling by our solvers and by diffusers' schedulers: the same x after every step, for what our export writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, LCMScheduler, PNDMScheduler
from torch import Tensor

from latentry.checkpoints.diffusers import scheduler
from latentry.diffusion.guidance.clipped import clipped
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import SCHEDULES, Level, Schedule, build_schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from latentry.kinds import build
from latentry.models.config import DiffusionOptions, SampleOptions
from tests.reference.close import assert_close
from tests.unit.nn.networks import normal

CLASSES = {
    made.__name__: made
    for made in (DDIMScheduler, DDPMScheduler, PNDMScheduler, DPMSolverMultistepScheduler, LCMScheduler)
}
STEPS, SHAPE = 5, (2, 3, 4, 4)
SCHEDULE_OPTIONS: dict[str, Any] = {
    "scaled_linear": {"kind": "scaled_linear"},
    "short": {"kind": "scaled_linear", "start": 0.00085, "end": 0.012, "steps": 200},
    "linear": {"kind": "linear"},
    "cosine": {"kind": "cosine"},
    "cosine of another offset": {"kind": "cosine", "s": 0.02},
    "sqrt": {"kind": "sqrt", "start": 1e-6, "end": 1e-4},
    "table": {"kind": "table", "abar": build_schedule("linear").abar.float()[::2].tolist()},
}


def network(x: Tensor, t: float) -> Tensor:
    """Stands for a denoiser: depends on x and on the time that it is told."""
    return 0.8 * torch.tanh(x) + 0.1 * torch.sin(torch.tensor(t / 50)) * x.flip(-1)


def options(schedule: Any, prediction: str, solver: str, levels: str) -> tuple[DiffusionOptions, SampleOptions]:
    sample = {"solver": solver, "levels": levels, "steps": STEPS}
    diffusion = {"schedule": schedule, "prediction": prediction}
    return DiffusionOptions.model_validate(diffusion), SampleOptions.model_validate(sample)


def ours(schedule: Schedule, prediction: str, sample: SampleOptions, x: Tensor, noise: list[Tensor]) -> list[Tensor]:
    def predicted(x: Tensor, level: Level) -> Tensor:
        return PREDICTIONS[prediction].x0(x, network(x, level.t), level.alpha, level.sigma)

    denoise = clipped(predicted) if sample.clip else predicted
    levels = LEVELS[sample.levels](schedule, sample.steps)
    return [step.x for step in build(SOLVERS, sample.solver)(denoise, x, levels, noise=lambda i: noise[i])]


def theirs(config: dict[str, Any], x: Tensor, folder: Path, **step: Any) -> list[Tensor]:
    (folder / "scheduler_config.json").write_text(json.dumps(config))
    made: Any = CLASSES[config["_class_name"]].from_pretrained(folder)
    made.set_timesteps(STEPS)
    reached = []
    for t in made.timesteps:
        x = made.step(network(x, float(t)), t, x, **step).prev_sample
        reached.append(x)
    return reached


@pytest.mark.parametrize("prediction", scheduler.PREDICTIONS)
@pytest.mark.parametrize("levels", scheduler.FITTING["ddim"])
@pytest.mark.parametrize("schedule", SCHEDULE_OPTIONS)
def test_ddim(schedule: str, levels: str, prediction: str, tmp_path: Path) -> None:
    diffusion, sample = options(SCHEDULE_OPTIONS[schedule], prediction, "ddim", levels)
    x, made = normal(*SHAPE), build(SCHEDULES, diffusion.schedule)
    expected = theirs(scheduler.to_config(diffusion, sample), x, tmp_path)
    # Their 1 - abar_0, in float32, is good to a thousandth where the schedule begins as softly as the cosine.
    tolerance = 1e-4 if "cosine" in schedule else 3e-5
    for step, (a, b) in enumerate(zip(ours(made, prediction, sample, x, [x] * STEPS), expected, strict=True)):
        assert_close(a, b, f"x after step {step}", tolerance)


@pytest.mark.parametrize("levels", scheduler.FITTING["ddim"])
def test_ddim_with_noise(levels: str, tmp_path: Path) -> None:
    """eta is an argument of diffusers' step."""
    diffusion, sample = options({"kind": "scaled_linear"}, "epsilon", "ddim", levels)
    noisy = SampleOptions.model_validate({**sample.model_dump(), "solver": {"kind": "ddim", "eta": 0.7}})
    x, noise = normal(*SHAPE), normal(*SHAPE, seed=9)
    expected = theirs(scheduler.to_config(diffusion, noisy), x, tmp_path, eta=0.7, variance_noise=noise)
    reached = ours(build_schedule("scaled_linear"), "epsilon", noisy, x, [noise] * STEPS)
    for step, (a, b) in enumerate(zip(reached, expected, strict=True)):
        assert_close(a, b, f"x after step {step}")


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("prediction", scheduler.PREDICTIONS)
@pytest.mark.parametrize("levels", scheduler.FITTING["ddpm"])
def test_ddpm(levels: str, prediction: str, clip: bool, tmp_path: Path) -> None:
    diffusion, sample = options({"kind": "linear"}, prediction, "ddpm", levels)
    sample = sample.model_copy(update={"clip": clip})
    x, generator = normal(*SHAPE), torch.Generator().manual_seed(11)
    noise = [torch.randn(SHAPE, generator=generator) for _ in range(STEPS)]
    again = torch.Generator().manual_seed(11)
    expected = theirs(scheduler.to_config(diffusion, sample), x, tmp_path, generator=again)
    for step, (a, b) in enumerate(zip(ours(build_schedule("linear"), prediction, sample, x, noise), expected)):
        assert_close(a, b, f"x after step {step}")


@pytest.mark.parametrize("prediction", scheduler.PREDICTIONS)
@pytest.mark.parametrize("schedule", ["scaled_linear", "short", "cosine", "table"])
def test_consistency_is_sampled_as_latent_consistency_models_are(
    schedule: str, prediction: str, tmp_path: Path
) -> None:
    diffusion, sample = options(SCHEDULE_OPTIONS[schedule], prediction, "consistency", "trailing")
    x, generator = normal(*SHAPE), torch.Generator().manual_seed(11)
    noise = [torch.randn(SHAPE, generator=generator) for _ in range(STEPS)]
    again = torch.Generator().manual_seed(11)
    expected = theirs(scheduler.to_config(diffusion, sample), x, tmp_path, generator=again)
    made = build(SCHEDULES, diffusion.schedule)
    for step, (a, b) in enumerate(zip(ours(made, prediction, sample, x, noise), expected, strict=True)):
        assert_close(a, b, f"x after step {step}", 1e-4)


@pytest.mark.parametrize(
    ("variance", "theirs_", "levels"),
    [
        ("posterior", "fixed_small", "trailing"),
        ("posterior", "fixed_small", "leading"),
        ("beta", "fixed_large", "leading"),
    ],
)
def test_the_variances_of_ddpm(levels: str, variance: str, theirs_: str, tmp_path: Path) -> None:
    """The option of the solver, whatever the schedule says; and it goes out as what it is."""
    schedule = {"kind": "linear", "v_posterior": 0.5}
    diffusion, sample = options(schedule, "epsilon", "ddpm", levels)
    sample = SampleOptions.model_validate({**sample.model_dump(), "solver": {"kind": "ddpm", "variance": variance}})
    written = scheduler.to_config(diffusion, sample)
    assert written["variance_type"] == theirs_
    x, generator = normal(*SHAPE), torch.Generator().manual_seed(11)
    noise = [torch.randn(SHAPE, generator=generator) for _ in range(STEPS)]
    expected = theirs(written, x, tmp_path, generator=torch.Generator().manual_seed(11))
    for step, (a, b) in enumerate(zip(ours(build_schedule("linear"), "epsilon", sample, x, noise), expected)):
        assert_close(a, b, f"x after step {step}")
    between = SampleOptions.model_validate({**sample.model_dump(), "solver": {"kind": "ddpm", "variance": 0.5}})
    with pytest.raises(UsageError, match=r"variance 0\.5 of beta with solver ddpm"):
        scheduler.to_config(diffusion, between)


def test_beta_is_refused_where_diffusers_ends_with_noise() -> None:
    diffusion, sample = options({"kind": "linear", "v_posterior": 1.0}, "epsilon", "ddpm", "trailing")
    with pytest.raises(UsageError, match=r"sample\.levels trailing with variance beta"):
        scheduler.to_config(diffusion, sample)
    config = {"_class_name": "DDPMScheduler", "variance_type": "fixed_large", "timestep_spacing": "trailing"}
    with pytest.raises(UsageError, match="variance_type 'fixed_large' with timestep_spacing 'trailing'"):
        scheduler.from_config(config, "test")


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("prediction", scheduler.PREDICTIONS)
@pytest.mark.parametrize("levels", scheduler.FITTING["dpmpp_2m"])
@pytest.mark.parametrize("schedule", ["scaled_linear", "short", "sqrt"])
def test_dpm_solver(schedule: str, levels: str, prediction: str, eta: float, tmp_path: Path) -> None:
    """The default. Levels by sigma / alpha have whole times there, of which the network here depends a little."""
    diffusion, sample = options(SCHEDULE_OPTIONS[schedule], prediction, "dpmpp_2m", levels)
    sample = SampleOptions.model_validate({**sample.model_dump(), "solver": {"kind": "dpmpp_2m", "eta": eta}})
    x, generator = normal(*SHAPE), torch.Generator().manual_seed(11)
    noise = [torch.randn(SHAPE, generator=generator) for _ in range(STEPS)]
    written, again = scheduler.to_config(diffusion, sample), torch.Generator().manual_seed(11)
    expected = theirs(written, x, tmp_path, generator=again)
    made, tolerance = build(SCHEDULES, diffusion.schedule), 3e-5 if levels == "trailing" else 0.02
    for step, (a, b) in enumerate(zip(ours(made, prediction, sample, x, noise), expected, strict=True)):
        assert_close(a, b, f"x after step {step}", tolerance)
    solver = {"kind": "dpmpp_2m", "eta": 1.0} if eta else "dpmpp_2m"
    assert scheduler.from_config(written, "test")[1] == {"solver": solver, "levels": levels, "clip": False}


@pytest.mark.parametrize("schedule", ["scaled_linear", "short"])
def test_pndm(schedule: str, tmp_path: Path) -> None:
    """What Stable Diffusion's folders ask for; its first step takes two calls, which diffusers counts as two steps."""
    diffusion, sample = options(SCHEDULE_OPTIONS[schedule], "epsilon", "plms", "published")
    x, made = normal(*SHAPE), build(SCHEDULES, diffusion.schedule)
    expected = theirs(scheduler.to_config(diffusion, sample), x, tmp_path)[1:]
    for step, (a, b) in enumerate(zip(ours(made, "epsilon", sample, x, [x] * STEPS), expected, strict=True)):
        assert_close(a, b, f"x after step {step}")


@pytest.mark.parametrize(("solver", "levels"), [(s, levels) for s, fit in scheduler.FITTING.items() for levels in fit])
@pytest.mark.parametrize("schedule", ["scaled_linear", "short", "linear", "cosine", "sqrt"])
def test_what_was_written_is_read(schedule: str, solver: str, levels: str) -> None:
    prediction = "epsilon" if solver == "plms" else "velocity"
    diffusion, sample = options(SCHEDULE_OPTIONS[schedule], prediction, solver, levels)
    found, drawn = scheduler.from_config(scheduler.to_config(diffusion, sample), "test")
    assert drawn == {"solver": solver, "levels": levels, "clip": False}
    assert found["prediction"] == prediction
    again = build_schedule(found["schedule"])
    assert found["schedule"]["kind"] == SCHEDULE_OPTIONS[schedule]["kind"]
    assert torch.allclose(again.abar, build(SCHEDULES, diffusion.schedule).abar, rtol=1e-12, atol=0)


def test_betas_of_no_formula_are_kept_as_a_table() -> None:
    betas = (torch.linspace(0.01, 0.03, 50) + 0.002 * torch.sin(torch.arange(50.0))).tolist()
    theirs: Any = DDIMScheduler(trained_betas=betas, clip_sample=False)
    found, _ = scheduler.from_config({**theirs.config, **NAMED}, "test")
    assert torch.equal(build_schedule(found["schedule"]).abar, theirs.alphas_cumprod.double())


def test_a_scheduler_that_was_another_is_read(tmp_path: Path) -> None:
    """Diffusers keeps the keys of the class that it was; they say nothing."""
    was = PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    made: Any = DDIMScheduler.from_config(was.config, clip_sample=False)  # type: ignore[attr-defined]
    made.save_pretrained(tmp_path)
    found = json.loads((tmp_path / "scheduler_config.json").read_text())
    assert found["skip_prk_steps"]
    _, sample = scheduler.from_config(found, "test")
    assert sample == {"solver": "ddim", "levels": "published", "clip": False}


NAMED: dict[str, Any] = {"_class_name": "DDIMScheduler"}
DPM: dict[str, Any] = {"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "trailing"}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "clip_sample True"),
        ({"clip_sample": True}, "clip_sample True"),
        ({"thresholding": True}, "thresholding True"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr True"),
        ({"timestep_spacing": "linspace"}, "timestep_spacing linspace"),
        ({"steps_offset": 1}, "steps_offset 1, set_alpha_to_one True"),
        ({"beta_schedule": "laplace"}, "beta_schedule 'laplace'"),
        ({"prediction_type": "flow"}, "prediction_type 'flow'"),
        ({"_class_name": "EulerDiscreteScheduler"}, "EulerDiscreteScheduler"),
        ({"_class_name": "DDPMScheduler", "variance_type": "learned"}, "variance_type 'learned'"),
        ({"_class_name": "PNDMScheduler"}, "skip_prk_steps False"),
        ({**DPM, "solver_order": 3}, "solver_order 3"),
        ({**DPM, "algorithm_type": "dpmsolver"}, "algorithm_type 'dpmsolver'"),
        ({**DPM, "lambda_min_clipped": -5.1}, "lambda_min_clipped -5.1"),
        ({**DPM, "timestep_spacing": "linspace"}, "timestep_spacing linspace"),
        ({"_class_name": "PNDMScheduler", "skip_prk_steps": True, "prediction_type": "v_prediction"}, "v_prediction"),
        ({"_class_name": "PNDMScheduler", "skip_prk_steps": True}, "steps_offset 0, set_alpha_to_one False"),
    ],
)
def test_what_we_do_not_sample_is_refused_by_name(config: dict[str, Any], text: str) -> None:
    given = {**NAMED, "clip_sample": False, **config} if config else NAMED
    with pytest.raises(UsageError, match=text) as error:
        scheduler.from_config(given, "scheduler/scheduler_config.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("solver", "levels"), [("ddim", "karras"), ("ddpm", "published"), ("plms", "trailing"), ("dpmpp_2m", "ays")]
)
def test_levels_that_diffusers_has_not_are_refused_by_name(solver: str, levels: str) -> None:
    with pytest.raises(UsageError, match=f"sample.levels {levels} with solver {solver}"):
        scheduler.to_config(*options({"kind": "linear"}, "epsilon", solver, levels))


def test_plms_of_another_prediction_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"sample\.solver plms with prediction velocity"):
        scheduler.to_config(*options({"kind": "linear"}, "velocity", "plms", "published"))


def test_clipping_is_refused_where_diffusers_clips_otherwise() -> None:
    diffusion, sample = options({"kind": "linear"}, "epsilon", "ddim", "trailing")
    with pytest.raises(UsageError, match=r"sample\.clip with solver ddim"):
        scheduler.to_config(diffusion, sample.model_copy(update={"clip": True}))
