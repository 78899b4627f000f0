"""If these fail, `compile: true` ends a training on a machine that cannot compile, or hides a network's own errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentry.models.modes import compiling
from latentry.models.modes.compiling import compile_or_not

CPU = torch.device("cpu")


class Doubler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            raise RuntimeError("nothing to double")
        return self.weight * x

    def features(self, x: Tensor) -> Tensor:
        return 10 * x


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A compiler that runs what it is given, or fails as torch's does."""
    state: dict[str, Any] = {"fails": False, "calls": 0}

    def compile_(plain: Callable[..., Any]) -> Callable[..., Any]:
        def compiled(*args: Any) -> Any:
            state["calls"] += 1
            if state["fails"]:
                raise torch._dynamo.exc.BackendCompilerFailed(plain, ValueError("cannot lower this\nlong advice"), None)
            return plain(*args)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(compiling, "no_compiler", lambda device: "")
    return state


@pytest.mark.parametrize("fails", [False, True])
def test_a_compiler_that_fails_costs_one_line_and_no_result(fails, compiler):
    compiler["fails"] = fails
    module = Doubler()
    said: list[str] = []
    compile_or_not([(module, "forward"), (module, "features")], "here", CPU, said.append)
    for _ in range(3):
        assert module(torch.ones(2)).tolist() == [2, 2]
        assert module.features(torch.ones(1)).item() == 10
    assert compiler["calls"] == (2 if fails else 6)
    assert len(said) == 2 * fails
    assert all("cannot lower this" in line and "\n" not in line for line in said)
    assert list(module.state_dict()) == ["weight"]


def test_an_error_of_the_network_itself_is_told(compiler):
    module = Doubler()
    compile_or_not([(module, "forward")], "here", CPU, lambda _: None)
    with pytest.raises(RuntimeError, match="nothing to double"):
        module(torch.ones(0))


def test_a_missing_compiler_is_told_before_anything_is_traced(monkeypatch):
    monkeypatch.setattr(compiling, "no_compiler", lambda device: "no working C++ compiler")
    monkeypatch.setattr(torch, "compile", lambda plain: pytest.fail("traced"))
    said: list[str] = []
    compile_or_not([(Doubler(), "forward")], "here", CPU, said.append)
    assert said == ["here: not compiled, runs as it is (no working C++ compiler)"]
