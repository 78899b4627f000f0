"""Mean and covariance of vectors that come in parts: from any batches, chunks and processes the same numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist

from latentry.errors import LatentryError

CHUNK = 512
"""Vectors that are taken at once: fewer leave the cores idle, and the sums would depend on the batches."""
TILE = 256
"""Rows of the scatter that are summed at once, from their own columns on: what lies below is the same, mirrored."""


class Moments:
    """Count, mean (D,) and scatter (D, D) in float64: all that a Fréchet distance needs, in memory that stays as it is.

    While vectors come in, the scatter is true above its diagonal of tiles alone: half the work.
    Source: Chan, Golub and LeVeque 1983, of sums of squares of two parts.
    """

    def __init__(self, width: int) -> None:
        self._count, self._mean = 0, torch.zeros(width, dtype=torch.float64)
        self._scatter = torch.zeros(width, width, dtype=torch.float64)
        self._waiting: list[Tensor] = []

    @classmethod
    def of(cls, vectors: Tensor) -> Moments:
        """The moments of vectors (N, D)."""
        moments = cls(vectors.shape[1])
        for part in vectors.split(CHUNK):
            moments.update(part)
        return moments

    def update(self, vectors: Tensor) -> None:
        """Take in vectors (B, D). Raises LatentryError where one is not finite, and takes none of them."""
        bad = int((~vectors.isfinite()).any(1).sum())
        if bad:
            raise LatentryError(
                f"features: {bad} of {len(vectors)} vectors are not finite; no distance can be measured. Look for "
                "images with values that are not numbers, or for damaged weights."
            )
        self._waiting.append(vectors.detach().to("cpu", torch.float64, copy=True))
        if sum(map(len, self._waiting)) >= CHUNK:
            ready, whole = torch.cat(self._waiting), sum(map(len, self._waiting)) // CHUNK * CHUNK
            self._waiting = [ready[whole:]]
            for chunk in ready[:whole].split(CHUNK):
                self._take(chunk)

    @property
    def count(self) -> int:
        return self._count + sum(map(len, self._waiting))

    @property
    def mean(self) -> Tensor:
        """(D,) float64."""
        return self._settled()._mean

    @property
    def scatter(self) -> Tensor:
        """Sum of the squares and products of what is off the mean, (D, D) float64."""
        return self._settled()._scatter

    @property
    def covariance(self) -> Tensor:
        """(D, D) float64, by n - 1."""
        if self.count < 2:
            raise LatentryError(f"features: {self.count} vectors have no covariance; at least 2 images are needed.")
        return self.scatter / (self.count - 1)

    def merge(self, other: Moments) -> Moments:
        """Take in those of further vectors; this is returned."""
        self._settled()._add(other.count, other.mean, other.scatter)
        return self

    def over_processes(self) -> Moments:
        """Of the vectors of all processes together, the same in each; these where there is one process."""
        if not (dist.is_available() and dist.is_initialized()):
            return self
        total = torch.tensor([self.count])
        dist.all_reduce(total)
        together = Moments(len(self.mean))
        together._count = int(total)
        together._mean = self.mean * (self.count / max(1, together._count))
        dist.all_reduce(together._mean)
        off = self.mean - together._mean
        together._scatter = self.scatter.clone().addr_(off, off, alpha=self.count)
        dist.all_reduce(together._scatter)
        return together

    def state(self) -> dict[str, Tensor]:
        """Tensors to keep: `count`, `mean`, `scatter`."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Moments:
        """Those of `state()`."""
        moments = cls(0)
        moments._count = int(state["count"])
        moments._mean, moments._scatter = state["mean"].double(), state["scatter"].double()
        return moments

    def _settled(self) -> Moments:
        """These, with every vector taken in that was still waiting for a whole chunk."""
        for chunk in torch.cat(self._waiting).split(CHUNK) if self._waiting else ():
            self._take(chunk)
        self._waiting = []
        for start in range(0, len(self._mean), TILE):
            rows, others = slice(start, start + TILE), slice(start + TILE, None)
            self._scatter[others, rows] = self._scatter[rows, others].T
        return self

    def _take(self, chunk: Tensor) -> None:
        mean = chunk.mean(0)
        off = chunk - mean
        self._add(len(chunk), mean)
        for start in range(0, len(mean), TILE):
            self._scatter[start : start + TILE, start:].addmm_(off[:, start : start + TILE].T, off[:, start:])

    def _add(self, count: int, mean: Tensor, scatter: Tensor | None = None) -> None:
        """Chan et al. 1983, equation 2.1: what two parts of so many vectors have together."""
        if not count:
            return
        apart, total = mean - self._mean, self._count + count
        self._scatter.addr_(apart, apart, alpha=self._count * count / total)
        if scatter is not None:
            self._scatter += scatter
        self._mean = self._mean + apart * (count / total)
        self._count = total
