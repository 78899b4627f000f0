"""If these fail, an image gets another seed or condition than was asked for, or a wrong request is not told."""

from __future__ import annotations

from typing import Any

import pytest

from latentry import config
from latentry.errors import UsageError
from latentry.tasks import TASKS, Request
from tests.unit.pipeline.small_pipelines import pipeline

GENERATE = TASKS["generate"].task
MODEL = pipeline().model


def ask(conditions: dict[str, Any], n: int = 1, seed: int = 0, size: Any = (8, 8)) -> Request:
    tree = {**conditions, "n": n, "seed": seed, "size": size}
    return GENERATE.request(config.validate(GENERATE.options, tree, "generate"), MODEL)


def test_each_value_gets_its_images_in_order_and_each_image_its_seed():
    request = ask({"text": ["a", "b"], "label": 3}, n=2, seed=5)
    assert request.values == {"text": ["a", "a", "b", "b"], "label": [3, 3, 3, 3]}
    assert request.seeds == [5, 6, 7, 8]


def test_nothing_asked_is_no_condition():
    request = ask({"text": None}, n=3)
    assert request.values == {}
    assert len(request.seeds) == 3


@pytest.mark.parametrize(
    ("how", "part"),
    [
        ({"conditions": {"txt": "a"}}, 'takes no such condition; it takes: text, label (did you mean "text"?)'),
        ({"conditions": {"text": ["a", "b", "c"], "label": [1, 2]}}, "label: 2 values where others have 3"),
        ({"conditions": {"text": []}}, "text: an empty list"),
        ({"conditions": {}, "n": 0}, "at least one image"),
        ({"conditions": {}, "n": 10**9}, "at most"),
        ({"conditions": {}, "seed": -1}, "0 or above"),
        ({"conditions": {}, "size": (8, 200_000)}, "131072"),
    ],
)
def test_wrong_requests(how, part):
    with pytest.raises(UsageError) as caught:
        ask(**how)
    assert part in str(caught.value)
