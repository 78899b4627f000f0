"""A recipe as the config of a checkpoint that came without one."""

from __future__ import annotations

from typing import Any

from latentry import __version__, config
from latentry.checkpoints.compvis.config import Published
from latentry.models.config import ModelConfig
from latentry.training.plan import recipes


def preset(name: str, *, first_stage_alone: bool) -> Published:
    """What `import --config NAME` takes a file for: the architecture of this recipe.

    first_stage_alone: the file holds no denoiser. Raises UsageError for a name that is none.
    """
    recipe = recipes.load(name)
    first, second = recipe.autoencoder, recipe.diffusion
    tree: dict[str, Any] = {
        "name": name,
        "version": __version__,
        "data": {"size": recipe.data.height_width, "channels": recipe.data.channels or 3},
        "autoencoder": first.architecture().model_dump(),
        "sample": recipe.sample.model_dump(),
    }
    if not first_stage_alone:
        tree["diffusion"] = second.architecture().model_dump()
        tree["diffusion"]["schedule"]["rounded"] = True  # as every published file holds it
    scale = first.latent_scale if isinstance(first.latent_scale, float) else None if first.kind == "kl" else 1.0
    return Published(config.validate(ModelConfig, tree, f"preset {name}"), scale, {}, ())
