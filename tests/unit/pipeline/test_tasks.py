"""If these fail, a new task needs more than its file and its line, or begins elsewhere than it says."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.diffusion.schedule import CLEAN, Level
from latentry.errors import UsageError
from latentry.models.model import Model
from latentry.pipeline import Pipeline
from latentry.tasks import TASKS, Entry, PerImage, Request, Task
from latentry.tasks.sampling import CONDITIONS, Sampling, no_denoiser, values_and_seeds
from tests.unit.pipeline.small_pipelines import pipeline

PROMPT = "a red circle"


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline()


def task_of(monkeypatch: pytest.MonkeyPatch, request: Any, **parts: Any) -> None:
    """A task `toy` that is asked for as `generate` is."""
    monkeypatch.setitem(TASKS, "toy", Entry("toy", "Try it.", Task(Sampling, request, no_denoiser, **parts)))


def test_a_task_is_a_line_in_the_table(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def request(options: Sampling, model: Model) -> Request:
        values, seeds = values_and_seeds(options, model)
        return Request(values, seeds, (16, 32), facts=[{"name": f"toy-{seed}"} for seed in seeds])

    def flipped(images: Tensor, request: Request) -> Tensor:
        assert request.count == len(images) == 3
        return images.flip(-1)

    task_of(monkeypatch, request, finish=flipped)
    found = pipe.run("toy", text=PROMPT, n=3, seed=5, batch=2, guidance=3.0)
    plain = pipe.sample(PROMPT, n=3, seed=5, batch=2, guidance=3.0, size=(16, 32))
    assert torch.equal(found.tensor, plain.tensor.flip(-1))
    assert found.facts[1] == {"name": "toy-6", **plain.facts[1]}
    assert len(list(pipe.steps(PROMPT, task="toy", steps=3))) == 3
    with pytest.raises(UsageError, match=r"toy: steps: found 0; accepted: greater than or equal to 1"):
        pipe.run("toy", steps=0)


def test_a_task_that_is_not_there(pipe: Pipeline) -> None:
    with pytest.raises(UsageError, match=r'task: no "generat"; known: .*did you mean "generate"'):
        pipe.run("generat")


def test_sampling_goes_on_from_the_start_of_a_request(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the latents and level in the middle of a sampling to its very end."""
    how: dict[str, Any] = {"n": 3, "seed": 2, "steps": 6, "solver": "ddim", "guidance": 2.0}
    steps = list(pipe.steps(PROMPT, **how))
    middle = steps[2]

    def request(options: Sampling, model: Model) -> Request:
        values, seeds = values_and_seeds(options, model)
        return Request(values, seeds, (16, 16), start=(middle.x, middle.level))

    task_of(monkeypatch, request)
    rest = list(pipe.steps(PROMPT, task="toy", **how))
    assert [step.level for step in rest] == [step.level for step in steps[3:]]
    assert torch.allclose(rest[-1].x, steps[-1].x, atol=1e-5)
    seen: list[tuple[int, int]] = []
    images = pipe.run("toy", text=PROMPT, batch=2, progress=lambda *place: seen.append(place), **how)
    assert seen == [(i, 6) for i in range(1, 7)]
    assert (images.tensor - pipe.sample(PROMPT, **how).tensor).abs().max() < 1e-4


def test_a_start_at_the_clean_end_is_the_result(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    task_of(monkeypatch, lambda options, model: Request({}, (), (16, 16), start=(z, CLEAN)))
    out = pipe.run("toy")
    assert torch.equal(out.tensor, ((pipe.decode(z) + 1) / 2).clamp(0, 1))
    assert out.facts[0].keys() == {"model", "software"}


def test_wraps_are_applied_in_order_around_guidance(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one sees what all the others made of the prediction, and what it gives is what the solver walks by."""
    calls: list[str] = []

    def wrap(name: str, change: Any) -> Any:
        def around(denoise: Any) -> Any:
            def changed(x: Tensor, level: Level) -> Tensor:
                x0 = denoise(x, level)
                calls.append(name)
                return change(x0)

            return changed

        return around

    def request(options: Sampling, model: Model) -> Request:
        wraps = wrap("double", lambda x0: 2 * x0), wrap("one more", lambda x0: x0 + 1)
        return Request(*values_and_seeds(options, model), (16, 16), wrap=wraps)

    task_of(monkeypatch, request)
    plain = next(pipe.steps(PROMPT, guidance=3.0))
    first = next(pipe.steps(PROMPT, task="toy", guidance=3.0))
    assert torch.allclose(first.x0, 2 * plain.x0 + 1, atol=1e-5)
    assert calls == ["double", "one more"]


def test_a_wrap_may_hold_something_for_each_image(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask of the third image must not fall on the first of the second batch."""
    levels = torch.tensor([-0.5, 0.0, 0.5])

    def make(held: Tensor) -> Any:
        return lambda denoise: lambda x, level: 0 * denoise(x, level) + held.view(-1, 1, 1, 1)

    def request(options: Sampling, model: Model) -> Request:
        return Request(*values_and_seeds(options, model), (16, 16), wrap=(PerImage(make, levels),))

    task_of(monkeypatch, request)
    z = levels.view(-1, 1, 1, 1).expand(3, 4, 8, 8)
    expected = ((pipe.decode(z) + 1) / 2).clamp(0, 1)
    for batch in (1, 2, 3):
        images = pipe.run("toy", text=PROMPT, n=3, batch=batch, steps=2, solver="ddim").tensor
        assert torch.allclose(images, expected, atol=1e-5)


def test_the_signature_of_sample_is_that_of_its_options() -> None:
    """Defaults are written a second time there, for editors: they must not say something else."""
    fields, parameters = TASKS["generate"].task.options.model_fields, inspect.signature(Pipeline.sample).parameters
    named = {name: field for name, field in fields.items() if name == "text" or name not in CONDITIONS}
    assert named.keys() == parameters.keys() - {"self", "batch", "bf16", "mode", "progress", "conditions"}
    assert {name: parameters[name].default for name in named} == {name: f.default for name, f in named.items()}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": "16x"}, r'sample: size: found "16x"; accepted: HEIGHTxWIDTH'),
        ({"size": (16, 16, 16)}, "sample: size: "),
        (
            {"n": 0, "seed": -2},
            r"(?s)sample: 2 errors.*n: 0; ask for at least one image.*seed: -2; seeds are 0 or above",
        ),
        ({"n": "many"}, 'sample: n: found "many"; accepted: integer'),
        ({"setps": 4}, r'setps: this model takes no such condition; it takes: text, label \(did you mean "steps"\?\)'),
    ],
    ids=str,
)
def test_options_are_checked_by_their_class(pipe: Pipeline, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        pipe.sample(PROMPT, **options)
    with pytest.raises(UsageError, match=text):
        pipe.steps(PROMPT, **options)


def test_a_solver_by_name_with_options_or_as_the_model_has_it(pipe: Pipeline) -> None:
    own = pipe.config.sample.solver
    named: list[list[Any]] = [
        [own.kind, {"kind": own.kind}, own],
        ["ddim", {"kind": "ddim"}, {"kind": "ddim", "eta": 0}],
    ]
    for ways in named:
        first, *others = (pipe.sample(PROMPT, solver=way).tensor for way in ways)
        assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, pipe.sample(PROMPT, solver={"kind": "ddim", "eta": 1.0}).tensor)


def test_sizes_may_be_written(pipe: Pipeline) -> None:
    assert pipe.sample(size="32x16").tensor.shape == (1, 3, 32, 16)
    assert torch.equal(pipe.sample(size="32").tensor, pipe.sample(size=(32, 32)).tensor)
