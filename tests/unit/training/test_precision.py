"""Training in bf16 moves the weights as fp32 does; if not, updates are rounded away and the night is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentry.config import load_yaml
from latentry.training.plan import precision
from tests.e2e.small_runs import noise, run_tiny, write_images
from tests.unit.training.small_stages import DISCRIMINATOR, NO_EFFECT, first_stage, images, second_stage, train, weights

STEPS, RATE = 30, 1e-5
STAGES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "kl": (first_stage, {}),
    "kl with discriminator": (first_stage, {"objective__discriminator": DISCRIMINATOR}),
    "vq": (first_stage, {"kind": "vq"}),
    "diffusion": (second_stage, {}),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def moved(root: Path, stage: str, chosen: str) -> tuple[Tensor, Any]:
    """The whole update of the model after 30 steps, and the stage."""
    build, changes = STAGES[stage]
    made = build(root, train__precision=chosen, train__lr=RATE, train__ema=0.99, train__batch=4, **changes)
    before = weights(made)
    train(made, STEPS)
    after = weights(made)
    return torch.cat([(after[n] - w).flatten().double() for n, w in before.items() if not n.endswith(NO_EFFECT)]), made


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_moves_the_weights_as_fp32_does(root: Path, stage: str) -> None:
    (exact, _), (rounded, made) = moved(root, stage, "fp32"), moved(root, stage, "bf16")
    cosine = torch.dot(exact, rounded) / exact.norm() / rounded.norm()
    assert cosine >= 0.98
    assert rounded.norm() == pytest.approx(float(exact.norm()), rel=0.05)
    assert not torch.equal(exact, rounded)  # else bf16 was not used
    state = made.state().tensors
    assert {"model", "ema", "optimiser"} <= state.keys()
    tensors = [tensor for group in state.values() for tensor in group.values()]
    assert {t.dtype for t in tensors} <= {torch.float32, torch.int64}


def test_the_faster_precision_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_time", lambda work, device, name: {"fp32": 1.0, "bf16": 2.0}[name])
    assert precision.choose(lambda: torch.zeros(()), torch.device("cpu"), "auto") == "fp32"
    assert precision.choose(lambda: torch.zeros(()), torch.device("cpu"), "bf16") == "bf16"
    monkeypatch.setattr(precision, "_time", lambda work, device, name: {"fp32": 2.0, "bf16": 1.0}[name])
    assert precision.choose(lambda: torch.zeros(()), torch.device("cpu"), "auto") == "bf16"


CPU = torch.device("cpu")


def timed(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[str, int], float]) -> tuple[str, int, list[str]]:
    """What `auto` chooses where pass i of a precision takes seconds(precision, i); how many passes it takes; why."""
    passes: list[str] = []
    reasons: list[str] = []

    def pass_of(work: Any, device: torch.device, name: str) -> float:
        passes.append(name)
        return seconds(name, len(passes))

    monkeypatch.setattr(precision, "_time", pass_of)
    return precision.choose(lambda _: torch.zeros(()), CPU, "auto", reasons.append), len(passes), reasons


def noisy(speeds: NDArray[Any], ratio: float) -> Callable[[str, int], float]:
    """Pass i takes speeds[i] seconds, in bf16 `ratio` times as many."""
    return lambda name, number: float(speeds[number]) * (ratio if name == "bf16" else 1.0)


def test_other_work_on_the_machine_never_changes_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two people, or one on two days, train two models from one recipe."""
    for seed in range(300):
        draw = np.random.default_rng(seed).uniform(0.7, 1.3, 100)
        assert timed(monkeypatch, noisy(draw, 1.0))[0] == "fp32"
    for begin in range(20):  # something else runs for a while, and halves the speed
        busy = np.where((np.arange(100) >= begin) & (np.arange(100) < begin + 6), 2.0, 1.0)
        assert timed(monkeypatch, noisy(busy, 1.0))[0] == "fp32"


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, "bf16"), (0.8, "fp32"), (1.5, "fp32")])
def test_what_is_clearly_faster_is_found_beside_other_work(
    ratio: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(300):
        draw = np.random.default_rng(seed).uniform(0.8, 1.2, 100)
        assert timed(monkeypatch, noisy(draw, ratio))[0] == expected


def test_no_more_passes_than_the_choice_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of waiting before a training begins, for a precision that is not taken."""
    _, passes, _ = timed(monkeypatch, lambda name, _: {"fp32": 1.0, "bf16": 1.1}[name])
    assert passes <= 3 + 2 * (precision.ODD + 1)
    now = [0.0]

    def slow(name: str, _: int) -> float:
        now[0] += 10
        return 10.0 if name == "fp32" else 1.0

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    chosen, passes, _ = timed(monkeypatch, slow)
    assert passes <= 3
    assert chosen == "fp32"  # it was not shown that bf16 is faster


def test_both_times_and_their_spread_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, reasons = timed(monkeypatch, lambda name, _: {"fp32": 1.5, "bf16": 0.6}[name])
    assert reasons == [
        "bf16 took 0.40 times as long as fp32 (0.40 to 0.40 in 9 pairs; it is chosen at 0.65 or less): "
        "1.5 s in fp32, 0.6 s in bf16 a pass"
    ]


def test_the_choice_and_its_reason_are_reported_and_stay_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot say in what it was trained, or why, cannot be repeated."""
    data = write_images(tmp_path / "data", noise(4, (16, 16, 3)))
    changes: dict[str, Any] = {"autoencoder.train.precision": "auto"}
    said: list[str] = []
    ratios: Iterator[float] = iter([1.0] * 100)
    monkeypatch.setattr(precision, "_time", lambda work, device, name: next(ratios))
    run = run_tiny(tmp_path, data, changes, stage="autoencoder", report=said.append)
    (line,) = [line for line in said if "precision" in line]
    assert line.startswith("autoencoder: precision fp32; bf16 took 1.00 times as long as fp32")
    expected = {"autoencoder": line.removeprefix("autoencoder: precision ")}
    assert load_yaml(run.path / "recipe.yaml")["made_with"]["precision"] == expected
    monkeypatch.setattr(precision, "_time", lambda *_: pytest.fail("timed again"))
    run_tiny(tmp_path, data, {**changes, "autoencoder.train.steps": 3}, stage="autoencoder")
    assert load_yaml(run.path / "recipe.yaml")["made_with"]["precision"] == expected
