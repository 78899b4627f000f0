"""A plain judge of labels by the nearest neighbours in features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from latentry.metrics.nearest import distances

NEIGHBOURS = 10


def vote(queries: Tensor, gallery: Tensor, labels: Sequence[int], k: int = NEIGHBOURS) -> list[int]:
    """The label most frequent among the k nearest (by angle) of the gallery, for each query; ties go to the nearest.

    queries: (Q, D). gallery: (N, D). labels: of the gallery, N whole numbers >= 0.
    """
    distance = distances(functional.normalize(queries, dim=1), functional.normalize(gallery, dim=1))
    near = distance.topk(min(k, len(labels)), largest=False).indices  # (Q, k), nearest first
    neighbours = torch.tensor(labels)[near]
    votes = functional.one_hot(neighbours, max(labels) + 1).double()
    earlier = 0.5 ** torch.arange(1, neighbours.shape[1] + 1, dtype=torch.float64)  # all together less than one vote
    return [int(label) for label in (votes * (1 + earlier[None, :, None])).sum(1).argmax(1)]
