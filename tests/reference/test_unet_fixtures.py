"""Our denoisers give the published numbers. If not, every published checkpoint would sample something else."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentry.nn.attention import MapAttention, Signals
from latentry.nn.embedding import sinusoids
from tests.reference.first_stages import assert_close
from tests.reference.unets import CONDITION, UNET, Fixture
from tests.shared import SHARED, needs_shared

FOLDERS = sorted(p.parent for p in (SHARED / "compat").glob("*/config.yaml") if "unet_config" in p.read_text())
pytestmark = [needs_shared, pytest.mark.skipif(not FOLDERS, reason="no fixture with a denoiser")]
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)


@cache
def fixture(folder: Path) -> Fixture:
    return Fixture(folder)


def inputs(expected: dict[str, Tensor], case: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """x, t and conditioning of one `out.eps.*` tensor, by the last part of its name."""
    x = expected[{"rect": "in.x_rect", "small": "in.x_small"}.get(case, "in.x_t")]
    at = re.search(r"t(\d+)$", case)
    t = torch.full(x.shape[:1], int(at[1])) if at else expected["in.t_mixed"]
    return x, t, expected.get("out.uncond" if case.startswith("uncond") else "out.cond")


@each
@pytest.mark.parametrize("weights", ["raw", "ema"])
@torch.no_grad()
def test_epsilon(folder: Path, weights: str) -> None:
    given = fixture(folder)
    unet, prefix = given.unet(weights), f"out.eps.{weights}."
    cases = [name.removeprefix(prefix) for name in given.expected if name.startswith(prefix)]
    assert {"t0", "t1", "t500", "t999", "mixed"} <= set(cases)
    for case in cases:
        x, t, condition = inputs(given.expected, case)
        assert_close(unet(x, t, **given.condition(condition)), given.expected[prefix + case], prefix + case)


@each
@torch.no_grad()
def test_with_what_is_computed_once(folder: Path) -> None:
    """Sampling hands over time embeddings and keys and values: the published numbers must stay."""
    given = fixture(folder)
    unet = given.unet("ema")
    x, _, condition = inputs(given.expected, "t500")
    told: dict[str, Any] = given.condition(condition)
    if "context" in told:
        told = {"context_kv": unet.project_context(told["context"])}
    embedding = unet.embed_time(torch.tensor([1.0, 500.0]))[1:]
    out = unet(x, torch.zeros(2), time_embedding=embedding, **told)
    assert_close(out, given.expected["out.eps.ema.t500"], "out.eps.ema.t500")


@each
@torch.no_grad()
def test_probes(folder: Path) -> None:
    """Single modules on inputs of tiny variance, where a wrong epsilon of a norm shows."""
    given = fixture(folder)
    expected, unet = given.expected, given.unet()
    what = json.loads((folder / "expected.json").read_text())["tensors"]
    time = unet.embed_time(expected["in.t_mixed"])
    assert_close(sinusoids(expected["in.t4"], unet.channels), expected["out.probe.time_embedding"], "sinusoids")
    assert_close(time, expected["out.probe.time_embed"], "time embedding")
    told = Signals(expected["out.probe.time_embed"], expected.get("out.cond"))
    probes = [n for n in expected if n.startswith("out.probe.") and UNET in what[n]["what"]]
    assert probes
    for name in probes:
        path = what[name]["what"].split()[0].removeprefix(UNET)
        module = unet.get_submodule(given.place(path))
        x = expected[name.replace("out.", "in.", 1)]
        out = module(x, told.time) if name.endswith("resblock") else module(x, told)
        assert_close(out, expected[name], name)


@each
@torch.no_grad()
def test_attention_probe_without_the_fused_path(folder: Path) -> None:
    """Editing attention must start from the published probabilities."""
    given = fixture(folder)
    unet = given.unet()
    x, t, condition = inputs(given.expected, "mixed")
    told = given.condition(condition)
    out = unet(x, t, edits={place: lambda p: p for place in unet.attention_places}, **told)
    assert_close(out, given.expected["out.eps.raw.mixed"], "out.eps.raw.mixed")


@each
@torch.no_grad()
def test_conditioning(folder: Path) -> None:
    given = fixture(folder)
    stage = given.condition_stage()
    if stage is None:
        pytest.skip("conditioned by no class and no text")
    source = "in.token_ids" if "in.token_ids" in given.expected else "in.class_label"
    assert_close(stage(given.expected[source]), given.expected["out.cond"], "out.cond")
    assert_close(stage(given.expected[source + "_uncond"]), given.expected["out.uncond"], "out.uncond")


def backward(given: Fixture, unet: nn.Module, condition: Tensor | None) -> None:
    """Gradients of the published training loss on out.q_sample: mean absolute or squared error of the noise."""
    expected = given.expected
    told = {} if condition is None else given.condition(torch.cat([condition, condition]))
    error = unet(expected["out.q_sample"], expected["in.t4"], **told) - expected["in.noise"]
    loss = error.abs().mean() if given.params.get("loss_type") == "l1" else error.square().mean()
    assert_close(loss.detach(), expected["out.loss.total"], "out.loss.total")
    loss.backward()


@each
def test_gradients(folder: Path) -> None:
    """Into the denoiser, and through it into the class or text network that is trained with it."""
    given = fixture(folder)
    unet, stage, expected = given.unet(), given.condition_stage(), given.expected
    condition = expected.get("out.cond")
    if stage is not None:
        condition = stage(expected["in.token_ids" if "in.token_ids" in expected else "in.class_label"])
    backward(given, unet, condition)
    ours = {UNET + theirs: unet.get_parameter(name).grad for name, theirs in given.names.items()}
    if stage is not None:
        grads = [p.grad for p in stage.parameters() if p.grad is not None]
        norm = torch.stack([g.norm() for g in grads]).norm()
        assert_close(norm, expected["out.grad.cond_stage_norm"], f"norm over {CONDITION}*", 1e-4)
    norm = torch.stack([g.norm() for g in ours.values() if g is not None]).norm()
    assert_close(norm, expected["out.grad.model_norm"], "norm over model.*", 1e-4)
    checked = [name for name in expected if name.startswith("out.grad." + UNET)]
    assert len(checked) >= 5
    for name in checked:
        grad = ours[name.removeprefix("out.grad.")]
        assert grad is not None
        if ".norm2." in name and condition is not None and condition.shape[1] == 1:
            assert grad.abs().max() < 1e-6, f"{name}: one token makes attention constant"
        else:
            assert_close(grad, expected[name], name, 1e-4)


def test_map_attention_was_probed() -> None:
    """At least one fixture has plain attention, and one a context."""
    kinds = [type(fixture(folder).unet().middle.attention) for folder in FOLDERS]
    assert MapAttention in kinds
    assert len(set(kinds)) == 2
