"""What `latentry evaluate` takes of the machine: memory, statistics a second, and the network's own share of the time.

    python benchmarks/evaluate.py

Prints one line each, with what it has to reach; `--quick` takes fewer images. Memory is the most that a process of its
own holds while two sets of so many images are compared by every distance, and searched for copies.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentry.evaluation.images.sets import folder_set
from latentry.evaluation.measure.names import ASKED
from latentry.evaluation.measure.parts import Bench
from latentry.evaluation.measure.streams import statistics_of
from latentry.evaluation.watching.copies import Copying
from latentry.metrics.features import EncoderFeatures
from latentry.metrics.statistics import Statistics

MOST_MEMORY, LEAST_VECTORS, LEAST_SHARE = 200.0, 5000.0, 0.9
PART = 64


class Planted:
    """Vectors that are drawn as they are asked for, as images (b, 1, 1, D); nothing of them is kept."""

    kind, digest, preprocessing = "planted", "0" * 64, "none"

    def __init__(self, width: int) -> None:
        self.width = width

    def images(self, seed: int, numbers: range) -> Iterator[Tensor]:
        drawn = np.random.default_rng([seed, numbers.start]).standard_normal((len(numbers), self.width), np.float32)
        yield torch.from_numpy(drawn)[:, None, None] / 8 + 0.5

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def peak(count: int, width: int) -> float:
    """The most memory, in MB, that this process took to compare two sets of so many vectors by everything there is."""
    features = Planted(width)
    bench = Bench([features], tuple(ASKED))
    copying = Copying(features, alpha=False)
    sides = [
        bench.statistics(lambda numbers, seed=seed: features.images(seed, numbers), count, PART, "", [watch])
        for seed, watch in ((0, copying.at_training), (1, copying.at_samples))
    ]
    bench.compared(*sides)
    copying.found(bench.processes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(few: int, many: int, width: int) -> float:
    """By how many MB the most memory of many images is above that of few."""
    command = [sys.executable, __file__, "--peak"]
    found = [
        float(subprocess.run([*command, str(count), str(width)], check=True, capture_output=True, text=True).stdout)
        for count in (few, many)
    ]
    return found[1] - found[0]


def rate(count: int, width: int = 2048) -> float:
    """Vectors a second that statistics take in."""
    vectors, statistics = torch.randn(512, width), Statistics(width, 4096)
    statistics.update(vectors)
    begun = time.perf_counter()
    for _ in range(count // len(vectors)):
        statistics.update(vectors)
    assert statistics.moments.scatter.isfinite().all()
    return count // len(vectors) * len(vectors) / (time.perf_counter() - begun)


def share(count: int, side: int = 128) -> float:
    """Of the network's own speed, how much is left where images are read from files and become statistics."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(32, 16, 5))
    features = EncoderFeatures(network, "0" * 64)
    pictures = np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(Path(folder, f"{number}.png"))
        images = folder_set(Path(folder), 3, (side, side), "center", print)
        ready = torch.cat(list(images(range(PART))))
        features(ready)
        begun = time.perf_counter()
        for _ in range(count // PART):
            features(ready)
        alone = time.perf_counter() - begun
        begun = time.perf_counter()
        statistics_of(images, count // PART * PART, [features], PART)
        return alone / (time.perf_counter() - begun)


def main() -> int:
    """Print the figures; 1 where one does not reach what it has to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images, to see that it runs")
    parser.add_argument("--width", type=int, default=512, help="of the vectors whose memory is measured")
    parser.add_argument("--peak", nargs=2, type=int, metavar=("COUNT", "WIDTH"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.peak:
        print(peak(*words.peak))
        return 0
    few, many = (100, 300) if words.quick else (1000, 50_000)
    rows = (
        (
            f"memory of {many:,} images above that of {few:,} (MB)",
            memory(few, many, words.width),
            "at most",
            MOST_MEMORY,
        ),
        ("statistics, vectors of 2048 a second", rate(1024 if words.quick else 20_480), "at least", LEAST_VECTORS),
        ("extraction, share of the network's own speed", share(128 if words.quick else 512), "at least", LEAST_SHARE),
    )
    reached = True
    for name, value, how, limit in rows:
        print(f"{name}: {value:.2f} ({how} {limit:g})")
        reached &= value <= limit if how == "at most" else value >= limit
    return 0 if reached or words.quick else 1


if __name__ == "__main__":
    sys.exit(main())
