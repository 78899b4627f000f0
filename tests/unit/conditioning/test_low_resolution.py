"""The low-resolution image beside the latent, of any factor; else a model is shown what it did not learn from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.conditioning import BuildContext
from latentry.conditioning.image import Image, ImageOptions, build
from latentry.data.degrade import DEGRADATIONS
from latentry.data.sample import Sample
from latentry.errors import UsageError

RAMP = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 12), indexing="ij"))  # (2, 8, 12)


def image(factor: int | None, latent: int | None) -> Image:
    return build(ImageOptions(channels=2, factor=factor), BuildContext(factor=latent))


def concat(conditioner: Image) -> Tensor:
    made = conditioner.encode([RAMP]).concat
    assert made is not None
    assert made.shape[1] == conditioner.concat_channels
    return made[0]


@pytest.mark.parametrize(("factor", "latent"), [(4, 4), (None, 4), (None, None), (1, 1), (4, None)])
def test_an_image_as_large_as_the_latent_goes_in_as_it_is(factor: int | None, latent: int | None) -> None:
    """The paper's case, x4 with f = 4, and that of every published model."""
    assert torch.equal(concat(image(factor, latent)), RAMP)


@pytest.mark.parametrize(("factor", "latent", "side"), [(2, 4, 2), (1, 4, 4), (2, 8, 4)])
def test_of_a_larger_one_every_pixel_is_kept_where_it_lies(factor: int, latent: int, side: int) -> None:
    """x2 with f = 4: shrunk to the latent's size, the detail that the condition has would be lost."""
    found = concat(image(factor, latent))
    assert found.shape == (2 * side**2, 8 // side, 12 // side)
    for channel in range(2):
        for down in range(side):
            for right in range(side):
                row = (channel * side + down) * side + right
                assert torch.equal(found[row], RAMP[channel, down::side, right::side])


@pytest.mark.parametrize(("factor", "latent", "times"), [(8, 4, 2), (4, 1, 4)])
def test_a_smaller_one_is_enlarged_and_stays_where_it_is(factor: int, latent: int, times: int) -> None:
    """x8 with f = 4, and models of pixels. A ramp stays that ramp, at the centres of the smaller pixels."""
    found = concat(image(factor, latent))
    assert found.shape == (2, 8 * times, 12 * times)
    places = (torch.arange(12 * times) + 0.5) / times - 0.5
    expected = -1 + 2 * places.clamp(0, 11) / 11
    torch.testing.assert_close(found[1], expected.expand(8 * times, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("factor", "latent"), [(3, 4), (4, 6), (6, 4)])
def test_sizes_that_do_not_fit_are_refused_before_training(factor: int, latent: int) -> None:
    with pytest.raises(UsageError, match=f"image: factor {factor} with a first stage of factor {latent}; one of them"):
        image(factor, latent)


def test_an_odd_side_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="an image of 7x8, whose sides are no multiples of 2; accepted is a tensor"):
        image(2, 4).encode([torch.zeros(2, 7, 8)])


@pytest.mark.parametrize("degradation", [None, *DEGRADATIONS])
def test_training_feeds_what_the_degradation_makes(degradation: str | None) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(16, 24, 2), dtype=np.uint8)
    options = ImageOptions.model_validate({"channels": 2, "factor": 4, "degradation": degradation})
    sample = Sample(5, 0, pixels=pixels)
    value = build(options, BuildContext()).value(sample, lambda: np.random.default_rng(7))
    assert value.shape == (2, 4, 6)
    made = DEGRADATIONS[degradation or "bicubic"](sample.image.numpy(), 4, lambda: np.random.default_rng(7))
    np.testing.assert_equal(value, made)


def test_every_degradation_can_be_asked_for() -> None:
    """A new entry of the table that no recipe can name is of no use."""
    for name in DEGRADATIONS:
        assert ImageOptions.model_validate({"degradation": name}).degradation == name
