"""Inception Score: how sure, and how various, a classifier's answers are (Salimans et al. 2016)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.distances.kernel import Spread


def inception_score(logits: Tensor, splits: int = 10, shuffle: int | None = 2020) -> Spread:
    """exp of the mean divergence of p(y|x) from p(y), in [1, classes]: mean and deviation over splits.

    logits: (N, classes), Inception's without bias. splits: at i N // splits; 1 is all together. shuffle: seed of the
    order, drawn as torch-fidelity draws it; None keeps it.
    """
    count = len(logits)
    if not 1 <= splits <= count:
        raise UsageError(f"Inception Score: {count} images in {splits} splits; one image a split is the least.")
    order = np.arange(count) if shuffle is None else np.random.RandomState(shuffle).permutation(count)
    logs = logits.double()[torch.as_tensor(order)].log_softmax(1)
    scores = []
    for i in range(splits):
        part = logs[i * count // splits : (i + 1) * count // splits]
        marginal = part.exp().mean(0).clamp(min=torch.finfo(torch.float64).tiny).log()
        scores.append(float((part.exp() * (part - marginal)).sum(1).mean().exp()))
    return Spread(float(np.mean(scores)), float(np.std(scores)))
