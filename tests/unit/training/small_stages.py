"""Both stages of a small experiment, put together as a run does it, for the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentry import config
from latentry.data import shapes
from latentry.training.loop.optimiser import Updater
from latentry.training.loop.world import World
from latentry.training.plan.decide import plan
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import validated
from latentry.training.stages.autoencoder.build import build as build_first
from latentry.training.stages.autoencoder.build import fresh
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from latentry.training.stages.classifier.build import build as build_classifier
from latentry.training.stages.classifier.stage import ClassifierStage
from latentry.training.stages.diffusion.build import build as build_second
from latentry.training.stages.diffusion.stage import DiffusionStage

ALONE = World(0, 1, torch.device("cpu"))
TRAIN: dict[str, Any] = {"precision": "fp32", "batch": 8, "lr": 1e-3}
RECIPE: dict[str, Any] = {
    "name": "small",
    "data": {"size": 16, "text": "text", "label": "label", "held_out": 0.25},
    "autoencoder": {
        "channels": 8,
        "multipliers": [1, 2],
        "blocks": 1,
        "norm_groups": 4,
        "codes": 16,
        "objective": {"perceptual": "none"},
        "train": TRAIN,
    },
    "diffusion": {
        "unet": {"channels": 16, "multipliers": [1, 2], "blocks": 1, "attention": [2], "heads": 2, "norm_groups": 4},
        "conditioning": {
            "text": {"kind": "text", "width": 16, "layers": 1, "heads": 2, "head_channels": 8, "length": 8},
            "label": {"kind": "class_label", "via": "vector", "width": 8},
        },
        "train": {**TRAIN, "cache_latents": False},
    },
}
CLASSIFIER: dict[str, Any] = {
    "channels": 8,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention": [2],
    "head_channels": 4,
    "norm_groups": 4,
    "train": {**TRAIN, "cache_latents": False},
}
DISCRIMINATOR = {"channels": 4, "layers": 1, "start": 0, "lead": 0, "ramp": 0, "max_weight": 1e4}
"""As published: the whole term from its first step on."""
# A key's bias shifts all logits of a query alike, which a softmax does not see: its gradient is rounding alone.
NO_EFFECT = "key.bias"


class Distance(nn.Module):
    """A perceptual distance without weights from files: squared difference of fixed random features."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.register_buffer("kernel", torch.randn(4, 3, 3, 3, generator=generator))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = partial(nn.functional.conv2d, weight=self.get_buffer("kernel"))
        return (features(x) - features(y)).square().mean(dim=(1, 2, 3))


def images(root: Path, count: int = 40) -> Path:
    """A folder of captioned, labelled shapes."""
    shapes.write(root, count, size=16, seed=0)
    return root


def planned(root: Path, changes: Mapping[str, Any], world: World = ALONE) -> Plan:
    """changes: dotted keys of the recipe. Nothing is written."""
    recipe = validated(config.override(RECIPE, changes), "recipe")
    return plan(recipe, root, root.parent / "nowhere", world=world, report=lambda _: None)


def first_stage(root: Path, world: World = ALONE, **changes: Any) -> AutoencoderStage:
    """The first stage; `__` for `.` in keys below `autoencoder`, as in `objective__kl_weight` and `train__lr`."""
    dotted = {f"autoencoder.{key.replace('__', '.')}": value for key, value in changes.items()}
    stage = build_first(planned(root, {**dotted, "diffusion.conditioning": {}}, world), {})
    if stage.objective.options.perceptual.weight and "objective__perceptual" in changes:
        stage.objective.__dict__["perceptual"] = Distance()
    fill(stage.model)
    return stage


def second_stage(root: Path, world: World = ALONE, **changes: Any) -> DiffusionStage:
    """The second stage on an untrained first one."""
    dotted = {f"diffusion.{key.replace('__', '.')}": value for key, value in changes.items()}
    made = planned(root, dotted, world)
    stage = build_second(made, {"autoencoder": fresh(made).eval().requires_grad_(False)})
    fill(stage.model)
    return stage


def classifier_stage(root: Path, world: World = ALONE, **changes: Any) -> ClassifierStage:
    """The classifier of labels on an untrained first stage."""
    dotted = {f"classifier.{key.replace('__', '.')}": value for key, value in changes.items()}
    made = planned(root, {"classifier": CLASSIFIER, **dotted}, world)
    stage = build_classifier(made, {"autoencoder": fresh(made).eval().requires_grad_(False)})
    fill(stage.model)
    return stage


def fill(model: nn.Module, size: float = 0.02) -> None:
    """Move all weights a little, for layers begin at zero, and behind a zero there is no gradient."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.data += size * torch.randn(parameter.shape, generator=generator).to(parameter.device)


def train(stage: Any, steps: int, start: int = 0) -> list[dict[str, float]]:
    """Numbers of each step."""
    source, rows = stage.batches(start), []
    for step in range(start, start + steps):
        metrics, finite, _ = stage.step(step, next(source))
        assert finite
        rows.append(metrics)
    return rows


def gradients(stage: Any, step: int = 0) -> dict[str, dict[str, Tensor]]:
    """Of one step, as each optimiser is given them: by optimiser ("updater", "critic"), then by weight."""
    found: dict[str, dict[str, Tensor]] = {}

    def recording(name: str, updater: Updater, apply: Callable[..., None]) -> Callable[..., None]:
        def record(*of: Any) -> None:
            found[name] = {n: w.grad.clone() for n, w in updater.weights.items() if w.grad is not None}
            apply(*of)

        return record

    for name in ("updater", "critic"):
        if (updater := getattr(stage, name, None)) is not None:
            updater.step = recording(name, updater, updater.step)
    train(stage, 1, step)
    for name in found:
        del getattr(stage, name).__dict__["step"]
    return found


def weights(stage: Any) -> dict[str, Tensor]:
    """Copies of every trained weight of a stage, discriminator included."""
    modules = [stage.model, getattr(stage, "objective", None)]
    return {
        f"{i}.{name}": p.detach().clone()
        for i, module in enumerate(modules)
        if isinstance(module, nn.Module)
        for name, p in module.named_parameters()
    }


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], share: float) -> None:
    """Every tensor within a share of its largest expected magnitude."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if not name.endswith(NO_EFFECT):
            error, bound = (found[name] - value).abs().max(), share * value.abs().max() + 1e-10
            assert error <= bound, f"{name}: off by {error:.2e}, more than {bound:.2e}"
