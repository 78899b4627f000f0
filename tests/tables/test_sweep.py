"""Every condition with every task, from a folder of images to pictures: one small experiment for each.

If these fail, a condition is trained with something else where latents are cached, a stop changes what is learned, a
model draws other pictures after it was saved, on another device, or in company; or a task cannot do what it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import latentry as lt
from latentry import devices
from latentry.checkpoints import model_folder
from latentry.cli import run as command
from latentry.conditioning import CONDITIONERS
from latentry.errors import UsageError
from latentry.pipeline import Output, Pipeline
from latentry.pipeline.able import able
from latentry.tasks import TASKS
from latentry.tasks.sampling import Sampling
from latentry.training.loop.signals import Stopped
from latentry.training.plan.decide import plan
from latentry.training.plan.recipes import load
from tests.e2e.test_resume import stop_at
from tests.e2e.tiny import same
from tests.tables import sweep_models
from tests.tables.sweep_models import MODELS, Sweep
from tests.tables.task_cases import CASES, PER_SEED, asked, edit_image, write_files

STEP = 1
FAST: dict[str, Any] = {"steps": 2, "guidance": 2.0}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module", params=MODELS)
def which(request: pytest.FixtureRequest) -> str:
    """The name of a model."""
    return str(request.param)


@pytest.fixture(scope="module")
def whole(sweep: Sweep, which: str) -> Path:
    """The run of a training in one go, on cached latents."""
    return sweep.train(which, "whole").path


@pytest.fixture(scope="module")
def pipe(whole: Path) -> Pipeline:
    """The model with all weights moved: in the first steps of a training its last layer is nearly zero, and hides
    everything."""
    opened = lt.load(whole, device="cpu")
    assert opened.denoiser is not None
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in opened.denoiser.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_files(tmp_path_factory.mktemp("files"))


def stopped(sweep: Sweep, which: str, name: str, *, cached: bool) -> Path:
    """The run of a training that was stopped after a step, and then went on."""
    with pytest.raises(Stopped):
        sweep.train(which, name, cached=cached, progress=stop_at("diffusion", STEP))
    return sweep.train(which, name, cached=cached).path


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [row["error"] for row in rows if "error" in row]


def weights(run: Path) -> dict[str, torch.Tensor]:
    tensors = model_folder.read(run / "model").tensors
    return {f"{group}.{name}": tensor for group, named in tensors.items() for name, tensor in named.items()}


def run(pipe: Pipeline, task: str, options: dict[str, Any]) -> Output:
    sampled = issubclass(TASKS[task].task.options, Sampling)
    return pipe.run(task, batch=2, **(FAST if sampled else {}), **options)


def test_every_entry_of_both_tables_has_a_case() -> None:
    assert {entry for entries in MODELS.values() for entry in entries} == set(CONDITIONERS), "add it to sweep_models"
    assert CASES.keys() == TASKS.keys(), "add a case to task_cases for the new task"


def test_stopped_after_a_step_it_becomes_the_same_model_to_the_bit(sweep: Sweep, which: str, whole: Path) -> None:
    assert len(losses(whole)) == 2
    same(stopped(sweep, which, "stopped", cached=True), whole, ["diffusion"])


def test_without_cached_latents_it_learns_the_same(sweep: Sweep, which: str, whole: Path) -> None:
    """Of images, boxes, maps, masks and arrays that are mirrored with their latents; stopped and resumed too."""
    images = stopped(sweep, which, "images", cached=False)
    np.testing.assert_allclose(losses(images), losses(whole), rtol=1e-4)
    expected = weights(whole)
    for name, tensor in weights(images).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


def test_each_of_its_conditions_is_heard(which: str, pipe: Pipeline) -> None:
    """Two values of one condition, all others absent, are two pictures."""
    for name, both in sweep_models.values(which, named=False).items():
        one, other = (run(pipe, "generate", {name: [value]}).tensor for value in both)
        assert not torch.equal(one, other), name


@pytest.mark.parametrize("task", TASKS)
def test_it_does_what_it_can_and_a_seed_alone_is_that_seed_among_others(
    which: str, pipe: Pipeline, files: list[Path], task: str
) -> None:
    """Image i of seed s is the image of seed s + i, with its own value of each condition; what a model cannot do, it
    says in a line."""
    values = sweep_models.values(which, named=task != "generate")
    both = asked(task, files, values)
    if TASKS[task].command not in able(pipe.model) and task != "generate":
        with pytest.raises(UsageError, match=rf"It can: {', '.join(able(pipe.model))}\.$") as error:
            run(pipe, *both)
        assert which != "together", "one model at least does every task"
        assert len(str(error.value).splitlines()) == 1
        return
    together, alone = run(pipe, *both).tensor, run(pipe, *asked(task, files, values, (1,))).tensor
    each = PER_SEED.get(task, 1)
    assert together.shape == (2 * each, 3, 16, 16)
    assert (together[each:] - alone).abs().max() < 1e-4
    assert (together[:each] - alone).abs().max() > 1e-3


def test_what_edits_edits_an_image_of_ones_own(which: str, pipe: Pipeline, files: list[Path]) -> None:
    """The original comes back as the first stage keeps it; the edit is another picture."""
    options = edit_image(files, sweep_models.values(which, named=True))
    if "edit" not in able(pipe.model):
        with pytest.raises(UsageError, match=r"It can: "):
            run(pipe, *options)
        return
    original, edit = run(pipe, *options).tensor
    (kept,) = pipe.reconstruct(files[:1]).tensor
    assert (original - kept).abs().max() < 1e-3
    assert (edit - original).abs().max() > 1e-3


def test_saved_and_loaded_it_gives_the_same_pictures(which: str, whole: Path, tmp_path: Path) -> None:
    """From its run, its model folder, and the folder written again from what was read."""
    options: dict[str, Any] = {**sweep_models.values(which, named=False), "seed": 3, **FAST}
    model_folder.write(tmp_path / "copy", model_folder.read(whole / "model"))
    out, *others = (lt.load(path, device="cpu").run("generate", **options) for path in (whole, whole / "model"))
    for other in (*others, lt.load(tmp_path / "copy", device="cpu").run("generate", **options)):
        assert torch.equal(other.tensor, out.tensor)


def test_a_recipe_made_of_it_trains_it_further_on_the_same_images(
    sweep: Sweep, which: str, whole: Path, tmp_path: Path
) -> None:
    """Of `latentry recipes from`, with the fields of the data that it names itself; eight images are too few to see
    that their labels are classes."""
    assert command(["recipes", "from", str(whole / "model"), "--out", str(tmp_path / "further.yaml")]) == 0
    recipe = load(str(tmp_path / "further.yaml"), ["diffusion.train.precision=fp32", "data.label=label"])
    made = plan(recipe, sweep.data, tmp_path / "run", report=lambda _: None)
    assert made.stages == ("diffusion",)
    assert made.model.diffusion is not None
    kinds = {name: options.kind for name, options in made.model.diffusion.conditioning.items()}
    assert kinds == {name: options["kind"] for name, options in sweep_models.conditioning(which).items()}


@pytest.mark.parametrize("kind", ["meta", *devices.KINDS])
def test_it_samples_where_it_is(kind: str, which: str, whole: Path) -> None:
    """`meta` stands in for a GPU on any machine: it has no numbers, and tensors elsewhere do not mix with its own."""
    try:
        device = torch.device(kind) if kind == "meta" else devices.choose(kind)
    except UsageError as error:
        pytest.skip(str(error))
    loaded = lt.load(whole, device="cpu" if kind == "meta" else kind).to(device)
    assert {tensor.device.type for tensor in tensors_of(loaded)} == {device.type}
    steps = list(loaded.steps(**sweep_models.values(which, named=False), **FAST))
    assert [(step.x.device.type, step.x0.device.type) for step in steps] == [(device.type, device.type)] * 2


def tensors_of(pipe: Pipeline) -> Iterator[torch.Tensor]:
    for module in (pipe.autoencoder, pipe.denoiser):
        assert module is not None
        yield from module.parameters()
        yield from module.buffers()
