"""What `tasks.py` measures: for each task, requests that no training image was, and figures of what comes of them.

Not a benchmark itself.
"""

from __future__ import annotations

from collections.abc import Callable

from latentry.pipeline import Pipeline
from task_figures.autoguide import autoguide
from task_figures.bccd import bccd
from task_figures.classifier import classifier
from task_figures.common import SHOWN, Asked, Figure, Measured
from task_figures.conv import conv
from task_figures.distill import distill
from task_figures.edit import edit
from task_figures.guide import guide
from task_figures.inpaint import inpaint
from task_figures.layout import layout
from task_figures.semantic import semantic
from task_figures.sr import sr, sr_blind, sr_folder
from task_figures.text import text

MEASURES: dict[str, Callable[[Pipeline, Asked, Pipeline | None], Measured]] = {
    "layout": layout,
    "semantic": semantic,
    "sr": sr,
    "inpaint": inpaint,
    "text": text,
    "distill": distill,
    "edit": edit,
    "conv": conv,
    "bccd": bccd,
    "classifier": classifier,
    "guide": guide,
    "autoguide": autoguide,
    "sr-emoji": sr_folder,
    "sr-photos": sr_folder,
    "sr-blind": sr_blind,
}
"""task -> its figures, of a model and, for some, of the one beside it that has its first stage"""

__all__ = ["MEASURES", "SHOWN", "Asked", "Figure", "Measured"]
