"""If these fail, a first stage trains on colours that no image can have, or on others when work is divided."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch

from latentry.training.stages.autoencoder.recolour import recoloured
from tests.unit.training.small_stages import first_stage
from tests.unit.training.small_stages import images as folder


def images(count: int, channels: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (count, channels, 4, 6)).astype(np.float32))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_symmetry_of_the_cube_of_colours_comes_up_alike(channels):
    x = images(1, channels).expand(4800, -1, -1, -1)
    known = [
        torch.stack([sign * x[0, band] for band, sign in zip(order, signs, strict=True)])
        for order in permutations(range(channels))
        for signs in product((-1, 1), repeat=channels)
    ]
    y = recoloured(x, 1.0, 0, range(len(x)), 5, alpha=False)
    counts = [int((y == image).flatten(1).all(1).sum()) for image in known]
    assert sum(counts) == len(x)
    expected = len(x) / len(known)
    assert max(abs(c - expected) for c in counts) < 5 * expected**0.5


def test_the_share_that_a_recipe_asks_for_is_changed_and_the_rest_is_bit_for_bit_the_same():
    x = images(4000, 3)
    same = (recoloured(x, 0.25, 0, range(len(x)), 0, alpha=False) == x).flatten(1).all(1).float().mean()
    assert abs(float(same) - (0.75 + 0.25 / 48)) < 0.03
    assert recoloured(x, 0.0, 0, range(len(x)), 0, alpha=False) is x


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_stays(channels):
    x = images(200, channels)
    y = recoloured(x, 1.0, 0, range(200), 0, alpha=True)
    assert torch.equal(y[:, -1], x[:, -1])
    assert not torch.equal(y[:, :-1], x[:, :-1])
    assert not torch.equal(recoloured(x, 1.0, 0, range(200), 0, alpha=False)[:, -1], x[:, -1])


def test_an_image_draws_by_its_place_and_step_however_the_batch_is_divided():
    x = images(12, 3)
    whole = recoloured(x, 0.5, 3, range(12), 7, alpha=False)
    parts = [recoloured(x[i::3], 0.5, 3, range(i, 12, 3), 7, alpha=False) for i in range(3)]
    for i, part in enumerate(parts):
        assert torch.equal(part, whole[i::3])
    assert not torch.equal(whole, recoloured(x, 0.5, 3, range(12), 8, alpha=False))
    assert not torch.equal(whole, recoloured(x, 0.5, 4, range(12), 7, alpha=False))


def test_the_first_stage_trains_on_what_is_recoloured(tmp_path):
    root = folder(tmp_path / "data")
    plain, other, parts = (
        first_stage(root, train__recolour=share, train__accumulate=number) for share, number in ((0, 1), (1, 1), (1, 2))
    )
    (batch,) = next(plain.batches(0))
    assert batch.image is not None
    batch = batch._replace(image=recoloured(batch.image, 1.0, plain.seed, range(8), 0, alpha=False))
    by_hand = plain.step(0, [batch]).read().metrics
    assert other.step(0, next(other.batches(0))).read().metrics == by_hand
    assert parts.step(0, next(parts.batches(0))).read().metrics["pixel"] == pytest.approx(by_hand["pixel"], rel=1e-5)
