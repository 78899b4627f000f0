"""Whether the values of a file can be shown as they are."""

from __future__ import annotations

import numpy as np

from latentry.data.files.header import Array, BadValues


def in_own_range(path: str, array: Array) -> Array:
    """The array itself, if it is uint8, uint16, or finite float32 in [0, 1]. Raises `BadValues` for any other."""
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            raise BadValues(path, f"{int((~finite).sum())} values are not finite (NaN or infinity)")
        if array.min() < 0 or array.max() > 1:
            raise BadValues(path, f"float values run from {array.min():g} to {array.max():g}, not in 0..1")
        return array
    raise BadValues(
        path, f"{array.dtype} values run from {array.min()} to {array.max()}; read are 8 and 16 bits from 0"
    )
