"""Cached latents are those of the images, and of these weights; else the second stage learns something else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.checkpoints import durable
from latentry.data.dataset import ImageData, Pick
from latentry.data.loader import samples
from latentry.data.sample import Sample
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop import waiting
from latentry.training.loop.world import World
from latentry.training.stages import latents
from latentry.training.stages.autoencoder.build import fresh
from latentry.training.stages.autoencoder.scale import measure_scale
from latentry.training.stages.diffusion.build import build as build_second
from latentry.training.stages.latents import LatentCache
from tests.unit.training.small_stages import ALONE, images, planned, train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def parts(root: Path, kind: str = "kl", flip: bool = False):
    """(first stage, training images) with latents far from unit deviation."""
    made = planned(root, {"autoencoder.kind": kind, "data.flip": flip})
    autoencoder = fresh(made).eval()
    autoencoder.quant_conv.weight.data *= 3.0
    return autoencoder, made.data


def cache(autoencoder: Autoencoder, data, folder: Path, fingerprint: str = "f") -> tuple[LatentCache, list[str]]:
    said: list[str] = []
    return LatentCache(autoencoder, data, fingerprint, folder, ALONE, said.append), said


@torch.no_grad()
def encoded(autoencoder: Autoencoder, data, index: int, flip: bool = False) -> Tensor:
    image = data.sample(index).image[None]
    return autoencoder.moments(image.flip(-1) if flip else image)[0]


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_moments_of_every_image(root: Path, tmp_path: Path, kind: str) -> None:
    autoencoder, data = parts(root, kind)
    found, _ = cache(autoencoder, data, tmp_path)
    indices = [3, 0, len(data) - 1]
    for index, moments in zip(indices, found(indices, [False] * 3), strict=True):
        assert torch.allclose(moments, encoded(autoencoder, data, index), atol=1e-4)


def test_mirrored_images_are_encoded_for_themselves(root: Path, tmp_path: Path) -> None:
    """The encoder pads on the right: the latent of a mirrored image is not the mirrored latent."""
    autoencoder, data = parts(root, flip=True)
    found, _ = cache(autoencoder, data, tmp_path)
    plain, mirrored = found([2, 2], [False, True])
    assert torch.allclose(mirrored, encoded(autoencoder, data, 2, flip=True), atol=1e-4)
    assert not torch.allclose(mirrored, plain.flip(-1), atol=1e-2)


def test_latents_are_encoded_once(root: Path, tmp_path: Path) -> None:
    autoencoder, data = parts(root)
    assert cache(autoencoder, data, tmp_path)[1]
    autoencoder.latent_scale.fill_(2.0)  # the scale is applied to what is cached
    assert not cache(autoencoder, data, tmp_path)[1]


def test_how_far_the_encoding_is_is_told(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "EVERY", 0.001)
    monkeypatch.setattr(latents, "ENCODE_BATCH", 1)
    autoencoder, data = parts(root)
    _, said = cache(autoencoder, data, tmp_path)
    told = [int(line.split("%")[0].split()[-1]) for line in said if "% of the train images are encoded (" in line]
    assert told == sorted(told)
    assert told
    assert told[-1] <= 100


def test_other_weights_or_images_are_encoded_anew(root: Path, tmp_path: Path) -> None:
    autoencoder, data = parts(root)
    cache(autoencoder, data, tmp_path)
    assert cache(autoencoder, data, tmp_path, "other images")[1]
    autoencoder.quant_conv.weight.data += 0.1
    found, said = cache(autoencoder, data, tmp_path, "other images")
    assert said
    assert torch.allclose(found([1], [False])[0], encoded(autoencoder, data, 1), atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 1  # what is of no more use is removed


def test_a_broken_off_cache_is_not_used(root: Path, tmp_path: Path) -> None:
    autoencoder, data = parts(root)
    first, _ = cache(autoencoder, data, tmp_path)
    (first.folder / "complete").unlink()
    (first.folder / "moments.npy").write_bytes(b"")
    found, said = cache(autoencoder, data, tmp_path)
    assert said
    assert torch.allclose(found([1], [False])[0], encoded(autoencoder, data, 1), atol=1e-4)


def test_scale_makes_sampled_latents_unit_deviation(root: Path) -> None:
    autoencoder, data = parts(root)
    deviation = measure_scale(autoencoder, data, seed=0, world=ALONE)
    draws = []
    for index in range(len(data)):
        posterior = autoencoder.posterior(encoded(autoencoder, data, index)[None])
        draws.append(posterior.sample(torch.randn_like(posterior.mean)))
    expected = torch.cat(draws).std()
    assert expected > 1.1
    assert deviation == pytest.approx(float(expected), rel=0.03)  # other draws of the posterior
    assert measure_scale(autoencoder, data, seed=0, world=ALONE) == deviation


def test_scale_of_vq_is_that_of_the_latent_before_its_codes(root: Path) -> None:
    autoencoder, data = parts(root, "vq")
    expected = torch.stack([encoded(autoencoder, data, index) for index in range(len(data))]).std()
    assert measure_scale(autoencoder, data, seed=0, world=ALONE) == pytest.approx(float(expected), rel=1e-4)


class _Half(World):
    """One process of two, whose sums are its own; the other's are added by the test."""

    def sum_numbers(self, numbers: Sequence[float]) -> list[float]:
        SUMS.append(list(numbers))
        return list(numbers)


SUMS: list[list[float]] = []


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_processes_share_the_measuring_of_the_scale(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that measures alone keeps the others waiting for longer than a collective may take."""
    autoencoder, data = parts(root, kind)
    seen: list[list[int]] = []
    load = samples

    def counted(data: ImageData, picks: Iterable[Sequence[Pick]], *more: Any) -> Iterator[list[Sample]]:
        groups = [list(group) for group in picks]
        seen.append([pick.index for group in groups for pick in group])
        return load(data, groups, *more)

    monkeypatch.setattr("latentry.training.stages.latents.samples", counted)
    SUMS.clear()
    cpu = torch.device("cpu")
    for world in (_Half(0, 1, cpu), _Half(0, 2, cpu), _Half(1, 2, cpu)):
        measure_scale(autoencoder, data, 0, world)
    whole, first, second = SUMS
    assert [a + b for a, b in zip(first, second, strict=True)] == pytest.approx(whole, rel=1e-6)
    assert sorted(seen[1] + seen[2]) == sorted(seen[0]) == list(range(len(data)))
    assert min(len(seen[1]), len(seen[2])) >= len(data) // 4


def test_workers_read_the_images_for_the_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a large set on one core while the others idle takes hours; and their number must change nothing."""
    autoencoder, data = parts(root, flip=True)
    used: list[int] = []
    load = samples

    def counted(data: ImageData, picks: Iterable[Sequence[Pick]], workers: int) -> Iterator[list[Sample]]:
        used.append(workers)
        return load(data, picks, workers)

    monkeypatch.setattr("latentry.training.stages.latents.samples", counted)
    made = [LatentCache(autoencoder, data, "f", tmp_path / str(n), ALONE, lambda _: None, n) for n in (0, 2)]
    assert used == [0, 2]
    assert np.array_equal(made[0].moments, made[1].moments)
    assert np.array_equal(made[0].used, made[1].used)


def test_space_is_taken_also_where_the_system_cannot_reserve_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has no posix_fallocate: caching must work, and a full disk must show before a mapped page is written."""
    autoencoder, data = parts(root)
    expected, _ = cache(autoencoder, data, tmp_path / "with")
    monkeypatch.delattr("os.posix_fallocate", raising=False)
    found, _ = cache(autoencoder, data, tmp_path / "without")
    assert np.array_equal(found.moments, expected.moments)
    np.lib.format.open_memmap(tmp_path / "sparse.npy", mode="w+", dtype=np.float32, shape=(300_000,)).flush()
    durable.allocate(tmp_path / "sparse.npy")
    status = (tmp_path / "sparse.npy").stat()
    assert status.st_blocks * 512 >= status.st_size
    assert np.load(tmp_path / "sparse.npy").shape == (300_000,)


def test_conditions_that_read_pixels_work_with_cached_latents(root: Path, tmp_path: Path) -> None:
    """The small copy beside a mirrored image's latent must be mirrored too, that of the same image, and as blurred."""
    condition = {
        "diffusion.conditioning": {"image": {"kind": "image", "factor": 2, "degradation": "bsr"}},
        "data.flip": True,
    }
    made = planned(root, condition)
    parts_ = {"autoencoder": fresh(made).eval().requires_grad_(False)}
    direct, cached = (build_second(made, parts_) for _ in range(2))
    cached.latents.caches = {"train": LatentCache(cached.autoencoder, cached.data, "", tmp_path, ALONE, lambda _: None)}
    flips = [direct.data.pick(position).flip for position in range(16)]
    assert len(set(flips)) == 2
    for (one,), (other,), _ in zip(direct.batches(0), cached.batches(0), range(2)):
        assert one.moments is not None
        assert other.moments is not None
        assert torch.allclose(one.moments, other.moments, atol=1e-5)
        for small, again in zip(one.values["image"], other.values["image"], strict=True):
            assert small.shape == (3, 8, 8)
            assert np.array_equal(small, again)
    assert math.isfinite(train(cached, 1)[0]["loss"])
