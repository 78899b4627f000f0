"""latentry: train, measure and sample latent diffusion models of your own images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentry.evaluation.run import evaluate as evaluate
    from latentry.pipeline.load import load as load
    from latentry.training.distill import distill as distill
    from latentry.training.run import train as train

__version__ = "0.1.0"
__all__ = ["__version__", "distill", "evaluate", "load", "train"]


def __getattr__(name: str) -> object:
    """`latentry.train`, `distill`, `load`, `evaluate`, imported when first used so that `import latentry` is quick."""
    if name not in __all__:
        raise AttributeError(f"module 'latentry' has no attribute '{name}'")
    import importlib

    if name == "train":
        return importlib.import_module("latentry.training.run").train
    if name == "distill":
        return importlib.import_module("latentry.training.distill").distill
    if name == "evaluate":
        return importlib.import_module("latentry.evaluation.run").evaluate
    value = globals()[name] = importlib.import_module("latentry.pipeline").load
    return value
