"""Models, tasks and solvers joined: what `lt.load` returns."""

from latentry.pipeline.load import load
from latentry.pipeline.output import Output
from latentry.pipeline.pipeline import Pipeline

__all__ = ["Output", "Pipeline", "load"]
