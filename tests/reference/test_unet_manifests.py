"""Every published denoiser has the published keys, shapes and sizes; else its checkpoint could not be loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from tests.reference.unets import CONDITION, UNET, condition_stage, count, on_meta, shapes, unused_shapes
from tests.shared import SHARED, needs_shared

MANIFESTS = SHARED / "compat" / "manifests.json"
MODELS = json.loads(MANIFESTS.read_text())["models"] if MANIFESTS.is_file() else []
LDM = [m for m in MODELS if "unet_config" in m["config"]["model"]["params"]]
EMBEDDED = [
    m for m in LDM if str(m["config"]["model"]["params"]["cond_stage_config"]).find("Embedder") >= 0
]  # class and text embedders: the conditioning stages that are networks of their own
pytestmark = [needs_shared, pytest.mark.skipif(not MODELS, reason="no manifests")]


def under(keys: dict[str, list[int]], prefix: str) -> dict[str, list[int]]:
    return {key.removeprefix(prefix): shape for key, shape in keys.items() if key.startswith(prefix)}


@pytest.mark.parametrize("manifest", LDM, ids=lambda m: m["path"])
def test_unet(manifest: dict[str, Any]) -> None:
    unet, names = on_meta(manifest["config"]["model"]["params"]["unet_config"])
    assert shapes(unet, names) == under(manifest["keys"], UNET)
    assert count(unet) == manifest["parameters"]["model"]


@pytest.mark.parametrize("manifest", EMBEDDED, ids=lambda m: m["path"])
def test_condition_stage(manifest: dict[str, Any]) -> None:
    with torch.device("meta"):
        built = condition_stage(manifest["config"]["model"]["params"]["cond_stage_config"])
    assert built is not None
    stage, names = built
    published = shapes(stage, names) | unused_shapes(stage)
    assert published == under(manifest["keys"], CONDITION)
    unused = sum(torch.Size(shape).numel() for shape in unused_shapes(stage).values())
    assert count(stage) + unused == manifest["parameters"]["cond_stage_model"]


def test_manifests_hold_both_kinds_of_condition_stage() -> None:
    assert len(LDM) >= 19
    assert len(EMBEDDED) >= 6
