"""Compiled networks where the machine can compile, the same networks as they are where it cannot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Part = tuple[nn.Module, str]


def compile_or_not(parts: list[Part], what: str, device: torch.device, report: Callable[[str], None]) -> None:
    """Compile methods of modules (`forward` is the call), keeping the names of their weights.

    Where there is no compiler, or it fails at the first call, one line is reported and the rest runs as it is.
    """
    missing = no_compiler(device)
    if missing:
        report(f"{what}: not compiled, runs as it is ({missing})")
        return
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")  # fp32 is fp32 here, and means to be
    for module, method in parts:
        _compile(module, method, what, report)


def no_compiler(device: torch.device) -> str:
    """Why this machine cannot compile for `device`, or an empty text: asked first, because tracing takes minutes."""
    if device.type != "cpu":
        return ""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler
    except ImportError:
        return ""
    try:
        get_cpp_compiler()
    except Exception as error:
        if not from_compiler(error):
            raise
        return "no working C++ compiler"
    return ""


def _compile(module: nn.Module, method: str, what: str, report: Callable[[str], None]) -> None:
    whole = method == "forward"
    plain: Callable[..., Any] = module._call_impl if whole else getattr(module, method)
    compiled = torch.compile(plain)

    def place(call: Callable[..., Any] | None) -> None:
        if whole:
            module._compiled_call_impl = call
        else:
            setattr(module, method, call or plain)

    def attempt(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except Exception as error:
            if not from_compiler(error):
                raise
            place(None)
            report(f"{what}: {method} not compiled, runs as it is ({reason(error)})")
        return plain(*args, **kwargs)

    place(attempt)


def from_compiler(error: BaseException) -> bool:
    """Whether an error was raised by torch's compiler, and not by what it compiled."""
    return any(kind.__module__.startswith(("torch._dynamo", "torch._inductor")) for kind in type(error).__mro__)


def reason(error: BaseException) -> str:
    """The first line of what the compiler says, without the advice below it."""
    inner = getattr(error, "inner_exception", error)
    text = next((line.strip() for line in str(inner).splitlines() if line.strip()), "")
    return f"{type(inner).__name__}: {text}"[:160]
