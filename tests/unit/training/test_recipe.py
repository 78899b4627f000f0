"""If these fail, a recipe that comes with latentry cannot be trained, or one says something else than it means."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from latentry.data import shapes
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import check_size
from latentry.nn.unet import UNet
from latentry.training.plan.decide import plan
from latentry.training.plan.recipes import dump, load, names, plain, zoo


def test_the_promised_recipes_are_there():
    tasks = ("all", "autoguide", "classifier", "inpaint", "layout", "pixels", "semantic", "sr", "text")
    shapes = ["shapes", *(f"shapes-{task}" for task in tasks)]
    small = [f"small-{name}" for name in ("64", "128", "256", "layout", "sr")]
    assert plain() == ["emoji", *shapes, *small, "tiny-shapes"]
    assert names() == [*plain(), *zoo()]


@pytest.mark.parametrize("name", names())
def test_every_recipe_is_whole_and_survives_its_own_record(name):
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about
    assert check_size(recipe.data.height_width, recipe.autoencoder.architecture(), recipe.diffusion.unet) is None
    again = type(recipe).model_validate(dump(recipe))
    assert again == recipe


@pytest.mark.parametrize(("name", "factor"), [("small-128", 4), ("small-256", 8)])
def test_the_small_recipes_fit_a_consumer_gpu(name, factor):
    """Weights, gradients, averages and both of Adam's moments in fp32 take under 4 of the 12 GB."""
    recipe = load(name)
    unet = recipe.diffusion.unet.model_dump(exclude={"context_channels"})
    with torch.device("meta"):
        first = Autoencoder(recipe.autoencoder.architecture(), 3)
        second = UNet(in_channels=4, out_channels=4, context_channels=2 * recipe.diffusion.unet.channels, **unet)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (first, second)]
    assert first.factor == factor
    assert 10e6 < sizes[0] < 30e6
    assert 60e6 < sizes[1] < 200e6
    assert max(sizes) * 4 * 5 < 4e9
    objective = recipe.autoencoder.objective
    assert objective.perceptual.net == "squeezenet"
    assert objective.discriminator is not None
    assert 0.2 <= objective.discriminator.start / recipe.autoencoder.train.steps <= 0.6


PRECISION = ["autoencoder.train.precision=fp32", "diffusion.train.precision=fp32"]  # so that nothing is timed


@pytest.mark.parametrize("name", ["small-64", "small-128", "small-256"])
def test_the_small_recipes_take_any_folder(name, tmp_path):
    shapes.write(tmp_path / "captioned", 6, size=16)
    for folder, conditions in (("captioned", ["text"]), ("captioned/images", [])):
        recipe = load(name, ["autoencoder.objective.perceptual=none", "data.enlarge=100", *PRECISION])
        made = plan(recipe, tmp_path / folder, tmp_path / "run", report=lambda _: None)
        assert list(made.recipe.diffusion.conditioning) == conditions


def test_the_small_recipe_of_layouts_takes_any_folder_with_boxes(tmp_path):
    shapes.write(tmp_path / "data", 6, size=16)
    few = ["autoencoder.objective.perceptual=none", "data.enlarge=100", *PRECISION]
    recipe = load("small-layout", [*few, "data.size=[48,64]"])
    made = plan(recipe, tmp_path / "data", tmp_path / "run", report=lambda _: None)
    assert list(made.recipe.diffusion.conditioning) == ["layout"]
    with pytest.raises(UsageError, match=r"annotations\.json"):
        plan(recipe, tmp_path / "data" / "images", tmp_path / "run", report=lambda _: None)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_the_small_recipe_of_enlarging_takes_the_channels_that_images_have(mode, channels, tmp_path):
    """Else grey images or drawings with transparency need keys that nobody guesses."""
    (tmp_path / "data").mkdir()
    for number in range(6):
        Image.effect_noise((128, 128), 50 + number).convert(mode).save(tmp_path / "data" / f"{number}.png")
    recipe = load("small-sr", {"data.background": None if channels == 4 else "white", "data.held_out": 0})
    made = plan(recipe, tmp_path / "data", tmp_path / "run", report=lambda _: None)
    assert made.recipe.data.channels == channels
    assert made.model.diffusion is not None
    assert made.model.diffusion.conditioning["image"].channels == channels


def test_all_errors_are_told_at_once(tmp_path):
    shapes.write(tmp_path / "data", 6, size=16)
    changes = {"data.size": 36, "diffusion.unet.head_channels": 24, "data.enlarge": 100, "data.split_by": None}
    recipe = load("tiny-shapes", {**changes, "autoencoder.patch": 1, "autoencoder.multipliers": [1, 2]})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"size": 34})})
    with pytest.raises(UsageError) as caught:
        plan(recipe, tmp_path / "data", tmp_path / "data" / "run", report=lambda _: None)
    text = str(caught.value)
    assert text.startswith("recipe tiny-shapes: 3 errors\n")
    assert all(part in text for part in ("lies in the data folder", "34x34 does not fit", "head_channels: 24"))


def test_dropping_by_name_names_a_condition():
    recipe = load("emoji", {"diffusion.train.drop_condition": {"label": 0.4}})
    assert recipe.diffusion.train.drop("label") == 0.4
    assert recipe.diffusion.train.drop("text") == 0.1
    with pytest.raises(UsageError, match="no condition lable; known: text, label"):
        load("emoji", {"diffusion.train.drop_condition": {"lable": 0.4}})


def test_a_misspelt_name_or_key_brings_the_nearest():
    with pytest.raises(UsageError, match='did you mean "tiny-shapes"'):
        load("tiny-shape")
    with pytest.raises(UsageError) as caught:
        load("tiny-shapes", ["autoencoder.chanels=3", "diffusion.train.stepps=4"])
    assert 'did you mean "channels"' in str(caught.value)
    assert 'did you mean "steps"' in str(caught.value)
