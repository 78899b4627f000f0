"""A step that is not finite leaves no trace: a NaN in a weight, an average or a running mean would never go away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.training.small_stages import DISCRIMINATOR, first_stage, images, second_stage, train

BAD = float("nan")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def build(kind: str, root: Path) -> Any:
    if kind == "diffusion":
        return second_stage(root, train__ema=0.9)
    return first_stage(root, kind=kind, train__ema=0.9, objective__discriminator=DISCRIMINATOR)


def snapshot(stage: Any) -> dict[str, Tensor]:
    return {f"{group}/{n}": t.clone() for group, part in stage.state().tensors.items() for n, t in part.items()}


def bad_part(parts: list[Any]) -> list[Any]:
    """Images, or latents, of which one value is not finite."""
    name = "image" if parts[0].image is not None else "moments"
    values = getattr(parts[0], name).clone()
    values.view(-1)[0] = BAD
    return [parts[0]._replace(**{name: values}), *parts[1:]]


def bad_gradient(parameter: torch.nn.Parameter) -> Any:
    return parameter.register_hook(lambda gradient: gradient * BAD)


def unchanged(before: dict[str, Tensor], after: dict[str, Tensor], but: tuple[str, ...] = ()) -> None:
    assert before.keys() == after.keys()
    changed = [name for name in before if not name.startswith(but) and not torch.equal(before[name], after[name])]
    assert not changed
    assert all(bool(torch.isfinite(tensor).all()) for tensor in after.values())


@pytest.mark.parametrize("kind", ["kl", "vq", "diffusion"])
@pytest.mark.parametrize("where", ["input", "gradient"])
def test_nothing_of_the_step_is_applied(kind: str, where: str, root: Path) -> None:
    stage = build(kind, root)
    train(stage, 2)
    before, source = snapshot(stage), stage.batches(2)
    parts = next(source)
    if where == "input":
        _, finite, _ = stage.step(2, bad_part(parts))
    else:
        hook = bad_gradient(next(iter(stage.updater.weights.values())))
        _, finite, _ = stage.step(2, parts)
        hook.remove()
    assert not finite
    unchanged(before, snapshot(stage))
    train(stage, 1, start=3)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in snapshot(stage).values())


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_a_bad_gradient_of_the_discriminator_leaves_it_alone(kind: str, root: Path) -> None:
    """The autoencoder's update was done by then; the discriminator's, and its running means, are not."""
    stage = build(kind, root)
    train(stage, 2)
    before = snapshot(stage)
    hook = bad_gradient(next(stage.objective.discriminator.parameters()))
    metrics, finite, _ = stage.step(2, next(stage.batches(2)))
    hook.remove()
    assert not finite
    assert metrics["discriminator_gradient_norm"] != metrics["discriminator_gradient_norm"]
    unchanged(before, snapshot(stage), but=("model/", "ema/", "optimiser/"))
