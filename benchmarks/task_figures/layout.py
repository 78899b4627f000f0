"""Layout to image: boxes with their shapes, and where and what the judge finds."""

from __future__ import annotations

from latentry.metrics.layout import Layout, layout_figures
from latentry.metrics.scenes import look
from latentry.pipeline import Pipeline
from task_figures.common import Asked, Figure, Measured, corners, judge_itself, pictures, rows


def layout(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Boxes with their shapes: where and what the judge finds."""
    scenes = asked.scenes()
    side = scenes[0].image.shape[0]
    wanted: list[Layout] = [(corners([t.bbox for t in s.things]), [t.shape for t in s.things]) for s in scenes]
    layouts = [[{"label": t.shape, "bbox": [n / side for n in t.bbox]} for t in scene.things] for scene in scenes]
    made = pipe.sample(layout=layouts, **asked.how).tensor
    found = [(corners([t.bbox for t in one.things]), [t.shape for t in one.things]) for one in look(made)]
    figures = layout_figures(wanted, found)
    return [
        judge_itself(pictures(scenes), scenes),
        Figure("mean IoU of boxes", figures["mean_iou"], 0.6),
        Figure("class right", figures["class_right"], 0.85),
    ], rows(pictures(scenes), made)
