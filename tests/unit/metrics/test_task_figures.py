"""If these fail, figures of layouts, maps, enlargements, holes and tiles say something else than they are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from skimage.color import deltaE_cie76, rgb2lab
from skimage.data import astronaut
from skimage.metrics import structural_similarity
from torch import Tensor

from latentry.metrics.colour import colour_change
from latentry.metrics.gradients import border_energy, gradient_energy, seam_ratio
from latentry.metrics.layout import best_pairs, box_iou, layout_figures
from latentry.metrics.maps import mean_iou, silhouette_iou
from latentry.metrics.ssim import ssim


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """A photograph, (1, 3, 128, 128) in [0, 1]."""
    return torch.from_numpy(astronaut()[:128, 160:288].copy()).movedim(-1, 0)[None] / 255


def test_boxes_overlap_by_the_pixels_that_they_share() -> None:
    chance = np.random.default_rng(0)
    first = np.sort(chance.integers(0, 20, (6, 2, 2)), axis=1).reshape(6, 4)
    first[:, 2:] += 1
    maps = np.zeros((6, 21, 21), bool)
    for map_, (left, top, right, bottom) in zip(maps, first, strict=True):
        map_[top:bottom, left:right] = True
    common = (maps[:, None] & maps[None]).sum((2, 3)) / (maps[:, None] | maps[None]).sum((2, 3))
    assert np.allclose(box_iou(first, first), common)
    assert box_iou([], first).shape == (0, 6)


def test_boxes_are_paired_as_scipy_pairs_them() -> None:
    chance = np.random.default_rng(1)
    for rows, columns in [(1, 4), (3, 3), (3, 5), (3, 1), (2, 0)]:
        scores = chance.random((rows, columns)) * (chance.random((rows, columns)) < 0.7)
        mine = sum(scores[row, column] for row, column in enumerate(best_pairs(scores)) if column is not None)
        assert mine == pytest.approx(scores[linear_sum_assignment(scores, maximize=True)].sum())


def test_a_layout_counts_what_is_missing_and_what_is_of_another_class() -> None:
    asked = [([[0, 0, 10, 10], [20, 20, 30, 30]], ["star", "ring"])]
    whole = [([[20, 20, 30, 30], [0, 0, 10, 10]], ["ring", "star"])]
    assert layout_figures(asked, whole) == {"mean_iou": 1, "class_right": 1}
    half = [([[0, 0, 10, 5], [50, 50, 60, 60]], ["cross", "ring"])]
    assert layout_figures(asked, half) == {"mean_iou": 0.25, "class_right": 0}
    assert layout_figures(asked, [([], [])]) == {"mean_iou": 0, "class_right": 0}


def test_maps_overlap_as_the_table_of_both_says() -> None:
    """Jaccard's index by the confusion matrix: the diagonal over row and column without it."""
    chance = np.random.default_rng(2)
    wanted = chance.integers(0, 5, (20, 30))
    found = np.where(chance.random((20, 30)) < 0.3, chance.integers(0, 5, (20, 30)), wanted)
    mine = mean_iou(torch.from_numpy(found), torch.from_numpy(wanted))
    table = np.histogram2d(wanted.ravel(), found.ravel(), bins=np.arange(6))[0]
    assert mine == pytest.approx((table.diagonal() / (table.sum(0) + table.sum(1) - table.diagonal())).mean())
    assert mean_iou(torch.full((2, 2), -1), torch.zeros(2, 2)) == 0
    empty = torch.zeros(4, 4, dtype=torch.bool)
    assert silhouette_iou(empty, empty) == 1
    assert silhouette_iou(~empty, empty) == 0


def test_structural_similarity_is_that_of_scikit_image(picture: Tensor) -> None:
    other = (picture.roll(1, 3) * 0.9 + 0.05 * torch.rand(picture.shape, generator=torch.Generator().manual_seed(0)),)
    pairs = ((picture, other[0]), (picture, picture), (picture, picture.mean(1, keepdim=True).expand(-1, 3, -1, -1)))
    for x, y in pairs:
        wanted = structural_similarity(
            *(one[0].double().numpy() for one in (x, y)), channel_axis=0, data_range=1.0, gaussian_weights=True,
            sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert float(ssim(x, y, 1.0)) == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(picture[..., :8, :8], picture[..., :8, :8], 1.0)


def test_the_energy_of_edges_is_the_mean_square_of_differences(picture: Tensor) -> None:
    array = picture.double().numpy()
    wanted = (np.diff(array, axis=2) ** 2).mean() + (np.diff(array, axis=3) ** 2).mean()
    assert float(gradient_energy(picture)) == pytest.approx(wanted, rel=1e-4)
    ramp = torch.linspace(0, 1, 11).expand(1, 2, 7, -1)
    assert float(gradient_energy(ramp)) == pytest.approx(0.01)


def test_a_seam_is_seen_at_its_border_alone(picture: Tensor) -> None:
    ratio = float(seam_ratio(picture, rows=[64], columns=[64]))
    assert 0.3 < ratio < 3
    torn = picture.clone()
    torn[..., 64:] += 0.5
    assert float(seam_ratio(torn, columns=[64])) > 10 * float(seam_ratio(picture, columns=[64]))
    assert float(seam_ratio(torn, rows=[64])) < 2
    noise = torch.randn(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    assert float(seam_ratio(noise, [50, 100], [80])) == pytest.approx(1, abs=0.1)
    step = torch.arange(8.0).expand(1, 1, 4, 8) + 2 * (torch.arange(8) >= 3)  # differences of 1, once of 3
    assert float(seam_ratio(step, columns=[3])) == pytest.approx(9 * (4 * 6 + 3 * 8) / (4 * 6))


def test_the_border_of_a_hole_is_where_one_pixel_is_in_it() -> None:
    images, hole = torch.zeros(2, 3, 16, 16), torch.zeros(2, 16, 16, dtype=torch.bool)
    hole[:, 4:8, 5:12] = True
    images[0] += torch.where(hole[0], 0.5, 0.0)
    images[1] = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * ~hole[1]
    energy = border_energy(images, hole)
    assert float(energy[0]) == pytest.approx(0.25)
    outside = [images[1, :, r, c] for r in range(16) for c in range(16) for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0))
               if not hole[1, r, c] and 0 <= r + dr < 16 and 0 <= c + dc < 16 and hole[1, r + dr, c + dc]]  # fmt: skip
    assert float(energy[1]) == pytest.approx(float(torch.stack(outside).square().mean()))
    assert border_energy(images, torch.zeros_like(hole)).isnan().all()


def test_a_change_of_colour_is_the_distance_of_the_standard() -> None:
    colours = np.random.default_rng(3).random((5, 2, 3))
    images = torch.from_numpy(colours).float()[:, :, :, None, None].expand(-1, -1, -1, 6, 6).clone()
    mask = torch.zeros(5, 6, 6, dtype=torch.bool)
    mask[:, 2:4, 1:5] = True
    images[:, 1] = torch.where(mask[:, None], images[:, 1], 0.3)
    wanted = deltaE_cie76(rgb2lab(colours[:, 0]), rgb2lab(colours[:, 1]))
    assert np.allclose(colour_change(images[:, 0], images[:, 1], mask).numpy(), wanted, atol=0.05)
