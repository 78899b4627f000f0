"""Guidance keeps contrast as diffusers does. If not, colours of the same model burn out here alone."""

from __future__ import annotations

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import Level

LEVEL = Level(500.0, 0.6, 0.8)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_rescale_is_that_of_diffusers_on_the_output_of_the_network(prediction: str, share: float) -> None:
    """Lin et al. 2024, eq. 15 and 16; theirs has the outputs themselves, each image with a deviation of its own."""
    draw = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    x, told, untold = (sizes * torch.randn(2, 4, 8, 8, generator=draw, dtype=torch.float64) for _ in range(3))

    def to_x0(x: Tensor, out: Tensor) -> Tensor:
        return PREDICTIONS[prediction].x0(x, out, LEVEL.alpha, LEVEL.sigma)

    denoise = classifier_free(lambda x, level: (to_x0(x, told), to_x0(x, untold)), 5.0, share, PREDICTIONS[prediction])
    expected = rescale_noise_cfg(untold + 5.0 * (told - untold), told, guidance_rescale=share)
    torch.testing.assert_close(denoise(x, LEVEL), to_x0(x, expected))
