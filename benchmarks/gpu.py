"""What one GPU gives, beside diffusers with the same weights: `benchmarks/gpu.sh [--device cpu --quick]`.

A model of LDM-4's size with random weights. One line of JSON for each figure: the step at batch 1 and 32, both
compiled; its share of what the GPU reaches in bf16 in a large matrix product and a large convolution, whichever is
lower; images a second in training beside diffusers' loop; samples of 256x256 a second at the default steps; peak
memory. `--quick` runs all of it at tiny sizes, to see that it does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ldm4
import torch

from latentry.bench.groups import OURS
from latentry.bench.options import BenchOptions
from latentry.bench.result import Findings, Row
from latentry.bench.run import bench
from latentry.bench.theirs import NAME


class Asked(NamedTuple):
    """batches: of steps and samples, training: of updates. compiled, eager: modes. budget: seconds of each part."""

    batches: tuple[int, ...]
    training: tuple[int, ...]
    compiled: str
    eager: str
    rounds: int
    budget: float


WHOLE = Asked((1, 32), (32,), "bf16,channels_last,compile", "bf16,channels_last", 15, 100)
QUICK = Asked((1, 2), (2,), "bf16,channels_last", "bf16,channels_last", 2, 300)


def step_lines(found: Findings) -> Iterator[dict[str, Any]]:
    """Time of a step beside theirs, and its share of the peak."""
    for row in of(found, "step", OURS):
        other = next(one for one in of(found, "step", NAME) if (one.batch, one.mode) == (row.batch, row.mode))
        yield {
            "figure": f"step at batch {row.batch}", "mode": row.mode, "ours (s)": row.seconds,
            "theirs (s)": other.seconds, "ours / theirs": row.ratio, "wanted": "at most 1.0",
        }  # fmt: skip
        yield {
            "figure": f"share of the peak at batch {row.batch}", "mode": row.mode, "share": row.share,
            "peaks (FLOP/s)": found.peaks, "wanted": "at least 0.6 at batch 32",
        }  # fmt: skip


def training_lines(found: Findings) -> Iterator[dict[str, Any]]:
    """Images a second of the second stage beside their loop, and of the first."""
    for row in of(found, "training diffusion", OURS):
        other = next(one for one in of(found, "training diffusion", NAME) if one.batch == row.batch)
        yield {
            "figure": f"training at batch {row.batch}", "mode": row.mode, "ours (images/s)": row.images_per_second,
            "theirs (images/s)": other.images_per_second, "ours / theirs": 1 / (row.ratio or float("nan")),
            "wanted": "at least 1.5",
        }  # fmt: skip
    for row in of(found, "training autoencoder", OURS):
        yield {"figure": f"training of the first stage at batch {row.batch}", "images/s": row.images_per_second}


def sample_lines(found: Findings) -> Iterator[dict[str, Any]]:
    for row in of(found, "samples", OURS):
        yield {
            "figure": f"samples of {row.size} at batch {row.batch}", "mode": row.mode, "steps": row.steps,
            "images/s": row.images_per_second,
        }  # fmt: skip


def memory_lines(found: Findings) -> Iterator[dict[str, Any]]:
    for row in found.rows:
        if row.by == OURS:
            yield {"figure": f"memory of {row.what} at batch {row.batch}", "GiB": row.memory}


def of(found: Findings, what: str, by: str) -> list[Row]:
    return [row for row in found.rows if (row.what, row.by) == (what, by)]


def figures(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """One after another, so that what is there stays there if a later one fails."""
    asked, pipe = QUICK if quick else WHOLE, ldm4.pipeline(device, quick)
    shared: dict[str, Any] = {"rounds": asked.rounds, "budget": asked.budget}
    steps = {"batch": asked.batches, "modes": (asked.compiled,)}
    first = bench(pipe, BenchOptions(**shared, **steps, parts=("step",), against=NAME))
    yield {"machine": first.machine, "model": first.model, "notes": first.notes}
    yield from step_lines(first)
    updates = {"batch": asked.training, "modes": (asked.eager,)}
    yield from training_lines(bench(pipe, BenchOptions(**shared, **updates, parts=("training",), against=NAME)))
    alone = bench(pipe, BenchOptions(**shared, **steps, parts=("samples",)))
    yield from sample_lines(alone)
    yield from memory_lines(alone)
    yield from memory_lines(bench(pipe, BenchOptions(**shared, **updates, parts=("step", "training"))))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args(words)
    if asked.device.type == "cuda" and not torch.cuda.is_available():
        print("gpu.sh: no GPU is here; `--device cpu --quick` shows that it runs", file=sys.stderr)
        return 2
    for line in figures(asked.device, asked.quick):
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
