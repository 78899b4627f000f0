"""If these fail, every PSNR we print is off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from latentry.metrics import masked_psnr, psnr


def test_a_known_error_gives_the_textbook_value() -> None:
    x = torch.zeros(2, 3, 4, 5)
    y = torch.stack((torch.full((3, 4, 5), 0.1), torch.full((3, 4, 5), 0.01)))
    assert psnr(x, y, 1.0).tolist() == pytest.approx([20, 40])
    assert psnr(x, y, 2.0).tolist() == pytest.approx([20 + 20 * np.log10(2), 40 + 20 * np.log10(2)])


def test_it_agrees_with_scikit_image_on_8_bit_images() -> None:
    x, y = torch.randint(0, 256, (2, 3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    theirs = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=255) for a, b in zip(x, y, strict=True)]
    assert psnr(x, y, 255).tolist() == pytest.approx(theirs)


def test_equal_images_are_infinitely_alike() -> None:
    assert psnr(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 1.0).item() == float("inf")


def test_only_the_masked_pixels_count() -> None:
    x, y = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    y[..., 0, 0] = 0.1
    y[..., 3, 3] = 1.0
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 0.02
    assert masked_psnr(x, y, mask, 1.0).item() == pytest.approx(20)
    assert masked_psnr(x, y, mask[:, None], 1.0).item() == pytest.approx(20)
    assert masked_psnr(x, y, mask * 0, 1.0).isnan().item()


def test_images_of_different_shapes_are_not_broadcast() -> None:
    with pytest.raises(ValueError, match="must agree"):
        psnr(torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4), 1.0)
