"""How fast a model samples in each mode and with reused features, and how far its pictures then are from the exact.

    python benchmarks/sampling_modes.py models/emoji -n 1 --steps 10 --modes fp32 fp32,channels_last,frozen
    python benchmarks/sampling_modes.py models/emoji -n 16 --steps 20 --reuse 2 3 5
    python benchmarks/sampling_modes.py models/shapes -n 1 --steps 1 --size 1024 --pairs 1

Each is timed beside plain fp32 in turn, so that whatever else the machine does meets both. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from typing import Any

import torch
from torch import Tensor

import latentry as lt
from latentry import devices
from latentry.models.modes import PLAIN, Mode, usual


def drawn(pipe: Any, options: dict[str, Any]) -> tuple[float, Tensor]:
    """Seconds and pictures."""
    clock = time.perf_counter if pipe.device.type != "cpu" else time.process_time
    start = clock()
    tensor = pipe.sample(**options).tensor
    devices.synchronise(pipe.device)
    return clock() - start, tensor


def psnr(a: Tensor, b: Tensor) -> float:
    """Of pictures in [0, 1], in dB, over all of them; infinite where they are equal."""
    error = float((a - b).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def compared(plain: Any, pipe: Any, options: dict[str, Any], changed: dict[str, Any], pairs: int) -> dict[str, Any]:
    """The plain mode and what it is compared with, in turn; the first of each is not timed."""
    exact = drawn(plain, options)[1]
    devices.forget_peak(pipe.device)
    first, found = drawn(pipe, options | changed)
    peak = devices.peak(pipe.device)
    seconds = [(drawn(plain, options)[0], drawn(pipe, options | changed)[0]) for _ in range(pairs)]
    ratios = sorted(before / after for before, after in seconds)
    return {
        "images/s": round(len(exact) / statistics.median(after for _, after in seconds), 3),
        "times as fast": round(statistics.median(ratios), 3),
        "lowest": round(ratios[0], 3),
        "highest": round(ratios[-1], 3),
        "first s": round(first, 2),
        "peak GiB": peak,
        "largest change of 255": round(float((exact - found).abs().max()) * 255, 3),
        "PSNR": round(psnr(exact, found), 2),
    }


def main() -> None:
    """Print a line of JSON for each mode, and for each number of evaluations that share features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--text")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--modes", nargs="*", default=[])
    parser.add_argument("--reuse", nargs="*", type=int, default=[])
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    plain, pipe = (lt.load(given.model, device=given.device) for _ in range(2))
    plain.mode = PLAIN
    options = {"n": given.n, "steps": given.steps, "size": given.size, "text": given.text, "seed": 0}
    modes = [Mode.parse(text) for text in given.modes] or ([] if given.reuse else [usual(pipe.device)])
    tried = [{"mode": mode} for mode in modes] + [{"reuse": reuse} for reuse in given.reuse]
    print(json.dumps({"device": devices.described(pipe.device), "torch": torch.__version__, **options}))
    for changed in tried:
        pipe.mode = changed.get("mode", PLAIN)
        line = compared(plain, pipe, options, changed, given.pairs)
        print(json.dumps({name: str(one) for name, one in changed.items()} | line), flush=True)


if __name__ == "__main__":
    main()
