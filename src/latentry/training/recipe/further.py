"""The recipe that trains a model further: its stages as they are, and a rate that does not undo them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.checkpoints.compvis.training import diffusion_objective
from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning import CONDITIONERS
from latentry.conditioning.words.prompts import Prompts
from latentry.devices import without_weights
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.models.build import build_denoiser
from latentry.models.config import DataFacts, DiffusionOptions, ModelConfig
from latentry.models.latent_diffusion import LatentDiffusion

AUTOENCODER = {"steps": 5000, "batch": 8, "lr": 1e-5, "warmup": 100, "clip": 1.0, "ema": 0.999}
DIFFUSION = {"steps": 10_000, "batch": 16, "lr": 1e-5, "warmup": 100, "clip": 1.0, "ema": 0.999}
"""A tenth of the rates of training from nothing: the first steps of Adam are as long as its rate."""
SHARE = 0.1
FIELDS = {
    "label": {"label": "auto"},
    "caption": {"text": "auto"},
    "boxes": {"boxes": "objects"},
    "semantic": {"semantic": "semantic"},
    "mask": {"mask": "mask"},
}
"""Fields of a sample that conditions need, and what `data` says of them; `auto` is what the folder has."""


def further(model: ModelFolder, source: str) -> dict[str, Any]:
    """A recipe, as plain data, of the model at `source`. Raises UsageError for a model that no folder can train."""
    config = model.config
    tree: dict[str, Any] = {
        "name": f"{config.name}-further",
        "about": f"{config.name}, trained further.",
        "data": _data(config.data),
        "autoencoder": {"from": source},
    }
    if config.autoencoder.kind == "identity":
        tree["autoencoder"] |= {"kind": "identity", "z_channels": config.autoencoder.z_channels}
    if config.diffusion is None:
        tree["data"] |= {"text": "auto", "label": "auto"}
        tree["autoencoder"] |= {"tune": True, "train": AUTOENCODER}
        return {**tree, "diffusion": {"conditioning": "auto"}}
    with without_weights():
        denoiser = build_denoiser(config, model.texts)
    _check_words(denoiser)
    conditioning = {name: _condition(name, o, config) for name, o in config.diffusion.conditioning.items()}
    tree["data"] |= _fields(config.diffusion, conditioning)
    tree["diffusion"] = {
        "from": source,
        **config.diffusion.model_dump(mode="json", include={"schedule", "prediction", "unet"}, exclude_none=True),
        "conditioning": conditioning,
        **_objective(config),
        "train": DIFFUSION | _dropping(denoiser),
    }
    return {**tree, "sample": config.sample.model_dump(mode="json", exclude_none=True)}


def _data(facts: DataFacts) -> dict[str, Any]:
    height, width = facts.size
    data: dict[str, Any] = {"size": height if height == width else [height, width], "channels": facts.channels}
    if facts.depth == 16:
        data["depth"] = 16
    if facts.background is not None or facts.channels in (2, 4):
        data["background"] = facts.background
    return data


def _condition(name: str, options: KindOptions, config: ModelConfig) -> dict[str, Any]:
    """The options of one condition, without what the new images say themselves: their classes, their words."""
    further_options = CONDITIONERS[options.kind].conditioner.further(options, name, config.autoencoder.factor)
    return {key: value for key, value in further_options.items() if value is not None}


def _fields(diffusion: DiffusionOptions, conditioning: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `data` says for the conditions to be trained."""
    data: dict[str, Any] = {}
    made = DiffusionOptions.model_validate({"conditioning": conditioning}).conditioning
    for name, options in made.items():
        needs = CONDITIONERS[options.kind].needs(options)
        if not needs:
            raise UsageError(
                f"{name} ({options.kind}): nothing in a folder of images is given to it yet, so this model cannot be "
                "trained further; its first stage can (autoencoder.from). "
                f"{CONDITIONERS[options.kind].conditioner.remedy}."
            )
        for field in sorted(needs):
            data |= FIELDS.get(field, {})
        if "arrays" in needs:
            data["arrays"] = [*data.get("arrays", []), conditioning[name]["field"]]
    return data


def _objective(config: ModelConfig) -> dict[str, Any]:
    """What its published config says of the loss, where it has one."""
    published = config.trained.get("published")
    if not isinstance(published, Mapping):
        return {}
    latent = {} if config.autoencoder.kind == "identity" else {"first_stage_config": None}
    options = diffusion_objective({**latent, **published})
    return {"objective": options.model_dump(mode="json", exclude_none=True)}


def _dropping(denoiser: LatentDiffusion) -> dict[str, Any]:
    """How often each condition is left out in training: those that cannot be absent never."""
    conditioners = denoiser.named_conditioners()
    return {"drop_condition": {name: SHARE if c.has_null else 0.0 for name, c in conditioners.items()}}


def _check_words(denoiser: LatentDiffusion) -> None:
    """Raise UsageError for a model whose prompts no captions can train, as its vocabulary was left behind."""
    for name, conditioner in denoiser.named_conditioners().items():
        if isinstance(conditioner, Prompts) and not conditioner.knows_words:
            raise UsageError(
                f"{name}: this model came without its vocabulary, so it cannot be trained on captions. Import it again "
                f"with --vocabulary {conditioner.missing}."
            )
