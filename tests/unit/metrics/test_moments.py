"""If these fail, a Fréchet distance depends on batches, processes or memory, or is too slow for 50,000 images."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from latentry.errors import LatentryError
from latentry.metrics.distances import Moments
from latentry.metrics.statistics import Statistics

VECTORS = torch.from_numpy(np.random.default_rng(0).standard_normal((1300, 7)) * 0.01 + 1000)
"""Far off zero, where sums of squares would lose every digit."""


def same(found: Moments, vectors: torch.Tensor) -> bool:
    covariance = torch.from_numpy(np.cov(vectors.numpy(), rowvar=False))
    near = torch.allclose(found.covariance, covariance, rtol=1e-9, atol=1e-14)
    return near and found.count == len(vectors) and torch.allclose(found.mean, vectors.mean(0), rtol=1e-13)


@pytest.mark.parametrize("batch", [1, 37, 512, 600, 1300])
def test_batches_change_no_bit(batch: int) -> None:
    found = Moments(7)
    for part in VECTORS.split(batch):
        found.update(part)
    assert found.count == 1300
    assert same(found, VECTORS)
    whole = Moments.of(VECTORS)
    assert torch.equal(found.mean, whole.mean)
    assert torch.equal(found.scatter, whole.scatter)


@pytest.mark.parametrize("cut", [0, 1, 700, 1299])
def test_parts_merge_and_come_back_from_a_file(cut: int) -> None:
    first, second = Moments.of(VECTORS[:cut]), Moments.of(VECTORS[cut:])
    assert same(Moments.from_state(first.state()).merge(second), VECTORS)
    assert second.count == 1300 - cut


@pytest.mark.parametrize("width", [256, 257, 600])
def test_wide_vectors_have_the_scatter_of_all_their_pairs(width: int) -> None:
    """It is summed above the diagonal alone; also where it is asked for on the way."""
    vectors = torch.from_numpy(np.random.default_rng(1).standard_normal((1300, width)) + 3)
    found = Moments(width)
    for part in vectors.split(500):
        found.update(part)
        assert torch.allclose(found.scatter, found.scatter.T, rtol=1e-12, atol=1e-9)
    assert same(found, vectors)
    assert same(Moments.of(vectors[:700]).merge(Moments.of(vectors[700:])), vectors)


PROCESS = """
import sys, numpy, torch
from torch import distributed
from latentry.metrics.distances import Moments
rank, file, share = int(sys.argv[1]), sys.argv[2], torch.from_numpy(numpy.load(sys.argv[3]))
distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
moments = Moments.of(share[:100] if rank == 0 else share[100:]).over_processes()
numpy.savez(f"{file}.{rank}.npz", **{key: x.numpy() for key, x in moments.state().items()})
distributed.destroy_process_group()
"""


def test_two_processes_have_those_of_all_vectors(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", VECTORS.numpy())
    words = [str(tmp_path / "meet"), str(tmp_path / "all.npy")]
    started = [subprocess.Popen([sys.executable, "-c", PROCESS, str(rank), *words]) for rank in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    for rank in range(2):
        stored = np.load(f"{words[0]}.{rank}.npz")
        assert same(Moments.from_state({key: torch.from_numpy(stored[key]) for key in stored.files}), VECTORS)
    assert same(Moments.of(VECTORS).over_processes(), VECTORS)


def test_vectors_that_are_not_finite_are_refused_and_not_taken() -> None:
    moments = Moments.of(VECTORS)
    bad = VECTORS[:4].clone()
    bad[1, 2] = torch.nan
    with pytest.raises(LatentryError, match="1 of 4 vectors are not finite"):
        moments.update(bad)
    assert same(moments, VECTORS)
    with pytest.raises(LatentryError, match="at least 2 images"):
        _ = Moments.of(VECTORS[:1]).covariance


def test_the_speed_that_50000_images_need() -> None:
    """5,000 vectors of 2048 numbers a second on two cores are a second of either for 2,500; best of two, with slack."""
    part, best = torch.randn(64, 2048, generator=torch.Generator().manual_seed(0)), float("inf")
    for _ in range(2):
        statistics, begin = Statistics(2048), time.process_time()
        for _ in range(16):
            statistics.update(part)
        assert statistics.count == 1024
        best = min(best, time.process_time() - begin)
    assert best < 4 * 1024 / 2500


def test_vectors_beyond_the_kept_ones_take_the_place_of_any() -> None:
    """Else the numbers of a folder sorted by class would be of its first classes alone."""
    statistics = Statistics(1, most=50)
    for part in torch.arange(2000.0)[:, None].split(64):
        statistics.update(part)
    kept = statistics.vectors[:, 0]
    assert statistics.count == 2000
    assert len(set(kept.tolist())) == 50
    assert 700 < float(kept.mean()) < 1300
    other = Statistics(1, most=50)
    for part in torch.arange(2000.0)[:, None].split(7):
        other.update(part)
    assert torch.equal(other.vectors, statistics.vectors)
    assert torch.equal(Statistics.of(VECTORS).vectors, VECTORS.float())
