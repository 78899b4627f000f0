"""Super-resolution: images enlarged four times, against the truth, a baseline, and the input."""

from __future__ import annotations

import math
import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentry import rng
from latentry.data.degrade import DEGRADATIONS
from latentry.metrics.gradients import gradient_energy
from latentry.metrics.ssim import ssim
from latentry.nn import lpips
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, mean_psnr, pictures, pillow, rows, saved
from task_figures.folders import held_out

FACTOR = 4
BLIND = "bsr_light"
MATCHED = 45.0
"""dB of a sample that is corrected by its input."""


def sr(pipe: Pipeline, asked: Asked, baseline: Pipeline | None) -> Measured:
    """Scenes: against the truth, the regression, and the input."""
    scenes = asked.scenes()
    figures, shown = enlarged(pictures(scenes), pipe, asked, baseline)
    return [judge_itself(pictures(scenes), scenes), *figures], shown


def sr_folder(pipe: Pipeline, asked: Asked, baseline: Pipeline | None) -> Measured:
    """Images of a folder that training kept out: the same."""
    assert asked.data is not None
    return enlarged(held_out(asked.data, pipe.config.data.size, asked.count), pipe, asked, baseline)


def sr_blind(pipe: Pipeline, asked: Asked, blind: Pipeline | None) -> Measured:
    """Scenes shrunk blindly: a model of bicubic inputs, and whether one of such inputs comes nearer to the truth."""
    scenes = asked.scenes()
    real = pictures(scenes)
    small = blindly(real, asked.seed)
    plain = upscaled(pipe, small, asked, match_input=False)
    figures, shown = [judge_itself(real, scenes), *against("bicubic model", plain, real)], [large(small), plain, real]
    if blind is not None:
        made = upscaled(blind, small, asked, match_input=False)
        gains = {name: float(part.mean()) for name, part in better(made, plain, real).items()}
        figures += against("blind model", made, real)
        figures += [Figure(f"{name} better than the bicubic model by", gain, 0.0) for name, gain in gains.items()]
        shown.insert(2, made)
    return figures, rows(*shown)


def enlarged(real: Tensor, pipe: Pipeline, asked: Asked, baseline: Pipeline | None) -> Measured:
    """Of images (B, 3, H, W) in [0, 1] that are shrunk and enlarged, as models do it without being asked otherwise."""
    small = shrunk(real)
    made, free = upscaled(pipe, small, asked), upscaled(pipe, small, asked, match_input=False)
    figures = against("model", made, real)
    figures.append(Figure("PSNR of the model, its input not matched (dB)", mean_psnr(free, real), None))
    figures.append(Figure("PSNR of the shrunk sample, not matched (dB)", mean_psnr(shrunk(free), small), None))
    figures.append(Figure("PSNR of the shrunk sample against the input (dB)", mean_psnr(shrunk(made), small), MATCHED))
    shown = [large(small), made, real]
    if baseline is not None:
        plain = upscaled(baseline, small, asked)
        loss = mean_psnr(plain, real) - mean_psnr(made, real)
        figures += [*against("regression", plain, real), Figure("PSNR lost to the regression (dB)", loss, 2.0, True)]
        figures.append(
            Figure("SSIM lost to the regression (dB)", decibels(plain, real) - decibels(made, real), 2.0, True)
        )
        nearer = edges_off(plain, real) - edges_off(made, real)
        figures.append(Figure("nearer to the truth's gradient energy by (log)", nearer, 0.0))
        shown.insert(1, plain)
    return figures, rows(*shown)


def upscaled(pipe: Pipeline, small: Tensor, asked: Asked, **options: object) -> Tensor:
    """What a model makes of files of small images."""
    with tempfile.TemporaryDirectory() as folder:
        files = list(saved(small, Path(folder)))
        images: Tensor = pipe.run("upscale", images=files, **asked.how, **options).tensor
    return images


def shrunk(images: Tensor) -> Tensor:
    """(B, 3, h, w) of 8 bits in [0, 1]: Pillow's bicubic, smaller by FACTOR."""
    size = (images.shape[3] // FACTOR, images.shape[2] // FACTOR)
    small = [picture.resize(size, Image.Resampling.BICUBIC) for picture in pillow(images)]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in small])).movedim(-1, 1) / 255


def blindly(images: Tensor, seed: int) -> Tensor:
    """(B, 3, h, w) of 8 bits in [0, 1]: each degraded in its own way."""
    degrade = DEGRADATIONS[BLIND]
    chance = [partial(rng.generator, seed, "task figures/blind", number) for number in range(len(images))]
    small = [degrade(image.numpy() * 2 - 1, FACTOR, draw) for image, draw in zip(images, chance, strict=True)]
    return (torch.from_numpy(np.stack(small)) / 2 + 0.5).mul(255).round().clamp(0, 255) / 255


def large(small: Tensor) -> Tensor:
    """Each pixel as a square, for the sheet."""
    return small.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)


def decibels(made: Tensor, real: Tensor) -> float:
    """The mean SSIM as -10 log10(1 - SSIM), as encoders of video tell it: 0.9 is 10 dB, at most 60."""
    return -10 * math.log10(max(1 - float(ssim(made, real, 1.0).mean()), 1e-6))


def edges_off(made: Tensor, real: Tensor) -> float:
    """How far the gradient energy is from the truth's: the mean size of the logarithm of their ratio."""
    return float((gradient_energy(made).clamp(min=1e-6) / gradient_energy(real).clamp(min=1e-6)).log().abs().mean())


def better(made: Tensor, plain: Tensor, real: Tensor) -> dict[str, Tensor]:
    """By how much `made` is nearer to the truth than `plain`; LPIPS where $LATENTRY_WEIGHTS names its weights."""
    found = {
        "SSIM": ssim(made, real, 1.0) - ssim(plain, real, 1.0),
        "PSNR (dB)": torch.tensor(mean_psnr(made, real) - mean_psnr(plain, real)),
    }
    if os.environ.get("LATENTRY_WEIGHTS"):
        distance = lpips.load("squeezenet")
        with torch.no_grad():
            found["LPIPS"] = distance(plain * 2 - 1, real * 2 - 1) - distance(made * 2 - 1, real * 2 - 1)
    return found


def against(name: str, made: Tensor, real: Tensor) -> list[Figure]:
    """What is told of enlarged images."""
    ratio = float((gradient_energy(made) / gradient_energy(real).clamp(min=1e-6)).mean())
    return [
        Figure(f"PSNR of the {name} (dB)", mean_psnr(made, real), None),
        Figure(f"SSIM of the {name}", float(ssim(made, real, 1.0).mean()), None),
        Figure(f"gradient energy of the {name} over the truth's", ratio, None),
    ]
