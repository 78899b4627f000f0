"""Figures about images: fidelity, judges of what they show, features, nearest neighbours."""

from latentry.metrics.judges import JUDGES, Judge
from latentry.metrics.psnr import masked_psnr, psnr

__all__ = ["JUDGES", "Judge", "masked_psnr", "psnr"]
