"""If this fails, a model that fills holes passes its images through a first stage that is on another device."""

from __future__ import annotations

import torch

from latentry import __version__
from latentry.conditioning.masked import Masked
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import ModelConfig

SMALL = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "norm_groups": 4}


def test_the_first_stage_of_a_condition_takes_images_from_anywhere() -> None:
    config = ModelConfig.model_validate(
        {
            "name": "small",
            "version": __version__,
            "data": {"size": (16, 16), "channels": 3},
            "autoencoder": SMALL,
            "diffusion": {
                "unet": {**SMALL, "attention": [], "head_channels": 8},
                "conditioning": {"hole": {"kind": "masked", "latent_channels": 4}},
            },
        }
    )
    autoencoder = Autoencoder(config.autoencoder, 3)
    condition = build_denoiser(config, {}, autoencoder).conditioners["hole"]
    assert isinstance(condition, Masked)
    assert condition.first_stage is not None
    image = torch.rand(1, 3, 16, 16)
    expected = autoencoder.unscaled(autoencoder.moments(image))
    assert torch.equal(condition.first_stage(image), expected)
    autoencoder.to("meta")
    latent = condition.first_stage(image)
    assert (latent.device.type, latent.shape) == ("meta", expected.shape)
