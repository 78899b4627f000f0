"""If these fail, a resumed or distributed run sees other noise, or two places see the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentry import rng

places = st.tuples(st.integers(-5, 2**64), st.sampled_from("abc"), st.integers(0, 2**40), st.integers(0, 2**40))


@given(places, places)
def test_two_places_are_equal_only_if_they_are_one(first, second):
    same = np.array_equal(rng.generator(*first).integers(2**62, size=4), rng.generator(*second).integers(2**62, size=4))
    assert same == (first == second)


def test_a_position_is_the_same_in_every_batch_and_order():
    together = rng.normal(3, "noise", [0, 5, 9], 7, (2, 4))
    for row, position in zip(together, [0, 5, 9]):
        assert torch.equal(row, rng.normal(3, "noise", [position], 7, (2, 4))[0])
    assert torch.equal(together.flip(0), rng.normal(3, "noise", [9, 5, 0], 7, (2, 4)))


def test_neighbouring_places_do_not_overlap():
    """Counters of neighbours lie apart: no value of one stream turns up in the next, however long both are."""
    draws = [rng.generator(1, "s", p, s).integers(2**63, size=5000) for p in range(3) for s in range(3)]
    assert len(np.unique(np.concatenate(draws))) == 9 * 5000


def test_another_process_draws_the_same():
    code = "from latentry import rng; print(rng.normal(11, 'noise', [3], 4, (5,)).tolist())"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == str(rng.normal(11, "noise", [3], 4, (5,)).tolist())


def test_numbers_are_fixed_for_ever():
    """A seed printed in a PNG must give that image with the next version too."""
    assert [int(rng.generator(0, "pin", place).integers(1000)) for place in range(3)] == [980, 91, 123]
    np.testing.assert_allclose(
        rng.normal(0, "pin", [0], 0, (3,))[0].numpy(), [-1.9585088, -0.020436352, -2.620163], rtol=1e-6
    )


def test_the_distributions():
    normal = rng.normal(0, "n", range(200), 0, (1000,)).double()
    assert abs(normal.mean()) < 4 / 200_000**0.5
    assert abs(normal.var() - 1) < 4 * (2 / 200_000) ** 0.5
    counts = torch.tensor(np.bincount([rng.generator(0, "i", place).integers(8) for place in range(8000)], minlength=8))
    assert counts.sum() == 8000
    assert ((counts - 1000).abs() < 4 * 30).all()
