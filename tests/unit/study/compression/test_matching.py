"""If these fail, factors are compared by networks of other sizes, and the larger one wins."""

from __future__ import annotations

import pytest
import torch

from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import DataFacts, ModelConfig
from latentry.study.compression import recipes
from latentry.study.compression.matching import Shape, latent_channels, levels_of, matched
from latentry.study.compression.options import FACTORS, CompressionOptions, Spent
from latentry.training.plan.recipes import load

SPENT = Spent(first=300, second=400, second_every=100, save=50, cached=False, encoding=0)


@pytest.mark.parametrize(
    ("name", "size", "factors"),
    [("shapes", 1_000_000, FACTORS), ("emoji", 2_000_000, (2, 16)), ("small-128", 20_000_000, (1, 32))],
)
def test_networks_of_all_factors_are_of_one_size(name: str, size: int, factors: tuple[int, ...]) -> None:
    """Within a tenth; counted in the networks that `latentry train` will build of the recipes."""
    recipe, options = load(name, ["data.channels=3"]), CompressionOptions(parameters=size, factors=factors)
    for draft in recipes.drafts(recipes.images_alone(recipe), options, "cpu"):
        made = recipes.settled(draft, SPENT)
        config = ModelConfig(
            name="", version="", data=DataFacts(size=recipe.data.height_width, channels=3),
            autoencoder=made.autoencoder.architecture(), diffusion=made.diffusion.architecture(),
        )  # fmt: skip
        with torch.device("meta"):
            denoiser, first = build_denoiser(config, {}), Autoencoder(config.autoencoder, 3)
        assert sum(p.numel() for p in denoiser.parameters()) == pytest.approx(size, rel=0.1)
        assert made.autoencoder.architecture().factor == draft.factor
        if draft.factor > 1:
            assert sum(p.numel() for p in first.parameters()) == pytest.approx(size / 4, rel=0.1)


def test_the_latents_are_those_of_the_paper() -> None:
    """Tables 13 and 14: 2, 3, 4, 8 and 32 channels; of other images than RGB in proportion."""
    assert [latent_channels(f, 3) for f in FACTORS] == [3, 2, 3, 4, 8, 32]
    assert [latent_channels(f, 1) for f in FACTORS] == [1, 1, 1, 1, 3, 11]
    assert [levels_of(256 // f) for f in FACTORS] == [6, 5, 4, 3, 2, 1]


def test_what_is_held_fixed_is_the_same_for_all() -> None:
    """Data, losses, rates, batches and solver; no conditions, which the study does not compare."""
    drafts = recipes.drafts(recipes.images_alone(load("shapes-layout")), CompressionOptions(factors=(1, 4, 16)), "cpu")
    trees = [recipes.settled(draft, SPENT) for draft in drafts]
    kept = ("data", "seed")
    assert len({tree.model_dump_json(include=set(kept)) for tree in trees}) == 1
    assert len({tree.diffusion.train.model_dump_json() for tree in trees}) == 1
    assert len({tree.autoencoder.train.model_dump_json() for tree in trees}) == 1
    assert {tree.diffusion.conditioning == {} for tree in trees} == {True}
    assert [tree.sample.clip for tree in trees] == [True, False, False]
    first = trees[0].diffusion.train
    assert (first.steps, first.milestones, first.save_every, first.batch, first.lr) == (400, 100, 50, 32, 2e-3)


def test_widths_come_nearest_to_the_size() -> None:
    """Of a network that has 3 w² parameters a level, 2 levels of 48 and 96 have 34,560."""

    def count(shape: Shape) -> int:
        return sum(3 * (shape.channels * m) ** 2 for m in shape.multipliers)

    assert matched(34_560, 2, count) == Shape(48, (1, 2))
    assert matched(30_000, 1, count) == Shape(100, (1,))


def test_sizes_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--parameters: found 10,000; no networks come within 10% of") as caught:
        recipes.drafts(load("shapes"), CompressionOptions(parameters=10_000), "cpu")
    assert "\n" not in str(caught.value)
