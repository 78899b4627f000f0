"""Every published first stage has the published keys, shapes and sizes; else its checkpoint could not be loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from latentry.checkpoints.compvis_first_stage import first_stage_arguments, objective_arguments
from latentry.checkpoints.first_stage_names import to_ours, to_published
from latentry.nn.lpips import LPIPS
from latentry.train.objectives import AdversarialObjective, ObjectiveOptions
from tests.reference.first_stages import FirstStage
from tests.shared import SHARED, needs_shared

MANIFESTS = SHARED / "compat" / "manifests.json"
MODELS = json.loads(MANIFESTS.read_text())["models"] if MANIFESTS.is_file() else []
LDM = [m for m in MODELS if "first_stage_config" in m["config"]["model"]["params"]]
AUTOENCODERS = [m for m in MODELS if "ddconfig" in m["config"]["model"]["params"]]
pytestmark = [needs_shared, pytest.mark.skipif(not MODELS, reason="no manifests")]


def shapes(module: torch.nn.Module) -> dict[str, list[int]]:
    return {to_published(name): list(value.shape) for name, value in module.state_dict().items()}


def build(params: dict[str, Any]) -> FirstStage:
    with torch.device("meta"):
        return FirstStage(params)


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("manifest", AUTOENCODERS, ids=lambda m: m["path"])
def test_first_stage(manifest: dict[str, Any]) -> None:
    model = build(manifest["config"]["model"]["params"])
    assert shapes(model) == manifest["keys"]
    published = manifest["parameters"]
    assert size(model.encoder) == published["encoder"]
    assert size(model.decoder) == published["decoder"]
    assert size(model) == published["total"] - published["loss"]


@pytest.mark.parametrize("manifest", LDM, ids=lambda m: m["path"])
def test_first_stage_inside_a_diffusion_model(manifest: dict[str, Any]) -> None:
    prefix = "first_stage_model."
    model = build(manifest["config"]["model"]["params"]["first_stage_config"]["params"])
    published = {k.removeprefix(prefix): v for k, v in manifest["keys"].items() if k.startswith(prefix)}
    assert shapes(model) == published


@pytest.mark.parametrize("manifest", AUTOENCODERS, ids=lambda m: m["path"])
def test_training_losses(manifest: dict[str, Any]) -> None:
    params = manifest["config"]["model"]["params"]
    options = ObjectiveOptions.model_validate(objective_arguments(params["lossconfig"]["params"]))
    kl = first_stage_arguments(params).kind == "kl"
    with torch.device("meta"):
        objective = AdversarialObjective(options, image_channels=3, sums=kl)
        perceptual = torch.nn.ModuleDict({"perceptual": LPIPS("vgg16")})
    ours = shapes(objective) | shapes(perceptual)
    if not kl:  # the published VQ loss has no log-variance
        del ours["loss.logvar"]
    assert ours == manifest["loss"]
    assert size(objective) - (not kl) + size(perceptual) == manifest["parameters"]["loss"]


def published_names() -> Iterator[str]:
    for manifest in AUTOENCODERS:
        yield from manifest["keys"]
        yield from manifest["loss"]


def test_names_are_one_to_one() -> None:
    names = set(published_names())
    assert len({to_ours(name) for name in names}) == len(names)
    assert [name for name in names if to_published(to_ours(name)) != name] == []
