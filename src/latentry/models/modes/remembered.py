"""What `auto` chose, kept for this machine, network and shape in a file of the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from latentry.errors import UsageError
from latentry.models.modes.mode import Mode
from latentry.nn.weights import cache

FILE = "modes.json"
MOST, LONGEST = 1000, 2_000_000
"""Answers that are kept, and bytes of a file that is read."""


def machine(device: torch.device) -> list[str]:
    """What the fastest mode depends on, besides the network: processor, threads, torch."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device), torch.__version__]
    capability = str(torch.backends.cpu.get_cpu_capability())
    return [_processor(), capability, f"{torch.get_num_threads()} threads", torch.__version__, device.type]


def _processor() -> str:
    with suppress(OSError, UnicodeError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()}"
    return f"{platform.machine()} {platform.processor()}, {os.cpu_count()}"


def key(device: torch.device, network: Any, shape: tuple[int, ...]) -> str:
    """Of plain values that tell one network's architecture from another's, and of the shape of its input."""
    text = json.dumps([machine(device), network, shape], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def recall(of: str) -> tuple[Mode, str] | None:
    """The mode and why it was chosen; None where nothing is known, or what is there is damaged."""
    found = _read().get(of)
    with suppress(UsageError, TypeError, KeyError, AttributeError):
        return None if found is None else (Mode.parse(found["mode"]), str(found["why"])[:1000])
    return None


def remember(of: str, mode: Mode, why: str) -> None:
    """Keep an answer. Where the cache cannot be written, the next process times again."""
    with suppress(OSError):
        kept = {**_read(), of: {"mode": str(mode), "why": why}}
        text = json.dumps(dict([*kept.items()][-MOST:]), indent=1)
        folder = cache()
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{FILE}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(folder / FILE)


def _read() -> dict[str, Any]:
    path = cache() / FILE
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= LONGEST:
            found = json.loads(path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
    return {}
