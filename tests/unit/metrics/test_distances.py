"""If these fail, a distance of two sets of images says something else than its paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg, optimize, spatial, stats
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.distances import (
    Moments,
    Normal,
    density_coverage,
    frechet,
    inception_score,
    mmd2,
    precision_recall,
    sliced_wasserstein,
    subset_rows,
)
from latentry.metrics.distances.coverage import neighbour_distances
from latentry.metrics.distances.sliced import wasserstein2


def vectors(count: int, width: int, seed: int = 0) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal((count, width))
    return torch.from_numpy(drawn * np.linspace(0.1, 2, width))


@pytest.mark.parametrize(("count", "width"), [(200, 12), (60, 60), (9, 40)])
@pytest.mark.parametrize("way", ["vectors", "moments"])
def test_frechet_is_that_of_a_matrix_square_root(count: int, width: int, way: str) -> None:
    x, y = vectors(count, width), vectors(count + 5, width, 1) * 1.3 + 0.2
    make = Normal.from_vectors if way == "vectors" else lambda v: Normal.from_moments(Moments.of(v))
    found = frechet(make(x), make(y))
    one, other = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = linalg.sqrtm(one + 1e-12 * np.eye(width)) @ other @ linalg.sqrtm(one + 1e-12 * np.eye(width))
    common = np.sqrt(np.linalg.eigvalsh((root + root.T) / 2).clip(0)).sum()
    apart = float((x.mean(0) - y.mean(0)).square().sum())
    assert math.isfinite(found)
    assert found >= 0
    assert found == pytest.approx(apart + np.trace(one) + np.trace(other) - 2 * common, rel=1e-3)
    assert frechet(make(x), make(x)) == pytest.approx(0, abs=1e-9)
    assert frechet(make(x), make(x + 0.5)) == pytest.approx(width * 0.25, rel=1e-9)
    assert frechet(make(x), make(3 * x)) == pytest.approx(
        float(4 * x.mean(0).square().sum()) + 4 * np.trace(one), rel=1e-9
    )


def test_frechet_with_two_images_and_with_equal_ones_is_a_number() -> None:
    alike = torch.ones(5, 8)
    assert frechet(Normal.from_vectors(alike), Normal.from_vectors(alike + 1)) == pytest.approx(8)
    x = vectors(2, 8)
    lengths = [float((part[0] - part[1]).norm() / 2**0.5) for part in (x, 2 * x)]
    wanted = float(x.mean(0).square().sum()) + (lengths[1] - lengths[0]) ** 2  # two normals on one line
    assert frechet(Normal.from_vectors(x), Normal.from_vectors(2 * x)) == pytest.approx(wanted, rel=1e-9)
    with pytest.raises(UsageError, match="one width"):
        frechet(Normal.from_vectors(x), Normal.from_vectors(vectors(4, 9)))


def test_kernel_distance_is_unbiased_and_its_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = vectors(40, 6), vectors(30, 6, 1)
    kernel = [np.asarray((a @ b.T / 6 + 1) ** 3) for a, b in ((x, x), (y, y), (x, y))]
    inner = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernel[:2]]
    assert mmd2(x, y) == pytest.approx(sum(inner) - 2 * kernel[2].mean(), rel=1e-9)
    whole = mmd2(x, y)
    monkeypatch.setattr("latentry.metrics.distances.kernel.BLOCK", 7)
    assert mmd2(x, y) == pytest.approx(whole, rel=1e-9)
    pairs = [mmd2(vectors(30, 4, 2 * i), vectors(20, 4, 2 * i + 1)) for i in range(100)]
    assert abs(np.mean(pairs)) < 3 * np.std(pairs) / 10
    assert min(pairs) < 0
    with pytest.raises(UsageError, match="subsets of 50"):
        subset_rows(60, 40, size=50)


def test_inception_score_of_sure_and_of_unsure_answers() -> None:
    sure = 1000 * torch.eye(10).repeat(20, 1)
    assert inception_score(sure, 1).mean == pytest.approx(10)
    assert inception_score(torch.zeros(200, 10), 10).mean == pytest.approx(1)
    probabilities = torch.softmax(vectors(90, 7), 1)
    divergences = stats.entropy(probabilities.numpy(), probabilities.mean(0).numpy()[None], axis=1)
    assert inception_score(probabilities.log(), 1).mean == pytest.approx(math.exp(divergences.mean()), rel=1e-9)
    with pytest.raises(UsageError, match="3 images in 10 splits"):
        inception_score(torch.zeros(3, 10))


def test_neighbours_are_those_of_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = vectors(70, 5), vectors(50, 5, 1) + 0.3
    monkeypatch.setattr("latentry.metrics.distances.coverage.BLOCK", 16)
    tree = spatial.cKDTree(x.numpy())
    radii = tree.query(x.numpy(), k=4)[0][:, 3]  # itself first
    assert torch.allclose(neighbour_distances(x, 3).sqrt(), torch.from_numpy(radii))
    within = spatial.distance.cdist(y.numpy(), x.numpy()) <= radii
    found = density_coverage(x, y, 3)
    assert precision_recall(x, y)["precision"] == pytest.approx(within.any(1).mean())
    assert found["density"] == pytest.approx(within.sum() / (3 * 50))
    assert found["coverage"] == pytest.approx(within.any(0).mean())
    with pytest.raises(UsageError, match="more than 3 images"):
        precision_recall(x[:3], y)


def test_density_and_coverage_of_one_distribution_are_what_their_paper_expects() -> None:
    """Naeem et al. 2020, lemmas 1 and 2: whatever the distribution."""
    figures = [density_coverage(vectors(60, 3, 2 * i), vectors(50, 3, 2 * i + 1)) for i in range(60)]
    n, m, k = 60, 50, 5
    missed = math.prod((n - 1 - i) / (n + m - 1 - i) for i in range(k))
    density, coverage = (np.array([one[name] for one in figures]) for name in ("density", "coverage"))
    assert abs(density.mean() - 1) < 4 * density.std() / 60**0.5
    assert abs(coverage.mean() - (1 - missed)) < 4 * coverage.std() / 60**0.5


def test_copies_of_one_image_are_within_their_own_neighbourhood() -> None:
    x = (100 + vectors(3, 64)).repeat(8, 1).float()
    assert precision_recall(x, x) == {"precision": 1.0, "recall": 1.0}
    assert density_coverage(x, x)["coverage"] == 1.0


def test_the_distance_on_a_line_is_that_of_the_cheapest_transport() -> None:
    x, y = vectors(12, 3), vectors(18, 3, 1)
    for column in range(3):
        a, b = (np.repeat(v[:, column].numpy(), times) for v, times in ((x, 3), (y, 2)))
        cost = (a[:, None] - b) ** 2
        cheapest = cost[optimize.linear_sum_assignment(cost)].mean()
        assert float(wasserstein2(x, y)[column]) == pytest.approx(cheapest, rel=1e-9)


def test_sliced_distance_of_a_shift_and_of_a_spread() -> None:
    x = vectors(50, 16)
    shift = torch.linspace(-1, 1, 16, dtype=torch.float64)
    assert sliced_wasserstein(x, x) == 0
    found = sliced_wasserstein(x, x + shift)  # (v . u)² D over directions u: |v|² on average
    assert found == pytest.approx(float(shift.square().sum()), rel=0.1)
    assert sliced_wasserstein(x, x + shift, directions=20_000) == pytest.approx(float(shift.square().sum()), rel=0.03)
    assert sliced_wasserstein(x, x + shift) == found
    line = vectors(40, 1)
    assert sliced_wasserstein(line, 3 * line) == pytest.approx(4 * float(line.square().mean()))
