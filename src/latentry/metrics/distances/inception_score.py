"""Inception Score: how sure, and how various, a classifier's answers are (Salimans et al. 2016)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.distances.kernel import Spread

SPLITS, SEED = 10, 2020
PART = 1024


class Scores:
    """Sums of a classifier's answers in each split, as images come: what a score of any number of them needs.

    count: images that will come. splits: at i N // splits of the images in the order that `shuffle` draws as
    torch-fidelity does; None keeps their own. Images that never come, as those that cannot be read, are left out.
    """

    def __init__(self, count: int, splits: int = SPLITS, shuffle: int | None = SEED) -> None:
        if not 1 <= splits <= count:
            raise UsageError(f"Inception Score: {count} images in {splits} splits; one image a split is the least.")
        order = np.arange(count) if shuffle is None else np.random.RandomState(shuffle).permutation(count)
        self.split = torch.empty(count, dtype=torch.int64)  # of each image, by its number
        for i in range(splits):
            self.split[torch.as_tensor(order[i * count // splits : (i + 1) * count // splits])] = i
        self.images = torch.zeros(splits, dtype=torch.int64)
        self.surety = torch.zeros(splits, dtype=torch.float64)  # sums of p log p
        self.answers = torch.zeros(splits, 0, dtype=torch.float64)  # sums of p

    @classmethod
    def of(cls, logits: Tensor, splits: int = SPLITS, shuffle: int | None = SEED) -> Scores:
        """Those of logits (N, classes)."""
        scores = cls(len(logits), splits, shuffle)
        scores.update(0, logits)
        return scores

    def update(self, first: int, logits: Tensor) -> None:
        """Take in the logits (B, classes), Inception's without bias, of the images from number `first` on."""
        if not self.answers.shape[1]:
            self.answers = torch.zeros(len(self.images), logits.shape[1], dtype=torch.float64)
        for start in range(0, len(logits), PART):
            logs = logits[start : start + PART].double().log_softmax(1)
            split = self.split[first + start : first + start + len(logs)]
            self.images += torch.bincount(split, minlength=len(self.images))
            self.surety.index_add_(0, split, (logs.exp() * logs).sum(1))
            self.answers.index_add_(0, split, logs.exp())

    def add(self, other: Scores) -> Scores:
        """Take in those of other images of the same count; these are returned."""
        if other.answers.shape[1]:
            self.answers = other.answers + (self.answers if self.answers.shape[1] else 0)
            self.images, self.surety = self.images + other.images, self.surety + other.surety
        return self

    def score(self) -> Spread:
        """exp of the mean divergence of p(y|x) from p(y), in [1, classes]: mean and deviation over splits."""
        there = self.images > 0
        count = self.images[there].double()
        marginal = self.answers[there] / count[:, None]
        entropy = (marginal * marginal.clamp(min=torch.finfo(torch.float64).tiny).log()).sum(1)
        scores = (self.surety[there] / count - entropy).exp()
        return Spread(float(scores.mean()), float(scores.std(correction=0)))


def inception_score(logits: Tensor, splits: int = SPLITS, shuffle: int | None = SEED) -> Spread:
    """The score of logits (N, classes); arguments as of `Scores`."""
    return Scores.of(logits, splits, shuffle).score()
