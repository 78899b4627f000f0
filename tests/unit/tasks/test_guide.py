"""Guiding images. If these fail, samples do not look like the image that they were asked to look like."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import latentry as lt
from latentry.errors import UsageError
from latentry.tasks.inputs.guide import LIKELIHOODS, as_small
from tests.shared import SHARED
from tests.unit.pipeline.small_pipelines import pipeline

MODEL = Path(__file__).parents[3] / "models" / "emoji"
WEIGHTS = SHARED / "data" / "weights"
HOW: dict[str, Any] = {"n": 2, "steps": 3, "seed": 2}
WEAK: dict[str, Any] = {"guide_scale": 0.5}  # networks of random weights need wild steps to follow


def drawn(path: Path, size: tuple[int, int] = (16, 16)) -> Path:
    """A red disc on white with a dark spot, drawn by Pillow; size: (width, height)."""
    large = Image.new("RGB", (size[0] * 8, size[1] * 8), "white")
    draw = ImageDraw.Draw(large)
    draw.ellipse((16, 16, size[0] * 8 - 16, size[1] * 8 - 16), fill="#d02020")
    draw.ellipse((40, 32, 64, 56), fill="#301010")
    large.resize(size, Image.Resampling.BOX).save(path)
    return path


def psnr(image: Image.Image, guide: Image.Image) -> float:
    """Of the sample, made as small as the guide by Pillow."""
    small = np.asarray(image.resize(guide.size, Image.Resampling.BICUBIC), dtype=float)
    return float(10 * np.log10(255**2 / np.square(small - np.asarray(guide, dtype=float)).mean()))


@pytest.mark.skipif(not MODEL.is_dir(), reason="the shipped model models/emoji is not in this checkout")
@pytest.mark.parametrize(("loss", "gain"), [("pixels", 6), ("latents", 3)])
def test_samples_of_the_shipped_model_look_like_the_guide_when_made_small(
    tmp_path: Path, loss: str, gain: float
) -> None:
    """By many dB nearer than without; no text says what they show."""
    pipe, guide = lt.load(MODEL, device="cpu"), drawn(tmp_path / "small.png")
    how: dict[str, Any] = {"n": 2, "steps": 6, "seed": 1}
    plain, guided = pipe.sample(**how).images, pipe.sample(guide=guide, guide_loss=loss, **how).images
    with Image.open(guide) as asked:
        gains = [psnr(b, asked) - psnr(a, asked) for a, b in zip(plain, guided, strict=True)]
    assert min(gains) > gain, gains


def test_small_is_what_pillow_makes_small() -> None:
    pixels = np.random.default_rng(0).random((32, 48)).astype(np.float32)
    expected = np.asarray(Image.fromarray(pixels, "F").resize((12, 8), Image.Resampling.BICUBIC))
    found = as_small(torch.from_numpy(pixels)[None, None], torch.zeros(1, 1, 8, 12))
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=2e-5)


def distance(images: Tensor, guide: Path) -> Tensor:
    """Mean square of each image (B, C, H, W) in [0, 1], made small, to the guide."""
    with Image.open(guide) as image:
        target = torch.from_numpy(np.asarray(image) / 255).permute(2, 0, 1)[None]
    return (as_small(images, target) - target).square().flatten(1).mean(1)


@pytest.mark.parametrize("kind", ["kl", "vq"])
@pytest.mark.parametrize("loss", ["pixels", "latents"])
def test_each_first_stage_hands_the_gradient_through(tmp_path: Path, kind: str, loss: str) -> None:
    """A codebook's lookup has none of its own: the gradient passes it straight."""
    pipe, guide = pipeline(kind), drawn(tmp_path / "small.png", (8, 8))
    model = pipe.model
    target, likelihood = LIKELIHOODS[loss](model, torch.rand(1, 3, 8, 8) * 2 - 1, (16, 16))
    x0 = torch.randn(2, 4, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(likelihood(x0, target).sum(), x0)
    assert gradient.flatten(1).abs().sum(1).min() > 0
    if kind == "kl":  # the codes of the small model look all alike
        plain, guided = (pipe.sample("a red circle", guide=one, **HOW).tensor for one in (None, guide))
        assert (distance(guided, guide) < distance(plain, guide)).all()


def test_each_image_has_its_guide_whatever_is_beside_it(tmp_path: Path) -> None:
    pipe, guides = pipeline(), [drawn(tmp_path / "a.png", (8, 8)), tmp_path / "b.png"]
    Image.new("RGB", (8, 8), "#2040c0").save(guides[1])
    both = pipe.sample("a red circle", guide=guides, **HOW, **WEAK)
    assert [facts["guide"] for facts in both.facts] == list(map(str, guides))
    for i, guide in enumerate(guides):
        alone = pipe.sample("a red circle", guide=guide, steps=3, seed=2 + i, **WEAK).tensor
        assert (alone[0] - both.tensor[i]).abs().max() < 1e-3
    in_turn = pipe.sample("a red circle", guide=guides, batch=1, **HOW, **WEAK).tensor
    assert (in_turn - both.tensor).abs().max() < 1e-3


def test_a_picture_names_its_guide_and_is_drawn_again_to_the_bit(tmp_path: Path) -> None:
    pipe, guide = pipeline(), drawn(tmp_path / "small.png", (8, 8))
    out = pipe.sample("a red circle", guide=guide, guide_scale=7.5, solver="ddpm", **HOW)
    paths = out.save(tmp_path / "out")
    with Image.open(paths[0]) as picture:
        assert {"guide": str(guide), "guide scale": "7.5", "guide loss": "pixels"}.items() <= picture.info.items()
    assert torch.equal(pipe.again(paths[1]).tensor, out.tensor[1:])
    guide.rename(tmp_path / "moved.png")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"guide: .*small\.png, with which the picture was drawn, is not here or"):
            pipe.again(paths[1])
        Image.new("RGB", (8, 8)).save(guide)  # the second time, another file of its name
    assert pipe.again(paths[1], guide=tmp_path / "moved.png").tensor.shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("size", "options", "text"),
    [
        ((32, 32), {}, r"32x32, larger than the samples, 16x16\. Give it smaller"),
        ((16, 8), {}, "8x16 is in another proportion than the samples"),
        ((8, 8), {"guide_loss": "lpips"}, r"8x8 is too small for lpips, .* at least 17\."),
        ((8, 8), {"guide_loss": "lpip"}, "guide_loss"),
        ((8, 8), {"guide_scale": -1}, "guide_scale"),
        ((8, 8), {"guide": None, "guide_scale": 3}, "guide: is missing, which guide_scale"),
        ((8, 8), {"guide": ["one.png"] * 3}, "guide: 3 images for 2 samples; give one, or as many"),
        ((8, 8), {"guide": "none.png"}, r"guide: none\.png: no such file"),
    ],
    ids=str,
)
def test_what_cannot_guide_is_one_line(tmp_path: Path, size: Any, options: dict[str, Any], text: str) -> None:
    guide = drawn(tmp_path / "guide.png", size)
    with pytest.raises(UsageError, match=text) as caught:
        pipeline().sample("a red circle", **{**HOW, "guide": guide, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no LPIPS weights here")
def test_lpips_guides_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the published weights: the distance to the guide falls, as the network itself has it."""
    monkeypatch.setitem(os.environ, "LATENTRY_WEIGHTS", str(WEIGHTS))
    pipe, guide = pipeline(), drawn(tmp_path / "guide.png", (24, 24))
    how: dict[str, Any] = {**HOW, "size": 32}
    plain = pipe.sample("a red circle", **how).tensor
    guided = pipe.sample("a red circle", guide=guide, guide_loss="lpips", **how).tensor
    from latentry.nn import lpips

    with Image.open(guide) as image:
        target = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    measure = lpips.load("squeezenet")
    far, near = (measure(as_small(x * 2 - 1, target), target.expand(2, -1, -1, -1)) for x in (plain, guided))
    assert (near < far).all()
