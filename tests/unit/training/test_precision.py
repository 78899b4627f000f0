"""Training in bf16 moves the weights as fp32 does; if not, updates are rounded away and the night is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.training.plan import precision
from tests.unit.training.small_stages import DISCRIMINATOR, NO_EFFECT, first_stage, images, second_stage, train, weights

STEPS, RATE = 100, 1e-5
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
    """The whole update of the model after 100 steps, and the stage."""
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
