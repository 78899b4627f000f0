"""If these fail, a number does not say what it is of, or how far it can be believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.errors import LatentryError, UsageError
from latentry.metrics.compare import compare, gap, score
from latentry.metrics.distances import DISTANCES
from latentry.metrics.distances.inception_score import Scores
from latentry.metrics.distances.interval import bootstrap_mean, deviations
from latentry.metrics.statistics import Statistics

INCEPTION, OTHER = "inception:67268…", "own first stage:ab12c…"


def drawn(count: int, seed: int, width: int = 4) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, width))).float()


def names(tag: str) -> list[str]:
    figures = compare(Statistics.of(drawn(40, 0)), Statistics.of(drawn(30, 1)), tag, draws=0)
    return [figure.name for figure in figures]


def test_only_inceptions_are_called_by_the_published_names() -> None:
    shares = ["precision", "recall", "density", "coverage"]
    assert names(INCEPTION) == [f"{name}[{INCEPTION}]" for name in ("FID", "KID", "MIND", *shares)]
    assert names(OTHER) == [f"{name}[{OTHER}]" for name in ("FD", "KD", "SWD", *shares)]


def test_counts_and_warnings_name_what_still_means_something() -> None:
    few = compare(Statistics.of(drawn(200, 0, 64)), Statistics.of(drawn(120, 1, 64)), INCEPTION, draws=0)
    assert {(figure.images, figure.reference) for figure in few} == {(120, 200)}
    warnings = {figure.name.partition("[")[0]: figure.warning for figure in few}
    assert warnings["FID"].startswith(f"FID[{INCEPTION}] of 120 images: it needs 320")
    assert warnings["FID"].endswith("KID (KD) still mean something.")
    assert warnings["KID"] == ""
    assert "it needs 1000" in warnings["MIND"]
    fewer = compare(Statistics.of(drawn(9, 0)), Statistics.of(drawn(9, 1)), OTHER, ["kernel"])
    assert fewer[0].warning.endswith("Only large differences mean something.")
    assert fewer[0].interval is None
    many = compare(Statistics.of(drawn(1000, 0)), Statistics.of(drawn(1000, 1)), OTHER, draws=0)
    assert not any(figure.warning for figure in many)


def test_mistakes_are_named() -> None:
    one = Statistics.of(drawn(9, 0))
    with pytest.raises(UsageError, match=r'no "freche".*did you mean "frechet"'):
        compare(one, one, OTHER, ["freche"])
    with pytest.raises(UsageError, match="one width"):
        compare(one, Statistics.of(drawn(9, 0, 5)), OTHER, ["frechet"])
    with pytest.raises(UsageError, match="more than 3 images"):
        compare(one, Statistics.of(drawn(2, 0)), OTHER, ["precision_recall"])
    with pytest.raises(LatentryError, match="at least 2 images"):
        compare(one, Statistics.of(drawn(1, 0)), OTHER, ["frechet"])


@pytest.mark.parametrize("name", DISTANCES)
def test_an_interval_is_as_wide_as_the_number_varies(name: str) -> None:
    """Against the spread over sets drawn anew, which intervals from one pair of sets are to foresee."""
    compute = DISTANCES[name].compute
    anew = [compute(drawn(120, 2 * i), drawn(90, 2 * i + 1) * 1.5 + 0.7) for i in range(30)]
    foreseen = [deviations(compute, drawn(120, s), drawn(90, 99 + s) * 1.5 + 0.7, draws=15) for s in range(4)]
    for part in anew[0]:
        spread, found = np.std([one[part] for one in anew]), np.mean([one[part] for one in foreseen])
        assert 0.55 * spread < found < 1.9 * spread, (part, spread, found)


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    low, high = bootstrap_mean(drawn(400, 0, 1)[:, 0])
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    found = deviations(lambda x, y: {"": float(x.mean())}, drawn(400, 0, 1), drawn(9, 1, 1), draws=200)
    assert found[""] == pytest.approx(1 / 20, rel=0.2)


def test_moments_count_every_image_where_not_all_vectors_are_kept() -> None:
    vectors = drawn(3000, 0), drawn(2000, 1) + 0.5
    real, generated = Statistics(4, most=300), Statistics(4, most=300)
    real.update(vectors[0])
    generated.update(vectors[1])
    figures = compare(real, generated, OTHER, ["frechet", "kernel"], draws=4)
    whole = compare(Statistics.of(vectors[0]), Statistics.of(vectors[1]), OTHER, ["frechet"], draws=0)
    assert figures[0].value == pytest.approx(whole[0].value, rel=1e-9)
    assert [(figure.images, figure.reference) for figure in figures] == [(2000, 3000), (300, 300)]
    low, high = figures[0].interval or (0.0, 0.0)
    assert low < figures[0].value < high


def test_a_model_that_repeats_its_training_images_shows_in_the_gap() -> None:
    train, held_out, free = drawn(150, 0), drawn(100, 1), drawn(80, 2)
    seen, unseen = Statistics.of(train), Statistics.of(held_out)
    copied = gap(seen, unseen, Statistics.of(train[:80] + 0.01 * free), OTHER, ["frechet", "density_coverage"])
    honest = gap(seen, unseen, Statistics.of(free), OTHER, ["frechet", "density_coverage"])
    assert copied[0].name == f"gap of FD[{OTHER}]"
    assert copied[0].value > 3 * abs(honest[0].value)
    coverage = [one.value for figures in (copied, honest) for one in figures if "coverage" in one.name]
    assert coverage[0] < coverage[1]
    assert {figure.reference for figure in copied} == {100}


def test_the_score_has_its_name_and_an_interval_of_its_splits() -> None:
    figure = score(Scores.of(3 * drawn(400, 0, 20)), INCEPTION)
    low, high = figure.interval or (0.0, 0.0)
    assert figure.name == f"IS[{INCEPTION}]"
    assert 1 <= low < figure.value < high <= 20
    assert "fewer than 5000" in figure.warning
