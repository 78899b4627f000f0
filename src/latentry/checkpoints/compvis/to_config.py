"""A model of ours in the words of a published config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.checkpoints.compvis.conditions import FIRST_STAGE, UNCONDITIONAL
from latentry.checkpoints.compvis.config import PREDICTIONS, SCHEDULES
from latentry.checkpoints.compvis.unet_config import RENAMED
from latentry.errors import UsageError
from latentry.models.config import AutoencoderOptions, DiffusionOptions, ModelConfig, UNetOptions

LDM = "ldm.models.diffusion.ddpm.LatentDiffusion"
DDPM = "ldm.models.diffusion.ddpm.DDPM"
UNET = "ldm.modules.diffusionmodules.openaimodel.UNetModel"
ENCODERS = "ldm.modules.encoders.modules"
TAMING_LOSS, LDM_LOSS = (
    "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator",
    "ldm.modules.losses.LPIPSWithDiscriminator",
)
NO_LOSS = {"target": "torch.nn.Identity"}


def refuse(what: str, why: str) -> UsageError:
    """The error for what a published config cannot say; `export_model` says which format can."""
    return UsageError(f"export compvis: {what} has no place in the published code; {why}.")


def to_config(config: ModelConfig, scale: float) -> dict[str, Any]:
    """`model: {base_learning_rate, target, params}`. scale: of the latent. Raises UsageError for what has no place."""
    training = dict(config.trained.get("published", {}))
    rate = {"base_learning_rate": training.pop("learning_rate", None) or 1e-4}
    a = config.autoencoder
    if config.diffusion is None:
        kind = "AutoencoderKL" if a.kind == "kl" else "VQModel"
        loss = (
            {"target": LDM_LOSS if a.kind == "kl" else TAMING_LOSS, "params": training["loss"]}
            if training.get("loss")
            else NO_LOSS
        )
        params = {**_first_stage(config), "lossconfig": loss}
        return {"model": {**rate, "target": f"ldm.models.autoencoder.{kind}", "params": params}}
    d = config.diffusion
    _check_images(d, a.factor)
    size = [side // a.factor for side in config.data.size]
    channels = a.latent_channels or a.z_channels
    params = {
        **_process(d),
        **training,
        "image_size": size[0] if size[0] == size[1] else size,
        "channels": channels,
        "unet_config": {"target": UNET, "params": {"image_size": size[0], **_unet(d, channels)}},
    }
    if a.kind == "identity":
        if d.conditioning:
            raise refuse("a condition of a model of pixels", "only latent models have conditions there")
        params["clip_denoised"] = config.sample.clip
        return {"model": {**rate, "target": DDPM, "params": params}}
    kind = "AutoencoderKL" if a.kind == "kl" else "VQModelInterface"
    first = {"target": f"ldm.models.autoencoder.{kind}", "params": {**_first_stage(config), "lossconfig": NO_LOSS}}
    params |= {"first_stage_config": first, "scale_factor": scale, **_condition(d)}
    params.setdefault("first_stage_key", "image")
    return {"model": {**rate, "target": LDM, "params": params}}


def _process(d: DiffusionOptions) -> dict[str, Any]:
    schedule, names = d.schedule, {ours: theirs for theirs, ours in SCHEDULES.items()}
    if schedule.kind not in names:
        raise refuse(f"a schedule of kind {schedule.kind}", f"known there: {', '.join(names)}")
    predictions = {"epsilon": "eps", "sample": "x0"}
    if d.prediction not in predictions:
        raise refuse(f"prediction {d.prediction}", f"known there: {', '.join(predictions)}")
    assert predictions[d.prediction] in PREDICTIONS
    options = schedule.model_dump()
    params = {"beta_schedule": names[schedule.kind], "timesteps": options["steps"]}
    params |= {"cosine_s": options["s"]} if schedule.kind == "cosine" else {}
    params |= {"linear_start": options["start"], "linear_end": options["end"]} if "start" in options else {}
    params |= {"v_posterior": options["v_posterior"]} if options["v_posterior"] else {}
    return {**params, "parameterization": predictions[d.prediction], "num_timesteps_cond": 1, "log_every_t": 200}


def _first_stage(config: ModelConfig) -> dict[str, Any]:
    a: AutoencoderOptions = config.autoencoder
    resolution = config.data.size[0]
    if a.norm_groups != 32:
        raise refuse(f"autoencoder.norm_groups {a.norm_groups}", "it is 32 there")
    if a.patch != 1:
        raise refuse(f"autoencoder.patch {a.patch}", "its first stages fold no patches into channels")
    if a.attention and not a.middle_attention:
        raise refuse("autoencoder.attention without middle_attention", "there both come or go together")
    if any(resolution % factor for factor in a.attention):
        raise refuse(f"autoencoder.attention of images {resolution} high", "its size must be a multiple there")
    double = a.kind == "kl"
    ddconfig = {
        "double_z": double,
        "z_channels": a.z_channels,
        "resolution": resolution,
        "in_channels": config.data.channels,
        "out_ch": config.data.channels,
        "ch": a.channels,
        "ch_mult": list(a.multipliers),
        "num_res_blocks": a.blocks,
        "attn_resolutions": [resolution // factor for factor in a.attention],
        "dropout": a.dropout,
    } | ({} if a.middle_attention else {"attn_type": "none"})
    codes = {} if double else {"n_embed": a.codes}
    return {"embed_dim": a.latent_channels or a.z_channels, **codes, "ddconfig": ddconfig}


def _unet(d: DiffusionOptions, channels: int) -> dict[str, Any]:
    u: UNetOptions = d.unet
    if u.norm_groups != 32:
        raise refuse(f"unet.norm_groups {u.norm_groups}", "it is 32 there")
    depths = {u.transformer_depth} if isinstance(u.transformer_depth, int) else set(u.transformer_depth)
    if len(depths) > 1:
        raise refuse(f"unet.transformer_depth {u.transformer_depth}", "it is one number there")
    options = {"in_channels": channels + _concat(d), "out_channels": channels, **u.model_dump()}
    params = {theirs: options[ours] for theirs, ours in RENAMED.items() if ours in options}
    params = {key: list(value) if isinstance(value, tuple) else value for key, value in params.items()}
    params |= {"num_heads": u.heads} if u.heads is not None else {"num_head_channels": u.head_channels}
    params |= {} if u.split_heads_first else {"use_new_attention_order": True}
    (depth,) = depths
    width = u.context_channels or context_width(d)
    if depth and width is None:
        raise refuse("unet.transformer_depth without a context", "its transformers always attend to one")
    if depth:
        params |= {"use_spatial_transformer": True, "transformer_depth": depth, "context_dim": width}
    return params


def context_width(d: DiffusionOptions) -> int | None:
    """Of the first context that a conditioner gives."""
    dumped = [options.model_dump() for options in d.conditioning.values()]
    return next((o["width"] for o in dumped if "width" in o and o.get("via") != "vector"), None)


def _check_images(d: DiffusionOptions, latent: int) -> None:
    """Raise UsageError for low-resolution images that are not `latent` times smaller, as the latent is."""
    for options in d.conditioning.values():
        factor = options.model_dump().get("factor")
        if options.kind == "image" and factor not in (None, latent):
            raise refuse(f"an image of factor {factor}", f"as large as the latent there, its factor is {latent}")


def _concat(d: DiffusionOptions) -> int:
    """Channels beside the latent."""
    channels = 0
    for options in d.conditioning.values():
        values = options.model_dump()
        if options.kind == "masked":
            channels += values["latent_channels"] + 1
        elif options.kind in ("image", "semantic"):
            channels += values["channels"] or values["classes"]
    return channels


def _condition(d: DiffusionOptions) -> dict[str, Any]:
    """cond_stage_config and what goes with it."""
    if len(d.conditioning) > 1:
        raise refuse(f"conditions {', '.join(d.conditioning)} together", "there is one there")
    if not d.conditioning:
        return {"cond_stage_config": UNCONDITIONAL}
    (options,) = d.conditioning.values()
    values = options.model_dump()
    if options.kind not in STAGES:
        raise refuse(f"a condition of kind {options.kind}", f"known: {', '.join(STAGES)}")
    key, stage = STAGES[options.kind](values)
    return {"conditioning_key": key, "cond_stage_config": stage}


def _class(o: Mapping[str, Any]) -> tuple[str, Any]:
    if o["via"] != "context":
        raise refuse("a class label via vector", "there it is a token for cross-attention")
    rows = o["classes"] + (o["null"] is None)
    return "crossattn", {"target": f"{ENCODERS}.ClassEmbedder", "params": {"n_classes": rows, "embed_dim": o["width"]}}


def _bert(o: Mapping[str, Any]) -> tuple[str, Any]:
    params = {"n_embed": o["width"], "n_layer": o["layers"], "vocab_size": o["vocabulary"], "max_seq_len": o["length"]}
    words = {} if o["kind"] == "text" else {"use_tokenizer": False}
    return "crossattn", {"target": f"{ENCODERS}.BERTEmbedder", "params": {**params, **words}}


def _rescaler(o: Mapping[str, Any]) -> tuple[str, Any]:
    params = {"n_stages": o["stages"], "in_channels": o["classes"]}
    mixed = {"out_channels": o["channels"]} if o["channels"] else {}
    return "concat", {"target": f"{ENCODERS}.SpatialRescaler", "params": {**params, **mixed}}


def _image(o: Mapping[str, Any]) -> tuple[str, Any]:
    return "concat", {"target": "torch.nn.Identity"}


def _masked(o: Mapping[str, Any]) -> tuple[str, Any]:
    return "concat", FIRST_STAGE


def _embedding(o: Mapping[str, Any]) -> tuple[str, Any]:
    return "crossattn", {"target": "torch.nn.Identity"}


def _clip(o: Mapping[str, Any]) -> tuple[str, Any]:
    return "crossattn", {"target": f"{ENCODERS}.FrozenCLIPEmbedder"}


STAGES = {
    "class_label": _class,
    "text": _bert,
    "layout": _bert,
    "semantic": _rescaler,
    "image": _image,
    "masked": _masked,
    "embedding": _embedding,
    "clip_text": _clip,
}
