"""The published conditioning stages as our conditioners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from latentry.errors import UsageError

UNCONDITIONAL, FIRST_STAGE = "__is_unconditional__", "__is_first_stage__"
IMAGENET_WITH_NULL = 1001
"""Rows of the class embedding that holds "no class" as its last one."""


class PublishedCondition(NamedTuple):
    """One conditioner. name: of its condition, None for none; options: ours. The rest is how its scripts sample."""

    name: str | None
    options: dict[str, Any]
    concat_channels: int
    steps: int = 200
    eta: float = 0.0
    guidance: float = 1.0


def conditioning_key(params: Mapping[str, Any]) -> str | None:
    """`concat`, `crossattn` or None, as the published code decides it."""
    if params["cond_stage_config"] == UNCONDITIONAL:
        return None
    key = params.get("conditioning_key")
    return str(key) if key else ("concat" if params.get("concat_mode", True) else "crossattn")


def condition(params: Mapping[str, Any], latent_channels: int) -> PublishedCondition:
    """The conditioner of a published latent diffusion config. Raises UsageError for what has no counterpart."""
    key, config = conditioning_key(params), params["cond_stage_config"]
    if key is None:
        return PublishedCondition(None, {}, 0)
    if key not in ("concat", "crossattn"):
        raise UsageError(f'config: conditioning_key "{key}"; known: concat, crossattn.')
    extra = params["unet_config"]["params"]["in_channels"] - latent_channels
    if config == FIRST_STAGE:
        return _first_stage(key, extra, latent_channels)
    if not isinstance(config, Mapping):
        raise UsageError(f'config: cond_stage_config "{config}"; known: {UNCONDITIONAL}, {FIRST_STAGE}, or a target.')
    target, arguments = str(config.get("target", "")).rsplit(".", 1)[-1], dict(config.get("params") or {})
    width = params["unet_config"]["params"].get("context_dim")
    if target == "Identity":
        return _identity(key, extra, width)
    readers = {
        "ClassEmbedder": (_class, "crossattn"),
        "BERTEmbedder": (_bert, "crossattn"),
        "TransformerEmbedder": (_transformer, "crossattn"),
        "SpatialRescaler": (_rescaler, "concat"),
        "FrozenCLIPEmbedder": (_clip, "crossattn"),
    }
    if target not in readers:
        raise UsageError(
            f'config: cond_stage_config.target ends in "{target}"; known: {", ".join([*readers, "Identity"])}.'
        )
    read, fits = readers[target]
    if key != fits:
        raise UsageError(f"config: {target} with conditioning_key {key}; only {fits} is supported here.")
    return read(arguments)


def _values(arguments: dict[str, Any], target: str, **defaults: Any) -> list[Any]:
    """Values of known keys. Raises UsageError for any other."""
    if unknown := sorted(set(arguments) - set(defaults)):
        raise UsageError(f"config: {target} has {', '.join(unknown)}; known: {', '.join(defaults)}.")
    values = {**defaults, **arguments}
    if missing := [key for key, value in values.items() if value is ...]:
        raise UsageError(f"config: {target} has no {', '.join(missing)}.")
    return list(values.values())


def _class(arguments: dict[str, Any]) -> PublishedCondition:
    width, classes, _ = _values(arguments, "ClassEmbedder", embed_dim=..., n_classes=1000, key="class")
    null = classes - 1 if classes == IMAGENET_WITH_NULL else "none"
    options = {"kind": "class_label", "via": "context", "width": width, "classes": classes, "null": null}
    return (
        PublishedCondition("label", options, 0, eta=1.0)
        if null == "none"
        else PublishedCondition("label", options, 0, steps=20, guidance=3.0)
    )


def _bert(arguments: dict[str, Any]) -> PublishedCondition:
    names = {"n_embed": ..., "n_layer": ..., "vocab_size": 30522, "max_seq_len": 77, "device": None,
             "use_tokenizer": True, "embedding_dropout": 0.0}  # fmt: skip
    width, layers, vocabulary, length, _, words, _ = _values(arguments, "BERTEmbedder", **names)
    options = {"width": width, "layers": layers, "length": length, "vocabulary": vocabulary}
    if words:
        return PublishedCondition("text", {"kind": "text", **options}, 0, steps=50, guidance=5.0)
    return PublishedCondition("layout", {"kind": "layout", **options}, 0)


def _transformer(arguments: dict[str, Any]) -> PublishedCondition:
    width, layers, vocabulary, length, _ = _values(
        arguments, "TransformerEmbedder", n_embed=..., n_layer=..., vocab_size=..., max_seq_len=77, device=None
    )
    return PublishedCondition(
        "layout", {"kind": "layout", "width": width, "layers": layers, "length": length, "vocabulary": vocabulary}, 0
    )


def _rescaler(arguments: dict[str, Any]) -> PublishedCondition:
    names = {
        "n_stages": 1,
        "method": "bilinear",
        "multiplier": 0.5,
        "in_channels": 3,
        "out_channels": None,
        "bias": False,
    }
    stages, method, multiplier, classes, channels, bias = _values(arguments, "SpatialRescaler", **names)
    if (method, multiplier, bias) != ("bilinear", 0.5, False):
        raise UsageError(
            f"config: SpatialRescaler with method {method}, multiplier {multiplier}, bias {bias}; only bilinear, 0.5 "
            "and false are supported here, as all published configs have."
        )
    options = {"kind": "semantic", "classes": classes, "channels": channels, "stages": stages}
    return PublishedCondition("semantic", options, channels or classes, steps=100, eta=1.0)


def _clip(arguments: dict[str, Any]) -> PublishedCondition:
    version, _, length = _values(
        arguments, "FrozenCLIPEmbedder", version="openai/clip-vit-large-patch14", device=None, max_length=77
    )
    if version != "openai/clip-vit-large-patch14":
        raise UsageError(
            f"config: FrozenCLIPEmbedder of {version}; only openai/clip-vit-large-patch14 is supported here."
        )
    return PublishedCondition("text", {"kind": "clip_text", "length": length}, 0, steps=50, guidance=7.5)


def _identity(key: str, extra: int, width: int | None) -> PublishedCondition:
    if key == "concat":
        return PublishedCondition("image", {"kind": "image", "channels": extra}, extra, steps=100, eta=1.0)
    return PublishedCondition("embedding", {"kind": "embedding", "width": width}, 0, steps=50, guidance=5.0)


def _first_stage(key: str, extra: int, latent_channels: int) -> PublishedCondition:
    if key != "concat" or extra != latent_channels + 1:
        raise UsageError(
            f"config: the first stage as condition by {key} with {extra} channels; only a masked image with its mask, "
            f"{latent_channels + 1} concatenated channels, is supported here."
        )
    return PublishedCondition("masked", {"kind": "masked", "latent_channels": latent_channels}, extra, steps=50)
