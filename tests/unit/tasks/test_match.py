"""If these fail, an enlarged image shows something else than the one it was made of, loses its detail, or has seams."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentry.models import tiles
from latentry.nn.tiled.plane import Whole
from latentry.pipeline import Pipeline
from latentry.pipeline.pictures.large import LargeOutput
from latentry.tasks.inputs import match
from latentry.windows import Window, cover
from tests.unit.pipeline.small_pipelines import pipeline


def pillow(images: Tensor, factor: int) -> Tensor:
    """(B, C, h, w): shrunk by Pillow itself."""
    size = (images.shape[3] // factor, images.shape[2] // factor)
    bands = [Image.fromarray(band.numpy()).resize(size, Image.Resampling.BICUBIC) for band in images.flatten(0, 1)]
    return torch.from_numpy(np.stack([np.asarray(band) for band in bands])).unflatten(0, images.shape[:2])


def psnr(x: Tensor, y: Tensor, peak: float = 2.0) -> float:
    return 10 * math.log10(peak**2 / max(float((x - y).square().mean()), 1e-12))


def smooth(channels: int, height: int, width: int, amplitude: float = 0.7, seed: int = 0) -> Tensor:
    """(1, C, H, W) of noise at many scales."""
    draw = torch.Generator().manual_seed(seed)
    parts = [torch.randn(1, channels, max(2, height // s), max(2, width // s), generator=draw) for s in (2, 8, 16)]
    whole = [torch.nn.functional.interpolate(part, (height, width), mode="bilinear") for part in parts]
    return (torch.stack(whole).mean(0) * amplitude).clamp(-1, 1)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_shrunk_result_is_the_input_and_the_truth_nearer(factor: int, channels: int) -> None:
    """Off by what the input says is wrong, a guess becomes consistent, which the truth is: so it comes nearer to it."""
    truth = smooth(channels, 24 * factor, 16 * factor)
    small = pillow(truth, factor).clamp(-1, 1)
    guess = (truth + 0.3 * smooth(channels, 24 * factor, 16 * factor, seed=1)).clamp(-1, 1)
    fitted = match.matched(guess, [*small], factor)
    assert psnr(pillow(guess, factor), small) < 30
    assert psnr(pillow(fitted, factor), small) > 60
    assert psnr(fitted, truth) > psnr(guess, truth) + 1
    assert fitted.abs().max() <= 1


def test_what_is_consistent_already_is_not_changed() -> None:
    truth = smooth(3, 64, 48)
    assert torch.allclose(match.matched(truth, [*pillow(truth, 4).clamp(-1, 1)], 4), truth, atol=2e-6)


def test_detail_that_the_input_cannot_say_is_kept() -> None:
    """A pattern of one pixel on, one off, shrinks to grey: back-projection leaves it where it is."""
    rows = torch.arange(64) % 2 * 2.0 - 1
    fine = 0.4 * (rows[:, None] * rows[None, :]).expand(1, 3, 64, 64)
    flat = torch.full((1, 3, 16, 16), 0.2)
    fitted = match.matched(fine, [*flat], 4)
    inner = (fitted - fine)[..., 8:-8, 8:-8]
    assert torch.allclose(inner, torch.full_like(inner, 0.2), atol=2e-3)


def test_windows_make_the_image_that_the_whole_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window looks as far around as a pixel can matter, so that there is no seam."""
    monkeypatch.setattr(match, "ROUNDS", 2)
    monkeypatch.setattr(match, "REACH", 8)
    truth, guess = smooth(2, 160, 128), smooth(2, 160, 128, seed=1)
    small = pillow(truth, 2).clamp(-1, 1)[0]
    source = match.Matched(Whole(guess), small, 2)
    whole = source.read(Window(0, 160, 0, 128))
    parts = torch.zeros_like(whole)
    for window in cover(160, 128, 32):
        parts[..., window.top : window.bottom, window.left : window.right] = source.read(window)
    assert torch.allclose(parts, whole, atol=1e-5)
    assert (whole - guess).abs().max() > 0.1


def made(**low: Any) -> Pipeline:
    """A model of 16x16, random: its samples are far from their inputs."""
    return pipeline(conditions="none", conditioning={"low": {"kind": "image", "factor": 4, **low}})


def saved(path: Path, channels: int = 3, dtype: Any = np.uint8, size: tuple[int, int] = (11, 9)) -> Path:
    shares = (smooth(channels, *size)[0].movedim(0, -1).numpy() + 1) / 2
    values: NDArray[Any] = (shares * np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(path, values[..., 0] if channels == 1 else values)
    return path


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (3, np.uint16), (1, np.uint8), (1, np.uint16)])
def test_saved_results_shrink_to_their_files(channels: int, dtype: type, tmp_path: Path) -> None:
    """Of sides that the networks do not divide, of grey, in 8 and 16 bits; and not where it is turned off."""
    file = saved(tmp_path / "a.tif", channels, dtype)
    wanted = torch.from_numpy(tifffile.imread(file).astype(np.float32) / np.iinfo(dtype).max)
    found = {}
    for name, options in (("matched", {}), ("free", {"match_input": False})):
        (path,) = made().upscale(file, steps=1, **options).save(tmp_path / name)
        read = imagecodecs.imread(path)
        assert read.dtype == dtype
        pixels = torch.from_numpy(read.astype(np.float32) / np.iinfo(dtype).max).reshape(44, 36, channels)
        small = pillow(pixels.movedim(-1, 0)[None], 4)[0].movedim(0, -1)
        found[name] = psnr(small.reshape(wanted.shape), wanted, 1.0)
    assert found["matched"] > 45
    assert found["free"] < 25


def test_models_of_other_inputs_match_where_they_are_asked_to(tmp_path: Path) -> None:
    """A blind input has noise and blocks that the result should not have; of published models nothing is known."""
    file = saved(tmp_path / "a.tif")
    unknown = pipeline(conditions="none", conditioning={"low": {"kind": "image"}})
    for pipe, own in ((made(), True), (made(degradation="bsr_light"), False), (unknown, False)):
        runs = {choice: pipe.upscale(file, steps=1, match_input=choice).tensor for choice in (None, True, False)}
        assert torch.equal(runs[None], runs[own])
        assert not torch.allclose(runs[True], runs[False], atol=1e-2)


def test_images_decoded_in_windows_are_matched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large to be held: the file in tiles says what the tensor would."""
    file, pipe = saved(tmp_path / "a.tif", size=(16, 12)), made()
    whole = pipe.upscale(file, steps=1, tile=16)
    monkeypatch.setattr(tiles, "LARGE", 1)
    large = pipe.upscale(file, steps=1, tile=16)
    assert isinstance(large, LargeOutput)
    (path,) = large.save(tmp_path / "out")
    assert np.abs(tifffile.imread(path) / 255 - whole.tensor[0].movedim(0, -1).numpy()).max() < 0.005
