"""Every entry of DEGRADATIONS: sizes, ranges, channels, determinism; and the figures of the blind ones.

If these fail, a super-resolution model is trained for images that nobody has, or not twice for the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentry.data.degrade import DEGRADATIONS, blind
from latentry.data.degrade.blind import BSR, BSR_LIGHT, Strength, order
from latentry.data.shapes import generate

Maker = Callable[[], np.random.Generator]
each = pytest.mark.parametrize("name", DEGRADATIONS)
strengths = pytest.mark.parametrize("strength", [BSR, BSR_LIGHT])


def rng(seed: int) -> Maker:
    return lambda: np.random.default_rng(seed)


def image(channels: int = 3, height: int = 32, width: int = 48) -> NDArray[np.float32]:
    """Smooth, so that what is left of it after shrinking can be told."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([0.8 * np.cos(2 * x + band) * np.cos(3 * y) for band in range(channels)]).astype(np.float32)


@each
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_small_image_is_as_small_as_asked(name: str, factor: int, channels: int) -> None:
    large = image(channels, 24 * 2, 24)
    before = large.copy()
    for seed in range(3):
        small = DEGRADATIONS[name](large, factor, rng(seed))
        assert small.shape == (channels, 48 // factor, 24 // factor)
        assert small.dtype == np.float32
        assert small.min() >= -1
        assert small.max() <= 1
    assert (large == before).all()


@each
def test_the_same_generator_gives_the_same_image(name: str) -> None:
    """A resumed run, or another number of workers, would be trained on other images."""
    once, again, other = (DEGRADATIONS[name](image(), 4, rng(seed)) for seed in (1, 1, 2))
    assert (once == again).all()
    assert (once == other).all() == (name == "bicubic")


@each
def test_an_image_of_one_pixel_and_black_and_white_ones_survive(name: str) -> None:
    for value in (-1.0, 1.0):
        for seed in range(10):
            assert np.isfinite(DEGRADATIONS[name](np.full((3, 4, 4), value, np.float32), 4, rng(seed))).all()


def test_bicubic_is_pillows() -> None:
    """The 8-bit filter of Pillow rounds twice, after rows and columns; ours never does."""
    pixels = np.random.default_rng(0).integers(60, 196, size=(64, 48, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((12, 16), Image.Resampling.BICUBIC))
    large = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
    small = DEGRADATIONS["bicubic"](large, 4, rng(0))
    assert np.abs((small + 1) * 127.5 - expected.transpose(2, 0, 1)).max() < 1.01


@each
def test_on_the_mean_nothing_is_moved_and_nothing_grows_darker(name: str) -> None:
    """Small images that lie a quarter of a pixel aside would teach a model to move every image back."""
    large, factor = image(1, 64, 64), 4
    small = np.mean([DEGRADATIONS[name](large, factor, rng(seed)) for seed in range(150)], 0)[0, 4:-4, 4:-4]
    y, x = np.meshgrid(*(np.linspace(-1, 1, 64).reshape(16, 4).mean(1)[4:-4],) * 2, indexing="ij")
    slope_x, slope_y = (-1.6 * np.sin(2 * x) * np.cos(3 * y), -2.4 * np.cos(2 * x) * np.sin(3 * y))
    bases = np.stack([0.8 * np.cos(2 * x) * np.cos(3 * y), slope_x, slope_y], -1).reshape(-1, 3)
    gain, right, down = np.linalg.lstsq(bases, small.reshape(-1), rcond=None)[0]
    pixel = 2 / 16
    assert (0.5 if name == "bsr" else 0.85) < gain < 1.02  # blur after shrinking is as wide, so it takes much
    assert abs(right) < 0.06 * pixel
    assert abs(down) < 0.06 * pixel


def spied(monkeypatch: pytest.MonkeyPatch, strength: Strength, factor: int, runs: int) -> dict[str, list[Any]]:
    """What the parts were called with over many images."""
    seen: dict[str, list[Any]] = {"gaussian": [], "compressed": [], "add_noise": [], "bicubic": [], "interpolated": []}
    for name, calls in seen.items():
        real = getattr(blind, name)

        def noted(*words: Any, real: Any = real, calls: list[Any] = calls, **named: Any) -> Any:
            calls.append((*words, *named.values()))
            return real(*words, **named)

        monkeypatch.setattr(blind, name, noted)
    large = image(3, 16, 16)
    for seed in range(runs):
        blind.degraded(large, factor, rng(seed), strength)
    return seen


@strengths
def test_the_figures_are_the_published_ones(strength: Strength, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes of kernels, widths, kinds of shrinking, noise and quality, over 400 images shrunk four times."""
    runs, light = 400, strength is BSR_LIGHT
    seen = spied(monkeypatch, strength, 4, runs)
    blurs = [call for call in seen["gaussian"] if len(call) == 2]
    assert len(blurs) == strength.blurs * runs
    round_, long = ([c for c in blurs if np.isclose(c[1][0, 0], c[1][1, 1]) == kind] for kind in (True, False))
    assert 0.4 < len(round_) / len(blurs) < 0.6
    sizes = {kind: {call[0] for call in calls} for kind, calls in (("round", round_), ("long", long))}
    assert sizes["round"] == ({5, 7} if light else set(range(7, 26, 2)))
    assert sizes["long"] == set(range(5, 16, 2) if light else range(7, 26, 2))
    variances = [value for call in long for value in np.linalg.eigvalsh(call[1])]
    assert max(variances) <= (2 if light else 8)
    assert max(variances) > (1.9 if light else 7.6)
    deviation = max(call[1][0, 0] for call in round_) ** 0.5
    assert (0.65 if light else 2.6) < deviation <= (0.7 if light else 2.8)
    centred = [call for call in seen["gaussian"] if len(call) == 3]  # before every f-th pixel is taken
    assert abs(len(centred) / runs - (0.2 if light else 0.25)) < 0.06
    assert {call[2] for call in centred} == {-0.5, -1.5}
    qualities = [call[1] for call in seen["compressed"]]
    assert (min(qualities), max(qualities)) == ((80, 95) if light else (30, 95))
    assert abs(len(qualities) / runs - 1.9) < 0.06
    assert {call[1] for call in seen["add_noise"]} == {(1, 2) if light else (2, 25)}
    halved = [call for call in seen["bicubic"] if call[1] == (8, 8)]
    assert abs(len(halved) / runs - 0.125) < 0.05
    kinds = Counter(call[2] for call in seen["interpolated"])
    assert min(kinds.values()) > 0.28 * sum(kinds.values())
    assert {call[1] for call in seen["interpolated"]} >= {(4, 4), (8, 8), (2, 2)}


@strengths
def test_every_order_comes_as_often_and_the_last_size_after_the_first(strength: Strength) -> None:
    """In Zhang et al. it is the random order that makes the degradations many."""
    draw_ = np.random.default_rng(0)
    orders = Counter(tuple(order(strength, draw_)) for _ in range(6000))
    distinct = 5 * 4 * 3 // 2 * 2 if strength.blurs == 1 else 6 * 5 * 4 * 3 // 2 // 2 * 2
    assert len(orders) == distinct
    assert all(o.index("shrink") < o.index("fit") for o in orders)
    assert max(orders.values()) < 1.6 * 6000 / distinct
    assert min(orders.values()) > 0.5 * 6000 / distinct


def test_the_light_one_is_lighter() -> None:
    """Distance to the plain small image, over many drawings."""
    drawn = next(generate(1, 64)).image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    plain = DEGRADATIONS["bicubic"](drawn, 4, rng(0))
    errors = {
        name: np.mean([np.abs(DEGRADATIONS[name](drawn, 4, rng(seed)) - plain).mean() for seed in range(40)])
        for name in ("bsr", "bsr_light")
    }
    assert 0 < errors["bsr_light"] < 0.75 * errors["bsr"]
