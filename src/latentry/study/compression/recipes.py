"""The recipe of each factor: that of the study, with other networks and as many steps as the compute allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from latentry.errors import UsageError
from latentry.models.config import AutoencoderOptions, DiffusionOptions
from latentry.nn import weights
from latentry.study.compression.matching import (
    Shape,
    denoiser_options,
    denoiser_parameters,
    first_stage_options,
    first_stage_parameters,
    latent_channels,
    levels_of,
    matched,
    patch_of,
)
from latentry.study.compression.options import CompressionOptions, Spent
from latentry.training.plan.recipes import Recipe, dump, validated

FIRST_STAGE = 4
"""A first stage has the denoiser's parameters divided by this."""
MOST_OFF = 0.1
LOOKS = 20
"""Lines that a stage's training leaves in the log."""


class Drafted(NamedTuple):
    """A factor's recipe as plain data, before its steps are known, and the sizes of its networks."""

    factor: int
    tree: dict[str, Any]
    latent: tuple[int, int, int]
    parameters: int
    first_parameters: int


def drafts(recipe: Recipe, options: CompressionOptions, device: str) -> list[Drafted]:
    """One for each factor. recipe: its channels settled.

    Raises UsageError for factors that do not divide the images, and where no networks come near enough to a size.
    """
    refuse_factors(recipe, options.factors)
    found = [_draft(common(recipe, options, device), factor, options) for factor in options.factors]
    for size, target in (("parameters", options.parameters), ("first_parameters", options.parameters // FIRST_STAGE)):
        off = [one for one in found if getattr(one, size) and abs(getattr(one, size) / target - 1) > MOST_OFF]
        if off:
            sizes = ", ".join(f"f = {one.factor} {getattr(one, size):,}" for one in off)
            raise UsageError(
                f"--parameters: found {options.parameters:,}; no networks come within {MOST_OFF:.0%} of {target:,}: "
                f"the nearest have {sizes}. Name another number; larger ones are easier to meet."
            )
    return found


def refuse_factors(recipe: Recipe, factors: Sequence[int]) -> None:
    """Raise UsageError for factors that do not divide the sides of the images."""
    height, width = recipe.data.height_width
    bad = [factor for factor in factors if height % factor or width % factor]
    if bad:
        fits = ", ".join(str(2**i) for i in range(6) if height % 2**i == 0 and width % 2**i == 0)
        raise UsageError(
            f"--factors: found {', '.join(map(str, bad))} for images of {height}x{width}; accepted: {fits}, which "
            "divide both sides. Leave the others out, or change data.size."
        )


def images_alone(recipe: Recipe) -> Recipe:
    """The recipe without conditions, and without what they read of the folder."""
    unread = {**dict.fromkeys(("text", "label", "boxes", "semantic", "mask")), "arrays": ()}
    diffusion = recipe.diffusion.model_copy(update={"conditioning": {}, "auto": {}})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=unread), "diffusion": diffusion})


def common(recipe: Recipe, options: CompressionOptions, device: str) -> dict[str, Any]:
    """What all factors share, of a recipe of images alone: no other model, one precision, DDIM without guidance."""
    tree = dump(recipe)
    first, second = tree["autoencoder"], tree["diffusion"]
    precision = "bf16" if device == "cuda" else "fp32"
    for section in (first, second):
        section["from"] = None
        train = section["train"]
        chosen = precision if train["precision"] == "auto" else train["precision"]
        train |= {"precision": chosen, "decay_steps": None, "compile": False}
    first |= {"tune": False}
    second["train"] |= {"drop_condition": 0.0, "drop_all": 0.0, "evaluate": None, "cache_latents": False}
    if first["objective"].get("discriminator"):
        first["objective"]["discriminator"]["start"] = None
    first["objective"]["perceptual"] = perceptual_of(first["objective"]["perceptual"])
    sample = {"solver": "ddim", "steps": max(options.steps), "guidance": 1.0, "levels": "trailing"}
    tree = {key: value for key, value in tree.items() if key not in ("images", "judge", "classifier", "made_with")}
    seed = recipe.seed if options.seed is None else options.seed
    return {**tree, "sample": sample, "seed": seed}


def perceptual_of(asked: dict[str, Any]) -> dict[str, Any] | str:
    """The perceptual loss of the recipe, or none where its weights are not on this machine: no study downloads any."""
    if asked["net"] == "none":
        return asked
    net = asked["net"]
    here = [asked["backbone"] or weights.located(net), asked["heads"] or weights.located(f"{net} heads")]
    return asked if all(here) else "none"


def _draft(tree: dict[str, Any], factor: int, options: CompressionOptions) -> Drafted:
    channels = tree["data"]["channels"]
    size = tree["data"]["size"]
    height, width = (size, size) if isinstance(size, int) else size
    latent = (latent_channels(factor, channels), height // factor, width // factor)
    first, first_count = _first_stage(tree["autoencoder"], factor, channels, options.parameters // FIRST_STAGE)
    diffusion, count = _denoiser(tree["diffusion"], latent, options.parameters)
    named = {"name": f"{tree['name']}-f{factor}", "about": f"f = {factor} of a compression study."}
    sample = {**tree["sample"], "clip": factor == 1}
    made = {**tree, **named, "autoencoder": first, "diffusion": diffusion, "sample": sample}
    return Drafted(factor, made, latent, count, first_count)


def _denoiser(section: dict[str, Any], latent: tuple[int, int, int], target: int) -> tuple[dict[str, Any], int]:
    side = min(latent[1:])

    def count(shape: Shape) -> int:
        unet = denoiser_options(section["unet"], shape, side)
        kept = {key: value for key, value in section.items() if key in DiffusionOptions.model_fields}
        return denoiser_parameters(DiffusionOptions(**{**kept, "unet": unet}), latent[0])

    shape = matched(target, levels_of(side), count)
    return {**section, "unet": denoiser_options(section["unet"], shape, side)}, count(shape)


def _first_stage(section: dict[str, Any], factor: int, channels: int, target: int) -> tuple[dict[str, Any], int]:
    if factor == 1:
        return {**section, "kind": "identity", "z_channels": channels, "latent_channels": None}, 0

    def count(shape: Shape) -> int:
        made = first_stage_options(section, shape, factor, channels)
        kept = {key: value for key, value in made.items() if key in AutoencoderOptions.model_fields}
        return first_stage_parameters(AutoencoderOptions(**kept), channels)

    shape = matched(target, (factor // patch_of(section, factor)).bit_length(), count)
    return first_stage_options(section, shape, factor, channels), count(shape)


def settled(draft: Drafted, spent: Spent) -> Recipe:
    """The recipe of a factor, which is trained for as long as its compute allows, and looked at seldom meanwhile."""
    tree = {**draft.tree, "autoencoder": {**draft.tree["autoencoder"]}, "diffusion": {**draft.tree["diffusion"]}}
    first, second = tree["autoencoder"], tree["diffusion"]
    first["train"] = {**first["train"], **_length(first["train"], max(1, spent.first))}
    second["train"] = {**second["train"], **_length(second["train"], spent.second)}
    second["train"] |= {"cache_latents": spent.cached, "save_every": spent.save, "milestones": spent.second_every}
    return validated(tree, f"recipe {tree['name']}")


def _length(train: dict[str, Any], steps: int) -> dict[str, Any]:
    """A warmup of a tenth at most, and the checks of a long training once at its end."""
    seldom = dict.fromkeys(("validate_every", "sample_every"), steps)
    every = {"log_every": max(1, steps // LOOKS), "save_every": max(1, steps // 10)}
    return {"steps": steps, "warmup": min(train["warmup"], steps // 10), "keep": 2, **seldom, **every}
