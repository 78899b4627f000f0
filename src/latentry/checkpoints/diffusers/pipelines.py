"""Which pipeline of diffusers a model is, and the configs of its components."""

from __future__ import annotations

from typing import Any, NamedTuple

from latentry.checkpoints.diffusers import autoencoder, scheduler, text, unet
from latentry.checkpoints.diffusers.files import SCHEDULER
from latentry.checkpoints.diffusers.settings import unheld
from latentry.conditioning.image import ImageOptions
from latentry.conditioning.text import TextOptions
from latentry.kinds import KindOptions
from latentry.models.config import ModelConfig

SCHEDULER_FOLDER = SCHEDULER.removesuffix("_config.json")


class Shape(NamedTuple):
    """A pipeline's components besides `unet` and `scheduler`: folders of first stage, text encoder and tokenizer.

    network: the class of the UNet. encoder: library and class of the text encoder.
    """

    first_stage: str | None
    network: str
    encoder_folder: str | None = None
    encoder: tuple[str, str] | None = None


PIPELINES = {
    "LDMPipeline": Shape("vqvae", unet.PLAIN.name),
    "LDMSuperResolutionPipeline": Shape("vqvae", unet.PLAIN.name),
    "LDMTextToImagePipeline": Shape("vqvae", unet.CONTEXT.name, "bert", ("latent_diffusion", text.BERT.name)),
}
ALONE = "Such a model can only be used here"


class Facts(NamedTuple):
    """What configs say that only the weights know: the latent's scale, and rows of the text encoder's token table."""

    scale: float
    vocabulary: int = 0


def pipeline_of(config: ModelConfig) -> str | None:
    """The name of the pipeline class, None for a first stage alone. Raises UsageError for conditions none takes."""
    if config.diffusion is None:
        return None
    told = config.diffusion.conditioning
    if len(told) > 1:
        names = ", ".join(f"{name} ({options.kind})" for name, options in told.items())
        raise unheld(f"conditioning {names}", "its pipelines take one", ALONE)
    if not told:
        return "LDMPipeline"
    (name, options), *_ = told.items()
    kinds = {"text": "LDMTextToImagePipeline", "image": "LDMSuperResolutionPipeline"}
    if options.kind not in kinds:
        raise unheld(f"conditioning {name} ({options.kind})", f"its pipelines take one of {', '.join(kinds)}", ALONE)
    return kinds[options.kind]


def configs(config: ModelConfig, facts: Facts) -> dict[str, dict[str, Any]]:
    """The config of every component by its folder, "" for a first stage alone. Raises UsageError by name."""
    name, size = pipeline_of(config), config.data.size
    first = autoencoder.to_config(config.autoencoder, config.data.channels, size, facts.scale)
    if name is None or config.diffusion is None:
        return {"": first}
    shape, diffusion = PIPELINES[name], config.diffusion
    options = next(iter(diffusion.conditioning.values()), None)
    latent = config.autoencoder.latent_channels or config.autoencoder.z_channels
    concat = options.channels if isinstance(options, ImageOptions) else 0
    context = _context(config, options)
    made = {} if shape.first_stage is None else {shape.first_stage: first}
    made["unet"] = unet.to_config(
        diffusion.unet, latent=latent, concat=concat, context=context, size=sample_size(config, name)
    )
    if made["unet"]["_class_name"] != shape.network:
        raise unheld(f"unet.transformer_depth {diffusion.unet.transformer_depth}", f"{name} has {shape.network}", ALONE)
    if name == "LDMSuperResolutionPipeline":
        _check_super_resolution(facts.scale, latent, concat)
    made[SCHEDULER_FOLDER] = scheduler.to_config(diffusion, config.sample)
    if isinstance(options, TextOptions):
        made["bert"] = text.bert_config(options, facts.vocabulary)
    return made


def sample_size(config: ModelConfig, pipeline: str) -> int | tuple[int, int]:
    """The UNet's `sample_size`, by which the pipeline chooses the size that it draws when none is asked."""
    factor = config.autoencoder.factor
    height, width = (side // factor for side in config.data.size)
    if pipeline in ("LDMPipeline", "LDMTextToImagePipeline") and height != width:
        why = f"{pipeline} draws squares by itself"
        raise unheld(f"data.size {height * factor}x{width * factor}", why, "Such a model can only be used here")
    if pipeline == "LDMTextToImagePipeline":
        # It draws latents of sample_size * factor / 8, whatever the factor.
        if 8 * height % factor:
            why = f"{pipeline} takes every first stage for one of factor 8, and {8 * height} / {factor} is not whole"
            raise unheld(f"data.size {config.data.size[0]} with factor {factor}", why, ALONE)
        return 8 * height // factor
    return height if height == width else (height, width)


def pixel_size(found: int | tuple[int, int], factor: int, pipeline: str) -> tuple[int, int]:
    """The images' size (H, W) of a UNet's `sample_size`: the reverse of `sample_size`."""
    height, width = (found, found) if isinstance(found, int) else found
    if pipeline == "LDMTextToImagePipeline":
        height, width = height * factor // 8, width * factor // 8
    return height * factor, width * factor


def _context(config: ModelConfig, options: KindOptions | None) -> int | None:
    """Channels of the context. Raises UsageError where it is projected to the UNet's width."""
    assert config.diffusion is not None
    given: int | None = getattr(options, "width", None)
    asked = config.diffusion.unet.context_channels
    if given and asked and given != asked:
        raise unheld(f"unet.context_channels {asked} of a text of width {given}", "it has no projection between", ALONE)
    return given


def _check_super_resolution(scale: float, latent: int, concat: int) -> None:
    name = "LDMSuperResolutionPipeline"
    if scale != 1:
        raise unheld(f"latent_scale {scale:g}", f"{name} decodes without one", ALONE)
    if concat != latent:
        raise unheld(f"conditioning image of {concat} channels", f"{name} takes as many as the latent has", ALONE)
