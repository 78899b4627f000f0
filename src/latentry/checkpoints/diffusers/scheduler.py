"""Noise schedule and default sampling as a diffusers scheduler: DDIM, DDPM, DPM-Solver++, LCM, PNDM for our `plms`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentry.checkpoints.diffusers.settings import Keys, refused, unheld
from latentry.diffusion.schedule import SCHEDULES, Cosine, Linear, ScaledLinear, Schedule, Sqrt, Table
from latentry.diffusion.solvers.ddpm import share_of_beta
from latentry.errors import UsageError
from latentry.kinds import KindOptions, build
from latentry.models.config import DiffusionOptions, SampleOptions

PREDICTIONS = {"epsilon": "epsilon", "sample": "sample", "velocity": "v_prediction"}
BETAS = {
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
    "trained_betas": None, "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 0,
}  # fmt: skip
FIXED: dict[str, tuple[Any, ...]] = {"thresholding": (False,), "rescale_betas_zero_snr": (False,)}
# Files carry keys of the schedulers that they were before; those of these classes are all named here.
DDIM = Keys(
    "DDIMScheduler",
    read={**BETAS, "set_alpha_to_one": True},
    # Where it clips x0, it keeps the noise of the x0 before; our solvers do not.
    fixed={**FIXED, "clip_sample": (False,)},
    unused=None,
)
DDPM = Keys(
    "DDPMScheduler",
    read={**BETAS, "clip_sample": True, "variance_type": "fixed_small"},
    fixed={**FIXED, "clip_sample_range": (1.0,)},
    unused=None,
)
PNDM = Keys(
    "PNDMScheduler",
    read={**BETAS, "set_alpha_to_one": False},
    fixed={"skip_prk_steps": (True,)},
    unused=None,
)
OF_RATIOS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas"}
"""Keys of our levels that are chosen by sigma / alpha."""
DPM = Keys(
    "DPMSolverMultistepScheduler",
    read={
        **BETAS, "timestep_spacing": "linspace", "algorithm_type": "dpmsolver++",
        **dict.fromkeys(OF_RATIOS.values(), False),
    },
    fixed={
        **FIXED, "solver_order": (2,), "solver_type": ("midpoint",), "final_sigmas_type": ("zero",),
        "use_beta_sigmas": (False, None), "use_lu_lambdas": (False, None), "use_flow_sigmas": (False, None),
    },
    unused=None,
)  # fmt: skip
LCM = Keys(
    "LCMScheduler",
    read={**BETAS, "beta_schedule": "scaled_linear", "original_inference_steps": 50},
    # By its timestep_scaling its result is the network's x0, to 1e-6 from time 50 on.
    fixed={**FIXED, "clip_sample": (False,), "set_alpha_to_one": (True,), "timestep_scaling": (10.0,)},
    unused=None,
)
ALGORITHMS = {0.0: "dpmsolver++", 1.0: "sde-dpmsolver++"}
"""By our eta."""
CLASSES = {"ddim": DDIM, "ddpm": DDPM, "plms": PNDM, "dpmpp_2m": DPM, "consistency": LCM}
"""By our solvers."""

VARIANCES = {"fixed_small": 0.0, "fixed_small_log": 0.0, "fixed_large": 1.0}
"""Of an ancestral step, and our `v_posterior`."""
LARGE = "fixed_large"
FITTING = {
    "ddim": ("trailing", "leading", "published"),
    "ddpm": ("trailing", "leading"),
    "plms": ("published",),
    "dpmpp_2m": ("trailing", *OF_RATIOS),
    "consistency": ("trailing",),
}
"""Levels at which solver and scheduler agree: DDPMScheduler always ends at clean, PNDM's step there is another.

DPMSolverMultistepScheduler tells the network whole times, so that by sigma / alpha it agrees to half a time.
"""

# By our levels: timestep_spacing, steps_offset, set_alpha_to_one. `trailing` does not read steps_offset.
LEVELS: dict[str, tuple[str, int, bool]] = {
    "published": ("leading", 1, False),
    "leading": ("leading", 0, True),
    "trailing": ("trailing", 1, True),
}
SHAPE_TOLERANCE = 1e-6  # of the largest beta; float32 keeps 6e-8


def to_config(diffusion: DiffusionOptions, sample: SampleOptions) -> dict[str, Any]:
    """The scheduler_config.json. steps, guidance and eta are arguments of diffusers' calls, so no file has them.

    Equal numbers are meant for steps that divide the schedule's: elsewhere diffusers' step is not to the next level.
    Raises UsageError for a default solver or levels that its schedulers do not have.
    """
    solver, levels = sample.solver.kind, sample.levels
    if solver not in CLASSES:
        raise unheld(f"sample.solver {solver}", f"known there: {', '.join(CLASSES)}", "Set one of these")
    if levels not in FITTING[solver]:
        accepted = ", ".join(FITTING[solver])
        raise unheld(f"sample.levels {levels} with solver {solver}", f"known there: {accepted}", "Set one of these")
    if diffusion.prediction not in PREDICTIONS:
        raise unheld(f"prediction {diffusion.prediction}", f"its schedulers know {', '.join(PREDICTIONS)}", "")
    if solver == "plms" and diffusion.prediction != "epsilon":
        why = "PNDMScheduler averages the network's output, ours its epsilon"
        raise unheld(f"sample.solver plms with prediction {diffusion.prediction}", why, "Set ddim")
    if sample.clip and solver != "ddpm":
        raise unheld(f"sample.clip with solver {solver}", "known there: clip with ddpm", "Set ddpm, or no clip")
    spacing, offset, to_one = LEVELS.get(levels, LEVELS["trailing"])
    values = {
        **_betas(diffusion.schedule),
        "prediction_type": PREDICTIONS[diffusion.prediction],
        "timestep_spacing": spacing,
        "steps_offset": offset,
    }
    last: dict[str, Any] = {"set_alpha_to_one": to_one}
    if solver == "ddpm":
        share = share_of_beta(getattr(sample.solver, "variance", None), diffusion.schedule.v_posterior)
        last = {"clip_sample": sample.clip, "variance_type": _variance(share)}
        if last["variance_type"] == LARGE and levels == "trailing":
            why = "its last step, which is to clean, adds noise there"
            raise unheld("sample.levels trailing with variance beta", why, "Set levels leading")
    if solver == "dpmpp_2m":
        last = _of_dpm(sample)
    if solver == "consistency":
        last = {"original_inference_steps": values["num_train_timesteps"]}
    return CLASSES[solver].config({**values, **last})


def from_config(config: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`schedule` and `prediction` of our diffusion options, and `solver`, `levels` and `clip` of our sample options.

    Raises UsageError for a scheduler that we do not have.
    """
    solver = next((ours for ours, keys in CLASSES.items() if keys.name == config.get("_class_name")), None)
    if solver is None:
        classes = ", ".join(keys.name for keys in CLASSES.values())
        do = "Save it with DDIMScheduler.from_config(pipeline.scheduler.config)"
        raise UsageError(f"{where}: {config.get('_class_name')}; known: {classes}. {do}.")
    # A missing clip_sample is true in diffusers.
    clips = solver in ("ddim", "ddpm")
    missing = {"skip_prk_steps": False} if solver == "plms" else {"clip_sample": True} if clips else {}
    with_defaults = {**missing, **config}
    s = CLASSES[solver].settings(with_defaults, where)
    predictions = {theirs: ours for ours, theirs in PREDICTIONS.items()}
    if s["prediction_type"] not in predictions:
        raise refused(where, f"prediction_type {s['prediction_type']!r}", f"known: {', '.join(predictions)}")
    if solver == "plms" and s["prediction_type"] != "epsilon":
        what = f"prediction_type {s['prediction_type']!r} with {CLASSES[solver].name}"
        raise UsageError(f"{where}: {what}; known there: 'epsilon'. Edit the file to DDIMScheduler.")
    schedule = _schedule(s, where).model_dump() | {"v_posterior": _v_posterior(s, where)}
    diffusion = {"schedule": schedule, "prediction": predictions[s["prediction_type"]]}
    if solver == "dpmpp_2m":
        return diffusion, _from_dpm(s, config, where)
    if solver == "consistency":  # whatever its spacing, times lie as far apart and begin at the last
        return diffusion, {"solver": solver, "levels": "trailing", "clip": False}
    return diffusion, {"solver": solver, "levels": _levels(s, solver, where), "clip": s.get("clip_sample", False)}


def _of_dpm(sample: SampleOptions) -> dict[str, Any]:
    eta = getattr(sample.solver, "eta", 0.0)
    if eta not in ALGORITHMS:
        raise unheld(f"eta {eta:g} with solver dpmpp_2m", "known there: 0 and 1", "Set one of these")
    ratios = {key: sample.levels == levels for levels, key in OF_RATIOS.items()}
    return {"algorithm_type": ALGORITHMS[eta], **ratios}


def _from_dpm(s: Mapping[str, Any], config: Mapping[str, Any], where: str) -> dict[str, Any]:
    etas = {theirs: eta for eta, theirs in ALGORITHMS.items()}
    if s["algorithm_type"] not in etas:
        raise refused(where, f"algorithm_type {s['algorithm_type']!r}", f"known: {', '.join(etas)}")
    if config.get("lambda_min_clipped") not in (None, -math.inf, "-Infinity"):
        raise refused(where, f"lambda_min_clipped {config['lambda_min_clipped']!r}", "known: none")
    levels = next((ours for ours, key in OF_RATIOS.items() if s[key]), None) or _levels(s, "dpmpp_2m", where)
    eta = etas[s["algorithm_type"]]
    return {"solver": {"kind": "dpmpp_2m", "eta": eta} if eta else "dpmpp_2m", "levels": levels, "clip": False}


def _variance(v_posterior: float) -> str:
    """The first `variance_type` of this share of beta."""
    for name, v in VARIANCES.items():
        if v == v_posterior:
            return name
    raise unheld(f"variance {v_posterior:g} of beta with solver ddpm", "known there: posterior and beta", "Set ddim")


def _v_posterior(s: Mapping[str, Any], where: str) -> float:
    """Our share of beta; only DDPMScheduler has a variance."""
    name = s.get("variance_type", "fixed_small")
    if name not in VARIANCES:
        raise refused(where, f"variance_type {name!r}", f"known: {', '.join(VARIANCES)}")
    if name == LARGE and s["timestep_spacing"] == "trailing":
        raise refused(where, "variance_type 'fixed_large' with timestep_spacing 'trailing'", "known there: fixed_small")
    return VARIANCES[name]


def _levels(s: Mapping[str, Any], solver: str, where: str) -> str:
    settings = (s["timestep_spacing"], s["steps_offset"], s.get("set_alpha_to_one", True))
    for ours in FITTING[solver]:
        level_settings = LEVELS.get(ours)
        if level_settings is None:
            continue
        if settings == level_settings or settings[::2] == level_settings[::2] == ("trailing", True):
            return ours
    accepted = "; ".join(", ".join(map(str, LEVELS[ours])) for ours in FITTING[solver] if ours in LEVELS)
    what = f"timestep_spacing {settings[0]}, steps_offset {settings[1]}, set_alpha_to_one {settings[2]}"
    raise UsageError(f"{where}: {what}; known together: {accepted}. Edit the file to the nearest of these.")


def _betas(options: KindOptions) -> dict[str, Any]:
    schedule: Schedule = build(SCHEDULES, options)
    values: dict[str, Any] = {"num_train_timesteps": schedule.steps, "trained_betas": None}
    if isinstance(options, Linear | ScaledLinear):
        return {**values, "beta_schedule": options.kind, "beta_start": options.start, "beta_end": options.end}
    if isinstance(options, Cosine) and options.s == 0.008:
        return {**values, "beta_schedule": "squaredcos_cap_v2"}
    return {**values, "trained_betas": tuple(schedule.betas.tolist())}


def _schedule(s: Mapping[str, Any], where: str) -> KindOptions:
    start, end, steps = s["beta_start"], s["beta_end"], s["num_train_timesteps"]
    if s["trained_betas"] is not None:
        return _recognise(torch.tensor(s["trained_betas"], dtype=torch.float64))
    if s["beta_schedule"] == "linear":
        return Linear(start=start, end=end, steps=steps)
    if s["beta_schedule"] == "scaled_linear":
        return ScaledLinear(start=start, end=end, steps=steps)
    if s["beta_schedule"] == "squaredcos_cap_v2":
        return Cosine(steps=steps)
    raise refused(where, f"beta_schedule {s['beta_schedule']!r}", "known: linear, scaled_linear, squaredcos_cap_v2")


def _recognise(betas: Tensor) -> KindOptions:
    """The formula that gives these betas, or the table of abar that diffusers makes of them."""
    start, end, steps = float(betas[0]), float(betas[-1]), len(betas)
    candidates: list[KindOptions] = [Cosine(steps=steps)]
    if 0 < start <= end < 1:
        candidates += [kind(start=start, end=end, steps=steps) for kind in (Linear, ScaledLinear)]
        candidates.append(Sqrt(start=start**2, end=end**2, steps=steps))
    for options in candidates:
        try:
            made: Schedule = build(SCHEDULES, options)
        except UsageError:  # with this end the formula's noise is complete before the last time
            continue
        if torch.allclose(made.betas, betas, rtol=0, atol=SHAPE_TOLERANCE * end):
            return options
    return Table(abar=tuple((1 - betas.float()).cumprod(0).tolist()))
