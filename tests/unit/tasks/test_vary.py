"""If these fail, a variation is of another image, strength or seed than asked for, or frames miss their ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import geometric_slerp

from latentry import config, rng
from latentry.errors import UsageError
from latentry.tasks import TASKS, Request
from latentry.tasks.interpolate import slerp
from latentry.tasks.vary import level_of
from tests.unit.models.small_models import denoiser
from tests.unit.pipeline.small_pipelines import pipeline

DRAW = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images of one size, which does not fit the model, and one of another."""
    sizes = {"a": (13, 18), "b": (13, 18), "c": (16, 16)}
    for name, (height, width) in sizes.items():
        Image.fromarray(DRAW.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in sizes]


def asked(task: str, **options: Any) -> Request:
    entry = TASKS[task].task
    return entry.request(config.validate(entry.options, options, task), pipeline().model)


def test_a_variation_begins_at_its_strength_with_the_image_and_the_noise_of_its_seed(files: list[Path]) -> None:
    """x_t = alpha z + sigma eps, eps that of `sample --seed`: strength 1 is nearly that sample."""
    pipe = pipeline()
    request = asked("vary", file=files[0], strength=0.25, n=2, seed=5).begun()
    assert request.start is not None
    x, level = request.start
    assert level is not None
    assert level == denoiser().schedule.level(249)
    padded = np.pad(np.asarray(Image.open(files[0])), ((0, 3), (0, 2), (0, 0)), mode="symmetric")
    image = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1
    eps = torch.cat([rng.normal(seed, "sampling start", [0], 0, (4, 8, 10)) for seed in (5, 6)])
    torch.testing.assert_close(x, level.alpha * pipe.encode(image) + level.sigma * eps)
    assert pipe.vary(files[0], strength=0.25, n=2, seed=5).tensor.shape == (2, 3, 13, 18)


@pytest.mark.parametrize(("strength", "t"), [(1.0, 999), (0.5, 499), (0.001, 0), (1e-9, 0)])
def test_the_strength_is_a_share_of_the_times(strength: float, t: int) -> None:
    assert level_of(denoiser().schedule, strength).t == t


@pytest.mark.parametrize("strength", [0, -0.5, 1.01, float("nan")])
@pytest.mark.parametrize("task", ["vary", "interpolate"])
def test_a_strength_outside_0_to_1_is_told(task: str, strength: float, files: list[Path]) -> None:
    given = {"file": files[0]} if task == "vary" else {"files": files[:2]}
    with pytest.raises(UsageError, match="strength"):
        asked(task, **given, strength=strength)


@pytest.mark.parametrize("seed", range(3))
def test_the_arc_is_that_of_scipy(seed: int) -> None:
    first, last = (rng.normal(seed, name, [0], 0, (2, 3, 4)) for name in "ab")
    shares = [0.0, 0.2, 0.5, 1.0]
    found = slerp(first / first.norm(), last / last.norm(), shares).flatten(1).numpy()
    ends = [end.double().flatten().numpy() / np.linalg.norm(end.double().numpy()) for end in (first, last)]
    np.testing.assert_allclose(found, geometric_slerp(*ends, shares), atol=1e-5)


def test_the_arc_between_equals_is_that_point() -> None:
    point = rng.normal(0, "a", [0], 0, (2, 3, 4))
    torch.testing.assert_close(slerp(point, point, [0.0, 0.3, 1.0]), point.expand(3, 2, 3, 4))


def test_frames_between_seeds_begin_and_end_with_their_samples() -> None:
    frames = pipeline().interpolate(seeds=(3, 8), frames=3, text="a red circle").tensor
    for frame, seed in ((0, 3), (2, 8)):
        torch.testing.assert_close(
            frames[frame], pipeline().sample("a red circle", seed=seed).tensor[0], atol=1e-4, rtol=0
        )
    assert (frames[1] - frames[0]).abs().mean() > 1e-3 < (frames[1] - frames[2]).abs().mean()


def test_frames_between_texts_and_classes_begin_and_end_with_their_samples() -> None:
    ends = {"texts": ("a red circle", "a blue square"), "labels": ("star", "circle")}
    frames = pipeline().interpolate(**ends, frames=3, seed=2).tensor
    for frame in (0, 1):
        text, label = ends["texts"][frame], ends["labels"][frame]
        sample = pipeline().sample(text, label=label, seed=2).tensor[0]
        torch.testing.assert_close(frames[2 * frame], sample, atol=1e-4, rtol=0)


def test_between_texts_the_context_is_the_mean_of_theirs() -> None:
    model = denoiser()
    found, first, last = (
        model.condition(values, len(values["text"])).parts()["context"]
        for values in (
            asked("interpolate", texts=("a red circle", "a blue square"), frames=3).values,
            {"text": ["a red circle"]},
            {"text": ["a blue square"]},
        )
    )
    torch.testing.assert_close(found[1:2], (first + last) / 2)
    torch.testing.assert_close(found[0:1], first)


def test_frames_between_files_begin_and_end_with_their_variations(files: list[Path]) -> None:
    frames = pipeline().interpolate(files=files[:2], frames=3, strength=0.4, seed=1).tensor
    assert frames.shape == (3, 3, 13, 18)
    for frame in (0, 1):
        varied = pipeline().vary(files[frame], strength=0.4, seed=1).tensor[0]
        torch.testing.assert_close(frames[2 * frame], varied, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no two ends; give --seeds 1,2, or --texts, --labels or --images twice"),
        ({"seeds": "1"}, "seeds: one end; give two"),
        ({"seeds": "1,x"}, 'found "x"; accepted: two seeds, as in 1,2'),
        ({"seeds": "1,2,3"}, "seeds"),
        ({"texts": ["a", "b"], "text": "c"}, "one condition from end to end, and the same one fixed"),
        ({"seeds": "1,2", "frames": 1}, "frames: found 1"),
        ({"labels": ["star", "stat"]}, 'no "stat"'),
    ],
)
def test_ends_that_cannot_be_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pipeline().interpolate(**options)


def test_files_of_two_sizes_are_told(files: list[Path]) -> None:
    with pytest.raises(UsageError, match="--images: 13x18 and 16x16 pixels; accepted: two images of one size"):
        asked("interpolate", files=files[1:])
    with pytest.raises(UsageError, match="both are where the frames begin"):
        asked("interpolate", files=files[:2], seeds="1,2")


@pytest.mark.parametrize("task", ["vary", "interpolate"])
@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"steps": 10**9}, "steps"),
        ({"autoguide": "none"}, "autoguide: none: no such file"),
        ({"classifier_scale": 3.0}, "has no classifier"),
        ({"tile": 3}, "tile"),
    ],
)
def test_what_is_wrong_is_told_before_a_network_works(
    task: str, wrong: dict[str, Any], part: str, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To encode a large image takes minutes; to look at what is asked for, none."""
    pipe = pipeline()
    given = {"file": files[0]} if task == "vary" else {"files": files[:2]}
    monkeypatch.setattr(type(pipe.model), "encode", lambda *_, **__: pytest.fail("encoded"))
    pipe.check(task, **given)
    with pytest.raises(UsageError, match=part):
        pipe.run(task, **given, **wrong)
    with pytest.raises(UsageError, match=part):
        next(pipe.steps(task=task, **given, **wrong))
