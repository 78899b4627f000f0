"""Figures about images: fidelity, judges of what they show, features, nearest neighbours.

A new metric is a file here that defines METRIC, and a line in METRICS: every trained model is then measured by it.
"""

from latentry.metrics.judges import JUDGES, Judge
from latentry.metrics.metric import Metric
from latentry.metrics.psnr import METRIC as PSNR
from latentry.metrics.psnr import masked_psnr, psnr

METRICS: dict[str, Metric] = {
    "psnr": PSNR,
}

__all__ = ["JUDGES", "METRICS", "Judge", "Metric", "masked_psnr", "psnr"]
