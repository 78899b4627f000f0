"""Every entry of CONDITIONERS swept through the same checks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentry.conditioning import CONDITIONERS, BuildContext, Cond, Conditioner, where
from latentry.conditioning.arrays import Arrays
from latentry.errors import UsageError
from latentry.kinds import build
from tests.tables.conditioner_cases import CASES, CONTEXT, make


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[Conditioner, list[Any], Any]:
    name, options, values, bad = request.param
    torch.manual_seed(0)
    return build(CONDITIONERS, make(name, options), CONTEXT), values, bad


def shapes(cond: Cond) -> dict[str, tuple[int, ...]]:
    return {name: tuple(part.shape) for name, part in cond.parts().items()}


def test_every_entry_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(CONDITIONERS), "add a case above for the new conditioner"


def test_the_cond_is_what_the_conditioner_announces(case: tuple[Conditioner, list[Any], Any]) -> None:
    """The denoiser is built from these widths before any value is seen."""
    conditioner, values, _ = case
    cond = conditioner.encode(values)
    assert (cond.context is not None) == (conditioner.context_width is not None)
    assert (cond.vector is not None) == (conditioner.vector_width is not None)
    if cond.context is not None:
        assert cond.context.shape[0] == 3
        assert cond.context.shape[2] == conditioner.context_width
    if cond.vector is not None:
        assert cond.vector.ndim in (2, 3)  # of (B, N, E) each is embedded by itself
        assert (cond.vector.shape[0], cond.vector.shape[-1]) == (3, conditioner.vector_width)
    assert (cond.concat.shape[1] if cond.concat is not None else 0) == conditioner.concat_channels


def test_dropping_is_where(case: tuple[Conditioner, list[Any], Any]) -> None:
    """Training drops conditions by `where`, sampling asks with None: both must mean the same null."""
    conditioner, values, _ = case
    cond, null = conditioner.encode(values), conditioner.null(3, values)
    assert shapes(cond) == shapes(null)
    dropped = where(torch.tensor([True, False, True]), cond, null).parts()
    asked = conditioner.encode([values[0], None, values[2]]).parts()
    for name, part in dropped.items():
        torch.testing.assert_close(part, asked[name])
        assert not torch.equal(part[1], cond.parts()[name][1]), "the null says the same as a value"


@pytest.mark.parametrize("keep", [[True, False, True], [False, False, False], [True, True, True]])
def test_training_drops_what_where_would(case: tuple[Conditioner, list[Any], Any], keep: list[bool]) -> None:
    """Arrays encode only what is kept: an image must still have its own row, and others nothing."""
    conditioner, values, _ = case
    wanted = where(torch.tensor(keep), conditioner.encode(values), conditioner.null(3, values)).parts()
    found = conditioner.dropped(values, torch.tensor(keep)).parts()
    assert found.keys() == wanted.keys()
    for name, part in wanted.items():
        torch.testing.assert_close(found[name], part)


def test_values_say_different_things_whatever_else_is_in_the_batch(case: tuple[Conditioner, list[Any], Any]) -> None:
    """A prompt's image must not depend on the other prompts of the batch."""
    conditioner, values, _ = case
    for name, part in conditioner.encode(values).parts().items():
        alone = torch.cat([conditioner.encode([value]).parts()[name] for value in values])
        torch.testing.assert_close(part, alone)
        assert len(torch.unique(part.flatten(1), dim=0)) == 3


def test_options_files_and_weights_are_the_whole_conditioner(case: tuple[Conditioner, list[Any], Any]) -> None:
    """A model folder carries only these: loaded elsewhere, without the data, it must say the same."""
    conditioner, values, _ = case
    options = type(conditioner.options).model_validate_json(conditioner.options.model_dump_json())
    loaded = build(CONDITIONERS, options, BuildContext(files=conditioner.files(), encode=CONTEXT.encode, factor=4))
    loaded.load_state_dict(conditioner.state_dict())
    assert loaded.options == conditioner.options
    assert loaded.files() == conditioner.files()
    for name, part in conditioner.encode([*values, None]).parts().items():
        assert torch.equal(part, loaded.encode([*values, None]).parts()[name])


def test_it_learns_from_values_and_from_the_null(case: tuple[Conditioner, list[Any], Any]) -> None:
    """A null without gradient would leave guidance with noise for its unconditional half."""
    conditioner, values, _ = case
    learned_null = [] if isinstance(conditioner, Arrays) else [[None]]
    if not list(conditioner.parameters()):
        pytest.skip("nothing in it is learned")
    for asked in (values, *learned_null):
        conditioner.zero_grad()
        loss = sum((part * torch.randn_like(part)).sum() for part in conditioner.encode(asked).parts().values())
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in conditioner.parameters())


def test_a_value_that_cannot_be_encoded_is_the_users_mistake(case: tuple[Conditioner, list[Any], Any]) -> None:
    conditioner, values, bad = case
    with pytest.raises(UsageError):
        conditioner.encode([values[0], bad])


def test_arrays_alone_decide_their_size(case: tuple[Conditioner, list[Any], Any]) -> None:
    conditioner, _, _ = case
    if isinstance(conditioner, Arrays):
        with pytest.raises(UsageError, match="nothing was given; this model always takes"):
            conditioner.null(2)


@pytest.mark.parametrize("name", ["class_label", "text", "clip_text"])
def test_data_that_lack_what_it_needs_are_named(name: str) -> None:
    """Training a label model on a folder without labels must stop at once and say what to give."""
    with pytest.raises(UsageError, match=f"{name}.*the data has no"):
        build(CONDITIONERS, make(name, {}), BuildContext())
