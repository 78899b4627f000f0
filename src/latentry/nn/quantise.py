"""Vector quantisation: each latent vector becomes the nearest of a learned set of codes (van den Oord et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.devices import autocast

CHUNK = 2**26  # most distances held at once, so that a large codebook does not need gigabytes


class Quantised(NamedTuple):
    """z: codes (B, c, h, w) with the gradient of the input; indices: (B, h, w); codebook_loss: scalar."""

    z: Tensor
    indices: Tensor
    codebook_loss: Tensor


class VectorQuantiser(nn.Module):
    """A codebook of `codes` vectors of `channels` numbers.

    beta: weight of the term that moves the codes towards the encoder's output. The published models weight this term
    and not the commitment term; so does this. Distances and losses are float32 under any autocast.
    """

    def __init__(self, codes: int, channels: int, beta: float = 0.25) -> None:
        super().__init__()
        self.beta = beta
        self.codebook = nn.Parameter(torch.empty(codes, channels).uniform_(-1.0 / codes, 1.0 / codes))

    def forward(self, z: Tensor) -> Quantised:
        with autocast(z.device, "fp32"):
            z = z.to(self.codebook.dtype)  # (B, c, h, w)
            indices = self.nearest(z)
            code = self.lookup(indices)
            commitment = (code.detach() - z).square().mean()
            codebook = (code - z.detach()).square().mean()
            straight_through = z + (code - z).detach()
            return Quantised(straight_through, indices, commitment + self.beta * codebook)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Index of the code nearest to each vector of z (B, c, h, w): (B, h, w) int64."""
        with autocast(z.device, "fp32"):
            codes = self.codebook  # (K, c)
            vectors = z.to(codes.dtype).permute(0, 2, 3, 1).reshape(-1, codes.shape[1])  # (N, c), order b, h, w
            squares = codes.square().sum(dim=1)  # |v|^2 is left out: it is the same for every code
            rows = max(1, CHUNK // codes.shape[0])
            parts = [(squares - 2.0 * part @ codes.T).argmin(dim=1) for part in vectors.split(rows)]
            return torch.cat(parts).view(z.shape[0], *z.shape[2:])

    def lookup(self, indices: Tensor) -> Tensor:
        """The codes of indices (B, h, w): (B, c, h, w)."""
        return F.embedding(indices, self.codebook).permute(0, 3, 1, 2).contiguous()


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of how often each code was used; counts (K,), result between 1 and K."""
    share = counts.double() / counts.sum()
    return torch.special.entr(share).sum().exp()
