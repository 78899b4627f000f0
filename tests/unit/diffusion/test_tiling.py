"""If these fail, a large image drawn in tiles differs from the one asked for: seams, or conditions in other places."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from latentry import rng
from latentry.conditioning import Cond
from latentry.diffusion.contracts import Denoisers
from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import SCHEDULES, Level, ScaledLinear
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.tiling import tiled
from latentry.kinds import build
from latentry.models.bind import bind_at
from latentry.windows import Window, cover, starts
from tests.unit.models.small_models import denoiser

LEVEL = Level(500.0, 0.6, 0.8)


def test_tiles_cover_a_side_evenly_and_overlap_as_asked() -> None:
    for length in range(1, 60):
        for side in range(1, 20):
            for overlap in range(side):
                first = starts(length, side, overlap)
                assert first[0] == 0
                assert first[-1] == max(length - side, 0)
                assert all(side - overlap >= b - a > 0 for a, b in pairwise(first))
                assert len(first) == 1 or (len(first) - 1) * (side - overlap) + side < length + side - overlap


def test_squares_that_meet_cover_every_pixel_once() -> None:
    seen = torch.zeros(11, 17)
    for window in cover(11, 17, 4):
        seen[window.top : window.bottom, window.left : window.right] += 1
    assert bool((seen == 1).all())
    assert Window(2, 5, 0, 4).grown(3).within(6, 20) == (0, 6, 0, 7)


def local(concat: Tensor) -> object:
    """Each pixel for itself: x0 from the same pixel of x and of a condition; a second prediction without condition."""

    def at(windows: Sequence[Window]) -> Denoisers:
        here = torch.cat([window.of(concat) for window in windows])
        return lambda x, level: (torch.tanh(x) + here * level.sigma, torch.tanh(x) * level.alpha)

    return at


@pytest.mark.parametrize("solver", ["ddim", "plms", "ddpm"])
def test_what_looks_at_single_pixels_gives_the_same_in_tiles(solver: str) -> None:
    """Through guidance and every solver's whole walk; a condition by concatenation is cut with the tiles."""
    torch.manual_seed(0)
    x, concat, at_noise = torch.randn(2, 3, 21, 34), torch.randn(2, 3, 21, 34), torch.randn(2, 3, 21, 34)
    at = local(concat)
    whole_window = Window(0, 21, 0, 34)
    levels = LEVELS["uniform"](build(SCHEDULES, ScaledLinear()), 8)
    ends = []
    for denoisers in (at([whole_window]), tiled(at, 8, 3), tiled(at, 8, 3, together=4)):  # type: ignore[operator, arg-type]
        denoise = classifier_free(denoisers, 3.0)
        steps = build(SOLVERS, SOLVERS[solver].options(kind=solver))(denoise, x, levels, noise=lambda _: at_noise)
        ends.append([*steps][-1].x)
    assert (ends[0] - ends[1]).abs().max() < 1e-4 * ends[0].abs().max()
    assert torch.equal(ends[1], ends[2])


def test_a_prediction_by_neighbours_is_whole_where_the_overlap_reaches() -> None:
    """A periodic x0 under a mean of 3x3 pixels, known in closed form: only at tiles' borders it is cut."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    wave = torch.cos(2 * torch.pi * (y / 8 + x / 16))[None, None]
    gain = (
        (1 + 2 * torch.cos(torch.tensor(2 * torch.pi / 8))) * (1 + 2 * torch.cos(torch.tensor(2 * torch.pi / 16))) / 9
    )

    def at(windows: Sequence[Window]) -> Denoisers:
        return lambda x, level: (torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),)

    (result,) = tiled(at, 16, 6)(wave, LEVEL)
    inner = slice(1, -1)
    error = (result - gain * wave)[..., inner, inner].abs()
    assert error.max() < 0.15 * wave.abs().max()  # the border pixel of a tile, whose share is 1/7
    assert error.median() < 1e-6


def test_predictions_that_differ_from_tile_to_tile_pass_into_each_other() -> None:
    """Each tile predicts its own constant: along a row no step is larger than one weight's share of the difference."""

    def at(windows: Sequence[Window]) -> Denoisers:
        return lambda x, level: (torch.full_like(x, float(windows[0].left)),)

    (result,) = tiled(at, 16, 7)(torch.zeros(1, 1, 16, 34), LEVEL)
    steps = result[0, 0, 0].diff()
    assert result[0, 0, 0, 0] == 0
    assert result[0, 0, 0, -1] == 18
    assert steps.min() >= 0
    assert steps.max() <= 9 / 8 + 1e-5


def test_a_latent_no_larger_than_a_tile_is_seen_whole() -> None:
    seen = list[Window]()

    def at(windows: Sequence[Window]) -> Denoisers:
        seen.extend(windows)
        return lambda x, level: (x,)

    tiled(at, 16, 4)(torch.zeros(1, 1, 16, 9), LEVEL)
    assert seen == [Window(0, 16, 0, 9)]


def test_no_more_tiles_are_seen_at_once_than_were_asked_for() -> None:
    """15 tiles by 4 at most: the last come by three."""
    seen = []

    def at(windows: Sequence[Window]) -> Denoisers:
        seen.append(len(windows))
        return lambda x, level: (x,)

    tiled(at, 8, 0, together=4)(torch.zeros(2, 1, 24, 40), LEVEL)
    assert seen == [4, 4, 4, 3]


def test_tiles_of_a_network_leave_no_seam() -> None:
    """Squares of neighbours' differences at the tiles' borders are those elsewhere, within 5%, over many noises."""
    model = denoiser("none")
    x = rng.normal(0, "seams", [*range(24)], 0, (4, 32, 48))
    with torch.no_grad():
        (x0,) = tiled(bind_at(model, [Cond()], [LEVEL]), 16, 8)(x, LEVEL)
    squares = x0.diff(dim=-1).square().mean((0, 1, 2))
    borders = {place for first in starts(48, 16, 8) for place in (first - 1, first + 15) if 0 <= place < 47}
    at = torch.stack([squares[place] for place in sorted(borders)]).mean()
    elsewhere = torch.stack([square for place, square in enumerate(squares) if place not in borders]).mean()
    assert 0.95 < at / elsewhere < 1.05
