"""Our whole models train and sample as the published ones: first stage, conditioning, loss, EMA and samplers."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from latentry import rng
from latentry.checkpoints.compvis_names import ema_name
from latentry.diffusion.guidance import classifier_free
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import CLEAN, Level
from latentry.diffusion.solvers import SOLVERS
from latentry.kinds import build
from latentry.models.bind import bind
from latentry.models.config import SampleOptions
from latentry.pipeline import Pipeline
from latentry.train.diffusion_stage import DiffusionStage, Draws, LatentBatch
from latentry.train.recipe import DiffusionSection
from tests.reference.first_stages import assert_close
from tests.reference.unets import Fixture
from tests.reference.whole_models import norm, pipeline, told
from tests.shared import SHARED, needs_shared
from tests.unit.train.small_stages import ALONE

NAMES = ["text_kl", "class_vq", "uncond_kl_std"]
each = pytest.mark.parametrize("name", NAMES)
pytestmark = [needs_shared]
DDIM: dict[str, Any] = {"kind": "ddim"}
SAMPLERS: dict[str, tuple[dict[str, Any], int, float]] = {  # solver, steps, guidance
    "ddim5": (DDIM, 5, 1.0),
    "ddim20": (DDIM, 20, 1.0),
    "ddim5_eta1": ({**DDIM, "eta": 1.0}, 5, 1.0),
    "plms20": ({"kind": "plms"}, 20, 1.0),
    "plms20_cfg3": ({"kind": "plms"}, 20, 3.0),
    "ddim5_cfg3": (DDIM, 5, 3.0),
    "ddim20_cfg3": (DDIM, 20, 3.0),
}


@cache
def fixture(name: str) -> Fixture:
    return Fixture(SHARED / "compat" / name)


@cache
def model(name: str) -> Pipeline:
    return pipeline(fixture(name))


@each
def test_the_unconditional_condition(name: str) -> None:
    """Our null is the published one: class 1000 of 1001, the empty prompt as BERT numbers it."""
    denoiser = model(name).denoiser
    assert denoiser is not None
    for ours, theirs in ((denoiser.condition({}, 2), "_uncond"), (denoiser.condition(told(fixture(name)), 2), "")):
        if told(fixture(name)):
            assert ours.context is not None
            key = "out.uncond" if theirs else "out.cond"
            assert_close(ours.context.detach(), fixture(name).expected[key], key)


@each
@torch.no_grad()
def test_first_stage(name: str) -> None:
    given, pipe = fixture(name).expected, model(name)
    assert_close(pipe.autoencoder.encode(given["in.image"], given.get("in.posterior_noise")), given["out.z"], "out.z")
    assert_close(pipe.decode(given["in.z"]), given["out.decoded_z"], "out.decoded_z")
    if "out.posterior_mean" in given:
        scale = pipe.autoencoder.latent_scale
        assert_close(pipe.encode(given["in.image"]) / scale, given["out.posterior_mean"], "out.posterior_mean")


def draw(name: str, run: str) -> Tensor:
    """The last x of a published sampler, by our denoiser, guidance, grid and solver."""
    given, denoiser = fixture(name), model(name).denoiser
    assert denoiser is not None
    solver, steps, guidance = SAMPLERS[run]
    levels = LEVELS["published"](denoiser.schedule, steps)
    conds = [denoiser.condition(told(given), 2), denoiser.condition({}, 2)][: 1 if guidance == 1 else 2]
    return walk(denoiser, conds, guidance, solver, levels, given.expected["in.x_T"], given.expected["in.ddim_noise"])


def walk(denoiser: Any, conds: Any, guidance: float, solver: Any, levels: Any, x: Tensor, noise: Tensor) -> Tensor:
    chosen = SampleOptions.model_validate({"solver": solver}).solver
    denoise = classifier_free(bind(denoiser, conds, levels), guidance)
    walked = build(SOLVERS, chosen)(denoise, x, levels, noise=lambda step: noise[min(step, len(noise) - 1)])
    for step in walked:
        x = step.x
    return x


@each
@pytest.mark.parametrize("run", SAMPLERS)
@torch.no_grad()
def test_samplers(name: str, run: str) -> None:
    given = fixture(name).expected
    if f"out.{run}" not in given:
        pytest.skip(f"the fixture has no {run}")
    x = draw(name, run)
    assert_close(x, given[f"out.{run}"], run, 1e-3)
    if f"out.{run}.decoded" in given:
        assert_close(model(name).decode(x), given[f"out.{run}.decoded"], f"{run}.decoded", 1e-3)


@each
@torch.no_grad()
def test_ancestral(name: str) -> None:
    """Times 9 to 0, the last step to the clean level without noise."""
    given, denoiser = fixture(name), model(name).denoiser
    assert denoiser is not None
    levels: list[Level] = [*(denoiser.schedule.level(t) for t in reversed(range(10))), CLEAN]
    conds = [denoiser.condition(told(given), 2)]
    noise = given.expected["in.ancestral_noise"]
    x = walk(denoiser, conds, 1.0, "ddpm", levels, given.expected["in.x_T"], noise)
    assert_close(x, given.expected["out.ancestral10"], "out.ancestral10", 1e-3)


@pytest.mark.parametrize(
    ("name", "run"), [("class_vq", "ddim20_cfg3"), ("class_vq", "ddim20"), ("uncond_kl_std", "ddim20")]
)
def test_through_the_surface(name: str, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Pipeline.sample` with the published starting noise gives the published images."""
    given, pipe = fixture(name).expected, model(name)
    _, steps, guidance = SAMPLERS[run]
    starts = iter(given["in.x_T"].split(1))
    plain = rng.normal

    def normal(seed: int, stream: str, *place: Any) -> Tensor:
        return next(starts) if stream == "sampling start" else plain(seed, stream, *place)

    monkeypatch.setattr(rng, "normal", normal)
    conditions = {key: value.tolist() for key, value in told(fixture(name)).items()}
    out = pipe.sample(n=1 if conditions else 2, steps=steps, guidance=guidance, **cast(Any, conditions))
    assert_close(out.tensor, ((given[f"out.{run}.decoded"] + 1) / 2).clamp(0, 1), run, 1e-3)


def stage(name: str, ema: float | None = None) -> DiffusionStage:
    """Our training of the fixture's model with its raw weights."""
    given, pipe = fixture(name), pipeline(fixture(name), "raw")
    assert pipe.denoiser is not None
    options = {**pipe.denoiser.options.model_dump(), "train": {"batch": 4, "ema": ema, "precision": "fp32"}}
    options["objective"] = {"loss": given.params.get("loss_type", "l2")}
    section = DiffusionSection.model_validate(options)
    nothing = cast(Any, None)
    return DiffusionStage(pipe.denoiser, pipe.autoencoder, section, nothing, None, {}, seed=0, world=ALONE)


@each
def test_training_loss_and_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage's loss of the fixture's latents, times and noise."""
    given, training = fixture(name).expected, stage(name)
    x0 = given["in.x0"] / training.autoencoder.latent_scale
    moments = x0 if training.autoencoder.quantiser else torch.cat([x0, torch.full_like(x0, -60.0)], dim=1)
    chances = torch.ones(len(told(fixture(name))), 4)
    draws = Draws(given["in.t4"], given["in.noise"], torch.zeros_like(x0), chances, torch.ones(4))
    monkeypatch.setattr(training, "draw", lambda *place: draws)
    conditions: Any = {key: torch.cat([value, value]) for key, value in told(fixture(name)).items()}
    loss, errors, _ = training.losses(LatentBatch(moments, conditions, range(4)), step=0)
    assert_close(loss.detach(), given["out.loss.total"], "out.loss.total")
    assert_close(errors.detach(), given["out.loss.per_sample"], "out.loss.per_sample")
    assert_close(errors.detach().mean(), given["out.loss.loss_simple"], "out.loss.loss_simple")
    loss.backward()
    assert_close(norm(training.model.unet), given["out.grad.model_norm"], "out.grad.model_norm", 1e-4)
    if "out.grad.cond_stage_norm" in given:
        found = norm(training.model.conditioners)
        assert_close(found, given["out.grad.cond_stage_norm"], "out.grad.cond_stage_norm", 1e-4)


@each
def test_one_more_update_of_the_average(name: str) -> None:
    given, training = fixture(name), stage(name, ema=0.9999)
    assert training.ema is not None
    theirs = {f"unet.{ours}": given.weights[ema_name(published)] for ours, published in given.names.items()}
    training.ema.load({**training.ema.shadow, **theirs, "updates": given.weights["model_ema.num_updates"]})
    training.ema.update()
    (key,) = (k for k in given.expected if k.startswith("out.ema_update.diffusion_model"))
    (ours,) = (n for n, p in given.names.items() if ema_name(p) == key.replace("out.ema_update", "model_ema"))
    before = theirs[f"unet.{ours}"]
    moved, expected = training.ema.shadow[f"unet.{ours}"] - before, given.expected[key] - before
    assert expected.abs().max() > 0
    assert_close(training.ema.shadow[f"unet.{ours}"], given.expected[key], key, 1e-6)
    assert_close(moved, expected, f"{key}, the change", 1e-2)  # of a number a million times as large
    assert training.ema.updates == int(given.expected["out.ema_update.num_updates"])
