"""Every entry of CONDITIONERS makes its own value of a training sample, from the fields that it names.

If these fail, a condition is trained with something else than it is sampled with, or not the same way twice.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from latentry.conditioning import CONDITIONERS, Conditioner, reads_of, values_of
from latentry.data.sample import FIELDS, Boxes, Sample
from latentry.kinds import build
from tests.tables.conditioner_cases import CASES, CONTEXT, make

DRAW = np.random.default_rng(0)
SAMPLE = Sample(
    position=7,
    index=3,
    pixels=DRAW.integers(256, size=(16, 16, 3)).astype(np.uint8),
    caption="a red circle on white",
    label="1",
    boxes=Boxes(np.array([[0, 0, 0.5, 1]], np.float32), ("circle",)),
    semantic=DRAW.integers(2, size=(16, 16)),
    arrays={"neighbours": DRAW.standard_normal((1, 6)).astype(np.float32)},
)
FIELD = {"image": "pixels"}
Case = tuple[str, dict[str, Any], list[Any], Any]
SWEPT = [case for case in CASES if CONDITIONERS[case[0]].conditioner.reads]


def made(case: Case) -> Conditioner:
    conditioner: Conditioner = build(CONDITIONERS, make(case[0], case[1]), CONTEXT)
    return conditioner


def value(conditioner: Conditioner, sample: Sample = SAMPLE, seed: int = 5) -> Any:
    return values_of({"own": conditioner}, seed, sample)["own"]


def test_the_table_says_what_each_class_reads() -> None:
    """A plan must know, before it builds anything, that a folder lacks what a recipe's condition needs."""
    for name, kind in CONDITIONERS.items():
        assert kind.needs(kind.options(kind=name)) <= kind.conditioner.reads | kind.conditioner.may_read
        assert kind.conditioner.reads | kind.conditioner.may_read <= FIELDS
    assert all(kind.conditioner.reads for kind in CONDITIONERS.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_the_class_of_an_entry_is_what_it_builds(case: Case) -> None:
    assert type(made(case)) is CONDITIONERS[case[0]].conditioner


@pytest.mark.parametrize("case", SWEPT, ids=lambda case: f"{case[0]}-{case[1]}")
def test_its_value_can_be_encoded_and_says_something(case: Case) -> None:
    conditioner = made(case)
    cond = conditioner.encode([value(conditioner)])
    null = conditioner.null(1, [value(conditioner)])
    assert all(not torch.equal(part, null.parts()[name]) for name, part in cond.parts().items())


@pytest.mark.parametrize("case", SWEPT, ids=lambda case: f"{case[0]}-{case[1]}")
def test_it_reads_what_it_names_and_nothing_else(case: Case) -> None:
    """With cached latents a sample has these fields alone; a field that nobody named would be None there."""
    conditioner = made(case)
    empty = Sample(SAMPLE.position, SAMPLE.index)
    named = {FIELD.get(name, name) for name in reads_of({"own": conditioner})}
    bare = replace(empty, **{field: getattr(SAMPLE, field) for field in named})
    np.testing.assert_equal(value(conditioner, bare), value(conditioner))
    for field in {FIELD.get(name, name) for name in conditioner.reads}:
        without = replace(SAMPLE, **{field: getattr(empty, field)})
        if field != "pixels":  # without which nothing can be made of it
            assert not value(conditioner, without)


@pytest.mark.parametrize("case", SWEPT, ids=lambda case: f"{case[0]}-{case[1]}")
def test_it_is_made_without_weights_and_can_leave_a_loader_worker(case: Case) -> None:
    """A worker has no GPU, and a tensor of one cannot leave it."""
    conditioner = made(case)
    here = value(conditioner)
    away = pickle.loads(pickle.dumps(value(conditioner.to("meta"))))
    np.testing.assert_equal(away, here)
    parts = here if isinstance(here, tuple) else (here,)
    assert all(isinstance(part, str | np.ndarray) for part in parts)


@pytest.mark.parametrize("case", SWEPT, ids=lambda case: f"{case[0]}-{case[1]}")
def test_it_makes_a_generator_only_to_draw_from_it(case: Case) -> None:
    """Making one for each sample and condition would cost more than the rest of the loader."""
    calls: list[None] = []

    def rng() -> np.random.Generator:
        calls.append(None)
        return np.random.default_rng(0)

    conditioner = made(case)
    conditioner.value(SAMPLE, rng)
    blind = "degradation" in case[1]
    assert len(calls) == (case[0] == "masked" or blind)
    conditioner.value(replace(SAMPLE, mask=np.ones((16, 16), bool)), rng)
    assert len(calls) == (case[0] == "masked") + 2 * blind, "a mask was drawn though the record has one"


def test_the_fields_of_several_conditions_are_read_together() -> None:
    conditioners = {case[0]: made(case) for case in CASES}
    assert reads_of(conditioners) == {"image", "mask", "caption", "label", "boxes", "semantic", "arrays"}
    assert reads_of({}) == frozenset()
