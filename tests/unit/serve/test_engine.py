"""If these fail, a picture depends on who else asks at that moment, or one request harms another."""

from __future__ import annotations

import numpy as np
import torch

from latentry.data.files.saving import quantise
from latentry.serve.engine.sharing import Call
from tests.unit.serve.engines import ended, engine, pipeline, ticket


def test_a_seed_alone_is_the_seed_in_a_mixed_batch():
    """Other texts, steps, solvers, guidance and numbers of images beside it change nothing but the last bits."""
    with engine(batch=16) as one:
        mixed = [
            ticket(5, steps=6),
            ticket(6, steps=4, solver="heun"),
            ticket(7, n=3, steps=9, guidance=1.0),
            ticket(8, text=None, steps=5, solver="ddpm"),
            ticket(9, steps=6, size=24),
        ]
        for each in mixed:
            one.submit(each)
        drawn = [ended(each).output for each in mixed]
    pipe = pipeline()
    for each, output in zip(mixed, drawn, strict=True):
        assert output is not None, each.error
        alone = pipe.run("generate", **each.options)
        assert (output.tensor - alone.tensor).abs().max() < 1e-4
        values = [quantise(one.tensor.numpy(), 8).astype(int) for one in (output, alone)]
        differ = np.abs(values[0] - values[1])
        assert differ.max() <= 1
        assert (differ > 0).mean() <= 0.001
        assert [facts["seed"] for facts in output.facts] == [facts["seed"] for facts in alone.facts]


def test_calls_of_several_requests_are_one():
    rows: list[float] = []
    with engine(batch=16) as one:
        assert one.ready.wait(60)
        one.counted = lambda what, much: rows.append(much) if what == "rows" else None
        one._changed.acquire()  # so that all wait before the first is taken
        tickets = [ticket(seed, steps=4) for seed in range(6)]
        for each in tickets:
            one._queue.put(each)
        one._changed.notify()
        one._changed.release()
        for each in tickets:
            ended(each)
    assert rows == [12.0] * 4  # with guidance two rows an image


def test_unequal_calls_stay_apart():
    from latentry.serve.engine.sharing import groups

    def call(size: int, rows: int = 2, **how: object) -> Call:
        return Call(sum, torch.zeros(rows, 4, size, size), torch.zeros(rows), how, False, False)

    calls = [call(4), call(8), call(4), call(4, edits={"a": None}), call(4, 3)]
    assert groups(calls, 7) == [[0, 2, 4], [1], [3]]
    assert groups(calls, 6) == [[0, 2], [1], [3], [4]]
