"""Every task of TASKS keeps the contract, with every solver, on every device. If not, a loaded model misses the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentry import devices
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from latentry.tasks import TASKS
from latentry.tasks.options import TaskOptions
from latentry.tasks.sampling import Sampling
from tests.unit.pipeline.small_pipelines import pipeline


def smaller(file: Path) -> Path:
    """The same file at half its size."""
    with Image.open(file) as image:
        image.reduce(2).save(file.with_name("half.png"))
    return file.with_name("half.png")


# By task: options for two images, given a file of one.
CASES: dict[str, Any] = {
    "generate": lambda file: {"text": ["a red circle", "a blue square"], "label": "star", "seed": 3},
    "reconstruct": lambda file: {"images": [file, file]},
    "edit": lambda file: {"text": "a red circle", "to": "a blue square", "label": "star", "seed": 3},
    "inpaint": lambda file: {
        "file": file,
        "text": ["a red circle", "a blue square"],
        "box": [(4, 4, 6, 8)],
        "resample": 2,
    },
    "outpaint": lambda file: {"file": smaller(file), "label": "star", "n": 2, "left": 8, "bottom": 8, "resample": 2},
    "vary": lambda file: {"file": file, "text": "a red circle", "n": 2, "seed": 3, "strength": 1.0},
    "interpolate": lambda file: {"seeds": [1, 2], "texts": ["a red circle", "a blue square"], "frames": 2},
    "colorize": lambda file: {"file": file, "n": 2, "seed": 3},
    "upscale": lambda file: {"images": [smaller(file)], "n": 2, "seed": 3},
}
CONDITIONS = {"colorize": "grey", "upscale": "low"}
"""By task: the conditions of the model that it is for; others are asked of one with texts and labels."""
SAMPLING = [name for name, entry in TASKS.items() if issubclass(entry.task.options, Sampling)]
each = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(params=["meta", *devices.KINDS])
def device(request: pytest.FixtureRequest) -> torch.device:
    """`meta` stands in for a GPU on any machine: it has no numbers, and tensors elsewhere do not mix with its own."""
    if request.param == "meta":
        return torch.device("meta")
    try:
        return devices.choose(request.param)
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def suited(task: str, *, classifier: bool = False) -> Pipeline:
    """A small pipeline that can do it."""
    return pipeline(conditions=CONDITIONS.get(task, "both"), classifier=classifier)


def test_every_task_has_a_case() -> None:
    assert CASES.keys() == TASKS.keys(), "add a case above for the new task"
    assert SAMPLING


@each
def test_a_line_of_the_table_says_what_its_command_is(task: str) -> None:
    """Two commands of one name, or a field without a help text, would show in `--help` only."""
    entry = TASKS[task]
    assert entry.help.endswith(".")
    assert [other.command for other in TASKS.values()].count(entry.command) == 1
    assert issubclass(entry.task.options, TaskOptions)
    assert all(field.description for field in entry.task.options.model_fields.values())


@each
def test_its_options_have_a_schema(task: str) -> None:
    """For programs that ask over HTTP: what may be said, with the bounds that Python calls have."""
    options = TASKS[task].task.options
    schema = options.model_json_schema()
    assert schema["properties"].keys() == options.model_fields.keys()
    assert all(one["description"] for one in schema["properties"].values())
    if issubclass(options, Sampling):
        assert (schema["properties"]["n"]["minimum"], schema["properties"]["seed"]["minimum"]) == (1, 0)


@each
def test_the_request_is_as_long_as_the_options_say(task: str, file: Path) -> None:
    """Places for the images are checked by this number before a model is opened."""
    entry = TASKS[task].task
    options = entry.options(**CASES[task](file))
    assert options.count == entry.request(options, suited(task).model).count == 2


@each
def test_images_do_not_depend_on_how_many_are_worked_on_at_once(task: str, file: Path) -> None:
    options, pipe = CASES[task](file), suited(task)
    together, alone = (pipe.run(task, batch=batch, **options) for batch in (2, 1))
    assert together.tensor.shape == (2, 3, 16, 16)
    assert (together.tensor - alone.tensor).abs().max() < 1e-4
    assert together.facts == alone.facts


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", SAMPLING)
def test_every_step_is_where_the_model_is(task: str, solver: str, device: torch.device, file: Path) -> None:
    """Up to the last latent; images are decoded to the CPU."""
    pipe = suited(task).to(device)
    count = 0
    for step in steps(pipe, task, solver, file):
        count += 1
        assert step.x.device.type == step.x0.device.type == device.type
        assert step.x.shape == step.x0.shape == (2, 4, 8, 8)
    assert count == 4
    if device.type != "meta":
        last, expected = ([*steps(one, task, solver, file)][-1].x.cpu() for one in (pipe, suited(task)))
        assert (last - expected).norm() < 1e-2 * expected.norm()


@pytest.mark.parametrize("task", SAMPLING)
def test_a_classifier_guides_it_where_the_model_is(task: str, device: torch.device, file: Path) -> None:
    """Every task that takes a label; images are each guided to their own, however many are worked on at once."""
    pipe, options = suited(task, classifier=True).to(device), {**CASES[task](file), "label": ["star", "circle"]}
    guided = [*pipe.steps(task=task, classifier_scale=2.0, **options)][-1]
    assert guided.x.device.type == guided.x0.device.type == device.type
    if device.type == "cpu":
        free, together, alone = (
            pipe.run(task, classifier_scale=scale, batch=batch, **options).tensor
            for scale, batch in ((0.0, 2), (2.0, 2), (2.0, 1))
        )
        assert (together - alone).abs().max() < 1e-4
        assert (together - free).abs().max() > 1e-3


def steps(pipe: Pipeline, task: str, solver: str, file: Path) -> Iterator[Any]:
    return pipe.steps(task=task, solver=solver, guidance=2.0, **CASES[task](file))


@pytest.mark.parametrize("task", sorted(TASKS.keys() - set(SAMPLING)))
def test_what_does_not_sample_is_there_at_once(task: str, device: torch.device, file: Path) -> None:
    model = suited(task).to(device).model
    entry = TASKS[task].task
    request = entry.request(entry.options(**CASES[task](file)), model)
    assert request.start is not None
    assert request.start[0].device.type == device.type
    assert list(suited(task).steps(task=task, **CASES[task](file))) == []


@pytest.mark.parametrize("task", SAMPLING)
def test_what_samples_says_why_a_first_stage_cannot(task: str, file: Path) -> None:
    with pytest.raises(UsageError, match="small: holds a first stage only"):
        pipeline(conditions="").run(task, **CASES[task](file))
