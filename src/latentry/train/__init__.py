"""Training: one loop (`fit`) for every stage, a step per stage, and the recipe that states an experiment.

`latentry.train` is this folder and, for users, a function: importing any of its modules binds the folder to the name,
so the folder can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **how: Any) -> Any:
        """See `latentry.train.run.train`."""
        from latentry.train.run import train

        return train(*args, **how)


sys.modules[__name__].__class__ = _Callable
