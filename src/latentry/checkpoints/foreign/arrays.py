"""numpy numbers and arrays of plain values in a foreign pickle."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from latentry.checkpoints.foreign.names import Dropped, Unreadable

NUMPY_CODE = re.compile(r"[<>|=]?(?:[biufc]\d{1,2}|[SU][1-9]\d{0,3})")


@dataclass
class NumpyType:
    """A numpy dtype of plain numbers or text; its byte order comes after it is made."""

    dtype: np.dtype[Any]


def encoded(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 spells bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise Unreadable("is damaged: it holds bytes in an unknown encoding. Take another copy.")
    return text.encode("latin1")


def _type(code: object, *_: object) -> object:
    if isinstance(code, str) and NUMPY_CODE.fullmatch(code):
        return NumpyType(np.dtype(code))
    return Dropped("numpy.dtype")


def _scalar(kind: object, value: object = b"") -> object:
    """As a plain number of Python."""
    value = encoded(value) if isinstance(value, str) else value
    if isinstance(kind, NumpyType) and isinstance(value, bytes) and len(value) == kind.dtype.itemsize:
        return np.frombuffer(value, kind.dtype)[0].item()
    return Dropped("numpy.generic")


def _empty(*_: object) -> object:
    return np.empty(0, np.uint8)


def _array(data: object, kind: object, shape: object, order: object = "C") -> object:
    array = np.empty(0, np.uint8)
    return array if set_state(array, (1, shape, kind, order == "F", data)) else Dropped("numpy.ndarray")


def set_state(target: object, state: object) -> bool:
    """What a pickle says of an object after making it: needed by numpy, ignored for all else. True if it was used."""
    if isinstance(target, NumpyType) and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|"):
        target.dtype = target.dtype.newbyteorder(state[1])
        return True
    if not isinstance(target, np.ndarray) or not isinstance(state, tuple) or len(state) != 5:
        return False
    _, shape, kind, fortran, data = state
    data = encoded(data) if isinstance(data, str) else data
    if not isinstance(kind, NumpyType) or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
        return False
    if len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
        return False
    if math.prod(shape) * kind.dtype.itemsize != len(data):
        return False
    cast(Any, target).__setstate__((1, shape, kind.dtype, bool(fortran), bytes(data)))
    return True


NUMPY_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _type,
    "numpy.ndarray": _empty,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _empty for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array for core in ("core", "_core")},
}
