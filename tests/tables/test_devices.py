"""Every entry of every table on other devices; `meta`, which has no numbers, stands in for a GPU where there is none.

If these fail, a model that was moved to a GPU stops at its first condition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.conditioning import CONDITIONERS, Cond, Conditioner, batch, combine, where
from latentry.kinds import build
from tests.tables.conditioner_cases import CAPTIONS, CASES, CONTEXT, make

TEXT = {"width": 8, "layers": 1, "heads": 2, "head_channels": 4, "length": 12}
WITH_LEFT_OUT_WORDS = [
    ("text", {**TEXT, "drop_words": 0.5, "pooled": pooled}, CAPTIONS[:3], None)
    for pooled in ("tokens", "words", "each")
]
DEVICES = [
    "meta",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device here")),
]


def on(device: str, name: str, options: dict[str, Any]) -> Conditioner:
    """A conditioner moved to `device`, whose first stage is there too and takes nothing from elsewhere."""

    def encode(images: Tensor) -> Tensor:
        if images.device.type != device:
            raise RuntimeError(f"the first stage is on {device}, its images on {images.device}")
        return torch.nn.functional.avg_pool2d(images, 4)

    torch.manual_seed(0)
    conditioner: Conditioner = build(CONDITIONERS, make(name, options), replace(CONTEXT, encode=encode))
    return conditioner.to(device)


@pytest.mark.parametrize("training", [False, True], ids=["sampled", "trained"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [*CASES, *WITH_LEFT_OUT_WORDS], ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_condition_is_where_its_model_is(case: tuple[str, dict[str, Any], Any, Any], device: str, training: bool):
    name, options, values, _ = case
    conditioner = on(device, name, options).train(training)
    cond, null = conditioner.encode(values), conditioner.null(3, values)
    some = conditioner.encode([values[0], None, values[2]])
    mixed = where(torch.tensor([True, False, True]), cond, null)
    for each in (cond, null, some, mixed, batch([cond, null])):
        assert each.parts()
        for part in each.parts().values():
            assert part.device.type == device
    if device != "meta" and not training:
        here = on("cpu", name, options).eval().encode(values).parts()
        for part_name, part in cond.parts().items():
            torch.testing.assert_close(part.cpu(), here[part_name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_values_that_are_there_already_stay(case: tuple[str, dict[str, Any], Any, Any], device: str):
    """Who keeps images and maps on the GPU need not bring them back first; a map of classes is read, so not on meta."""
    name, options, values, _ = case
    if not all(isinstance(value, Tensor) for value in values) or (device == "meta" and values[0].ndim < 3):
        pytest.skip("its values are no tensors that could be there")
    cond = on(device, name, options).encode([value.to(device) for value in values])
    assert {part.device.type for part in cond.parts().values()} == {device}


@pytest.mark.parametrize("device", DEVICES)
def test_a_mask_made_beside_another_is_where_the_context_is(device: str):
    contexts = torch.zeros(2, 3, 4, device=device)
    masked = Cond(context=contexts, context_mask=torch.ones(2, 3, dtype=torch.bool, device=device))
    assert {part.device.type for part in combine([Cond(context=contexts), masked]).parts().values()} == {device}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_model_that_was_opened_can_be_moved(case: tuple[str, dict[str, Any], Any, Any]):
    """Models are built without memory and filled from files: what files do not hold must be real from the start."""
    name, options, values, _ = case
    made = on("cpu", name, options).eval()
    assert not [key for key in made.state_dict() if "place" in key], "a model's file would have a tensor more"
    with torch.device("meta"):
        opened = build(CONDITIONERS, make(name, options), CONTEXT)
    opened.load_state_dict(made.state_dict(), assign=True)
    again = opened.eval().to("cpu").encode(values).parts()
    for part_name, part in made.encode(values).parts().items():
        assert torch.equal(part, again[part_name])
