"""latentry: train, measure and sample latent diffusion models of your own images."""

__version__ = "0.1.0"

_LAZY = {"train": "latentry.train.run", "load": "latentry.pipeline"}
__all__ = ["__version__", "load", "train"]


def __getattr__(name: str) -> object:
    """`latentry.train` and `latentry.load`, imported when first used so that `import latentry` is quick."""
    if name not in _LAZY:
        raise AttributeError(f"module 'latentry' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
