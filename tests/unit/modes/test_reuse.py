"""Reused deep features: only where asked for, told in the file, and the shallow part is always computed."""

from __future__ import annotations

import pytest
import torch

from latentry.models.bind import bind
from latentry.nn.unet import Deep
from tests.unit.modes.test_networks import called, unet
from tests.unit.pipeline.small_pipelines import pipeline


@torch.no_grad()
def test_with_its_own_features_the_rest_gives_what_the_whole_gives() -> None:
    """Equal to the bit: what is left out below the first resolution, and nothing else, comes from the other call."""
    network, deep = unet(), Deep()
    x, t, context = torch.randn(2, 3, 8, 8), torch.tensor([40.0, 40.0]), torch.randn(2, 5, 8)
    whole = network(x, t, context=context, deep=deep)
    assert whole.equal(network(x, t, context=context))
    assert network(x, t, context=context, deep=deep).equal(whole)
    other = network(x + 0.5, t, context=context, deep=deep)
    assert not other.equal(whole)
    assert not other.equal(network(x + 0.5, t, context=context))


@torch.no_grad()
@pytest.mark.parametrize(("reuse", "calls"), [(1, 6), (2, 3), (3, 2), (4, 2)])
def test_one_of_so_many_evaluations_is_whole(reuse: int, calls: int) -> None:
    """Of six evaluations with reuse=4 the first and the fifth: fewer would be faster and worse than was asked for."""
    pipe = pipeline(conditions="text")
    model = pipe.denoiser
    assert model is not None
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    model.unet.middle.register_forward_hook(counted)
    levels = [model.schedule.level(t) for t in (900, 700, 500, 300, 200, 100)]
    denoisers = bind(model, [model.condition({"text": ["red"]}, 1)], levels, reuse=reuse)
    for level in levels:
        denoisers(torch.randn(1, 4, 8, 8), level)
    assert count == calls


def test_a_picture_says_that_features_were_reused() -> None:
    """An approximation is never silent, and never the default."""
    pipe = pipeline()
    exact = pipe.sample("a red circle", steps=6)
    assert "reuse" not in exact.facts[0]
    assert pipe.sample("a red circle", steps=6, reuse=1).tensor.equal(exact.tensor)
    near = pipe.sample("a red circle", steps=6, reuse=2)
    assert near.facts[0]["reuse"] == "2"
    assert not near.tensor.equal(exact.tensor)


@pytest.mark.parametrize("solver", ["ddim", "heun", "unipc", "dpmpp_2m"])
def test_it_goes_with_every_kind_of_solver_and_with_tiles(solver: str) -> None:
    """Each place keeps features of its own: with those of its neighbour a tile would show the neighbour."""
    pipe = pipeline()
    assert pipe.sample("a red circle", steps=4, solver=solver, reuse=2).tensor.isfinite().all()
    tiled = pipe.sample("a red circle", steps=4, solver="ddim", reuse=4, size=32, tile=16, overlap=8)
    assert tiled.tensor.shape[-1] == 32
    assert tiled.tensor.isfinite().all()


def test_called_is_deterministic() -> None:
    """The helper's network and input, on which the other tests rest."""
    assert called(unet()).equal(called(unet()))
