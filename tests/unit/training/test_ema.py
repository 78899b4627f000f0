"""The averaged weights are what is sampled from: a wrong average is a wrong model."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from latentry.data.sample import Example
from latentry.training.loop.ema import EMA
from tests.unit.training.small_stages import first_stage, images, second_stage, train


def test_average_in_closed_form() -> None:
    """After n updates at weights w_1..w_n the shadow is the product-weighted sum, with the published rise of decay."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    ema = EMA({"w": weight}, decay=0.5)
    values = [torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in range(12)]
    expected = torch.zeros(1, dtype=torch.float64)
    for n, value in enumerate(values, start=1):
        weight.data = value
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))  # reaches 0.5 at n = 8
        expected = decay * expected + (1 - decay) * value
    assert torch.allclose(ema.shadow["w"], expected, rtol=1e-12)
    assert ema.updates == 12


def test_applied_for_a_while_only() -> None:
    layer = nn.Linear(3, 3)
    raw = {n: p.detach().clone() for n, p in layer.named_parameters()}
    ema = EMA(dict(layer.named_parameters()), 0.9)
    for shadow in ema.shadow.values():
        shadow.fill_(7.0)
    seen = []
    with suppress(ZeroDivisionError), ema.applied():
        seen = [p.detach().clone() for p in layer.parameters()]
        raise ZeroDivisionError
    assert seen
    assert all((p == 7.0).all() for p in seen)
    assert all(torch.equal(p, raw[n]) for n, p in layer.named_parameters())
    ema.update()
    assert not any((shadow == 7.0).all() for shadow in ema.shadow.values())


def test_state_comes_back() -> None:
    layer = nn.Linear(3, 3)
    first, second = (EMA(dict(layer.named_parameters()), 0.9) for _ in range(2))
    for _ in range(3):
        layer.weight.data += 1.0
        first.update()
    second.load(first.state())
    layer.weight.data += 1.0
    for ema in (first, second):
        ema.update()
    assert second.updates == 4
    assert torch.equal(first.shadow["weight"], second.shadow["weight"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


@pytest.mark.parametrize("build", [first_stage, second_stage])
def test_every_trained_weight_is_averaged_once_a_step(root: Path, build) -> None:
    """Also the conditioners' and the codebook's, and however many parts a batch is worked through in."""
    stage = build(root, train__ema=0.999, train__accumulate=4)
    train(stage, 2)
    assert stage.ema.updates == 2
    assert stage.ema.shadow.keys() == {n for n, p in stage.model.named_parameters() if p.requires_grad}
    before = {n: s.clone() for n, s in stage.ema.shadow.items()}
    stage.step(2, [bad(part) for part in next(stage.batches(2))])
    assert all(torch.equal(before[n], s) for n, s in stage.ema.shadow.items()), "a step with NaN was averaged"


def bad(part: Example) -> Example:
    """The same part of a batch with NaN in it."""
    if part.image is not None:
        return part._replace(image=part.image * float("nan"))
    assert part.moments is not None
    return part._replace(moments=part.moments * float("nan"))
