"""How a first stage is looked at while it trains: its reconstructions of fixed images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from latentry.checkpoints import durable
from latentry.data.dataset import ImageData
from latentry.metrics import psnr
from latentry.models.autoencoder import Autoencoder
from latentry.pipeline.images import to_unit
from latentry.pipeline.output import grid
from latentry.training.loop.signals import check_stop

PREVIEWED = 8
VALIDATED = 64


def batch_psnr(reconstruction: Tensor, x: Tensor) -> Tensor:
    """PSNR in dB of all values of a batch together, clamped to [-1, 1] as images are; a scalar on their device."""
    error = (reconstruction.float().clamp(-1, 1) - x).square().mean()
    return 10 * (4 / error.clamp(min=1e-12)).log10()


@torch.no_grad()
def reconstructed(model: Autoencoder, data: ImageData) -> tuple[float, Tensor]:
    """Mean PSNR in dB of reconstructions of the first images, and their moments (B, c or 2c, h, w).

    Relative to the range that the images use, where that is a small part of the whole. Raises Interrupted if training
    is to stop.
    """
    used = data.in_use or (0.0, 1.0)
    scores, moments = [], []
    for first in range(0, min(len(data), VALIDATED), PREVIEWED):
        check_stop()
        x = torch.stack([data.sample(i).image for i in range(first, min(first + PREVIEWED, len(data), VALIDATED))])
        m = model.moments(x.to(model.latent_scale.device))
        moments.append(m.float().cpu())
        scores.append(psnr(to_unit(model.decode(model.latent(m))), to_unit(x), used[1] - used[0]))
    return float(torch.cat(scores).mean()), torch.cat(moments)


@torch.no_grad()
def sheet(model: Autoencoder, data: ImageData, path: Path) -> None:
    """Write the first images beside their reconstructions."""
    x = torch.stack([data.sample(i).image for i in range(min(len(data), PREVIEWED))])
    again = model.decode(model.encode(x.to(model.latent_scale.device)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = grid(torch.cat([to_unit(x), to_unit(again)]), columns=len(x), alpha=data.source.transparent)
    with durable.writing(path, 3 * sheet.width * sheet.height) as fresh:  # it may be looked at at any moment
        sheet.save(fresh)
