"""If these fail, the share of right samples that training prints is wrong."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor
from torch.nn import functional

from latentry.data.shapes import BACKGROUNDS, COLOURS, PAIRS, Drawing, generate
from latentry.errors import UsageError
from latentry.metrics import JUDGES
from latentry.metrics.colour import lab
from latentry.metrics.judges import pair
from latentry.metrics.shapes import judge

COUNT = 96


@pytest.fixture(scope="module")
def truth() -> list[Drawing]:
    return list(generate(COUNT, 64, seed=11))


@pytest.fixture(scope="module")
def real(truth: list[Drawing]) -> Tensor:
    return torch.from_numpy(np.stack([d.image for d in truth])).movedim(-1, 1) / 255


def blurred(x: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    x = functional.pad(x, (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(x, kernel, groups=3), kernel.mT, groups=3)


def jpeg(x: Tensor, quality: int) -> Tensor:
    out = []
    for image in (x * 255).byte().movedim(1, -1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        out.append(np.array(Image.open(buffer)))
    return torch.from_numpy(np.stack(out)).movedim(-1, 1) / 255


def noisy(x: Tensor, sigma: float) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def right(images: Tensor, truth: list[Drawing]) -> float:
    seen = judge(images)
    return sum((s.shape, s.colour) == (d.shape, d.colour) for s, d in zip(seen, truth, strict=True)) / len(truth)


def test_real_images_are_read_rightly(real: Tensor, truth: list[Drawing]) -> None:
    assert right(real, truth) >= 0.99


@pytest.mark.parametrize("size", [32, 128, (96, 64)])
def test_images_of_other_sizes_too(size: int | tuple[int, int]) -> None:
    truth = list(generate(96, size, seed=2))
    images = torch.from_numpy(np.stack([d.image for d in truth])).movedim(-1, 1) / 255
    assert right(images, truth) >= 0.99


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: blurred(x, 2),
        lambda x: noisy(x, 0.08),
        lambda x: noisy(blurred(x, 1.5), 0.05),
        lambda x: jpeg(x, 20),
        lambda x: x * 0.85 + 0.08,
    ],
    ids=["blur", "noise", "blur and noise", "jpeg", "faded"],
)
def test_spoilt_reconstructions_are_still_read_rightly(spoil, real: Tensor, truth: list[Drawing]) -> None:
    assert right(spoil(real).clamp(0, 1), truth) >= 0.97


def test_what_shows_nothing_is_never_right(real: Tensor, truth: list[Drawing]) -> None:
    random = torch.Generator().manual_seed(1)
    clouds = torch.rand(COUNT, 3, 8, 8, generator=random)
    garbage = {
        "noise": torch.rand(COUNT, 3, 64, 64, generator=random),
        "clouds": functional.interpolate(clouds, size=64, mode="bicubic").clamp(0, 1),
        "flat": clouds[:, :, :1, :1].expand(-1, -1, 64, 64),
        "torn": torch.cat((real[..., 32:, :], real[..., :32, :]), 2),
        "not finite": torch.full_like(real, math.nan),
    }
    for name, images in garbage.items():
        assert right(images, truth) <= 1 / len(PAIRS), name


def test_two_shapes_in_one_image_count_as_none(real: Tensor, truth: list[Drawing]) -> None:
    small = functional.interpolate(real, size=(64, 32), mode="area")
    assert right(torch.cat((small, small), 3), truth) <= 0.05


def test_the_score_says_how_often_shape_and_colour_were_those_asked_for(real: Tensor, truth: list[Drawing]) -> None:
    wanted = [{"text": d.text} for d in truth]
    other = [{"shape": d.shape, "colour": "red" if d.colour != "red" else "blue"} for d in truth]
    first = JUDGES["shapes"].score(real, wanted)
    assert first["shape_and_colour"] >= 0.99
    assert {f"pair/{p}" for p in PAIRS} < first.keys()
    second = JUDGES["shapes"].score(real, other)
    assert second["shape"] >= 0.99
    assert second["colour"] == second["shape_and_colour"] == 0


def test_the_score_is_a_mean_over_images_and_pairs_are_kept_apart(real: Tensor, truth: list[Drawing]) -> None:
    wanted = [{"text": d.text} for d in truth[:4]]
    images = real[:4].clone()
    images[3] = 0.5
    figures = JUDGES["shapes"].score(images, wanted)
    assert figures["shape_and_colour"] == 0.75
    assert figures[f"pair/{truth[3].pair}"] == 0
    assert figures[f"pair/{truth[0].pair}"] == 1


@pytest.mark.parametrize("record", [{}, {"text": "a red apple"}, {"text": "a photo"}, {"shape": "star"}])
def test_a_record_that_names_no_pair_is_refused(record: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"known: a colour"):
        pair(record)


def test_wrong_numbers_of_images_or_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="2 images and 1 records"):
        JUDGES["shapes"].score(torch.zeros(2, 3, 64, 64), [{"text": "a red star"}])
    with pytest.raises(UsageError, match="1 channels"):
        JUDGES["shapes"].score(torch.zeros(1, 1, 64, 64), [{"text": "a red star"}])


def test_cielab_is_that_of_the_standard() -> None:
    colours = np.random.default_rng(0).random((50, 3))
    assert np.allclose(lab(torch.from_numpy(colours)).numpy(), rgb2lab(colours[None])[0], atol=0.05)


def test_no_two_colours_are_hard_to_tell_apart() -> None:
    known = lab(torch.tensor([*COLOURS.values(), *BACKGROUNDS.values()]) / 255)
    apart = torch.cdist(known, known)[: len(COLOURS)] + 1e3 * torch.eye(len(known))[: len(COLOURS)]
    assert apart.min() >= 40
