"""Which pipeline of diffusers a model is, and the configs of its components."""

from __future__ import annotations

from typing import Any, NamedTuple

from latentry.checkpoints.diffusers import autoencoder, scheduler, unet
from latentry.checkpoints.diffusers.files import SCHEDULER
from latentry.checkpoints.diffusers.settings import unheld
from latentry.checkpoints.diffusers.text import bert, clip
from latentry.checkpoints.diffusers.text.encoder import Encoder
from latentry.conditioning.image import ImageOptions
from latentry.kinds import KindOptions
from latentry.models.config import ModelConfig

SCHEDULER_FOLDER = SCHEDULER.removesuffix("_config.json")
ALONE = ""
"""What to do where there is nothing to do about it in this format."""


class Shape(NamedTuple):
    """What a pipeline has. condition: the kind of our conditioner, None for none.

    network: the class of its UNet. first_stage: the folder, None where the UNet draws images themselves.
    steps, guidance: the defaults of its call.
    """

    condition: str | None
    network: str
    first_stage: str | None
    steps: int = 50
    guidance: float = 1.0


PIPELINES = {
    "LDMPipeline": Shape(None, unet.PLAIN.name, "vqvae"),
    "LDMSuperResolutionPipeline": Shape("image", unet.PLAIN.name, "vqvae", steps=100),
    "LDMTextToImagePipeline": Shape("text", unet.CONTEXT.name, "vqvae"),
    "StableDiffusionPipeline": Shape("clip_text", unet.CONTEXT.name, "vae", guidance=7.5),
    "DDPMPipeline": Shape(None, unet.PLAIN.name, None, steps=1000),
    "DDIMPipeline": Shape(None, unet.PLAIN.name, None),
}
ALIASES = {
    "LatentDiffusionUncondPipeline": "LDMPipeline",
    "LatentDiffusionPipeline": "LDMTextToImagePipeline",
    "StableDiffusionImg2ImgPipeline": "StableDiffusionPipeline",
    "StableDiffusionInpaintPipelineLegacy": "StableDiffusionPipeline",
}
"""Names of older versions, and of pipelines that do other tasks with the same model."""
ENCODERS: dict[str | None, Encoder] = {"text": bert.ENCODER, "clip_text": clip.ENCODER}
"""By the kind of our conditioner."""
LEFT_OUT = {"StableDiffusionPipeline": ("safety_checker", "feature_extractor", "image_encoder")}
"""Components that are no part of the model: written as absent, and not read."""


class Facts(NamedTuple):
    """What configs say that only the weights know: the latent's scale, and rows of the text encoder's token table."""

    scale: float
    rows: int = 0


def pipeline_of(config: ModelConfig) -> str | None:
    """The name of the pipeline class, None for a first stage alone. Raises UsageError for conditions none takes."""
    if config.diffusion is None:
        return None
    conditions = config.diffusion.conditioning
    if len(conditions) > 1:
        names = ", ".join(f"{name} ({options.kind})" for name, options in conditions.items())
        raise unheld(f"conditioning {names}", "its pipelines take one", ALONE)
    if config.autoencoder.kind == "identity" and conditions:
        raise unheld(
            f"conditioning {next(iter(conditions))} of an identity first stage", "its pipelines there take none", ALONE
        )
    if config.autoencoder.kind == "identity":
        return "DDPMPipeline" if config.sample.solver.kind == "ddpm" else "DDIMPipeline"
    if not conditions:
        return "LDMPipeline"
    name, options = next(iter(conditions.items()))
    kinds = {shape.condition: pipeline for pipeline, shape in PIPELINES.items() if shape.condition}
    if options.kind not in kinds:
        accepted = ", ".join(map(str, kinds))
        raise unheld(f"conditioning {name} ({options.kind})", f"its pipelines take one of {accepted}", ALONE)
    return kinds[options.kind]


def configs(config: ModelConfig, facts: Facts) -> dict[str, dict[str, Any]]:
    """The config of every component by its folder, "" for a first stage alone. Raises UsageError by name."""
    name, size = pipeline_of(config), config.data.size
    if config.autoencoder.kind == "identity":
        if name is None or facts.scale != 1:
            raise unheld(f"autoencoder.kind identity with latent_scale {facts.scale:g}", "it is not a component", ALONE)
        first = {}
    else:
        first = autoencoder.to_config(config.autoencoder, config.data.channels, size, facts.scale)
    if name is None or config.diffusion is None:
        return {"": first}
    shape, diffusion = PIPELINES[name], config.diffusion
    options = next(iter(diffusion.conditioning.values()), None)
    latent = latent_channels(config)
    concat = options.channels or config.data.channels if isinstance(options, ImageOptions) else 0
    if isinstance(options, ImageOptions) and options.factor not in (None, config.autoencoder.factor):
        raise unheld(
            f"conditioning image of factor {options.factor}",
            f"{name} takes it as large as the latent, so its factor is {config.autoencoder.factor}",
            ALONE,
        )
    network = unet.to_config(
        diffusion.unet, latent=latent, concat=concat, context=_context(config, options), size=sample_size(config, name)
    )
    if network["_class_name"] != shape.network:
        raise unheld(f"unet.transformer_depth {diffusion.unet.transformer_depth}", f"{name} has {shape.network}", ALONE)
    made = {shape.first_stage: first} if shape.first_stage else {}
    made |= {"unet": network, SCHEDULER_FOLDER: scheduler.to_config(diffusion, config.sample)}
    if (encoder := ENCODERS.get(shape.condition)) and options is not None:
        made[encoder.folder] = encoder.config(options, facts.rows)
    _check_pipeline(name, config, facts.scale, concat)
    return made


def latent_channels(config: ModelConfig) -> int:
    """Channels of the latent that the denoiser denoises."""
    return config.autoencoder.latent_channels or config.autoencoder.z_channels


def sample_size(config: ModelConfig, pipeline: str) -> int | tuple[int, int]:
    """The UNet's `sample_size`, from which the pipeline takes the size it draws by default."""
    factor = config.autoencoder.factor
    height, width = (side // factor for side in config.data.size)
    if pipeline in ("LDMPipeline", "LDMTextToImagePipeline") and height != width:
        why = f"{pipeline} draws squares by itself"
        raise unheld(f"data.size {height * factor}x{width * factor}", why, ALONE)
    if pipeline == "LDMTextToImagePipeline":
        # It draws latents of sample_size * factor / 8, whatever the factor.
        if 8 * height % factor:
            why = f"{pipeline} treats every first stage as of factor 8, and {8 * height} / {factor} is not whole"
            raise unheld(f"data.size {config.data.size[0]} with factor {factor}", why, ALONE)
        return 8 * height // factor
    return height if height == width else (height, width)


def pixel_size(size: int | tuple[int, int], factor: int, pipeline: str) -> tuple[int, int]:
    """The images' size (H, W) of a UNet's `sample_size`: the reverse of `sample_size`."""
    height, width = (size, size) if isinstance(size, int) else size
    if pipeline == "LDMTextToImagePipeline":
        height, width = height * factor // 8, width * factor // 8
    return height * factor, width * factor


def _context(config: ModelConfig, options: KindOptions | None) -> int | None:
    """Channels of the context. Raises UsageError where it is projected to the UNet's width."""
    assert config.diffusion is not None
    width: int | None = getattr(options, "width", None)
    context_channels = config.diffusion.unet.context_channels
    if width and context_channels and width != context_channels:
        raise unheld(
            f"unet.context_channels {context_channels} of a text of width {width}",
            "it has no projection between",
            ALONE,
        )
    return width


def _check_pipeline(name: str, config: ModelConfig, scale: float, concat: int) -> None:
    """What single pipelines do that no config says."""
    if name == "DDIMPipeline" and config.sample.solver.kind != "ddim":
        raise unheld(f"sample.solver {config.sample.solver.kind}", f"{name} samples by DDIM", "Set ddim")
    if name == "LDMSuperResolutionPipeline":
        if scale != 1:
            raise unheld(f"latent_scale {scale:g}", f"{name} decodes without one", ALONE)
        if concat != latent_channels(config):
            raise unheld(f"conditioning image of {concat} channels", f"{name} takes as many as the latent has", ALONE)
    if name == "StableDiffusionPipeline":
        if config.autoencoder.kind != "kl":
            raise unheld(
                f"autoencoder.kind {config.autoencoder.kind} with clip_text", f"{name} has AutoencoderKL", ALONE
            )
        if config.sample.levels == "leading":
            raise unheld("sample.levels leading with clip_text", f"{name} sets steps_offset to 1", "Set published")
