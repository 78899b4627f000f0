"""Arrays that know the file they were read from, so that what is drawn of them can say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class OfFile(np.ndarray[Any, Any]):
    """The array of `path`. What is computed of it, a part too, is of no file."""

    path: Path | None = None


def of_file(array: NDArray[Any], path: Path) -> OfFile:
    """The same array, with the file that it was read from."""
    named = array.view(OfFile)
    named.path = path
    return named
