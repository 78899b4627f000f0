"""If these fail, a recipe of the zoo is another experiment than the paper's, or cannot be built at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from latentry.conditioning import BuildContext
from latentry.conditioning.words import tokenizer
from latentry.data import shapes
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_conditioners
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.plan.decide import plan
from latentry.training.plan.recipes import Recipe, load, plain, read, zoo

PAGE = Path(__file__).parents[3] / "docs" / "zoo.md"

# Millions of parameters, steps, batch and learning rate by tables 12 to 15.
PAPER = {
    "ldm-4-celebahq": (274, 410_000, 48, 9.6e-5),
    "ldm-4-ffhq": (274, 635_000, 42, 8.4e-5),
    "ldm-8-churches": (294, 500_000, 96, 5.0e-5),
    "ldm-4-bedrooms": (274, 1_900_000, 48, 9.6e-5),
    "ldm-1-imagenet": (396, 2_000_000, 7, 4.9e-5),
    "ldm-2-imagenet": (391, 2_000_000, 9, 6.3e-5),
    "ldm-4-imagenet-2m": (391, 2_000_000, 40, 8.0e-5),
    "ldm-8-imagenet": (395, 2_000_000, 64, 6.4e-5),
    "ldm-16-imagenet": (395, 2_000_000, 112, 4.5e-5),
    "ldm-32-imagenet": (395, 2_000_000, 112, 4.5e-5),
    "ldm-1-celebahq": (270, 500_000, 9, 9.0e-5),
    "ldm-2-celebahq": (265, 500_000, 11, 1.1e-4),
    "ldm-4-celebahq-500k": (274, 500_000, 48, 9.6e-5),
    "ldm-8-celebahq": (258, 500_000, 96, 9.6e-5),
    "ldm-16-celebahq": (260, 500_000, 128, 1.3e-4),
    "ldm-32-celebahq": (258, 500_000, 128, 1.3e-4),
    "ldm-8-text": (1450, 390_000, 680, 1.0e-4),
    "ldm-4-layout-openimages": (306, 4_400_000, 24, 4.8e-5),
    "ldm-8-layout-coco": (345, 170_000, 48, 4.8e-5),
    "ldm-4-imagenet": (395, 178_000, 1200, 1.0e-4),
    "ldm-4-sr": (169, 860_000, 64, 6.4e-5),
    "ldm-4-inpainting": (215, 360_000, 128, 1.28e-4),  # 1.0e-6 there, read as the base rate
    "ldm-4-semantic": (215, 360_000, 48, 4.8e-5),
}
# In the text and in tables 6 and 7, which have no figures of training.
SIZES = {
    **{name: size for name, (size, *_) in PAPER.items()},
    "ldm-1-inpainting": 215,
    "ldm-4-inpainting-kl": 215,
    "ldm-4-inpainting-noattn": 215,
    "ldm-4-inpainting-big": 387,
    "ldm-4-inpainting-big-512": 387,
    "ldm-4-semantic-512": 215,
}
EXCEPTIONS = {
    "ldm-8-text": "the published class counts an output layer for tokens that nothing uses, 39.1M",
    "ldm-4-layout-openimages": "the published class counts an output layer for tokens that nothing uses, 4.2M",
    "ldm-8-layout-coco": "16 layers of the encoder as in table 17; 345M fit 8 layers",
    "ldm-4-imagenet": "tables 10 and 18 and the published config have 400M",
    "ldm-4-imagenet-2m": "its own figures give the network of ldm-4-imagenet",
    "ldm-4-sr": "the table counts the first stage, 55.3M",
}
FIRST_STAGES = {  # f, codes or None for KL, channels (table 8)
    "vq-f32": (32, 16384, 16),
    "vq-f16": (16, 16384, 8),
    "vq-f8": (8, 16384, 4),
    "vq-f8-n256": (8, 256, 4),
    "vq-f4": (4, 8192, 3),
    "vq-f4-noattn": (4, 8192, 3),
    "vq-f4-n256": (4, 256, 3),
    "vq-f2": (2, 2048, 2),
    "vq-f2-n64": (2, 64, 2),
    "kl-f32": (32, None, 64),
    "kl-f32-c16": (32, None, 16),
    "kl-f16": (16, None, 16),
    "kl-f16-c8": (16, None, 8),
    "kl-f8": (8, None, 4),
    "kl-f4": (4, None, 3),
    "kl-f2": (2, None, 2),
}
LDMS = [name for name in zoo() if name.startswith("ldm-")]


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def denoiser(recipe: Recipe) -> LatentDiffusion:
    """The second stage without memory, for a thousand classes and BERT's vocabulary."""
    options, first = recipe.diffusion.architecture(), recipe.autoencoder
    words = {"tokenizer.json": tokenizer.without_words(30522).to_str()}
    context = BuildContext(labels=[str(number) for number in range(1000)], files=words)
    with torch.device("meta"):
        conditioners = build_conditioners(options, dict.fromkeys(options.conditioning, context))
        return LatentDiffusion(options, first.latent_channels or first.z_channels, conditioners)


def first_stage(recipe: Recipe) -> Autoencoder:
    with torch.device("meta"):
        return Autoencoder(recipe.autoencoder.architecture(), recipe.data.channels)


def rows() -> dict[str, list[str]]:
    """The cells of every row of docs/zoo.md that names a recipe."""
    lines = re.findall(r"^\| `([\w-]+)`\*? \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}


def test_every_column_and_row_of_the_tables_has_its_recipe():
    assert set(zoo()) == SIZES.keys() | FIRST_STAGES.keys()
    assert not set(zoo()) & set(plain())


@pytest.mark.parametrize("name", LDMS)
def test_the_denoiser_is_as_large_as_the_papers(name):
    counted = millions(denoiser(load(name)))
    assert (abs(counted / SIZES[name] - 1) > 0.01) == (name in EXCEPTIONS)
    cells = rows()[name]
    assert cells[2].split(" / ") == [f"{counted:.1f}M", "1.45B" if SIZES[name] == 1450 else f"{SIZES[name]}M"]
    assert EXCEPTIONS.get(name, "") in cells[-1]


@pytest.mark.parametrize("name", LDMS)
def test_the_first_stage_of_every_denoiser_builds(name):
    recipe = load(name)
    factor = int(name.split("-")[1])
    assert first_stage(recipe).factor == factor
    assert recipe.autoencoder.trains == (factor > 1)
    assert recipe.diffusion.prediction == "epsilon"
    assert recipe.diffusion.train.ema == 0.9999
    assert recipe.diffusion.train.weight_decay == 0.01
    guided = recipe.sample.guidance != 1
    assert recipe.diffusion.train.drop("label") == (0.1 if guided or not recipe.diffusion.conditioning else 0.0)


@pytest.mark.parametrize("name", PAPER)
def test_training_is_the_papers(name):
    training = load(name).diffusion.train
    _, steps, batch, rate = PAPER[name]
    assert (training.steps, training.batch) == (steps, batch)
    assert training.rate() == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_first_stages_are_those_of_the_table(name):
    recipe = load(name)
    options, built = recipe.autoencoder, first_stage(recipe)
    codes = options.codes if options.kind == "vq" else None
    assert (built.factor, codes, options.z_channels) == FIRST_STAGES[name]
    assert name.startswith(options.kind)
    assert recipe.autoencoder.objective.perceptual.net == "vgg16"
    discriminator = recipe.autoencoder.objective.discriminator
    assert discriminator is not None
    assert discriminator.start < recipe.autoencoder.train.steps
    assert rows()[name][3] == f"{millions(built):.1f}M"


def test_the_papers_counts_of_first_stages():
    """Table 18: 55M for f = 4, 68M for f = 8."""
    assert [round(millions(first_stage(load(name)))) for name in ("vq-f4", "vq-f8")] == [55, 68]


def test_the_page_lists_the_zoo():
    assert sorted(rows()) == sorted(zoo())


@pytest.mark.parametrize("name", ["ldm-4-inpainting", "ldm-1-inpainting", "ldm-4-inpainting-big-512"])
def test_inpainting_trains_on_any_folder_of_images(name, tmp_path):
    """Holes are drawn, so no masks are needed."""
    shapes.write(tmp_path / "data", 6, size=16)
    fixed = {f"{stage}.train.precision": "fp32" for stage in ("autoencoder", "diffusion")}
    fixed = fixed if name != "ldm-1-inpainting" else {"diffusion.train.precision": "fp32"}
    recipe = load(name, {"autoencoder.objective.perceptual": "none", "data.enlarge": 100, **fixed})
    made = plan(recipe, tmp_path / "data", tmp_path / "run", report=lambda _: None)
    assert made.model.diffusion is not None
    assert [condition.masks for condition in made.model.diffusion.conditioning.values()] == ["mixed"]


@pytest.mark.parametrize("changes", [{}, {"diffusion.prediction": "regression"}])
def test_super_resolution_trains_on_any_folder_of_images(changes, tmp_path):
    """The baseline too, which differs by one line."""
    shapes.write(tmp_path / "data", 6, size=16)
    fixed = {f"{stage}.train.precision": "fp32" for stage in ("autoencoder", "diffusion")}  # auto measures it
    recipe = load("ldm-4-sr", {"autoencoder.objective.perceptual": "none", "data.enlarge": 100, **fixed, **changes})
    made = plan(recipe, tmp_path / "data", tmp_path / "run", report=lambda _: None)
    assert made.model.diffusion is not None
    (low,) = made.model.diffusion.conditioning.values()
    assert (low.factor, low.degradation, made.model.autoencoder.factor) == (4, "bicubic", 4)
    assert made.model.diffusion.prediction == recipe.diffusion.prediction


def test_extending_takes_what_is_not_said(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: ldm-4-ffhq\ndiffusion: {train: {batch: 6}}\n")
    (tmp_path / "other.yaml").write_text("name: other\nextends: mine.yaml\ndiffusion: {schedule: {kind: cosine}}\n")
    mine, other = (load(str(tmp_path / f"{name}.yaml")) for name in ("mine", "other"))
    assert (mine.name, mine.about, mine.extends) == ("mine", "", None)
    assert (mine.diffusion.train.batch, mine.diffusion.train.steps) == (6, 635_000)
    assert other.diffusion.train.batch == 6
    assert other.diffusion.schedule.kind == "cosine"
    assert mine.autoencoder == load("vq-f4").autoencoder


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("extends: ldm-4-fhq", 'mine.yaml: extends: no "ldm-4-fhq"; .*did you mean "ldm-4-ffhq"'),
        ("extends: none.yaml", "mine.yaml: extends: recipe .*none.yaml: no such file"),
        ("extends: [a]", r"mine.yaml: extends: found \['a'\]; accepted: a recipe's name, or a path"),
        ("extends: mine.yaml", r"mine.yaml: extends: a cycle, \S+mine.yaml -> \S+mine.yaml"),
        ("extends: ldm-4-ffhq\nnmae: x", "mine.yaml: 2 errors"),
    ],
)
def test_extending_what_cannot_be_is_told_in_a_line(text, error, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=error):
        load(str(tmp_path / "mine.yaml"))


def test_extends_is_of_the_file_alone():
    with pytest.raises(UsageError, match="extends: stands in the file"):
        load("ldm-4-ffhq", ["extends=vq-f8"])
    assert "extends" not in read("ldm-4-ffhq")
