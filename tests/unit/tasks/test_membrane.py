"""If these fail, a filled hole has a seam, or what was in it shows in what a network sees around it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from latentry.tasks.inputs.membrane import membrane


def solved(values: np.ndarray, hole: np.ndarray, pull: float) -> np.ndarray:
    """The same equations by scipy's direct solver: neighbours less what they pull to, row by row."""
    places = {place: row for row, place in enumerate(zip(*np.nonzero(hole), strict=True))}
    matrix, right = lil_matrix((len(places), len(places))), np.zeros(len(places))
    for (y, x), row in places.items():
        matrix[row, row] = pull
        for at in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= at[0] < hole.shape[0] and 0 <= at[1] < hole.shape[1]):
                continue
            matrix[row, row] += 1
            if at in places:
                matrix[row, places[at]] = -1
            else:
                right[row] += values[at]
    filled = values.copy()
    filled[hole] = spsolve(matrix.tocsr(), right)
    return filled


@pytest.mark.parametrize("reach", [math.inf, 4.0])
def test_it_is_what_a_direct_solver_finds(reach: float) -> None:
    draw = np.random.default_rng(0)
    values = draw.standard_normal((2, 23, 31))
    hole = np.zeros((23, 31), dtype=bool)
    hole[4:15, 6:20] = hole[10:23, 25:] = True
    hole[7, 9] = False
    pull = 0.0 if reach == math.inf else 1 / reach**2
    found = membrane(torch.from_numpy(values).float(), torch.from_numpy(hole), reach).numpy()
    expected = np.stack([solved(band, hole, pull) for band in values])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (found[:, ~hole] == values.astype(np.float32)[:, ~hole]).all()


def test_a_slope_goes_on_through_the_hole_and_what_was_in_it_does_not_matter() -> None:
    slope = torch.linspace(-1, 1, 40).expand(1, 32, 40).clone()
    hole = torch.zeros(32, 40, dtype=torch.bool)
    hole[:, 10:30] = True
    for within in (0.0, 50.0):
        torch.testing.assert_close(membrane(slope.masked_fill(hole, within), hole), slope, atol=2e-3, rtol=0)


def test_without_an_edge_there_is_nothing_to_do() -> None:
    values = torch.randn(1, 5, 5)
    for hole in (torch.zeros(5, 5, dtype=torch.bool), torch.ones(5, 5, dtype=torch.bool)):
        assert torch.equal(membrane(values, hole), values)


def test_with_a_reach_it_falls_to_1_over_e_within_it() -> None:
    """Far from the edge of an error nothing of it is left."""
    values = torch.zeros(1, 3, 200)
    values[..., 0] = 1
    hole = torch.ones(3, 200, dtype=torch.bool)
    hole[:, 0] = False
    film = membrane(values, hole, 10.0)[0, 1]
    assert float(film[11] / film[1]) == pytest.approx(math.exp(-1), rel=0.01)
    assert float(film[120]) < 1e-4
