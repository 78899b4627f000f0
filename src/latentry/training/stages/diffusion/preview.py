"""The fixed-seed sheet of samples that shows how training goes."""

from __future__ import annotations

from pathlib import Path

from latentry.checkpoints import durable
from latentry.data.dataset import ImageData
from latentry.evaluation.figures import condition_values
from latentry.pipeline import Pipeline
from latentry.training.loop.signals import check_stop

COUNT, STEPS = 16, 20


class Previewer:
    """Draws the same 16 images each time: conditions of fixed images, fixed seeds. Touches no random state."""

    def __init__(self, pipe: Pipeline, data: ImageData, seed: int) -> None:
        self.pipe, self.seed = pipe, seed
        stride = max(1, len(data) // COUNT)
        indices = [i * stride % len(data) for i in range(COUNT)]
        assert pipe.denoiser is not None
        self.values = condition_values(pipe.denoiser, data, indices, seed)

    def __call__(self, path: Path) -> None:
        """Write the sheet. Raises Interrupted if training is to stop."""
        assert self.pipe.denoiser is not None
        self.pipe.denoiser.eval()
        request = {"n": 1, **self.values} if self.values else {"n": COUNT}
        steps = min(STEPS, self.pipe.config.sample.steps)
        out = self.pipe.sample(
            steps=steps, seed=self.seed, progress=lambda done, total: check_stop(done / total), **request
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = out.grid()
        with durable.writing(path, 3 * sheet.width * sheet.height) as fresh:  # it may be looked at at any moment
            sheet.save(fresh)
