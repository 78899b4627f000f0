"""Distances of samples while a second stage trains: the same samples each time, so that only the weights differ."""

from __future__ import annotations

from functools import partial

from latentry.checkpoints.best import Score
from latentry.data.dataset import ImageData
from latentry.evaluation.images.drawn import Samples
from latentry.evaluation.images.sets import at_once, split_set
from latentry.evaluation.measure.names import chosen, score_of
from latentry.evaluation.measure.networks import features_of, own
from latentry.evaluation.measure.parts import Bench
from latentry.metrics.features import Features
from latentry.pipeline import Pipeline
from latentry.training.loop.signals import check_stop
from latentry.training.recipe.evaluate import TrainingEvaluation


class Evaluator:
    """Draws and measures as `latentry evaluate` does, against the training images. Touches no random state.

    score: the last value of what the best checkpoint is kept by, less is better; None where there is none.
    """

    def __init__(self, pipe: Pipeline, data: ImageData, options: TrainingEvaluation, seed: int) -> None:
        self.pipe, self.data, self.options, self.seed = pipe, data, options, seed
        self.networks: list[Features] = []
        self.score: Score | None = None

    def __call__(self) -> dict[str, float]:
        """Figures by name. Raises Interrupted if training is to stop, LatentryError where nothing can be measured."""
        pipe, data, self.score = self.pipe, self.data, None
        assert pipe.denoiser is not None
        pipe.denoiser.eval()
        real = split_set(data, "training images")
        if not self.networks:
            first = partial(own, pipe.autoencoder, pipe.encode)
            how = {"alpha": pipe.config.data.alpha, "device": pipe.device}
            self.networks, _ = features_of(self.options.features, first, real.channels, **how)  # type: ignore[arg-type]
        bench = Bench(self.networks, chosen(self.options.metrics), self.seed, draws=0, told=_look)
        samples = Samples(pipe, data, self.seed, gauge=False)
        theirs = bench.reference(real)
        ours = bench.statistics(samples, self.options.samples, at_once(real.largest), "samples")
        figures, best = bench.compared(theirs, ours), self.options.keep_best
        self.score = None if best is None else score_of(figures, best)
        return {figure.name: figure.value for figure in figures}


def _look(what: str, done: int, total: int) -> None:
    check_stop(done / total)
