"""If these fail, a worse set of images can be called a better one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import latentry as lt
from latentry.metrics.compare import Figure, compare
from latentry.metrics.distances import DISTANCES
from latentry.metrics.features import EncoderFeatures, Features, SqueezeNetFeatures, tag
from latentry.metrics.statistics import Statistics
from tests.shared import SHARED, needs_shared
from tests.unit.metrics.planted import EACH, LABELS, blurred, emoji, noisy

MODEL = Path(__file__).parents[3] / "models" / "emoji"
Measure = Callable[[Tensor], dict[str, float]]
pytestmark = needs_shared


@pytest.fixture(scope="module", params=["squeezenet", "own first stage"])
def features(request: pytest.FixtureRequest) -> Features:
    if request.param == "squeezenet":
        return SqueezeNetFeatures(SHARED / "data" / "weights" / "squeezenet1_1.npz")
    if not (MODEL / "autoencoder.safetensors").is_file():
        pytest.skip(f"no model at {MODEL}")
    return EncoderFeatures(lt.load(MODEL, device="cpu").encode, "ab12" * 16)


@pytest.fixture(scope="module")
def images(features: Features) -> Tensor:
    return emoji(128 if features.kind == "squeezenet" else 64)[0]


@pytest.fixture(scope="module")
def measure(features: Features, images: Tensor) -> Measure:
    """The numbers of a set against the images, by their short names."""
    real = Statistics.of(features(images))

    def measured(other: Tensor) -> dict[str, float]:
        vectors = real.vectors[other] if other.ndim == 1 else features(other)
        figures = compare(real, Statistics.of(vectors), tag(features), draws=0)
        return {short(figure): figure.value for figure in figures}

    return measured


def short(figure: Figure) -> str:
    return figure.name.partition("[")[0]


def test_a_set_is_no_way_from_itself(measure: Measure, images: Tensor) -> None:
    found = measure(images)
    assert set(found) == {"FD", "KD", "SWD", "precision", "recall", "density", "coverage"}
    assert found["FD"] <= 1e-3
    assert found["SWD"] <= 1e-3
    assert found["KD"] <= 1e-3
    assert [found[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]


@pytest.mark.parametrize(("worse", "steps"), [(blurred, (0.7, 1.5, 3)), (noisy, (0.05, 0.12, 0.3))])
def test_more_of_it_is_farther_away(
    measure: Measure, images: Tensor, worse: Callable[[Tensor, float], Tensor], steps: tuple[float, ...]
) -> None:
    found = [measure(images), *(measure(worse(images, step)) for step in steps)]
    for name in ("FD", "KD", "SWD"):
        values = [one[name] for one in found]
        assert all(values[i] < values[i + 1] for i in range(len(values) - 1)), (name, values)
    assert found[-1]["precision"] < found[0]["precision"]


def test_dropped_classes_lower_recall_and_coverage_and_not_precision(measure: Measure) -> None:
    labels = emoji(8)[1]
    found = []
    for dropped in range(len(LABELS)):
        rows = torch.tensor([i for i, label in enumerate(labels) if label not in LABELS[:dropped]])
        assert len(rows) == EACH * (len(LABELS) - dropped)
        found.append(measure(rows))
    for name in ("FD", "SWD"):
        values = [one[name] for one in found]
        assert all(values[i] < values[i + 1] for i in range(len(values) - 1)), (name, values)
    for name in ("recall", "coverage"):
        values = [one[name] for one in found]
        assert all(values[i] > values[i + 1] for i in range(len(values) - 1)), (name, values)
        assert values[-1] < 0.9
    assert [one["precision"] for one in found] == [1.0] * len(found)
    assert len(DISTANCES) == 5
