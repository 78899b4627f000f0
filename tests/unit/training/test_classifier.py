"""If these fail, the classifier that guides sampling is not the one of the literature: it is trained on other noise
than the sampler meets, knows less than can be known, or is another one after a stop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

import latentry as lt
from latentry.checkpoints import model_folder
from latentry.checkpoints.run_status import run_status
from latentry.checkpoints.store import Store
from latentry.diffusion.process import q_sample
from latentry.diffusion.schedule import Level, Schedule, build_schedule
from latentry.errors import UsageError
from latentry.evaluation.noisy import judged
from latentry.models.classifier import LatentClassifier
from latentry.pipeline.foreign import export_model
from latentry.pipeline.guides.autoguide import opened
from latentry.training.loop.log import WALL_CLOCK
from latentry.training.run import Run
from tests.e2e.small_runs import run_tiny, write_images, write_metadata

DARK, LIGHT, SIDE = 108, 147, 8
SHIFT = (LIGHT - DARK) / 255
"""Each image is one grey: -SHIFT or +SHIFT about the middle, in [-1, 1], in each of its 8 x 8 x 3 values."""
SIZES: dict[str, Any] = {
    "channels": 8,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention": [],
    "head_channels": 4,
    "norm_groups": 4,
}
QUICK: dict[str, Any] = {"batch": 16, "lr": 3e-3, "precision": "fp32", "log_every": 50, "sample_every": 10**6}
PLANTED: dict[str, Any] = {
    "data": {"size": SIDE, "label": "label", "held_out": 0},
    "autoencoder": {"kind": "identity", "z_channels": 3, "latent_scale": 1.0},
    "diffusion.prediction": "sample",
    "diffusion.unet": SIZES,
    "diffusion.train": {**QUICK, "steps": 120, "ema": 0.97},
}
CLASSIFIER: dict[str, Any] = {**SIZES, "train": {**QUICK, "steps": 100, "ema": 0.97}}
BRIEF: dict[str, Any] = {
    **SIZES,
    "train": {"steps": 4, "batch": 4, "save_every": 2, "log_every": 1, "precision": "fp32"},
}
BEGUN: dict[str, Any] = {**PLANTED, "diffusion.train": {**QUICK, "steps": 2, "batch": 4}}


def planted(root: Path, names: tuple[str, str] = ("dark", "light")) -> Path:
    write_images(root, [np.full((SIDE, SIDE, 3), (DARK, LIGHT)[i % 2], np.uint8) for i in range(16)])
    write_metadata(root, [{"label": names[i % 2], "kind": "ab"[i // 8]} for i in range(16)])
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("classifier")
    return run_tiny(folder, planted(folder / "data"), {**PLANTED, "classifier": CLASSIFIER})


def rows(run: Path, stage: str = "classifier") -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: row[k] for k in row if k not in WALL_CLOCK} for row in read if row["stage"] == stage]


def best(schedule: Schedule, t: int) -> float:
    """How often Bayes' rule names the class of x_t: the mean of N values is alpha SHIFT from the middle, sigma / N^0.5
    wide."""
    level = schedule.level(t)
    return float(norm.cdf(level.alpha * SHIFT * (3 * SIDE**2) ** 0.5 / level.sigma))


def noisy(schedule: Schedule, t: int, count: int = 400) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(t)
    numbers = torch.arange(count) % 2
    x0 = ((2 * numbers - 1) * SHIFT).float()[:, None, None, None].expand(-1, 3, SIDE, SIDE)
    level = schedule.level(t)
    return q_sample(x0, torch.randn(x0.shape, generator=generator), level.alpha, level.sigma), numbers


def test_it_is_as_often_right_as_bayes_rule_at_every_noise_level(trained: Run) -> None:
    """Two greys under Gaussian noise: the best possible accuracy is a normal distribution function of alpha / sigma."""
    pipe = lt.load(trained.path, device="cpu")
    assert pipe.classifier is not None
    assert pipe.denoiser is not None
    schedule = pipe.denoiser.schedule
    for t in (20, 150, 300, 500, 700, 900):
        x, numbers = noisy(schedule, t)
        right = float((pipe.classifier(x, torch.full((len(x),), t)).argmax(1) == numbers).float().mean())
        deviation = (best(schedule, t) * (1 - best(schedule, t)) / len(x)) ** 0.5
        assert right > best(schedule, t) - 0.08 - 2 * deviation, t
        assert right < best(schedule, t) + 0.02 + 3 * deviation, t
    assert rows(trained.path)[-1]["train_accuracy_fifth_1"] > 0.9
    assert trained.figures["classifier right on training latents, least noise"] > 0.9


def test_guidance_moves_samples_to_the_class_and_the_more_the_larger_its_scale(trained: Run) -> None:
    """The denoiser is told nothing: without its classifier a model would ignore what it is asked for."""
    pipe = lt.load(trained.path / "model", device="cpu")
    share = {}
    for scale in (0, 0.3, 3):
        hits = []
        for label in ("dark", "light"):
            how: dict[str, Any] = {"steps": 8, "solver": "ddim", "levels": "trailing"}
            images = pipe.sample(label=label, n=32, batch=32, classifier_scale=scale, **how).tensor
            hits.append((images.mean((1, 2, 3)) > 0.5) == (label == "light"))
        share[scale] = float(torch.cat(hits).float().mean())
    assert share[0] == 0.5  # the same images for either label
    assert share[0] + 0.1 < share[0.3] < share[3]
    assert share[3] > 0.95


def test_the_gradient_is_that_of_log_p(trained: Run) -> None:
    """By finite differences; an image without a class has none, and no image's depends on its neighbours."""
    classifier = lt.load(trained.path, device="cpu").classifier
    assert classifier is not None
    log_p = classifier.log_probability(torch.tensor([0, 1, -1]))
    generator, level = torch.Generator().manual_seed(0), Level(300.0, 0.8, 0.6)
    x, direction = torch.randn(2, 3, 3, SIDE, SIDE, generator=generator)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(log_p(x, level).sum(), x)
    with torch.no_grad():
        slope = (log_p(x + 0.01 * direction, level) - log_p(x - 0.01 * direction, level)) / 0.02
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), slope, rtol=0.02, atol=2e-3)
    assert not gradient[2].any()


def test_labels_of_a_batch_are_each_images_own(trained: Run) -> None:
    """Batches of another size, or a list of labels in place of one, would else change what is drawn."""
    pipe = lt.load(trained.path, device="cpu")
    mixed = pipe.sample(label=["dark", "light", "light"], steps=4, classifier_scale=2, batch=2)
    one = pipe.sample(label=1, seed=2, steps=4, classifier_scale=2)
    assert (mixed.tensor[2] - one.tensor[0]).abs().max() < 1e-4
    assert [facts["label"] for facts in mixed.facts] == ["dark", "light", "light"]
    assert mixed.facts[0]["classifier scale"] == "2"


def test_a_picture_drawn_by_it_is_drawn_again(trained: Run, tmp_path: Path) -> None:
    pipe = lt.load(trained.path / "model", device="cpu")
    out = pipe.sample(label="light", steps=3, classifier_scale=2.5)
    (path,) = out.save(tmp_path)
    assert torch.equal(pipe.again(path).tensor, out.tensor)
    assert not torch.equal(pipe.again(path, classifier_scale=0).tensor, out.tensor)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"label": "ligth"}, r'label: the classifier knows no "ligth"; known: dark, light; .*did you mean "light"'),
        ({"label": 2}, r'label: the classifier knows no "2"; known: dark, light; or a number from 0 to 1'),
        ({"classifier_scale": 3}, r"classifier_scale: 3 without a label to guide to; give --label, as in dark, light"),
        ({"text": "light"}, r"text: this model takes no such condition"),
    ],
)
def test_what_it_cannot_be_asked_is_one_line(trained: Run, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lt.load(trained.path, device="cpu").sample(**asked)


def test_the_model_tells_of_it_and_is_exported_without(trained: Run, tmp_path: Path) -> None:
    pipe, told = lt.load(trained.path / "model", device="cpu"), list[str]()
    described, classifier = pipe.describe(), pipe.classifier
    assert classifier is not None
    assert described["classifier"] == {"field": "label", "classes": ["dark", "light"]}
    assert described["parameters"]["classifier"] == sum(p.numel() for p in classifier.parameters())
    assert described["trained"]["classifier_steps"] == 100
    card = model_folder.read(trained.path / "model").card
    assert "| classifier | half UNet 8 x [1, 2], 2 classes of label |" in card
    assert '--label "dark" --classifier-scale 3' in card
    export_model(trained.path / "model", "diffusers", tmp_path / "out", report=told.append)
    assert any("classifier: diffusers has no place for it; it is left out" in line for line in told)
    assert lt.load(tmp_path / "out", device="cpu").classifier is None


def test_a_model_without_one_says_how_to_train_one_and_can_be_given_one(tmp_path: Path) -> None:
    """To a finished run, beside what is there: nothing of it is trained anew, and its samples stay as they were."""
    data = planted(tmp_path / "data")
    run = run_tiny(tmp_path, data, BEGUN).path
    before = model_folder.read(run / "model")
    assert "classifier" not in (run / "model" / "model.yaml").read_text()
    assert "classifier:" not in (run / "recipe.yaml").read_text()
    pipe = lt.load(run / "model", device="cpu")
    with pytest.raises(UsageError, match=r"classifier_scale: 3; this model has no classifier\. Train one: .*--stage"):
        pipe.sample(classifier_scale=3)
    run_tiny(tmp_path, data, {**BEGUN, "classifier": BRIEF}, stage="classifier")
    after = model_folder.read(run / "model")
    assert set(after.tensors) - set(before.tensors) == {"classifier"}
    for group, tensors in before.tensors.items():
        assert all(torch.equal(tensors[name], after.tensors[group][name]) for name in tensors)
    assert run_status(run)["classifier"]["checkpoints"] == [2, 4]
    again = lt.load(run / "model", device="cpu")
    assert torch.equal(again.sample(steps=2).tensor, pipe.sample(steps=2).tensor)
    with pytest.raises(UsageError, match=r"holds a run of another recipe: classifier\.channels"):
        run_tiny(tmp_path, data, {**BEGUN, "classifier": {**BRIEF, "channels": 16}}, stage="classifier")


def test_a_lent_one_is_that_of_the_step_that_is_named(tmp_path: Path) -> None:
    """Not the newest, and known again by its picture, however far the run has come since."""
    run = run_tiny(tmp_path, planted(tmp_path / "data"), {**BEGUN, "classifier": BRIEF}).path
    pipe = lt.load(run, device="cpu")
    how: dict[str, Any] = {"label": "light", "steps": 3, "classifier_scale": 2.0}
    own, first = pipe.sample(**how).tensor, pipe.sample(**how, classifier=f"{run}@step-2").tensor
    assert torch.equal(pipe.sample(**how, classifier=f"{run}@step-4").tensor, own)
    assert torch.equal(pipe.sample(**how, classifier=run).tensor, own)
    assert not torch.equal(first, own)
    other, drawn_by = opened(f"{run}@step-2", "classifier")
    assert other.classifier is not None
    assert drawn_by.step == 2
    averaged = Store(run / "classifier").at(2).tensors("ema")
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in other.classifier.state_dict().items())
    (path,) = pipe.sample(**how, classifier=f"{run}@step-2").save(tmp_path / "out")
    assert torch.equal(pipe.again(path).tensor, first)
    with pytest.raises(UsageError, match=r"classifier: no checkpoint of step 3; known: 2, 4\. Choose one of these"):
        pipe.sample(**how, classifier=f"{run}@step-3")


def test_a_stop_changes_nothing(tmp_path: Path) -> None:
    """Weights, averages and log of 4 steps in one go and of 2 and 2, without and with cached latents."""
    found = []
    for name, steps, cached in (("whole", (4,), True), ("parts", (2, 4), True), ("images", (4,), False)):
        data = planted(tmp_path / name / "data")
        for until in steps:
            training = {**BRIEF["train"], "steps": until, "cache_latents": cached}
            changes = {**BEGUN, "classifier": {**BRIEF, "train": training}}
            run = run_tiny(tmp_path / name, data, changes, stage=None).path
        found.append((model_folder.read(run / "model").tensors["classifier"], [r for r in rows(run) if "loss" in r]))
    for weights, log in found[1:]:
        assert log == found[0][1]
        assert all(torch.equal(weights[n], tensor) for n, tensor in found[0][0].items())


def test_either_of_the_two_behind_the_first_stage_may_be_trained_before_the_other(tmp_path: Path) -> None:
    """The classifier needs latents alone; a model has what is there, and samples once the denoiser is."""
    data = planted(tmp_path / "data")
    changes = {**BEGUN, "classifier": {**BRIEF, "field": "kind"}}
    run = run_tiny(tmp_path, data, changes, stage="classifier").path
    assert set(model_folder.read(run / "model").tensors) == {"autoencoder", "classifier"}
    run_tiny(tmp_path, data, changes, stage="diffusion")
    pipe = lt.load(run / "model", device="cpu")
    assert pipe.classifier is not None
    assert pipe.classifier.options.names == ("a", "b")
    assert pipe.config.trained == {"diffusion_steps": 2, "classifier_steps": 4}
    rehearsed = run_tiny(tmp_path / "dry", data, changes, dry_run=True).figures["stages"]
    assert list(rehearsed) == ["diffusion", "classifier"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.label": None}, "classifier: the data has no labels; set data.label"),
        ({"classifier.field": "knid"}, r'classifier\.field: no image has a field "knid"; .*did you mean "kind"'),
        ({"classifier.head_channels": 3}, r"head_channels 3 does not divide the width 16"),
        ({"classifier.chanels": 3}, r'classifier\.chanels: unknown key \(did you mean "channels"'),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path: Path, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_tiny(tmp_path, planted(tmp_path / "data"), {**BEGUN, "classifier": BRIEF, **changes})
    assert not (tmp_path / "run").exists()


def test_one_class_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='every image has the label "x"; a classifier needs two classes or more'):
        run_tiny(tmp_path, planted(tmp_path / "data", ("x", "x")), {**BEGUN, "classifier": BRIEF})


def test_bands_are_fifths_of_the_times() -> None:
    """A classifier that reads its time is right in the bands that it is made to be right in, and in no other."""
    schedule = build_schedule("scaled_linear")

    class ReadsTime(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            assert x.shape == (4, 1, 2, 2)
            return torch.stack([(t < 400).float(), (t >= 400).float()], 1)

    found = judged(
        cast("LatentClassifier", ReadsTime()),
        schedule,
        torch.zeros(4, 1, 2, 2),
        torch.zeros(4, dtype=torch.int64),
        range(4),
        0,
    )
    assert found.right.float().mean(0).tolist() == [1, 1, 0, 0, 0]
