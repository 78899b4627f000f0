"""Text to image: whether the judge finds just what captions name."""

from __future__ import annotations

from latentry.metrics.scenes import look
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, judge_itself, pictures, rows, share_of_captions


def text(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Captions: whether the judge finds just what they name."""
    scenes = asked.scenes()
    made = pipe.sample([scene.text for scene in scenes], **asked.how).tensor
    share = share_of_captions(look(made), scenes)
    return [
        judge_itself(pictures(scenes), scenes),
        Figure("captions of one or two shapes right", share, None),
    ], rows(pictures(scenes), made)
