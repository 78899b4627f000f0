"""If these fail, a number that no machine can serve is believed: it takes all memory, or hours, before an error."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import latentry
from latentry import config
from latentry.errors import UsageError
from latentry.kinds import Options
from latentry.models.config import AutoencoderOptions, UNetOptions
from latentry.tasks.options import Between
from latentry.training.plan.recipes import load
from latentry.training.recipe.memory import check_memory, of_machine
from tests.unit.pipeline import small_pipelines

UNBOUNDED = {
    "Reconstruct.images": "paths that stand on a command line, each for itself",
}
"""Fields whose size something else bounds."""


def classes() -> list[type[BaseModel]]:
    """Every class of options in the package."""
    for module in pkgutil.walk_packages(latentry.__path__, "latentry."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set[type[BaseModel]](), [Options]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.startswith("latentry."):
            found.add(one)
    return sorted(found, key=lambda one: one.__qualname__)


def notes_of(metadata: Any) -> set[str]:
    """Which bounds some metadata sets."""
    found = set[str]()
    for note in metadata:
        if isinstance(note, FieldInfo):
            found |= notes_of(note.metadata)
        elif isinstance(note, Between):
            found |= {"low", "high"}
        elif hasattr(note, "table"):
            found.add("table")
        else:
            names = {"ge": "low", "gt": "low", "le": "high", "lt": "high", "max_length": "length"}
            found |= {name for key, name in names.items() if getattr(note, key, None) is not None}
    return found


def unbounded(kind: Any, notes: set[str]) -> Iterator[str]:
    """What of a type has no bound. notes: the bounds that are set around it."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *metadata = get_args(kind)
        yield from unbounded(inner, notes | notes_of(metadata))
    elif "table" in notes or origin is Literal or kind in (Any, bool, type(None), Ellipsis):
        return
    elif origin in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from unbounded(inner, notes)
    elif kind in (int, float):
        if not {"low", "high"} <= notes:
            yield kind.__name__
    elif origin in (list, dict, tuple, set, frozenset, Mapping) or kind in (list, dict, tuple):
        fixed = origin is tuple and Ellipsis not in get_args(kind)
        if not fixed and "length" not in notes:
            yield str(kind)
        for inner in get_args(kind):
            yield from unbounded(inner, set())


@pytest.mark.parametrize("options", classes(), ids=lambda one: one.__qualname__)
def test_every_option_has_a_bound(options: type[BaseModel]) -> None:
    """Add one from `latentry.bounds` to the field that is named here. Texts have that of `Options`."""
    assert options.model_config["str_max_length"] == 100_000
    without = {
        f"{options.__qualname__}.{name}": found
        for name, field in options.model_fields.items()
        if (found := list(unbounded(field.annotation, notes_of(field.metadata))))
    }
    assert without.keys() <= UNBOUNDED.keys(), without


ABSURD = [
    "autoencoder.channels=1e9",
    "autoencoder.channels=100000000000",
    "autoencoder.multipliers=[1,2,100000]",
    "autoencoder.multipliers=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
    "autoencoder.codes=1000000000",
    "autoencoder.objective.discriminator={layers: 1000}",
    "diffusion.schedule={kind: linear, steps: 1000000000}",
    "diffusion.unet.heads=1000000000",
    "diffusion.unet.transformer_depth=1000000",
    "diffusion.conditioning={text: {kind: text, length: 1000000000}}",
    "diffusion.conditioning={text: {kind: text, vocabulary: 1000000000000}}",
    "diffusion.conditioning={label: {kind: class_label, width: 1000000000}}",
    "diffusion.train.batch=1000000000",
    "diffusion.train.workers=100000",
    "diffusion.train.lr=1e300",
    "data.size=1000000",
    "data.channels=1000000",
    "sample.steps=1000000000000",
    "sample.guidance=1e30",
    f"seed={'9' * 300}",
    f"seed={'9' * 5000}",
    f"name={'x' * 200_000}",
]


@pytest.mark.parametrize("change", ABSURD, ids=range(len(ABSURD)))
def test_absurd_values_are_refused_in_one_short_line(change: str) -> None:
    with pytest.raises(UsageError) as caught:
        load("tiny-shapes", [change])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert change.partition("=")[0].split(".")[-1] in str(caught.value)


def test_a_product_that_no_machine_could_hold_is_refused() -> None:
    """Though each factor is one that somebody could want."""
    wide = {"channels": 32_768, "multipliers": [1, 2, 8], "norm_groups": 32}
    for options in (AutoencoderOptions, UNetOptions):
        with pytest.raises(UsageError, match=r"make a network of about \de\+1\d parameters; at most 5e\+10"):
            config.validate(options, wide, "m")
    with pytest.raises(UsageError, match="layers; at most 10000"):
        config.validate(UNetOptions, {"channels": 32, "blocks": 200, "transformer_depth": 100}, "m")
    with pytest.raises(UsageError, match="images of 16384x16384 in 512 channels at once do not fit in any memory"):
        load("tiny-shapes", {"data.size": 16384, "data.channels": 512, "diffusion.train.batch": 4096})


def test_a_value_of_python_may_be_anything() -> None:
    """Numbers that cannot be written out, words of a megabyte, things that are no options at all."""
    for value in (
        10**6000,
        -(10**6000),
        "x" * 1_000_000,
        [0] * 1_000_000,
        object(),
        {1: {2: [3]}},
        b"\xff",
        float("nan"),
    ):
        for key in (
            "seed",
            "data.size",
            "autoencoder.kind",
            "diffusion.schedule",
            "sample.solver",
            "judge",
            "nonsense",
        ):
            with pytest.raises(UsageError) as caught:
                load("tiny-shapes", {key: value})
            assert max(map(len, str(caught.value).splitlines())) < 600


def test_what_does_not_fit_this_machine_is_refused_before_it_takes_its_memory() -> None:
    """In a container a network too large would end in a kill without a word."""
    recipe, small = load("tiny-shapes"), 2**20
    check_memory(recipe)
    with pytest.raises(UsageError, match=r"autoencoder: a network of about .* GiB; this machine has 0 GiB of memory"):
        check_memory(recipe, small)
    many = load("tiny-shapes", {"autoencoder.train.batch": 100_000})
    with pytest.raises(
        UsageError, match=r"autoencoder.train: 100000 images of 64x64 at once are 5 GiB; this machine has 4"
    ):
        check_memory(many, 4 * 2**30)
    assert 0 < (of_machine() or 1) < 2**60


def test_a_request_whose_images_no_memory_holds_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"n: 1000000 images of 1024x1024 are 3e\+12 numbers; at most 3e\+10 at a time"
    ):
        small_pipelines.pipeline().sample("a red circle", n=10**6, size=1024)
