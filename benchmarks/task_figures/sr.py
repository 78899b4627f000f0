"""Super-resolution: scenes enlarged four times, against the truth, the regression, and the input."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentry.metrics.gradients import gradient_energy
from latentry.metrics.ssim import ssim
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, mean_psnr, pictures, pillow, rows, saved

FACTOR = 4


def sr(pipe: Pipeline, asked: Asked, baseline: Pipeline | None) -> Measured:
    """Enlarged four times: against the truth, the regression, and the input."""
    scenes = asked.scenes()
    real = pictures(scenes)
    small = shrunk(real)
    with tempfile.TemporaryDirectory() as folder:
        files = list(saved(small, Path(folder)))
        made = pipe.run("upscale", images=files, **asked.how).tensor
        plain = None if baseline is None else baseline.run("upscale", images=files, seed=asked.seed).tensor
    figures = [judge_itself(real, scenes), *against("model", made, real)]
    figures.append(Figure("PSNR of the shrunk sample against the input (dB)", mean_psnr(shrunk(made), small), 35.0))
    shown = [small.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3), made, real]
    if plain is not None:
        loss = mean_psnr(plain, real) - mean_psnr(made, real)
        figures += [*against("regression", plain, real), Figure("PSNR lost to the regression (dB)", loss, 2.0, True)]
        lost = float((ssim(plain, real, 1.0) - ssim(made, real, 1.0)).mean())
        figures.append(Figure("SSIM lost to the regression", lost, None))
        nearer = edges_off(plain, real) - edges_off(made, real)
        figures.append(Figure("nearer to the truth's gradient energy by (log)", nearer, 0.0))
        shown.insert(2, plain)
    return figures, rows(*shown)


def shrunk(images: Tensor) -> Tensor:
    """(B, 3, h, w) of 8 bits in [0, 1]: Pillow's bicubic, smaller by FACTOR."""
    size = (images.shape[3] // FACTOR, images.shape[2] // FACTOR)
    small = [picture.resize(size, Image.Resampling.BICUBIC) for picture in pillow(images)]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in small])).movedim(-1, 1) / 255


def edges_off(made: Tensor, real: Tensor) -> float:
    """How far the gradient energy is from the truth's: the mean size of the logarithm of their ratio."""
    return float((gradient_energy(made) / gradient_energy(real)).log().abs().mean())


def against(name: str, made: Tensor, real: Tensor) -> list[Figure]:
    """What is told of enlarged images."""
    ratio = float((gradient_energy(made) / gradient_energy(real)).mean())
    return [
        Figure(f"PSNR of the {name} (dB)", mean_psnr(made, real), None),
        Figure(f"SSIM of the {name}", float(ssim(made, real, 1.0).mean()), None),
        Figure(f"gradient energy of the {name} over the truth's", ratio, None),
    ]
