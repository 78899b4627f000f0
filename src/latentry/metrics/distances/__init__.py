"""Distances of two sets of features: vectors, statistics, number. DISTANCES names them."""

from __future__ import annotations

from latentry.metrics.distances.coverage import density_coverage, precision_recall
from latentry.metrics.distances.distance import Distance
from latentry.metrics.distances.frechet import Normal, frechet
from latentry.metrics.distances.inception_score import inception_score
from latentry.metrics.distances.kernel import kid, mmd2, subset_rows
from latentry.metrics.distances.moments import Moments
from latentry.metrics.distances.sliced import sliced_wasserstein

DISTANCES: dict[str, Distance] = {
    "frechet": Distance(
        "FID",
        "FD",
        lambda real, generated: {"": frechet(Normal.from_vectors(real), Normal.from_vectors(generated))},
        enough=lambda width: 5 * width,
        lowest=0.0,
        moments=lambda real, generated: frechet(Normal.from_moments(real), Normal.from_moments(generated)),
    ),
    "kernel": Distance("KID", "KD", lambda real, generated: {"": mmd2(real, generated)}, enough=lambda width: 100),
    "sliced": Distance(
        "MIND",
        "SWD",
        lambda real, generated: {"": sliced_wasserstein(real, generated)},
        enough=lambda width: 1000,
        lowest=0.0,
    ),
    "precision_recall": Distance("", "", precision_recall, enough=lambda width: 1000, lowest=0.0, highest=1.0),
    "density_coverage": Distance("", "", density_coverage, enough=lambda width: 1000, lowest=0.0),
}

__all__ = [
    "DISTANCES",
    "Distance",
    "Moments",
    "Normal",
    "density_coverage",
    "frechet",
    "inception_score",
    "kid",
    "mmd2",
    "precision_recall",
    "sliced_wasserstein",
    "subset_rows",
]
