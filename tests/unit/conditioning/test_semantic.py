"""If these fail, a map of classes reaches the latent at other places or as other classes than it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from latentry import config
from latentry.conditioning.semantic import Semantic, SemanticOptions
from latentry.errors import UsageError

CLASSES, CHANNELS, STAGES = 3, 2, 2
SIDE = 2**STAGES
DRAW = np.random.default_rng(0)


def semantic(**changes: Any) -> Semantic:
    return Semantic(SemanticOptions(classes=CLASSES, channels=CHANNELS, stages=STAGES, **changes))


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (20, 4)])
def test_a_learned_rescaler_sums_weights_of_all_pixels_that_a_latent_pixel_covers(size: tuple[int, int]) -> None:
    """By numpy: of each block the weight of its class at each place, with planted weights; any size that f divides."""
    made, weights = semantic(rescale="conv"), DRAW.standard_normal((CHANNELS, CLASSES, SIDE, SIDE)).astype(np.float32)
    assert made.project is not None
    made.project.load_state_dict({"weight": torch.from_numpy(weights)})
    map_ = DRAW.integers(0, CLASSES, size)
    height, width = size[0] // SIDE, size[1] // SIDE
    expected = np.zeros((CHANNELS, height, width))
    for y, x in np.ndindex(size):
        expected[:, y // SIDE, x // SIDE] += weights[:, map_[y, x], y % SIDE, x % SIDE]
    found = made.encode([map_]).concat
    assert found is not None
    np.testing.assert_allclose(found[0].detach().numpy(), expected, atol=1e-5)


def test_where_a_class_lies_within_a_pixel_of_the_latent_is_told_by_the_learned_rescaler_alone() -> None:
    """The published one keeps shares: what is mirrored inside a block is the same to it."""
    map_ = np.zeros((4, 4), dtype=int)
    map_[1:3, 1:3] = [[1, 2], [0, 0]]
    mirrored = np.ascontiguousarray(map_[:, ::-1])
    for rescale, same in (("bilinear", True), ("conv", False)):
        one, other = semantic(rescale=rescale).encode([map_, mirrored]).parts()["concat"]
        assert torch.allclose(one, other, atol=1e-6) == same, rescale


def test_it_needs_channels() -> None:
    with pytest.raises(UsageError, match=r"rescale conv .*set channels, such as 16") as caught:
        config.validate(SemanticOptions, {"rescale": "conv", "channels": None}, "semantic")
    assert len(str(caught.value).splitlines()) == 1
