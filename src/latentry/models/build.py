"""From the text of a model (`model.yaml` and its further files) to modules, without weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from latentry.conditioning import CONDITIONERS, BuildContext, Conditioner
from latentry.kinds import build
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import DiffusionOptions, ModelConfig
from latentry.models.latent_diffusion import LatentDiffusion


def build_conditioners(options: DiffusionOptions, context: Mapping[str, BuildContext]) -> dict[str, Conditioner]:
    """The conditioners in recipe order. context: for each, its labels, captions or saved files."""
    return {name: build(CONDITIONERS, o, context[name]) for name, o in options.conditioning.items()}


def build_denoiser(
    config: ModelConfig, texts: Mapping[str, str], autoencoder: Autoencoder | None = None
) -> LatentDiffusion:
    """The second stage of a saved model. texts: its further files, e.g. the tokenizer's.

    autoencoder: its first stage, for conditions that pass through it.
    """
    assert config.diffusion is not None
    latent_channels = config.autoencoder.latent_channels or config.autoencoder.z_channels
    context = {
        name: BuildContext(
            labels=config.data.labels,
            files=files_of(name, texts),
            encode=_unscaled(autoencoder),
            image_channels=config.data.channels,
            factor=config.autoencoder.factor,
            latent_channels=latent_channels,
        )
        for name in config.diffusion.conditioning
    }
    return LatentDiffusion(config.diffusion, latent_channels, build_conditioners(config.diffusion, context))


def _unscaled(autoencoder: Autoencoder | None) -> Callable[[Tensor], Tensor] | None:
    """Images, wherever they are, to latents as conditions take them: the posterior's mean, never scaled."""
    if autoencoder is None:
        return None

    def encode(images: Tensor) -> Tensor:
        return autoencoder.unscaled(autoencoder.moments(images.to(autoencoder.latent_scale.device)))

    return encode


def files_of(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """The files of one conditioner: `NAME.FILE`, or FILE as it is where only one conditioner has such."""
    own = {key.removeprefix(f"{name}."): text for key, text in texts.items() if key.startswith(f"{name}.")}
    return {**texts, **own}


def named_files(conditioners: Mapping[str, Conditioner]) -> dict[str, str]:
    """Files of all conditioners under names that do not collide."""
    texts: dict[str, str] = {}
    for name, conditioner in conditioners.items():
        for file, text in conditioner.files().items():
            texts[f"{name}.{file}" if file in texts else file] = text
    return texts
