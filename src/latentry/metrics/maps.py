"""Figures of maps: how well the classes of two maps, or two silhouettes, lie on each other."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_iou(found: Tensor, wanted: Tensor) -> float:
    """Intersection over union of each class, mean over the classes that are in either map (Everingham et al. 2010).

    found, wanted: maps (H, W) of class numbers. A class that the wanted map does not have counts as 0.
    """
    if found.shape != wanted.shape:
        raise ValueError(f"mean_iou: maps of {tuple(found.shape)} and {tuple(wanted.shape)}; the shapes must agree")
    classes = torch.cat((found.flatten(), wanted.flatten())).unique()
    return sum(silhouette_iou(found == number, wanted == number) for number in classes) / len(classes)


def silhouette_iou(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two masks (H, W) bool; 1 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
