"""Image guidance: whether samples of an unconditional model, made as small, look like the small image they follow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, mean_psnr, pictures, rows, saved
from task_figures.sr import FACTOR, shrunk


def guide(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Unseen scenes at 16x16 as guides, one a sample; the same seeds without them."""
    scenes = asked.scenes(shapes=1)
    real = pictures(scenes)
    small = shrunk(real)
    with tempfile.TemporaryDirectory() as folder:
        guided = pipe.sample(n=asked.count, guide=list(saved(small, Path(folder))), **asked.how).tensor
    plain = pipe.sample(n=asked.count, **asked.how).tensor
    near, far = mean_psnr(shrunk(guided), small), mean_psnr(shrunk(plain), small)
    large = small.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
    return [
        judge_itself(real, scenes),
        Figure("PSNR of the shrunk sample against its guide (dB)", near, None),
        Figure("the same without guidance (dB)", far, None),
        Figure("gained by guidance (dB)", near - far, 6.0),
    ], rows(large, plain, guided, real)
