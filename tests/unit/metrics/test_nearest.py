"""If these fail, "the right image is among the 10 nearest" no longer means that."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cdist
from skimage.transform import downscale_local_mean

from latentry.metrics.nearest import distances, nearest, ranks, share_within, small

RANDOM = torch.Generator().manual_seed(0)


def test_ranks_count_the_strictly_nearer() -> None:
    gallery = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    queries = torch.tensor([[0.1], [2.9], [1.5]])
    assert ranks(queries, gallery, torch.tensor([0, 0, 1])).tolist() == [0, 3, 0]
    assert ranks(queries, gallery, torch.tensor([3, 3, 0])).tolist() == [3, 0, 2]


def test_share_within_k_is_k_over_n_by_chance() -> None:
    gallery, queries = torch.randn(100, 8, generator=RANDOM), torch.randn(2000, 8, generator=RANDOM)
    right = torch.randint(0, 100, (2000,), generator=RANDOM)
    assert share_within(queries, gallery, right, k=10) == pytest.approx(0.1, abs=0.02)
    assert share_within(gallery, gallery, torch.arange(100), k=1) == 1


def test_distances_are_euclidean_and_chunks_do_not_show() -> None:
    a, b = torch.randn(300, 5, generator=RANDOM), torch.randn(7, 5, generator=RANDOM)
    theirs = cdist(a.double().numpy(), b.double().numpy())
    assert torch.allclose(distances(a, b), torch.from_numpy(theirs))
    assert torch.allclose(nearest(a, b), torch.from_numpy(theirs.min(1)))


def test_small_images_are_means_of_blocks() -> None:
    image = torch.rand(1, 3, 128, 64, generator=RANDOM)
    theirs = torch.from_numpy(downscale_local_mean(image[0].numpy(), (1, 4, 2)))
    assert torch.allclose(small(image).view(3, 32, 32), theirs.float(), atol=1e-6)
