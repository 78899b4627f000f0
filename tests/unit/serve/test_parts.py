"""If these fail, the queue is unfair, a model in use is dropped, or a batch in bf16 is another image."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from latentry.errors import UsageError
from latentry.serve.engine.models import Models
from latentry.serve.engine.queue import FairQueue, Full
from latentry.serve.engine.strand import Strand
from latentry.serve.run import name_of
from tests.unit.pipeline import small_pipelines
from tests.unit.serve.engines import ended, engine, pipeline, ticket


def test_keys_take_turns():
    queue = FairQueue(6)
    for key in "aaabbc":
        queue.put(ticket(key=key))
    with pytest.raises(Full):
        queue.put(ticket(key="d"))
    assert "".join(queue.take().key for _ in range(6)) == "abcaba"
    assert len(queue) == 0


def test_a_line_is_left_and_changed():
    queue, tickets = FairQueue(9), [ticket(seed) for seed in range(4)]
    for each in tickets:
        queue.put(each)
    assert queue.remove(tickets[1])
    assert not queue.remove(tickets[1])
    assert queue.move(tickets[3], 0)
    assert [queue.place(each) for each in tickets] == [1, None, 2, 0]
    assert queue.empty() == [tickets[3], tickets[0], tickets[2]]
    assert queue.first() is None


def test_the_model_that_was_not_used_for_longest_goes():
    models = Models(dict.fromkeys("abc", pipeline), keep=2)
    assert models.opened == ["b", "c"]
    models.use("b")
    assert models.get("a").source == "a"
    assert models.opened == ["b", "a"]
    models.use("a")
    assert not models.has_room("c")
    models.leave("b")
    assert models.has_room("c")
    models.get("c")
    assert models.opened == ["a", "c"]
    with pytest.raises(UsageError, match="did you mean"):
        Models({"emoji": pipeline}, 1).name_of("emojis")


def test_a_strand_stands_still_where_it_asks():
    seen = []

    def function(strand: Strand) -> None:
        seen.append(strand.ask("one"))
        try:
            strand.ask("two")
        except KeyError:
            seen.append("told")
        raise ValueError("its end")

    strand = Strand(function)
    assert strand.go_on() == "one"
    assert seen == []
    assert strand.go_on("answer") == "two"
    with pytest.raises(ValueError, match="its end"):
        strand.go_on(error=KeyError())
    assert seen == ["answer", "told"]
    assert strand.ended


def test_bf16_alone_is_bf16_in_a_mixed_batch():
    """Over 50 dB of signal to noise between them."""
    with engine(batch=8, bf16=True) as one:
        mixed = [ticket(5, steps=4), ticket(6, steps=7), ticket(7, n=2, steps=3)]
        for each in mixed:
            one.submit(each)
        drawn = [ended(each).output for each in mixed]
    for each, output in zip(mixed, drawn, strict=True):
        assert output is not None
        alone = pipeline().run("generate", bf16=True, **each.options)
        noise = (output.tensor - alone.tensor).square().mean().clamp(min=1e-12)
        assert 10 * torch.log10(1 / noise) > 50


@pytest.mark.parametrize(
    "task",
    [
        {"text": "a red circle", "to": "a blue square", "task": "edit"},
        {"label": "star", "classifier_scale": 2.0},
        {"text": "a red circle", "guidance_interval": (0.2, 0.8), "steps": 8},
        {"text": "a red circle", "tile": 8, "size": 24},
        {"task": "interpolate", "seeds": ["1", "2"], "frames": 3, "text": None, "label": "star"},
    ],
    ids=["attention edited", "a classifier's gradient", "guidance at times", "in tiles", "frames"],
)
def test_all_ways_of_drawing_can_share_the_network(task):
    """Beside a plain request of another number of steps they give what they give alone."""
    small = small_pipelines.pipeline(classifier=True)
    with engine(batch=8) as one:
        one.models.named["small"] = lambda: small_pipelines.pipeline(classifier=True)
        one.models._open.clear()
        plain, other = ticket(3, steps=9), ticket(4, **task)
        one.submit(plain)
        one.submit(other)
        outputs = [ended(each).output for each in (plain, other)]
    for each, output in zip((plain, other), outputs, strict=True):
        assert output is not None, each.error
        assert (output.tensor - small.run(each.task, **each.options).tensor).abs().max() < 1e-4


def test_a_request_that_fails_harms_no_other():
    """Nor does one that is cancelled; the engine goes on."""
    with engine(batch=8) as one:
        good, bad, gone = ticket(1, steps=6), ticket(2, label="nothing"), ticket(3, steps=900)
        for each in (good, bad, gone):
            one.submit(each)
        assert isinstance(ended(bad).error, UsageError)
        assert ended(good).state == "completed"
        one.cancel(gone)
        assert ended(gone).state == "cancelled"
        assert one.drawing == 0
        one.submit(again := ticket(1, steps=6))
        output, before = ended(again).output, good.output
    assert output is not None
    assert before is not None
    assert torch.allclose(output.tensor, before.tensor, atol=1e-4)


def test_names_of_models(tmp_path):
    run = tmp_path / "runs" / "mine"
    (run / "model").mkdir(parents=True)
    (run / "recipe.yaml").touch()
    assert name_of(run / "model") == name_of(run) == "mine"


def test_help_needs_none_of_it():
    """The extra is for those who serve; without it, the command says so in a line."""
    code = (
        "import sys, importlib.abc\n"
        "class Without(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('fastapi', 'uvicorn', 'starlette'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "import latentry\n"
        "import importlib.util\n"
        "importlib.util.find_spec = lambda name: None\n"
        "from latentry.cli import run\n"
        "assert run(['--help']) == 0\n"
        "sys.exit(run(['serve', 'models/emoji']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "pip install 'latentry[serve]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
