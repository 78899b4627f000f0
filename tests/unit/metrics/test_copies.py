"""If these fail, a model that repeats its training images looks original, or an original one like a thief."""

from __future__ import annotations

import io
import tarfile
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.copies import Copies, find_copies
from latentry.metrics.copies.calibration import HeldOut, nearness
from latentry.metrics.copies.search import NOBODY, Queries, nearest
from latentry.metrics.copies.shelf import Shelf
from latentry.metrics.features import Features, SqueezeNetFeatures
from tests.shared import SHARED, needs_shared


def test_nearest_agree_with_scipy_whatever_the_parts_they_come_in() -> None:
    x, y = torch.rand(30, 1, 7), torch.rand(50, 1, 7)
    found = nearest(Queries.of(x, x), y.split(8), 6)
    distances = cdist(x[:, 0].double(), y[:, 0].double())
    assert np.allclose(found.distances, np.sort(distances)[:, :6], atol=1e-6)
    assert (found.rows.numpy() == np.argsort(distances)[:, :6]).all()


def test_the_part_that_differs_most_counts_and_the_mirror_image_is_told() -> None:
    training = torch.tensor([[[0.0], [3.0]], [[10.0], [10.0]]])
    plain, mirrored = torch.tensor([[[1.0], [5.0]], [[4.0], [9.0]]]), torch.tensor([[[9.0], [9.0]], [[10.0], [10.0]]])
    found = nearest(Queries.of(plain, mirrored), [training], 2)
    assert found.distances.tolist() == [[1.0, 2.0], [0.0, 6.0]]
    assert found.rows.tolist() == [[1, 0], [1, 0]]
    assert found.mirrored.tolist() == [[True, False], [True, False]]


def test_an_image_held_out_in_turn_is_held_out_with_its_exact_copies() -> None:
    vectors = torch.tensor([0.0, 0.0, 1.0, 5.0]).view(4, 1, 1)
    found = nearest(Queries(vectors[:2], vectors[:2], torch.tensor([0, NOBODY])), [vectors], 1)
    assert found.distances.tolist() == [[1.0], [0.0]]


def test_a_shelf_gives_back_what_it_was_given() -> None:
    shelf, parts = Shelf(), [torch.rand(700, 2, 3) for _ in range(3)]
    for part in parts:
        shelf.append(part)
    assert torch.equal(torch.cat(list(shelf.chunks())), torch.cat(parts))
    assert max(map(len, shelf.chunks())) <= 1024
    shelf.close()


def test_images_that_are_no_copies_are_called_one_at_the_stated_rate() -> None:
    """Nearness of new images of the same kind, whose tail is the power law of a 4-dimensional set."""
    generator = np.random.default_rng(0)
    rate, called = 0.01, []
    for _ in range(200):
        values = torch.from_numpy(np.log(generator.random(80 + 400)) / 4)
        called.append(float((HeldOut.of(values[:80]).p(values[80:]) <= rate).double().mean()))
    assert 0.005 < np.mean(called) < 0.015


def test_nearness_is_relative_to_the_spacing() -> None:
    distances = torch.tensor([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0], [0.0, 1.0, torch.inf]]).double()
    assert nearness(distances)[:2].exp().tolist() == pytest.approx([1 / 3, 1 / 3])
    assert nearness(distances)[2] < -13


def test_too_few_images_to_judge_by_are_refused() -> None:
    few = torch.rand(5, 3, 8, 8)
    with pytest.raises(UsageError, match="at least 1 sample and 20 images"):
        find_copies([few], [few])


def test_a_set_full_of_repetitions_says_that_nothing_can_be_called_a_copy() -> None:
    images = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = find_copies([images[:10]], [images], [images[:40]])
    assert "Remove repeated images" in found.warning
    assert not found.called.any()


@needs_shared
@pytest.mark.parametrize("in_features", [False, True], ids=["pixels", "squeezenet"])
def test_planted_copies_of_photographs_are_found_and_hardly_any_other(in_features: bool) -> None:
    weights = SHARED / "data" / "weights" / "squeezenet1_1.npz"
    features = SqueezeNetFeatures(weights) if in_features else None
    found = _planted(_flowers(), features)
    assert found.called[:20].all()
    assert int(found.called[20:].sum()) <= 1
    pairs = {pair.sample: pair for pair in found.pairs() if pair.sample < 20}
    assert [pairs[i].training for i in range(20)] == list(range(20))
    assert [pairs[i].mirrored for i in range(10, 15)] == [True] * 5
    assert found.figures()[0].value == pytest.approx(float(found.called.double().mean()))


def _planted(images: Tensor, features: Features | None) -> Copies:
    """20 copies of the first images, 5 mirrored and 5 recompressed, among samples that are none."""
    training, held_out, others = images[:120], images[120:150], images[150:]
    copies = torch.cat([training[:10], training[10:15].flip(-1), _jpeg(training[15:20])])
    samples = torch.cat([copies, others])
    return find_copies(samples.split(32), training.split(50), held_out.split(50), features)


def _jpeg(images: Tensor) -> Tensor:
    again = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
        again.append(torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1))
    return torch.stack(again)


@cache
def _flowers() -> Tensor:
    """(210, 3, 64, 64) uint8, in an order that mixes the classes."""
    with tarfile.open(SHARED / "data" / "flowers.tar") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".jpg"))
        images = []
        for place in np.random.default_rng(0).permutation(len(names)):
            file = archive.extractfile(names[place])
            assert file is not None
            image = Image.open(file).convert("RGB")
            side = min(image.size)
            image = image.resize((64, 64), Image.Resampling.BICUBIC, box=(0, 0, side, side))
            images.append(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))
    return torch.stack(images)
