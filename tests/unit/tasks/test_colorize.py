"""If these fail, a grey image gets colours of another lightness, or training sees another grey than sampling does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentry.conditioning.grey import LUMA, Grey, GreyOptions, luma
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.tasks.colorize import relit
from tests.unit.pipeline.small_pipelines import pipeline

DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_grey_is_that_of_pillow() -> None:
    """Up to the rounding of 8 bits: a file made grey elsewhere says the same as the colours did in training."""
    found = luma(Sample(0, 0, pixels=PIXELS).image.numpy())
    pillow = np.asarray(Image.fromarray(PIXELS).convert("L")).astype(float)
    assert found.shape == (1, 12, 20)
    assert np.abs((found[0] + 1) * 127.5 - pillow).max() <= 0.501


def test_nothing_of_the_grey_image_is_lost_beside_the_latent() -> None:
    grey = torch.randn(1, 12, 20)
    concat = Grey(GreyOptions(factor=4)).encode([grey]).concat
    assert concat is not None
    assert concat.shape == (1, 16, 3, 5)
    assert torch.equal(torch.nn.functional.pixel_shuffle(concat, 4)[0], grey)
    assert sorted(concat[0, :, 1, 2].tolist()) == sorted(grey[0, 4:8, 8:12].flatten().tolist())


def test_images_without_colours_cannot_train_it() -> None:
    with pytest.raises(UsageError, match="grey: images of 1 channels; accepted: red, green and blue"):
        luma(np.zeros((1, 4, 4), np.float32))


def test_the_result_is_as_light_as_the_input_at_every_pixel(tmp_path: Path) -> None:
    """At a size that does not fit; of a grey file, and of one whose colours are not looked at."""
    grey = Image.fromarray(PIXELS).convert("L")
    grey.resize((19, 11)).save(tmp_path / "grey.png")
    expected = np.asarray(grey.resize((19, 11))).astype(float)
    out = pipeline(conditions="grey").colorize(tmp_path / "grey.png", n=2)
    assert out.tensor.shape == (2, 3, 11, 19)
    for image in out.images:
        assert np.abs(np.asarray(image.convert("L")).astype(float) - expected).max() <= 1
    plain = pipeline(conditions="grey").colorize(tmp_path / "grey.png", keep_grey=False).images[0]
    assert np.abs(np.asarray(plain.convert("L")).astype(float) - expected).max() > 10


def test_colours_that_would_leave_the_range_are_paled_and_no_others() -> None:
    grey = torch.tensor([-1.0, -0.9, 0.0, 1.0]).view(1, 1, 4)
    red = torch.tensor([0.8, -0.6, -0.6]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    found = relit(red, grey)
    assert float(found.abs().max()) <= 1
    torch.testing.assert_close(torch.einsum("c,bchw->bhw", torch.from_numpy(LUMA), found), grey)
    assert (found[0, :, 0, 0] == -1).all()
    torch.testing.assert_close(found[0, :, 0, 2], red[0, :, 0, 0] - red[0, :, 0, 0] @ torch.from_numpy(LUMA))


def test_other_models_say_why_they_cannot(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="small: has no condition of kind `grey`, so it cannot colour images"):
        pipeline().colorize(tmp_path / "grey.png")
