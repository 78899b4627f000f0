"""If these fail, factors are compared that were not given the same compute, or a budget is not what it says."""

from __future__ import annotations

import pytest

from latentry.errors import UsageError
from latentry.study.compression.options import CompressionOptions, Costs, Part, Spent
from latentry.study.compression.splitting import FEWEST, measuring, spent, training_each

OPTIONS = CompressionOptions(
    factors=(1, 4), budget=10, checkpoints=4, steps=(5, 10), samples=100, first_share=0.25, recipe="shapes"
)
PIXELS = Costs(second=0.9, encode=0.1, draw=0.01)
LATENT = Costs(first=0.05, second=0.15, encode=0.05, draw=0.002)


def cost_of(how: Spent, cost: Costs) -> float:
    """Seconds that a factor's training takes, as a person would reckon them."""
    part = Part(factor=4, latent=(3, 8, 8), parameters=10_000, first_parameters=0, costs=cost, spent=how)
    return part.seconds(how.second)


def test_measuring_is_what_drawing_and_looking_take() -> None:
    """100 samples at 4 checkpoints in 10 steps, and once more in 5: 45 steps a sample, looked at 5 times."""
    assert measuring({1: PIXELS, 4: LATENT}, OPTIONS, look=0.02) == pytest.approx(100 * (45 * 0.012 + 2 * 5 * 0.02))


def test_factors_share_what_measuring_leaves() -> None:
    each = training_each({1: PIXELS, 4: LATENT}, OPTIONS, look=0.02)
    assert 2 * each + measuring({1: PIXELS, 4: LATENT}, OPTIONS, look=0.02) == pytest.approx(600)


@pytest.mark.parametrize("images", [100, 1_000_000], ids=["few are encoded once", "many anew"])
@pytest.mark.parametrize(("factor", "cost"), [(1, PIXELS), (4, LATENT)])
def test_every_factor_spends_the_same(factor: int, cost: Costs, images: int) -> None:
    """To the last steps, which fill no further interval between two checkpoints; never more."""
    how = spent(factor, cost, 300.0, OPTIONS, images, batch=32)
    step = cost.second + cost.encode
    assert 300 - 2 * OPTIONS.checkpoints * step - cost.first < cost_of(how, cost) <= 300 + 1e-9
    assert how.second == OPTIONS.checkpoints * how.second_every
    assert how.second_every % how.save == 0
    assert how.cached == (factor == 4 and images == 100)


def test_pixels_spend_all_on_the_denoiser() -> None:
    """1 s a step: 300 s are 4 times 75 steps, of which 74 are saved in two parts.

    Of latents a quarter goes to the first stage: 75 s at 0.05 s are 1,500 steps.
    """
    pixels, latent = (spent(f, cost, 300.0, OPTIONS, 10**6, 32) for f, cost in ((1, PIXELS), (4, LATENT)))
    assert (pixels.first, pixels.second) == (0, 296)
    assert (latent.first, latent.second) == (1500, 1124)


def test_latents_are_cached_where_that_leaves_more_steps() -> None:
    """3,200 images are 100 batches of 0.05 s: 5 s, then steps of 0.15 s instead of 0.2 s."""
    how = spent(4, LATENT, 300.0, OPTIONS, images=3200, batch=32)
    assert how.cached
    assert how.encoding == pytest.approx(5.0)
    assert how.second == int((225 - 5) / 0.15) // 4 * 4


def test_a_kill_costs_about_a_minute() -> None:
    slow = Costs(second=10.0, encode=0.0, draw=0.0)
    how = spent(1, slow, 4000.0, OPTIONS, 100, 32)
    assert how.save * 10 <= 60
    assert how.second == 4 * how.second_every


def test_a_budget_that_trains_nothing_is_refused_with_one_that_does() -> None:
    costs = {1: PIXELS, 4: LATENT}
    tight = OPTIONS.model_copy(update={"budget": 0.5})
    with pytest.raises(
        UsageError, match=r"--budget: found 0.5 minutes; .* 2 factors need (\S+) to train at all"
    ) as caught:
        training_each(costs, tight, look=0.02)
    named = float(str(caught.value).partition("need ")[2].split()[0])
    assert "\n" not in str(caught.value)
    each = training_each(costs, OPTIONS.model_copy(update={"budget": named}), look=0.02)
    for factor, cost in costs.items():
        how = spent(factor, cost, each, OPTIONS, 100, 32)
        assert how.second >= FEWEST * OPTIONS.checkpoints
        assert factor == 1 or how.first >= FEWEST
    with pytest.raises(UsageError):
        training_each(costs, OPTIONS.model_copy(update={"budget": 0.9 * named}), look=0.02)
