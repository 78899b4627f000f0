"""Memory and time of enlarging: `python benchmarks/upscaling.py --model RUN [--sides 128 512 1024] [--steps 1]`.

RUN takes an image of low resolution, trained or not: `tasks.py sr-photos --quick` leaves one in
runs/tasks/small-sr-photos-seed-0-quick. Squares of each side are enlarged and saved as PNG, each in a process of its
own, matched with their input as always, and the peak of its memory is printed. Ends with 1 where a peak is above
`MOST`: what is larger is drawn in tiles, so that memory grows by the image itself alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import latentry as lt

MOST = 2.5
"""GB, of 4096x4096 pixels as of less."""


def once(model: str, side: int, steps: int) -> dict[str, float]:
    """What one image takes: the work of a process of its own."""
    pipe, loaded, begun = lt.load(model, device="cpu"), peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.png"
        coarse = np.random.default_rng(0).integers(256, size=(side // 8, side // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(small)
        (large,) = pipe.upscale(small, steps=steps).save(Path(folder) / "large")
        with Image.open(large) as image:
            width = image.width
    return {"peak": peak(), "loaded": loaded, "seconds": time.perf_counter() - begun, "side": width}


def peak() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def apart(model: str, side: int, steps: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--model", model, "--steps", str(steps), "--once", str(side)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 512, 1024], help="of the inputs, in pixels")
    parser.add_argument("--steps", type=int, default=1, help="memory is the same for any number of them")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(arguments.model, arguments.once, arguments.steps)))
        return 0
    highest = 0.0
    for side in arguments.sides:
        took = apart(arguments.model, side, arguments.steps)
        highest = max(highest, took["peak"])
        print(
            f"{side} to {took['side']:.0f} pixels: peak {took['peak']:.2f} GB ({took['loaded']:.2f} with the model "
            f"loaded), {took['seconds']:.1f} s",
            flush=True,
        )
    print(f"highest {highest:.2f} GB (wanted: at most {MOST:g}); torch has {torch.get_num_threads()} threads")
    return 0 if highest <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
