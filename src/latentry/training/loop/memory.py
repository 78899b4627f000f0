"""The most memory that was in use: of the GPU, or of this process."""

from __future__ import annotations

import contextlib
import gc
import re
import resource
import sys
from pathlib import Path

import torch

GIB = 2**30


def forget_peak(device: torch.device) -> None:
    """Count the peak anew from here."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # Linux alone can; elsewhere the peak is that of the whole process
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
