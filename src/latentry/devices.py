"""Which device computes, and in which number formats: the one place that says so.

fp32 is fp32: TF32 is off, so that a GPU gives the numbers of a CPU. Only a training in bf16 turns it on, for what stays
in fp32 beside bf16.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from latentry.errors import UsageError, did_you_mean, shown

AUTO = "auto"
KINDS = ("cuda", "mps", "cpu")
"""In the order in which `auto` looks for them."""
VARIABLE = "LATENTRY_DEVICE"
"""Of the environment: the device that `auto` means."""
GIB, MIB = 2**30, 2**20
ONEDNN = bool(torch.backends.mkldnn.is_available())
MMAP_THRESHOLD, TOP_PAD, TRIM_THRESHOLD = -3, -2, -1
"""Of glibc's mallopt(3)."""
CHOSEN = ("MALLOC_", "GLIBC_TUNABLES")
"""Variables of the environment by which a user chooses how glibc keeps memory; nothing is changed then."""


def choose(name: str | torch.device = AUTO) -> torch.device:
    """The device called `name`: `auto` (the best there is), `cuda`, `cuda:1`, `mps` or `cpu`.

    Raises UsageError for a name of no device, and for a device that is not there.
    """
    text = str(name)
    if text == AUTO:
        text = os.environ.get(VARIABLE) or AUTO
    if text == AUTO:
        return torch.device(next(kind for kind in KINDS if _count(kind)))
    kind, _, number = text.partition(":")
    accepted = ", ".join((AUTO, *KINDS, "cuda:1"))
    if kind not in KINDS or (number and not (number.isascii() and number.isdigit() and len(number) < 10)):
        raise UsageError(f'device: no "{shown(text)}"; known: {accepted}{did_you_mean(text, (AUTO, *KINDS))}')
    count = _count(kind)
    if not count:
        there = ", ".join(other for other in KINDS if _count(other))
        raise UsageError(f"device: there is no {kind} device for torch {torch.__version__} here; there is {there}")
    if int(number or 0) >= count:
        raise UsageError(f"device: {text}; {kind} devices here go from {kind}:0 to {kind}:{count - 1}")
    return torch.device(text)


def described(device: torch.device) -> str:
    """A device in words, so that nobody waits on a CPU who believes to have a GPU."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        unseen = "" if any(_count(kind) for kind in KINDS[:-1]) else f"; torch {torch.__version__} sees no GPU here"
        threads = torch.get_num_threads()
        return f"cpu, {threads} thread{'s' * (threads > 1)}{unseen}"
    return str(device)


def _count(kind: str) -> int:
    """How many devices of a kind there are."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return 1


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Networks in bf16 for `bf16`, in fp32 for `fp32`, also inside of the other. Weights stay fp32 either way."""
    if precision != "bf16" and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def set_formats(device: torch.device, precision: str) -> None:
    """TF32 for what stays fp32 in a training of this precision; see above."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "bf16"


class _Undrawn(TorchFunctionMode):
    """Draws no first weights: torch would load its compiler, which takes seconds, to draw numbers that lie nowhere."""

    DRAWN = frozenset({torch.nn.init.normal_, torch.nn.init.uniform_, torch.nn.init.kaiming_uniform_,
        torch.Tensor.normal_, torch.Tensor.uniform_})  # fmt: skip

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {} if kwargs is None else kwargs
        if func in self.DRAWN:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def without_weights() -> Iterator[None]:
    """Networks made within have shapes alone (torch's `meta`): weights come from files, or nobody asks for them."""
    with torch.device("meta"), _Undrawn():
        yield


def prepacks(device: torch.device, dtype: torch.dtype = torch.float32) -> bool:
    """Whether weights can be laid out once for the kernels there: by oneDNN on a CPU, in bf16 with AVX512 alone."""
    if device.type != "cpu" or not ONEDNN:
        return False
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16; a CPU without AVX512 imitates it, far slower than fp32."""
    return fast_bf16(device) is not False and (device.type != "cpu" or prepacks(device, torch.bfloat16))


def fast_bf16(device: torch.device) -> bool | None:
    """Whether bf16 is faster than fp32 on a device; None where only timing can say."""
    return bool(torch.cuda.is_bf16_supported()) if device.type == "cuda" else None


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished its work, so that a clock measures all of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def waits(device: torch.device) -> bool:
    """Whether whoever looks at a number waits until the device has done all that was asked of it before."""
    return device.type == "cuda"


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device; what is in page-locked memory travels while the device works on."""
    pinned = waits(device) and tensor.device.type == "cpu"
    return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=pinned)


@contextmanager
def keeping_freed(device: torch.device) -> Iterator[None]:
    """Within, memory that is freed is kept for the next step; glibc by itself would fetch it anew, cleared.

    At the end it is given back. For a CPU under glibc (Linux); elsewhere without effect.
    """
    libc = ctypes.CDLL(None)
    if (
        device.type != "cpu"
        or not hasattr(libc, "gnu_get_libc_version")
        or any(v.startswith(CHOSEN) for v in os.environ)
    ):
        yield
        return
    libc.mallopt(MMAP_THRESHOLD, 32 * MIB)  # the most that glibc takes, and where its own threshold would rise to
    libc.mallopt(TOP_PAD, 256 * MIB)
    libc.mallopt(TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        libc.mallopt(TRIM_THRESHOLD, 64 * MIB)  # twice the threshold above, as glibc would have it
        libc.mallopt(TOP_PAD, MIB // 8)
        libc.malloc_trim(0)


def forget_peak(device: torch.device) -> None:
    """Count the most memory that is in use anew from here."""
    if device.type == "cuda":
        gc.collect()  # what is dead, but was not missed yet, holds memory of the device
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Linux alone can; elsewhere the peak is that of the whole process
            Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> float:
    """GiB at the highest since `forget_peak`."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_reserved(device) / GIB, 2)
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return round((int(found[1]) * 1024 if found else most * unit) / GIB, 2)
