"""If these fail, an image comes back larger than it should, moved, with seams, or with other bits and channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentry import config
from latentry.data.files import images as files
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from latentry.tasks import TASKS, Request
from tests.unit.pipeline.small_pipelines import pipeline

UPSCALE = TASKS["upscale"].task


def made(factor: int | None = 2, channels: int = 3, **more: Any) -> Pipeline:
    """A model of latents twice smaller than its images of 16x16."""
    low = {"kind": "image", "factor": factor, "channels": channels}
    return pipeline(conditions="none", conditioning={"low": low, **more})


def file(path: Path, height: int, width: int, seed: int = 0, channels: int = 3, dtype: str = "uint8") -> Path:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(seed).integers(top, size=(height, width, channels)).astype(dtype)
    files.save(path, pixels.astype(np.float64) / top, 8 * pixels.itemsize)
    return path


def ask(pipe: Pipeline, *paths: Path, **options: Any) -> Request:
    return UPSCALE.request(config.validate(UPSCALE.options, {"images": paths, **options}, "upscale"), pipe.model)


@pytest.mark.parametrize("factor", [None, 1, 2, 4, 8])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 3)])
def test_the_result_is_as_many_times_as_large(factor: int | None, size: tuple[int, int], tmp_path: Path) -> None:
    """Of any size, also one that the networks do not divide; published models enlarge as much as the latent shrinks."""
    out = made(factor).upscale(file(tmp_path / "a.png", *size), steps=1)
    times = factor or 2
    assert out.tensor.shape == (1, 3, size[0] * times, size[1] * times)
    assert out.facts[0]["name"] == "a"
    assert bool(out.tensor.isfinite().all())


def test_the_model_is_given_the_files_pixels(tmp_path: Path) -> None:
    paths = [file(tmp_path / f"{seed}.png", 6, 4, seed) for seed in (1, 2)]
    request = ask(made(), *paths, n=2, seed=5)
    assert list(request.seeds) == [5, 6, 7, 8]
    for value, path in zip(request.values["low"], [paths[0]] * 2 + [paths[1]] * 2, strict=True):
        expected = np.asarray(Image.open(path)).transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)
    assert [one["name"] for one in request.facts] == ["1-seed-5", "1-seed-6", "2-seed-7", "2-seed-8"]


def test_an_image_does_not_depend_on_those_beside_it(tmp_path: Path) -> None:
    paths = [file(tmp_path / f"{seed}.png", 6, 4, seed) for seed in (1, 2)]
    pipe = made()
    together, alone = pipe.upscale(paths, steps=2), pipe.upscale(paths[1], steps=2, seed=1)
    assert torch.allclose(together.tensor[1], alone.tensor[0], atol=1e-5)
    assert not torch.allclose(together.tensor[0], alone.tensor[0], atol=1e-2)


def as_condition(x: Tensor, *_: Any, concat: Tensor, **__: Any) -> Tensor:
    """In place of the network: x0 is a smoothed copy of the condition, which depends on pixels nearby alone."""
    near = torch.nn.functional.avg_pool2d(concat, 3, 1, 1, count_include_pad=False)
    return torch.cat([near, near[:, :1]], 1)


def test_tiles_see_the_condition_where_they_are_and_leave_no_seam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In tiles and whole, what depends on pixels nearby is the same, but at a tile's own border, which counts least."""
    pipe = pipeline(conditions="none", conditioning={"low": {"kind": "image", "factor": 2}}, prediction="regression")
    assert pipe.denoiser is not None
    shapes: list[tuple[int, ...]] = []

    def forward(x: Tensor, *words: Any, **named: Any) -> Tensor:
        shapes.append((len(x), *x.shape[-2:]))
        return as_condition(x, *words, **named)

    monkeypatch.setattr(pipe.denoiser.unet, "forward", forward)
    y, x = np.meshgrid(np.linspace(0, 3, 40), np.linspace(0, 4, 52), indexing="ij")
    waves = np.stack([np.cos(y + x), np.sin(y - x), np.cos(2 * y)], -1) / 2 + 0.5
    files.save(tmp_path / "waves.png", waves)
    request = ask(pipe, tmp_path / "waves.png")
    assert request.tile == (8, 2)  # those of training, in latents
    (tiled,) = pipe.steps(task="upscale", images=[tmp_path / "waves.png"])
    assert {shape[1:] for shape in shapes} == {(8, 8)}
    assert sum(rows for rows, *_ in shapes) == 2 * 7 * 9  # with the condition and without
    (whole,) = pipe.steps(task="upscale", images=[tmp_path / "waves.png"], tile=1024)
    assert shapes[-1][1:] == (40, 52)
    across = (tiled.x - whole.x).abs()
    assert tiled.x.shape == (1, 4, 40, 52)
    assert across.max() < 0.08
    assert across.median() < 1e-6


def test_small_images_are_drawn_whole(tmp_path: Path) -> None:
    assert ask(made(), file(tmp_path / "a.png", 16, 12)).tile is None
    assert ask(made(), file(tmp_path / "b.png", 17, 12)).tile == (8, 2)


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (1, "uint16"), (3, "uint8"), (3, "uint16")])
def test_bits_and_channels_are_the_files(channels: int, dtype: str, tmp_path: Path) -> None:
    """A model of 8-bit colours does not cut a scan to 8 bits, nor make colours of a grey one."""
    out = made().upscale(file(tmp_path / "a.png", 6, 6, 0, channels, dtype), steps=1)
    (path,) = out.save(tmp_path / "out")
    header = files.header(path)
    assert (header.channels, header.dtype, header.width) == (channels, dtype, 12)


def test_a_smaller_result_is_the_larger_one_shrunk(tmp_path: Path) -> None:
    path, pipe = file(tmp_path / "a.png", 8, 12), made(4)
    whole, smaller = pipe.upscale(path, steps=1), pipe.upscale(path, steps=1, size="20x30")
    assert smaller.tensor.shape == (1, 3, 20, 30)
    pixels = Image.fromarray(np.asarray(whole.images[0])).resize((30, 20), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(pixels).astype(int) - np.asarray(smaller.images[0])).mean() < 1.5


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (
            "6x12",
            "6x12 of a.png, which is 8x12, larger than asked for; this model makes it up to 4 times as large",
        ),
        (
            100,
            "size: 100x100 of a.png, which is 8x12; this model makes it up to 4 times as large, 32x48. Ask for",
        ),
        ("20x20", "is of another shape; ask for 20x30, say"),
    ],
)
def test_a_size_that_the_model_does_not_make_is_told(size: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=text):
        ask(made(4), file(tmp_path / "a.png", 8, 12), size=size)


def test_a_model_without_the_condition_says_what_it_can(tmp_path: Path) -> None:
    path = file(tmp_path / "a.png", 8, 8)
    with pytest.raises(UsageError, match=r"cannot upscale; its conditions are text \(text\), label \(class_label\)"):
        pipeline().upscale(path)
    with pytest.raises(UsageError, match="cannot upscale; it draws without conditions: use `sample`"):
        pipeline(conditions="none").upscale(path)
    with pytest.raises(UsageError, match="takes several images of low resolution, low, other"):
        made(other={"kind": "image"}).upscale(path)


def test_what_cannot_be_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    pipe, path = made(), file(tmp_path / "a.png", 8, 8)
    with pytest.raises(UsageError, match="2 images of different sizes into one output; upscale them one by one"):
        ask(pipe, path, file(tmp_path / "b.png", 8, 9))
    with pytest.raises(UsageError, match="low: is the image of the file here; leave it out"):
        ask(pipe, path, low=torch.zeros(3, 8, 8))
    with pytest.raises(UsageError, match="colour: this model takes no such condition"):
        ask(pipe, path, colour="red")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    with pytest.raises(UsageError, match=r"clear.png: 4 channels with transparency and no data.background"):
        ask(pipe, tmp_path / "clear.png")


def test_other_conditions_are_given_beside_it(tmp_path: Path) -> None:
    """A label steers what a model makes of a blurred image."""
    pipe = made(label={"kind": "class_label", "via": "vector", "width": 8})
    path = file(tmp_path / "a.png", 8, 8)
    one, other = (pipe.upscale(path, label=label, steps=1).tensor for label in ("star", "circle"))
    assert not torch.allclose(one, other)
