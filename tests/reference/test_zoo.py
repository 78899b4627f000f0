"""The recipes of the zoo against the published configs.

If these fail, a recipe says that it follows a config and does not, so that its results are not those of the paper.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from latentry.checkpoints.compvis.config import Published, translate
from latentry.checkpoints.compvis.first_stage_config import objective_arguments
from latentry.checkpoints.compvis.training import diffusion_objective
from latentry.models.config import UNetOptions
from latentry.training.objectives import ObjectiveOptions
from latentry.training.plan.recipes import load, zoo
from tests.shared import SHARED, needs_shared

MANIFESTS = SHARED / "compat" / "manifests.json"
MODELS = json.loads(MANIFESTS.read_text())["models"] if MANIFESTS.is_file() else []
CONFIGS: dict[str, Any] = {m["path"]: m["config"] for m in MODELS}
pytestmark = [needs_shared, pytest.mark.skipif(not MODELS, reason="no manifests")]

FOLLOWED = {
    "ldm-4-celebahq": ["configs/latent-diffusion/celebahq-ldm-vq-4.yaml", "models/ldm/celeba256/config.yaml"],
    "ldm-4-ffhq": ["configs/latent-diffusion/ffhq-ldm-vq-4.yaml", "models/ldm/ffhq256/config.yaml"],
    "ldm-4-bedrooms": ["configs/latent-diffusion/lsun_bedrooms-ldm-vq-4.yaml", "models/ldm/lsun_beds256/config.yaml"],
    "ldm-8-churches": [
        "configs/latent-diffusion/lsun_churches-ldm-kl-8.yaml",
        "models/ldm/lsun_churches256/config.yaml",
    ],
    "ldm-8-imagenet": ["configs/latent-diffusion/cin-ldm-vq-f8.yaml", "models/ldm/cin256/config.yaml"],
    "ldm-4-imagenet": ["configs/latent-diffusion/cin256-v2.yaml"],
    "ldm-8-text": ["configs/latent-diffusion/txt2img-1p4B-eval.yaml"],
    "ldm-4-layout-openimages": ["models/ldm/layout2img-openimages256/config.yaml"],
    "ldm-4-sr": ["models/ldm/bsr_sr/config.yaml"],
    "ldm-4-semantic": ["models/ldm/semantic_synthesis256/config.yaml"],
    "ldm-4-semantic-512": ["models/ldm/semantic_synthesis512/config.yaml"],
    "ldm-4-inpainting-big": ["models/ldm/inpainting_big/config.yaml"],
}
FIRST_STAGES = {
    name: [f"models/first_stage_models/{name}/config.yaml"]
    for name in ("kl-f4", "kl-f8", "kl-f16", "kl-f32", "vq-f4", "vq-f4-noattn", "vq-f8", "vq-f8-n256", "vq-f16")
}
ON_IMAGENET = {  # the same networks, trained on other images in other batches
    "kl-f4": "configs/autoencoder/autoencoder_kl_64x64x3.yaml",
    "kl-f8": "configs/autoencoder/autoencoder_kl_32x32x4.yaml",
    "kl-f16": "configs/autoencoder/autoencoder_kl_16x16x16.yaml",
    "kl-f32": "configs/autoencoder/autoencoder_kl_8x8x64.yaml",
}
OF_OTHER_PAPERS = {"configs/retrieval-augmented-diffusion/768x768.yaml", "models/ldm/text2img256/config.yaml"}
OTHER_RATES = {
    "ldm-8-churches": "the base rate is the rate of table 12",
    "ldm-4-imagenet": "the base rate is the rate of table 15",
    "ldm-8-text": "the config, of sampling alone, has half the rate of table 15",
    "ldm-4-inpainting-big": "the scheduler's tenth is in the rate",
}
PAIRS = [(name, path) for name, paths in FOLLOWED.items() for path in paths]


def opened(path: str) -> tuple[Published, dict[str, Any]]:
    """The published config in our words, and its own."""
    return translate(CONFIGS[path], "model"), CONFIGS[path]


def unet(options: UNetOptions) -> UNetOptions:
    """Without attention at factors that the network does not reach, which some configs ask for."""
    reached = tuple(f for f in options.attention if f < 2 ** len(options.multipliers))
    return options.model_copy(update={"attention": reached})


def conditioner(options: Any) -> dict[str, Any]:
    """Without what a recipe leaves to its data, classes and a row for none of them, or says of training alone."""
    left = ("classes", "names", "null", "factor", "degradation", "masks")
    return {key: value for key, value in options.model_dump().items() if key not in left}


def test_every_config_of_the_paper_is_followed():
    followed = {path for _, path in PAIRS} | {path for paths in FIRST_STAGES.values() for path in paths}
    assert followed | set(ON_IMAGENET.values()) | OF_OTHER_PAPERS == set(CONFIGS)
    assert FOLLOWED.keys() | FIRST_STAGES.keys() == {n for n in zoo() if "Follows the published" in load(n).about}


@pytest.mark.parametrize(("name", "path"), PAIRS)
def test_the_architecture_is_the_configs(name, path):
    """But for `rounded`, which is of weights that were saved with a float32 table."""
    published, recipe = opened(path)[0], load(name)
    theirs, ours = published.config.diffusion, recipe.diffusion.architecture()
    assert theirs is not None
    assert recipe.autoencoder.architecture() == published.config.autoencoder
    assert recipe.data.height_width == published.config.data.size
    assert unet(ours.unet) == unet(theirs.unet)
    assert ours.prediction == theirs.prediction
    assert ours.schedule.model_dump(exclude={"rounded"}) == theirs.schedule.model_dump(exclude={"rounded"})
    assert ours.conditioning.keys() == theirs.conditioning.keys()
    for key, options in ours.conditioning.items():
        assert conditioner(options) == conditioner(theirs.conditioning[key])
    assert recipe.autoencoder.latent_scale == published.scale  # null: measured


@pytest.mark.parametrize(("name", "path"), PAIRS)
def test_the_training_is_the_configs(name, path):
    _, config = opened(path)
    recipe, params = load(name), config["model"]["params"]
    assert recipe.diffusion.objective == diffusion_objective(params)
    base = config["model"]["base_learning_rate"]
    if name not in OTHER_RATES:
        assert (recipe.diffusion.train.lr, recipe.diffusion.train.scale_lr) == (base, True)
    batch = config.get("data", {}).get("params", {}).get("batch_size", recipe.diffusion.train.batch)
    assert recipe.diffusion.train.batch == batch
    warmup = params.get("scheduler_config", {}).get("params", {}).get("warm_up_steps", 0)
    assert [recipe.diffusion.train.warmup] == (warmup if isinstance(warmup, list) else [warmup])


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_first_stages_are_the_configs(name):
    published, config = opened(FIRST_STAGES[name][0])
    recipe, model = load(name), config["model"]
    assert recipe.autoencoder.architecture() == published.config.autoencoder
    assert (recipe.autoencoder.train.lr, recipe.autoencoder.train.scale_lr) == (model["base_learning_rate"], True)
    assert recipe.autoencoder.train.batch == config["data"]["params"]["batch_size"]
    theirs = ObjectiveOptions.model_validate(objective_arguments(model["params"]["lossconfig"]["params"]))
    silent = {"vq": {"kl_weight"}, "kl": {"codebook_weight"}}[recipe.autoencoder.kind]
    assert recipe.autoencoder.objective.model_dump(exclude=silent) == theirs.model_dump(exclude=silent)
    if name in ON_IMAGENET:
        assert opened(ON_IMAGENET[name])[0].config.autoencoder == published.config.autoencoder
