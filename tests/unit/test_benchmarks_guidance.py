"""If these fail, the figures say of guidance what is not so: of classes, of guiding images, of the distance to data."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from latentry.data.shapes import SHAPES, generate_scenes
from latentry.errors import UsageError
from latentry.pipeline import load
from latentry.training.plan import recipes
from tests.shared import SHARED, needs_shared

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COUNT = 20
Part = Callable[[str], Any]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Part:
    """A module of the task figures."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: importlib.import_module(f"task_figures.{name}")


def scenes(part: Part, count: int, seed: int = 7) -> Tensor:
    images: Tensor = part("common").pictures(list(generate_scenes(count, 64, seed)))
    return images


def normal_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Draws:
    """In place of a model: what `sample` gives is made of what it is asked for, which is kept."""

    def __init__(self, sample: Callable[..., Tensor], source: str = "") -> None:
        self.made, self.source, self.asked = sample, source, list[dict[str, Any]]()
        self.config = SimpleNamespace(autoencoder=SimpleNamespace(kind="kl"), data=SimpleNamespace(size=(64, 64)))

    def sample(self, **asked: Any) -> SimpleNamespace:
        self.asked.append(asked)
        return SimpleNamespace(tensor=self.made(**asked))

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def measured(part: Part, name: str, model: Draws, **asked: Any) -> dict[str, Any]:
    common = part("common")
    found, sheet = getattr(part(name), name)(model, common.Asked(COUNT, 0, None, **{"guidance": None, **asked}), None)
    assert sheet.shape[0] % common.SHOWN == 0
    return {figure.name: figure for figure in found}


def classes(part: Part, *rates: float) -> Callable[..., Tensor]:
    """Draws so many of the wanted classes at each scale in turn, others in place of the rest."""
    at = dict(zip(part("classifier").SCALES, rates, strict=True))
    of = dict[str, Tensor]()
    for scene in generate_scenes(60, 64, 7):
        of.setdefault(scene.label, part("common").pictures([scene])[0])
    names = list(SHAPES)

    def sample(*, label: Sequence[str], classifier_scale: float, **_: Any) -> Tensor:
        right = round(at[classifier_scale] * len(label))
        drawn = [name if i < right else names[names.index(name) - 1] for i, name in enumerate(label)]
        return torch.stack([of[name] for name in drawn])

    return sample


def test_rates_of_classes_are_those_that_were_planted(part: Part) -> None:
    scales = part("classifier").SCALES
    assert scales[0] == 0
    rates = (0.2, 0.4, 0.6, 0.8, 1.0)
    model = Draws(classes(part, *rates))
    found = measured(part, "classifier", model, worse="runs/a@step-1")
    assert [found[f"hit rate at scale {s:g}"].value for s in scales] == pytest.approx(rates)
    assert found["least rise of it from scale to scale"].value == pytest.approx(0.2)
    assert found.pop("judge right on real images").value > 0.98
    assert all(figure.ok for figure in found.values())
    assert all(set(asked["label"]) == set(SHAPES) and asked["seed"] == 0 for asked in model.asked)


def test_rates_that_fall_or_stay_low_are_told(part: Part) -> None:
    falls = measured(part, "classifier", Draws(classes(part, 0.2, 0.5, 1.0, 1.0, 0.9)), worse="runs/a@step-1")
    assert falls["best hit rate"].ok
    assert not falls["least rise of it from scale to scale"].ok
    low = measured(part, "classifier", Draws(classes(part, 0.2, 0.4, 0.5, 0.8, 0.8)), worse="runs/a@step-1")
    assert low["least rise of it from scale to scale"].ok
    assert not low["best hit rate"].ok
    empty = measured(
        part, "classifier", Draws(lambda label, **_: torch.full((len(label), 3, 64, 64), 0.5)), worse="runs/a@step-1"
    )
    assert empty["best hit rate"].value == 0


def test_a_sample_that_follows_its_guide_gains_what_pillow_says(part: Part) -> None:
    others = scenes(part, COUNT)

    def follows(n: int, guide: Sequence[Path] = (), **_: Any) -> Tensor:
        if not guide:
            return others[:n]
        small = np.stack([np.asarray(Image.open(file)) for file in guide])
        assert small.shape == (COUNT, 16, 16, 3)
        return functional.interpolate(torch.from_numpy(small).movedim(-1, 1) / 255, scale_factor=4)

    model = Draws(follows)
    found = measured(part, "guide", model)
    assert all(figure.ok for figure in found.values())
    assert found["PSNR of the shrunk sample against its guide (dB)"].value > 25
    assert [asked["seed"] for asked in model.asked] == [0, 0]
    truth = [scene.image for scene in part("common").Asked(COUNT, 0, None, None).scenes(shapes=1)]
    errors = [np.square(pillow(a) - pillow(b)).mean() for a, b in zip(truth, 255 * others.movedim(1, -1), strict=True)]
    without = found["the same without guidance (dB)"].value
    assert without == pytest.approx(np.mean(-10 * np.log10(errors)), abs=0.01)


def pillow(image: Any) -> Any:
    """An image (64, 64, 3) in 0 to 255 at 16x16, in [0, 1]."""
    picture = Image.fromarray(np.asarray(image).round().astype(np.uint8))
    return np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC)) / 255


def test_a_sample_that_ignores_its_guide_gains_nothing(part: Part) -> None:
    others = scenes(part, COUNT)
    found = measured(part, "guide", Draws(lambda n, **_: others[:n]))
    assert found["gained by guidance (dB)"].value == 0
    assert not found["gained by guidance (dB)"].ok


def test_the_distance_is_that_of_its_equation(part: Part) -> None:
    """By scipy's root of a matrix, where there are more vectors than numbers in each, and where there are fewer."""
    frechet = part("autoguide").frechet
    for count in (200, 5):
        x = normal_noise((count, 8), 0) @ normal_noise((8, 8), 1)
        y = normal_noise((count, 8), 2) @ normal_noise((8, 8), 3) + 0.5
        c, d = (torch.cov(each.T).numpy() for each in (x, y))
        root = np.sqrt(np.linalg.eigvals(c @ d).astype(complex)).real.sum()
        if count > 8:
            assert root == pytest.approx(np.trace(scipy.linalg.sqrtm(c @ d)).real, rel=1e-6)
        expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(c) + np.trace(d) - 2 * root
        assert frechet(x, y) == pytest.approx(expected, rel=1e-5)
    assert frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet(x, x + 2) == pytest.approx(8 * 4)


def test_the_standard_error_is_how_far_falls_of_new_sets_vary(part: Part) -> None:
    module = part("autoguide")

    def new(seed: int) -> Any:
        real, again, plain, guided = (normal_noise((200, 3), 4 * seed + i) for i in range(4))
        return module.Sets(real, again, plain + 1.0, 0.7 * plain + 0.3 * guided + 0.8)

    sets = [new(seed) for seed in range(60)]
    vary = float(np.std([module.fall(each) for each in sets]))
    told = float(np.mean([module.standard_error(each) for each in sets]))
    assert 0.7 * vary < told < 1.4 * vary


def run_with(folder: Path, *steps: int) -> str:
    for step in steps:
        (folder / "diffusion" / f"step-{step}").mkdir(parents=True)
    return str(folder)


def small_pixels(images: Tensor) -> Tensor:
    """In place of SqueezeNet: features, and as many of another kind behind them."""
    means = functional.adaptive_avg_pool2d(images, 4).flatten(1)
    return torch.cat([means, torch.zeros_like(means)], 1)


def test_a_worse_checkpoint_brings_samples_as_near_as_was_planted(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are the real scenes, too bright by 0.2, guided ones by half of it: of the distance a quarter stays."""
    monkeypatch.setattr(part("autoguide"), "network", lambda: small_pixels)
    drawn = part("common").pictures(part("common").Asked(COUNT, 0, None, None).scenes(count=10 * COUNT, shapes=1))

    def sample(n: int, guidance: float, autoguide: str | None = None, **_: Any) -> Tensor:
        assert (guidance == 1) == (autoguide is None)
        return drawn[:n] + (0.2 if autoguide is None else 0.1)

    model = Draws(sample, run_with(tmp_path, 1800, 600, 2400))
    found = measured(part, "autoguide", model)
    assert 0 < found["distance of other real images"].value < 0.1
    again = found["distance of their reconstructions"].value
    assert again == pytest.approx(found["distance of other real images"].value, rel=1e-3)
    assert found["standard error of its fall"].value == pytest.approx(0, abs=1e-4)
    assert found["distance of samples"].value == pytest.approx(16 * 3 * 0.2**2, rel=1e-4)
    assert found["the same led by 2 from step-600"].value == pytest.approx(16 * 3 * 0.1**2, rel=1e-4)
    assert found["fall of the distance"].value == pytest.approx(0.75, abs=1e-4)
    assert found["fall of the distance"].ok
    assert model.asked[1]["autoguide"] == f"{tmp_path}@step-600"
    assert [asked["n"] for asked in model.asked] == [10 * COUNT] * 2


def test_a_worse_model_that_changes_nothing_is_told(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part("autoguide"), "network", lambda: small_pixels)
    drawn = scenes(part, 10 * COUNT)
    model = Draws(lambda n, **_: drawn[:n], str(tmp_path))
    found = measured(part, "autoguide", model, guidance=3.0, worse="runs/b@step-5")
    assert found["fall of the distance"].value == 0
    assert not found["fall of the distance"].ok
    assert [asked["guidance"] for asked in model.asked] == [1.0, 3.0]
    assert model.asked[1]["autoguide"] == "runs/b@step-5"
    with pytest.raises(UsageError, match="--autoguide RUN@step-N"):
        measured(part, "autoguide", Draws(lambda n, **_: drawn[:n], run_with(tmp_path, 2400)))


@needs_shared
def test_features_tell_shapes_that_are_torn_from_whole_ones(part: Part) -> None:
    """Each half of a torn scene is of another one: its colours and their places are as true as ever."""
    module = part("autoguide")
    net = module.SqueezeNetFeatures(SHARED / "data" / "weights" / "squeezenet1_1.npz")
    a, b = scenes(part, 60, 1), scenes(part, 60, 2)
    torn = torch.cat([b[:, :, :32], b.roll(1, 0)[:, :, 32:]], 2)
    real, other, broken = (module.means(net(images)) for images in (a, b, torn))
    assert real.shape == (60, 512)
    assert module.frechet(broken, real) > 1.3 * module.frechet(other, real)


class Trained(Exception):
    """Enough is seen."""


def test_changes_of_the_recipe_reach_the_training(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the command line, over the command's own; tasks of one recipe have one run."""
    tasks, seen = importlib.import_module("tasks"), list[tuple[str, Path, Any]]()

    def train(recipe: str, data: Path | None, out: Path, overrides: Sequence[str]) -> None:
        seen.append((recipe, out, recipes.load(recipe, overrides)))
        raise Trained

    monkeypatch.setattr(tasks, "train", train)
    for name in ("classifier", "guide"):
        more = ["--seed", "3", "--steps", "50", "--set", "diffusion.train.lr=5e-4", "diffusion.train.steps=60"]
        command = ["tasks.py", name, "--out", str(tmp_path), *more, "--set", "classifier.train.steps=7"]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(Trained):
            tasks.main()
    assert {(recipe, out) for recipe, out, _ in seen} == {("shapes-classifier", tmp_path / "shapes-classifier-seed-3")}
    for _, _, recipe in seen:
        assert (recipe.seed, recipe.diffusion.train.lr, recipe.diffusion.train.steps) == (3, 5e-4, 60)
        assert recipe.section("classifier").train.steps == 7
        assert recipe.diffusion.train.milestones is not None
        assert recipe.diffusion.train.milestones % recipe.diffusion.train.save_every == 0
        assert not recipe.diffusion.conditioning


def test_two_tasks_share_one_training(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real networks: two steps of each stage."""
    out, models = tmp_path / "runs" / "shapes-classifier-seed-0-quick", set[bytes]()
    for name in ("classifier", "guide"):
        quick(name, out, monkeypatch)
        models.add((out / "model" / "manifest.json").read_bytes())
    assert len(models) == 1
    assert (out / "model" / "classifier.safetensors").is_file()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [out.name]


def test_autoguidance_has_a_first_stage_of_its_own(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of real networks, led from the first of two steps; the shipped first stage would cost too much."""
    monkeypatch.setattr(part("autoguide"), "network", lambda: small_pixels)
    out = tmp_path / "runs" / "shapes-autoguide-seed-0-quick"
    quick("autoguide", out, monkeypatch)
    assert load(out).model.autoencoder.factor == 4
    assert (out / "autoencoder").is_dir()
    told = capsys.readouterr().out
    assert "led by 2 from step-1" in told
    assert "distance of their reconstructions" in told


@pytest.mark.soak
def test_autoguidance_of_pixels(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of images of its own size, and nothing is told of a first stage that there is not."""
    monkeypatch.setattr(part("autoguide"), "network", lambda: small_pixels)
    out = tmp_path / "runs" / "shapes-pixels-seed-0-quick"
    quick("autoguide", out, monkeypatch, "--recipe", "shapes-pixels")
    assert load(out).config.autoencoder.kind == "identity"
    told = capsys.readouterr().out
    assert "led by 2 from step-1" in told
    assert "reconstructions" not in told


def quick(name: str, out: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """A task in two steps of everything, into the run `out`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(out.parents[1] / "cache"))
    monkeypatch.setattr(sys, "argv", ["tasks.py", name, "--quick", "--out", str(out.parent), *more])
    tasks: ModuleType = importlib.import_module("tasks")
    assert tasks.main() == 0
    assert json.loads((out / f"task-{name}.json").read_text())
    assert (out / f"task-{name}.png").is_file()
