"""If these fail, `import latentry as lt` does not offer what the README says, in one order of imports or another."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import latentry

ORDERS = [
    "import latentry as lt",
    "import latentry as lt; import latentry.training.plan.recipes",
    "import latentry.training.run; import latentry as lt",
    "import latentry as lt; lt.train; from latentry.training.run import train; import latentry.training as t; t.run",
]


@pytest.mark.parametrize("order", ORDERS)
def test_train_can_be_called_after_any_imports(order):
    code = f"{order}\ntry:\n    lt.train('no-such')\nexcept Exception as error:\n    print(type(error).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "UsageError"


def test_load_is_there_and_nothing_else():
    assert callable(latentry.load)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        latentry.lod  # noqa: B018


def test_train_is_a_plain_function_whose_signature_says_what_it_takes():
    """Editors complete its arguments, and a misspelt one is an error before anything is read."""
    assert inspect.isfunction(latentry.train)
    parameters = inspect.signature(latentry.train).parameters
    assert list(parameters)[:4] == ["recipe", "data", "out", "overrides"]
    assert {"stage", "device", "dry_run", "report", "progress", "accept_data_change", "plugins"} <= parameters.keys()
    assert not [p for p in parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert all(p.annotation is not p.empty for p in parameters.values())


def test_evaluate_is_a_plain_function_too():
    import latentry.evaluation.run  # the folder has another name than the function

    assert inspect.isfunction(latentry.evaluate)
    parameters = inspect.signature(latentry.evaluate).parameters
    assert list(parameters)[:2] == ["model", "data"]
    assert not [p for p in parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
