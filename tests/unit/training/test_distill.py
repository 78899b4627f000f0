"""If these fail, a distilled model is another than its teacher says: it is taught another direction, becomes another
after a stop, or nobody can tell what it was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import latentry as lt
from latentry.checkpoints import model_folder
from latentry.checkpoints.run_status import run_status
from latentry.diffusion.consistency import CLEAN, angles, gap, nearer
from latentry.diffusion.schedule import Level
from latentry.errors import UsageError
from latentry.models.config import SampleOptions
from latentry.pipeline.foreign import export_model
from latentry.pipeline.sampling import guided
from latentry.tasks import Request
from latentry.training.loop.log import WALL_CLOCK
from latentry.training.loop.signals import Stopped
from latentry.training.loop.stage import StepResult
from latentry.training.run import Run
from latentry.training.stages.autoencoder.build import fresh as first_stage
from latentry.training.stages.diffusion.build import fresh
from latentry.training.stages.distill.build import build
from latentry.training.stages.distill.stage import DistillStage
from latentry.training.stages.distill.teacher import Teacher
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata
from tests.e2e.test_resume import stop_at
from tests.unit.training.small_stages import fill, images, planned

BRIEF: dict[str, Any] = {
    "train": {"steps": 4, "batch": 4, "lr": 1e-3, "warmup": 0, "log_every": 1, "save_every": 2, "precision": "fp32"}
}
CHANGES: dict[str, Any] = {
    "data": {"size": 16, "text": "text"},
    "diffusion.conditioning": {"text": TEXT},
    "sample": {"guidance": 3.0, "steps": 3},
}


def captioned(root: Path) -> Path:
    write_images(root, noise(6, (16, 16, 3)))
    write_metadata(root, [{"text": ("red", "green leaf")[i % 2]} for i in range(6)])
    return root


def stage_of(root: Path, **changes: Any) -> DistillStage:
    """The stage on untrained networks whose weights were all moved."""
    dotted = {f"distill.{key.replace('__', '.')}": value for key, value in changes.items()}
    train = {**BRIEF["train"], "cache_latents": False}
    made = planned(root, {"distill": {"train": train}, "sample.guidance": 3.0, **dotted})
    teacher = fresh(made, None)
    fill(teacher, 0.1)
    parts = {"autoencoder": first_stage(made), "diffusion": teacher}
    return build(made, {name: part.eval().requires_grad_(False) for name, part in parts.items()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes") / "data", 12)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("teacher")
    return run_tiny(root, captioned(root / "data"), CHANGES)


@pytest.fixture(scope="module")
def distilled(teacher: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(teacher, tmp_path_factory.mktemp("distilled") / "run")


def distill(teacher: Run, out: Path, **how: Any) -> Run:
    return lt.distill(teacher.path, out=out, overrides={"distill": BRIEF}, report=lambda _: None, **how)


def rows(run: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: row[k] for k in row if k not in WALL_CLOCK} for row in read if row["stage"] == "distill"]


def test_the_teacher_predicts_what_sampling_with_guidance_predicts(folder: Path) -> None:
    """At every time by itself, with the interval and the rescaling of guidance; without a condition both are one."""
    stage = stage_of(folder)
    model = stage.teacher.model
    how = {"guidance": 3.0, "guidance_interval": (0.2, 0.7), "guidance_rescale": 0.5}
    chosen = SampleOptions.model_validate(how)
    asked: dict[str, list[Any]] = {"text": ["a red ring", "a blue star", "a red ring"], "label": [0, 1, 2]}
    x, t = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([950, 500, 20])
    everything = {name: torch.ones(3, dtype=torch.bool) for name in asked}
    found = Teacher(model, chosen)(x, t, asked, everything)
    for row, time in enumerate(t.tolist()):
        level = model.schedule.level(time)
        request = Request({name: [values[row]] for name, values in asked.items()}, [0], (16, 16))
        denoise = guided(model, request, (8, 8), [level], chosen, bf16=False, worse=None)
        with torch.no_grad():
            torch.testing.assert_close(found[row : row + 1], denoise(x[row : row + 1], level), rtol=1e-3, atol=1e-4)
    nothing = {name: ~kept for name, kept in everything.items()}
    plain = Teacher(model, chosen.model_copy(update={"guidance": 1.0}))(x, t, asked, nothing)
    torch.testing.assert_close(Teacher(model, chosen)(x, t, asked, nothing), plain, rtol=1e-3, atol=1e-4)


def test_a_step_compares_both_ends_of_a_piece_of_the_teachers_path(folder: Path) -> None:
    """The whole loss by hand, at the diffusion limit and behind it, where the target is the model's own."""
    stage = stage_of(folder, halvings=1)
    stage.model.eval()
    example = next(stage.batches(0))[0]
    for step in (0, 3):
        losses, squared = stage.losses(example, step)
        assert example.moments is not None
        drawn = stage.draw(range(4), step, (4, 8, 8))
        z = stage.autoencoder.latent(example.moments, drawn.posterior)
        apart = {0: 1.0, 3: 0.5}[step]
        assert gap(step, 4, 1, stage.section.hold) == apart
        for row in range(4):
            one = slice(row, row + 1)
            now = stage.model.schedule.level(int(drawn.t[row]))
            x = now.alpha * z[one] + now.sigma * drawn.noise[one]
            values = {name: [each[row]] for name, each in example.values.items()}
            keep = {name: kept[one] for name, kept in drawn.keep.items()}
            target = x0 = stage.teacher(x, drawn.t[one], values, keep)
            r = int(nearer(angles(stage.model.schedule), drawn.t[one], apart))
            assert (r == CLEAN) or step == 3
            if r != CLEAN:
                then = stage.model.schedule.level(r)
                eps = (x - now.alpha * x0) / now.sigma
                target = end_of(stage, then.alpha * x0 + then.sigma * eps, then, values, keep)
            distance = (end_of(stage, x, now, values, keep) - target).square()
            c = stage.section.huber * 256**0.5
            by_hand = ((distance.sum() + c**2).sqrt() - c) / now.sigma
            torch.testing.assert_close(losses[row], by_hand, rtol=2e-3, atol=1e-4)
            torch.testing.assert_close(squared[row], distance.mean(), rtol=5e-3, atol=1e-5)


def end_of(
    stage: DistillStage, x: Tensor, level: Level, values: Mapping[str, Any], keep: Mapping[str, Tensor]
) -> Tensor:
    with torch.no_grad():
        out = stage.model(x, torch.tensor([int(level.t)]), stage.model.dropped(values, keep))
    return (x - level.sigma * out) / level.alpha  # it predicts epsilon


def test_it_begins_with_the_teacher_and_leaves_it_as_it_was(folder: Path) -> None:
    stage = stage_of(folder)
    before = {name: tensor.clone() for name, tensor in stage.teacher.model.state_dict().items()}
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.model.state_dict().items())
    source = stage.batches(0)
    for step in range(2):
        done = stage.step(step, next(source))
        assert isinstance(done, StepResult)
        assert done.finite
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.teacher.model.state_dict().items())
    assert not all(torch.equal(tensor, before[name]) for name, tensor in stage.model.state_dict().items())


def test_conditions_are_left_out_as_often_as_the_recipe_says(folder: Path) -> None:
    stage = stage_of(folder, train__drop_condition={"text": 0.25, "label": 0.0}, train__drop_all=0.1)
    keep = stage.draw(range(2000), 0, (1,)).keep
    assert float(keep["label"].float().mean()) == pytest.approx(0.9, abs=0.03)
    assert float(keep["text"].float().mean()) == pytest.approx(0.9 * 0.75, abs=0.04)


def test_a_distilled_model_is_opened_told_of_drawn_with_and_exported_as_any(
    teacher: Run, distilled: Run, tmp_path: Path
) -> None:
    made_of, made = lt.load(teacher.path, device="cpu"), lt.load(distilled.path, device="cpu")
    described = made.describe()
    assert described["distilled"] == {"name": "tiny", "hash": made_of.model_hash, "guidance": 3.0}
    assert described["sample"]["solver"] == {"kind": "consistency"}
    assert (described["sample"]["steps"], described["sample"]["guidance"]) == (2, 1.0)
    assert described["trained"] == {}
    folder = lt.load(distilled.path / "model", device="cpu")
    assert folder.config.trained == {"distill_steps": 4}
    assert torch.equal(folder.sample("red", n=2).tensor, made.sample("red", n=2).tensor)
    assert not torch.equal(folder.sample("red", steps=4).tensor, folder.sample("red").tensor)
    calls: list[tuple[int, int]] = []
    folder.sample("red", progress=lambda *now: calls.append(now))
    assert calls == [(1, 2), (2, 2)]
    card = model_folder.read(distilled.path / "model").card
    assert f"tiny ({made_of.model_hash}) by consistency tuning, with guidance 3 folded in" in card
    assert "4 steps of 4 images" in card
    assert "consistency, 2 evaluations, guidance 1" in card
    assert "denoiser's training" not in card
    assert run_status(distilled.path)["distill"]["checkpoints"] == [2, 4]
    export_model(distilled.path / "model", "diffusers", tmp_path / "out", report=lambda _: None)
    assert "LCMScheduler" in (tmp_path / "out" / "scheduler" / "scheduler_config.json").read_text()


def test_a_stop_changes_nothing(teacher: Run, distilled: Run, tmp_path: Path) -> None:
    """Weights, averages and log of 4 steps in one go, of a stop after 2, and with readers of their own."""
    with pytest.raises(Stopped):
        distill(teacher, tmp_path / "parts", progress=stop_at("distill", 2))
    parts = distill(teacher, tmp_path / "parts").path
    workers = {**BRIEF, "train": {**BRIEF["train"], "workers": 1, "cache_latents": False}}
    read = lt.distill(teacher.path, out=tmp_path / "read", overrides={"distill": workers}, report=lambda _: None).path
    expected = model_folder.read(distilled.path / "model").tensors["unet"]
    for run in (parts, read):
        assert rows(run) == rows(distilled.path)
        weights = model_folder.read(run / "model").tensors["unet"]
        assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert [row["gap"] for row in rows(parts) if "gap" in row] == [1.0, 0.25, 0.0625, 0.0625]
    assert rows(parts)[-1]["train_error"] > 0


def test_in_the_recipe_that_trains_the_teacher_it_is_the_same_training(
    teacher: Run, distilled: Run, tmp_path: Path
) -> None:
    """And what the teacher says of sampling is not what its child does."""
    data = captioned(tmp_path / "data")
    run = run_tiny(tmp_path, data, {**CHANGES, "distill": BRIEF}).path
    assert [row for row in rows(run) if "loss" in row] == [row for row in rows(distilled.path) if "loss" in row]
    both = [model_folder.read(one / "model").tensors["unet"] for one in (run, distilled.path)]
    assert all(torch.equal(both[0][name], tensor) for name, tensor in both[1].items())
    config = model_folder.read(run / "model").config
    assert config.trained == {"autoencoder_steps": 2, "diffusion_steps": 2, "distill_steps": 4}
    assert config.sample.solver.kind == "consistency"
    run_tiny(tmp_path, data, {**CHANGES, "distill": BRIEF, "distill.sample.steps": 4})
    assert model_folder.read(run / "model").config.sample.steps == 4
    with pytest.raises(UsageError, match="the distill stage was trained on the diffusion of step 2"):
        run_tiny(tmp_path, data, {**CHANGES, "distill": BRIEF, "diffusion.train.steps": 9})


def test_a_dry_run_says_what_it_will_take(teacher: Run, tmp_path: Path) -> None:
    rehearsed = distill(teacher, tmp_path / "run", dry_run=True).figures["stages"]
    assert list(rehearsed) == ["distill"]
    assert rehearsed["distill"]["steps"] == 4
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_distilled_is_told_before_anything_is_written(
    teacher: Run, distilled: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=r"does not say which images made it\. Name their folder: --data DIR"):
        lt.distill(teacher.path / "model", out=out)
    with pytest.raises(UsageError, match=r"is distilled already, from tiny; .* Name that model"):
        distill(distilled, out)
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"distill.sample.solver": "ddim"}, r"solver ddim: a distilled model is sampled by consistency"),
        ({"distill.halvigns": 3}, r'distill\.halvigns: unknown key \(did you mean "halvings"\?\)'),
        ({"distill.sample.steps": 5000}, r"distill\.sample\.steps: 5000 with levels trailing; accepted are 1 to 1000"),
        ({"diffusion.from": None}, r"diffusion.*: tune: false without from"),
    ]
    for changes, message in mistakes:
        with pytest.raises(UsageError, match=message):
            lt.distill(teacher.path, out=out, overrides=changes, report=lambda _: None)
    assert not out.exists()


def test_a_teacher_that_changed_since_is_not_gone_on_with(teacher: Run, distilled: Run, tmp_path: Path) -> None:
    """Else the second half would be distilled from another model than the first."""
    with pytest.raises(UsageError, match=r"is not the model that .* began to distill"):
        lt.distill(
            teacher.path,
            out=distilled.path,
            overrides={
                "distill": {**BRIEF, "train": {**BRIEF["train"], "steps": 6}},
                "sample.guidance": 2.0,
                "distill.guidance": None,
            },
            report=lambda _: None,
        )
