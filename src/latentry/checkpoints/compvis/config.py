"""A whole published config (`model: {target, params}`) as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from latentry import __version__
from latentry import config as tools
from latentry.checkpoints.compvis.conditions import PublishedCondition, condition
from latentry.checkpoints.compvis.first_stage_config import first_stage_arguments
from latentry.checkpoints.compvis.unet_config import unet_arguments
from latentry.errors import UsageError, did_you_mean
from latentry.models.config import AutoencoderOptions, ModelConfig, UNetOptions

FIRST_STAGES = ("AutoencoderKL", "VQModel", "VQModelInterface")
SCHEDULES = {"linear": "scaled_linear", "sqrt_linear": "linear", "sqrt": "sqrt", "cosine": "cosine"}
"""Their names of schedules, and ours."""
PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "velocity"}
READ = {
    "unet_config", "first_stage_config", "cond_stage_config", "conditioning_key", "concat_mode", "timesteps",
    "beta_schedule", "linear_start", "linear_end", "cosine_s", "parameterization", "image_size",
    "channels", "scale_factor", "scale_by_std", "use_ema", "clip_denoised",
    "v_posterior",
}  # fmt: skip
OF_TRAINING = {
    "loss_type", "original_elbo_weight", "l_simple_weight", "learn_logvar", "logvar_init",
    "cond_stage_trainable", "cond_stage_key", "first_stage_key", "scheduler_config", "monitor",
}  # fmt: skip
HARMLESS = {"log_every_t", "ckpt_path", "ignore_keys", "load_only_unet"}
"""What every published config may have, and what says nothing of the model."""
ONLY = {"use_positional_encodings": False, "num_timesteps_cond": 1, "cond_stage_forward": None, "given_betas": None}
"""Keys that would change the numbers; we read them only with this value."""
FIRST_STAGE_READ = {"embed_dim", "n_embed", "ddconfig", "lossconfig"}
FIRST_STAGE_SILENT = {"monitor", "image_key", "ckpt_path", "ignore_keys", "lr_g_factor", "scheduler_config", "use_ema"}
FIRST_STAGE_FIXED = {"remap": None, "colorize_nlabels": None, "batch_resize_range": None, "sane_index_shape": False}


class Published(NamedTuple):
    """A published config in our words.

    config: the model. scale: of the latent; None: in the checkpoint (`scale_by_std`), or there is no second stage.
    training: what says how it was trained, ours where we have a word, for `trained` and for going on.
    warnings: one line for each field that has no meaning here.
    """

    config: ModelConfig
    scale: float | None
    training: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """Of the first stage's keys in the state dict."""
        return "first_stage_model." if self.config.diffusion is not None else ""


def kind_of(tree: Mapping[str, Any]) -> str:
    """The last word of a `target`."""
    return str(tree.get("target", "")).rsplit(".", 1)[-1]


def translate(tree: Mapping[str, Any], name: str) -> Published:
    """Read a published config. name: of the model it becomes.

    Raises UsageError, naming the field, for what would change numbers and is not supported here, and for a file that
    is not such a config.
    """
    try:
        return _translate(tree, name)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        what = (
            f"has no {error}" if isinstance(error, KeyError) else f"cannot be followed ({' '.join(str(error).split())})"
        )
        raise UsageError(f"config: {what}; accepted is a complete config of the published code.") from error


def _translate(tree: Mapping[str, Any], name: str) -> Published:
    model = tree.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("params"), Mapping):
        raise UsageError("config: has no `model: {target, params}`; accepted is a config of the published code.")
    target, params = kind_of(model), model["params"]
    kept = tree.get("latentry")
    if target in FIRST_STAGES:
        published = _first_stage(params, name, model)
    elif target in ("LatentDiffusion", "DDPM"):
        published = _diffusion(params, name, model, latent=target != "DDPM")
    else:
        targets = [*FIRST_STAGES, "LatentDiffusion", "DDPM"]
        raise UsageError(
            f'config: model.target ends in "{target}"; known: {", ".join(targets)}{did_you_mean(target, targets)}.'
        )
    if isinstance(kept, Mapping):  # what an export of ours kept for the way back
        config = tools.validate(ModelConfig, dict(kept), "config: latentry")
        return published._replace(config=config, training=config.trained.get("published", {}))
    return published


def _first_stage(params: Mapping[str, Any], name: str, model: Mapping[str, Any]) -> Published:
    options, channels, warnings = first_stage(params, "model.params")
    size = params["ddconfig"]["resolution"]
    config = _model(name, size, channels, autoencoder=options.model_dump())
    loss = params.get("lossconfig") or {}
    training = {"learning_rate": model.get("base_learning_rate"), "loss": dict(loss.get("params") or {})}
    return Published(config, None, training, tuple(warnings))


def _diffusion(params: Mapping[str, Any], name: str, model: Mapping[str, Any], *, latent: bool) -> Published:
    warnings = _unknown(params, latent)
    if latent and kind_of(params["first_stage_config"]) != "IdentityFirstStage":
        options, channels, more = first_stage(params["first_stage_config"]["params"], "first_stage_config.params")
        warnings += more
    else:
        channels = params.get("channels", 3)
        options = AutoencoderOptions(kind="identity", z_channels=channels)
    z = options.latent_channels or options.z_channels
    unet = params["unet_config"]["params"]
    stage = condition(params, z) if latent else PublishedCondition(None, {}, 0)
    if unet["in_channels"] != z + stage.concat_channels or unet["out_channels"] != z:
        raise UsageError(
            f"config: unet_config has {unet['in_channels']} channels in and {unet['out_channels']} out; a latent of "
            f"{z} and {stage.concat_channels} concatenated channels need {z + stage.concat_channels} and {z}."
        )
    size = params.get("image_size", 256)
    height_width = [side * options.factor for side in (size if isinstance(size, list | tuple) else [size, size])]
    conditioning = {} if stage.name is None else {stage.name: stage.options}
    diffusion = {
        "schedule": schedule(params),
        "prediction": prediction(params),
        "unet": unet_options(unet, stage.concat_channels),
        "conditioning": conditioning,
    }
    steps = params.get("timesteps", 1000)
    config = _model(
        name,
        height_width,
        channels,
        autoencoder=options.model_dump(),
        diffusion=diffusion,
        sample=sampling(stage, steps) if latent else sampling_pixels(params, steps),
    )
    scale = None if params.get("scale_by_std", False) else float(params.get("scale_factor", 1.0))
    training = {k: params[k] for k in sorted(OF_TRAINING & set(params)) if k != "monitor"}
    training |= {"learning_rate": model.get("base_learning_rate")}
    return Published(config, scale, training, tuple(warnings))


def _model(name: str, size: int | list[int], channels: int, **parts: Any) -> ModelConfig:
    height_width = [size, size] if isinstance(size, int) else size
    data = {"size": height_width, "channels": channels}
    return tools.validate(ModelConfig, {"name": name, "version": __version__, "data": data, **parts}, "config")


def sampling(stage: PublishedCondition, steps: int) -> dict[str, Any]:
    """How the published scripts sample such a model; no guidance where its training had no unconditional half."""
    solver = {"kind": "ddim", "eta": stage.eta}
    most = min(stage.steps, steps // 2)
    return {"solver": solver, "levels": "published", "steps": most, "guidance": stage.guidance}


def sampling_pixels(params: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """How models of pixels are sampled: every time, one by one."""
    clip = params.get("clip_denoised", True)
    return {"solver": {"kind": "ddpm"}, "levels": "uniform", "steps": steps, "clip": clip}


def first_stage(params: Mapping[str, Any], where: str) -> tuple[AutoencoderOptions, int, list[str]]:
    """Our options of a published first stage, its image channels, and warnings."""
    accepted = FIRST_STAGE_READ | FIRST_STAGE_SILENT | set(FIRST_STAGE_FIXED)
    for key, value in params.items():
        if key in FIRST_STAGE_FIXED and value != FIRST_STAGE_FIXED[key] and value is not None:
            raise UsageError(f"config: {where}.{key} is {value}; only {FIRST_STAGE_FIXED[key]} is supported here.")
    arguments = first_stage_arguments(params)
    if arguments.encoder["in_channels"] != arguments.decoder["out_channels"]:
        raise UsageError(f"config: {where}.ddconfig: in_channels and out_ch differ; they must be one number here.")
    names = ("channels", "multipliers", "blocks", "attention", "middle_attention", "dropout")
    options = AutoencoderOptions(
        kind=arguments.kind,
        z_channels=arguments.z_channels,
        latent_channels=None if arguments.latent_channels == arguments.z_channels else arguments.latent_channels,
        **({"codes": arguments.codes} if arguments.codes is not None else {}),
        **{key: arguments.encoder[key] for key in names},
    )
    warnings = [f"config: {where}.{key} has no meaning here" for key in params if key not in accepted]
    return options, arguments.encoder["in_channels"], warnings


def unet_options(params: Mapping[str, Any], concat_channels: int) -> dict[str, Any]:
    """Our options of a published UNet."""
    arguments = {"transformer_depth": 0} | unet_arguments(params, concat_channels)
    if arguments["head_channels"] is not None:
        arguments["heads"] = None  # the width wins, as there
    return {key: value for key, value in arguments.items() if key in UNetOptions.model_fields}


def schedule(params: Mapping[str, Any]) -> dict[str, Any]:
    """Our schedule of a published one; `rounded`, for its checkpoints hold float32."""
    name, steps = params.get("beta_schedule", "linear"), params.get("timesteps", 1000)
    if name not in SCHEDULES:
        raise UsageError(
            f'config: beta_schedule "{name}"; known: {", ".join(SCHEDULES)}{did_you_mean(name, SCHEDULES)}.'
        )
    v = params.get("v_posterior", 0.0)
    options: dict[str, Any] = {"kind": SCHEDULES[name], "steps": steps, "rounded": True, "v_posterior": v}
    if name == "cosine":
        return options | {"s": params.get("cosine_s", 8e-3)}
    return options | {"start": params.get("linear_start", 1e-4), "end": params.get("linear_end", 2e-2)}


def prediction(params: Mapping[str, Any]) -> str:
    """Our name of what the network predicts."""
    theirs = params.get("parameterization", "eps")
    if theirs not in PREDICTIONS:
        raise UsageError(f'config: parameterization "{theirs}"; known: {", ".join(PREDICTIONS)}.')
    return PREDICTIONS[theirs]


def _unknown(params: Mapping[str, Any], latent: bool) -> list[str]:
    """Warnings for fields without meaning. Raises UsageError for those that would change numbers."""
    required = ("unet_config", "first_stage_config", "cond_stage_config") if latent else ("unet_config",)
    if missing := [key for key in required if key not in params]:
        raise UsageError(f"config: model.params has no {', '.join(missing)}; a config of the published code has.")
    for key, only in ONLY.items():
        if params.get(key, only) != only:
            raise UsageError(f"config: {key} is {params[key]}, which changes the numbers; only {only} is supported.")
    accepted = READ | OF_TRAINING | HARMLESS | set(ONLY)
    return [f"config: model.params.{key} has no meaning here" for key in params if key not in accepted]
