"""If these fail, the nearest-neighbour label judge of the emoji figures judges by something else."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from latentry.errors import LatentryError
from latentry.metrics.features import SqueezeNetFeatures, vote
from tests.shared import SHARED, needs_shared


def test_the_majority_of_the_nearest_wins_and_scale_does_not_matter() -> None:
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.9, 0.2], [0.0, 1.0], [0.1, 1.0]])
    labels = [4, 0, 0, 2, 2]
    queries = torch.tensor([[50.0, 0.0], [0.0, 0.01]])
    assert vote(queries, gallery, labels, k=3) == [0, 2]
    assert vote(queries, gallery, labels, k=1) == [4, 2]


def test_a_tie_goes_to_the_nearest() -> None:
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.2], [1.0, 0.4], [1.0, 0.6]])
    assert vote(torch.tensor([[1.0, 0.0]]), gallery, [3, 1, 1, 3], k=4) == [3]
    assert vote(torch.tensor([[1.0, 0.0]]), gallery, [1, 3, 3, 1], k=4) == [1]


@pytest.fixture(scope="module")
def net() -> SqueezeNetFeatures:
    path = SHARED / "data" / "weights" / "squeezenet1_1.npz"
    if not path.is_file():
        pytest.skip(f"weights not found at {path}")
    return SqueezeNetFeatures(path)


@needs_shared
def test_from_these_features_the_published_classifier_knows_a_macaw_and_a_lighthouse(net: SqueezeNetFeatures) -> None:
    weights = np.load(SHARED / "data" / "weights" / "squeezenet1_1.npz")
    kernel, bias = (torch.from_numpy(weights[f"classifier.1.{k}"]).float() for k in ("weight", "bias"))
    names = (SHARED / "data" / "weights" / "imagenet_synset_words.txt").read_text().splitlines()
    with tarfile.open(SHARED / "data" / "kodak.tar") as archive:
        for photo, name in (("kodim23", "macaw"), ("kodim21", "beacon")):
            file = archive.extractfile(f"kodak/images/{photo}.png")
            assert file is not None
            image = Image.open(file).convert("RGB")
            side = min(image.size)
            image = image.resize((256, 256), Image.Resampling.BICUBIC, box=_middle(image.size, side))
            scores = functional.conv2d(net.last(_tensor(image)), kernel, bias).relu().mean((2, 3))
            assert name in names[int(scores.argmax())]


@needs_shared
def test_size_is_brought_to_128_and_batches_do_not_show(net: SqueezeNetFeatures) -> None:
    images = torch.rand(70, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    found = net(images)
    assert found.shape == (70, 1024)
    assert not found.requires_grad
    assert torch.allclose(net(images[69:]), found[69:], atol=1e-4)
    big = functional.interpolate(images[:1], size=(128, 128), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.allclose(net(big), found[:1], atol=1e-4)
    assert (found[:, 512:] >= found[:, :512]).all(), "the second half holds the maxima"


def test_a_file_without_the_network_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(LatentryError, match="SqueezeNet"):
        SqueezeNetFeatures(tmp_path / "other.npz")


def _middle(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side


def _tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).movedim(-1, 0)[None] / 255
