"""A mode: what does not change what a network computes, but how fast, and its last digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from latentry.errors import UsageError, did_you_mean, shown

if TYPE_CHECKING:
    import torch
    from torch import nn

AUTO = "auto"
PRECISIONS = ("fp32", "bf16")
LONGEST = 100
MARK = "_latentry_mode"


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True)
class Mode:
    """precision: of the network; everything around it is fp32. channels_last: a pixel's channels side by side.

    compile: by torch's compiler, block by block; without a C++ compiler as it is. frozen: weights kept as the fastest
    kernels want them: laid out anew and, in bf16, rounded once instead of at each step. It takes their memory again.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    frozen: bool = False

    @classmethod
    def parse(cls, text: str, where: str = "mode") -> Mode:
        """`fp32`, `bf16,channels_last,compile,frozen`: a precision (fp32 where there is none), and what else is on.

        Raises UsageError.
        """
        words = [word.strip() for word in text[:LONGEST].split(",")]
        for word in words:
            if word not in WORDS or words.count(word) > 1:
                found = "twice" if words.count(word) > 1 else f"unknown{did_you_mean(word, WORDS)}"
                raise UsageError(
                    f'{where}: "{shown(word)}" is {found}; accepted: {AUTO}, or of {", ".join(WORDS)} one or several, '
                    "as in bf16,channels_last. Leave the option out for the usual one."
                )
        if set(PRECISIONS) <= set(words):
            raise UsageError(f"{where}: {shown(text)}; fp32 and bf16 exclude each other. Name one of them.")
        return cls("bf16" if "bf16" in words else "fp32", **{switch: switch in words for switch in SWITCHES})

    def __str__(self) -> str:
        return ",".join([self.precision, *(switch for switch in SWITCHES if getattr(self, switch))])

    def but(self, **changes: Any) -> Mode:
        """The same mode with other parts."""
        return replace(self, **changes)

    def apply(self, network: nn.Module, report: Callable[[str], None] = _silent) -> None:
        """Have a network, such as a `UNet`, compute in this mode from now on, whatever its mode was before.

        Its weights, their names and its arguments stay what they are. In bf16 it is called within `devices.autocast`.
        report: called with a line where it cannot be compiled.
        """
        import torch

        from latentry.models.modes.packed import pack, unpack
        from latentry.models.modes.regions import compile_regions, plain_regions

        before = mode_of(network)
        if self == before:
            return
        plain_regions(network)
        unpack(network)
        if self.channels_last != before.channels_last:
            format = torch.channels_last if self.channels_last else torch.contiguous_format
            network.to(memory_format=format)  # type: ignore[call-overload]
        if self.frozen:
            pack(network, torch.bfloat16 if self.precision == "bf16" else torch.float32, self.channels_last)
        if self.compile:
            compile_regions(network, self, next(network.parameters()).device, report)
        network.__dict__[MARK] = self


def mode_of(network: nn.Module) -> Mode:
    """The mode that a network is in."""
    found: Mode = network.__dict__.get(MARK, PLAIN)
    return found


SWITCHES = tuple(field.name for field in fields(Mode) if field.name != "precision")
WORDS = (*PRECISIONS, *SWITCHES)
PLAIN = Mode()


def checked(mode: str | Mode | None, where: str = "mode") -> str | Mode | None:
    """A mode, `auto`, or None for the usual one. Raises UsageError."""
    return Mode.parse(mode, where) if isinstance(mode, str) and mode != AUTO else mode


def usual(device: torch.device) -> Mode:
    """The mode where none is asked for: fixed for each kind of device, so that a seed shows the same picture.

    On a CPU with oneDNN prepacked weights, which change rounding alone.
    """
    from latentry.devices import prepacks

    return Mode(channels_last=True, frozen=True) if prepacks(device) else PLAIN
