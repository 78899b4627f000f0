"""If these fail, an editor shows nothing of `lt.train`, or it is a module that pretends to be a function."""

from __future__ import annotations

import inspect

import latentry as lt


def test_train_is_a_function_with_a_signature() -> None:
    assert inspect.isfunction(lt.train)
    parameters = inspect.signature(lt.train).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    assert list(parameters)[:4] == ["recipe", "data", "out", "overrides"]
    assert {"stage", "device", "dry_run", "report", "progress", "accept_data_change", "plugins"} < parameters.keys()
