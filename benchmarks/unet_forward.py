"""One step of a denoiser of LDM-4's size, ours beside diffusers': `python benchmarks/unet_forward.py [--batch 1,8]`.

Every mode (precision, memory format, compiled or not, frozen weights or not) of both, with equal weights, in turn
within one process; then the best of ours beside the best of theirs once more, with a large matrix product and a large
convolution between them: the share of what the machine reaches in the slower of those, in our best mode's precision.
Run it on a quiet machine; compiling takes most of the time. `--modes` for some of them, `--small` for a size that only
shows that it runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from typing import Any

import ldm4
import torch

from latentry.bench.groups import OURS
from latentry.bench.options import BenchOptions
from latentry.bench.peak import products, reached
from latentry.bench.result import Row
from latentry.bench.run import bench
from latentry.bench.subject import Subject
from latentry.bench.theirs import NAME, theirs
from latentry.models.modes import PLAIN, Mode
from latentry.pipeline import Pipeline
from latentry.timing import alternate, flops

MODES = [
    str(Mode(precision, *switches))  # type: ignore[arg-type]
    for precision, *switches in itertools.product(("fp32", "bf16"), *[(False, True)] * 3)
]


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--modes", nargs="+", default=MODES, help="as in fp32 bf16,channels_last")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--small", action="store_true")
    return parser.parse_args(words)


def every_mode(pipe: Pipeline, batches: Sequence[int], modes: Sequence[str], pairs: int) -> list[Row]:
    """A step in each mode of both, one mode after another: compiled networks and frozen weights take much memory."""
    rows: list[Row] = []
    for mode in modes:
        asked = BenchOptions(
            batch=tuple(batches), modes=(mode,), parts=("step",), against=NAME, rounds=pairs, budget=1e6
        )
        found = bench(pipe, asked)
        rows += found.rows
        for row in found.rows:
            print(f"{row.what} at batch {row.batch}, {row.by}, {row.mode}: {row.seconds:.4f} s", flush=True)
        for note in found.notes:
            print(note, flush=True)
    return rows


def best(rows: Sequence[Row], by: str, batch: int) -> Row:
    """The quickest mode of one program."""
    return min((row for row in rows if row.by == by and row.batch == batch), key=lambda row: row.seconds)


def head_to_head(pipe: Pipeline, mine: Row, other: Row, pairs: int) -> dict[str, Any]:
    """The best mode of each in turn, and the machine's products between them."""
    subject, size, mode = Subject(pipe), pipe.config.data.size, Mode.parse(mine.mode)
    beside = products(subject.device, mode.precision)
    step = theirs(subject).step(other.batch, size, Mode.parse(other.mode))
    things: dict[str, Any] = {OURS: subject.step(mine.batch, size, mode), NAME: step}
    timed = alternate(things | {name: work for name, (work, _) in beside.items()}, rounds=pairs, wait=subject.wait)
    one = subject.step(1, size, PLAIN)
    one()
    reach = reached({name: count for name, (_, count) in beside.items()}, timed)
    rate = flops(one) * mine.batch / timed[OURS].median
    return {
        "batch": mine.batch,
        "ours": {"mode": mine.mode, "seconds": timed[OURS].median},
        "theirs": {"mode": other.mode, "seconds": timed[NAME].median},
        "ours / theirs": timed[OURS].over(timed[NAME]),
        "GFLOP/s": {"ours": rate / 1e9, **{name: value / 1e9 for name, value in reach.items()}},
        "share of the lower": rate / min(reach.values()),
        "seconds an image": timed[OURS].median / mine.batch,
        "wanted": {"ours / theirs": "at most 0.95", "share of the lower": "at least 0.85"},
    }


def main(words: Sequence[str] | None = None) -> list[dict[str, Any]]:
    asked = arguments(words)
    torch.set_num_threads(asked.threads)
    print(f"torch {torch.__version__}, {asked.device}, {asked.threads} threads, {asked.pairs} pairs")
    pipe, batches = ldm4.pipeline(asked.device, asked.small), [int(number) for number in asked.batch.split(",")]
    rows = every_mode(pipe, batches, asked.modes, asked.pairs)
    found = [head_to_head(pipe, best(rows, OURS, b), best(rows, NAME, b), asked.pairs) for b in batches]
    for one in found:
        print(json.dumps(one, indent=2), flush=True)
    return found


if __name__ == "__main__":
    main()
