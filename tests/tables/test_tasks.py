"""Every task of TASKS keeps the contract, with every solver, on every device. If not, a loaded model misses the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from latentry import devices
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from latentry.tasks import TASKS
from latentry.tasks.options import TaskOptions
from latentry.tasks.sampling import Sampling
from tests.tables.task_cases import PER_SEED, asked, edit_image, write_files
from tests.unit.pipeline.small_pipelines import pipeline

VALUES = {"text": ["a red circle", "a blue square"], "label": ["star", "circle"]}
CONDITIONS = {"colorize": "grey", "upscale": "low"}
"""By task: the conditions of the model that it is for; others are asked of one with texts and labels."""
SAMPLING = [name for name, entry in TASKS.items() if issubclass(entry.task.options, Sampling)]
PLACES = [
    (place, task, solver)
    for place, task, solver in product(("meta", *devices.KINDS), SAMPLING, SOLVERS)
    if place != "meta" or task == "inpaint" or solver == "dpmpp_2m"
]
"""Every task with every solver; on `meta`, which is slow, every solver with the task that asks most of it, and every
task with one."""
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
def files(tmp_path: Path) -> list[Path]:
    return write_files(tmp_path)


def count_of(task: str) -> int:
    return 2 * PER_SEED.get(task, 1)


def options_for(task: str, files: list[Path]) -> dict[str, Any]:
    """For two images of what the pipeline takes, or two pairs."""
    return asked(task, files, {} if task in CONDITIONS else VALUES)[1]


def suited(task: str, *, classifier: bool = False) -> Pipeline:
    """A small pipeline that can do it."""
    return pipeline(conditions=CONDITIONS.get(task, "both"), classifier=classifier)


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
def test_the_request_is_as_long_as_the_options_say(task: str, files: list[Path]) -> None:
    """Places for the images are checked by this number before a model is opened."""
    entry = TASKS[task].task
    options = entry.options(**options_for(task, files))
    assert options.count == entry.request(options, suited(task).model).count == count_of(task)


@pytest.mark.parametrize(("device", "task", "solver"), PLACES, indirect=["device"])
def test_every_step_is_where_the_model_is(task: str, solver: str, device: torch.device, files: list[Path]) -> None:
    """Up to the last latent; images are decoded to the CPU."""
    pipe = suited(task).to(device)
    count = 0
    for step in steps(pipe, task, solver, files):
        count += 1
        assert step.x.device.type == step.x0.device.type == device.type
        assert step.x.shape == step.x0.shape == (count_of(task), 4, 8, 8)
    assert count == {"heun": 2}.get(solver, 4)  # of four calls of the network: two each, but one in the last
    if device.type not in ("meta", "cpu"):
        last, expected = ([*steps(one, task, solver, files)][-1].x.cpu() for one in (pipe, suited(task)))
        assert (last - expected).norm() < 1e-2 * expected.norm()


@pytest.mark.parametrize("task", SAMPLING)
def test_a_classifier_guides_it_where_the_model_is(task: str, device: torch.device, files: list[Path]) -> None:
    """Every task that takes a label; images are each guided to their own, however many are worked on at once."""
    pipe, plain = suited(task, classifier=True).to(device), options_for(task, files)
    options = {**plain, "n": 1, "label": ["star", "circle"]}
    options.pop("labels", None)  # of frames, which are then guided to one each
    guided = [*pipe.steps(task=task, classifier_scale=2.0, **options)][-1]
    assert guided.x.device.type == guided.x0.device.type == device.type
    if device.type == "cpu":
        free, together, alone = (
            pipe.run(task, classifier_scale=scale, batch=batch, **options).tensor
            for scale, batch in ((0.0, 2), (2.0, 2), (2.0, 1))
        )
        assert (together - alone).abs().max() < 1e-4
        assert (together - free).abs().max() > 1e-3


def test_an_image_is_edited_where_the_model_is(device: torch.device, files: list[Path]) -> None:
    """Its latent, the way back to noise, and the solver along it."""
    task, options = edit_image(files, VALUES)
    reached = [*suited(task).to(device).steps(task=task, guidance=2.0, **options)]
    assert [(step.x.device.type, step.x.shape) for step in reached] == [(device.type, (2, 4, 8, 8))] * 4


def steps(pipe: Pipeline, task: str, solver: str, files: list[Path]) -> Iterator[Any]:
    return pipe.steps(task=task, solver=solver, guidance=2.0, **options_for(task, files))


@pytest.mark.parametrize("task", sorted(TASKS.keys() - set(SAMPLING)))
def test_what_does_not_sample_is_there_at_once(task: str, device: torch.device, files: list[Path]) -> None:
    model = suited(task).to(device).model
    entry = TASKS[task].task
    request = entry.request(entry.options(**options_for(task, files)), model)
    assert request.start is not None
    assert request.start[0].device.type == device.type
    assert list(suited(task).steps(task=task, **options_for(task, files))) == []


@pytest.mark.parametrize("task", SAMPLING)
def test_what_samples_says_why_a_first_stage_cannot(task: str, files: list[Path]) -> None:
    with pytest.raises(UsageError, match="small: holds a first stage only"):
        pipeline(conditions="").run(task, **options_for(task, files))
