"""Maps of classes and arrays of vectors, from files or as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentry.errors import UsageError

if TYPE_CHECKING:
    from latentry.data.files.header import Array


def semantic_maps(value: Any) -> Any:
    """A map of classes (H, W): a file of one number a pixel, as palette indices or grey values; or as it is.

    Several in a list. Raises UsageError for a file that holds colours or cannot be read.
    """
    return _each(value, _semantic)


def embeddings(value: Any) -> Any:
    """An array (L, width) or (width,): of a .npy file, or as it is. Several in a list. Raises UsageError as above."""
    return _each(value, _array)


def size_of(values: Sequence[Any] | None) -> tuple[int, int] | None:
    """(H, W) of the first map there is, (H, W) or (classes, H, W)."""
    import numpy as np

    shapes = (np.shape(value) for value in values or () if value is not None)
    return next(((int(shape[-2]), int(shape[-1])) for shape in shapes if len(shape) > 1), None)


def _each(value: Any, read: Callable[[Path], Array]) -> Any:
    from latentry.data.files.of_file import of_file

    def taken(one: Any) -> Any:
        return of_file(read(_file(one)), Path(one)) if isinstance(one, str | Path) else one

    return [taken(one) for one in value] if isinstance(value, list | tuple) else taken(value)


def _file(name: str | Path) -> Path:
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    return path


def _semantic(path: Path) -> Array:
    from latentry.data.files import maps
    from latentry.data.files.header import BadImage

    try:
        return maps.read_classes(path)
    except BadImage as error:
        raise UsageError(f"{error}. Write the number of its class for each pixel.") from None


def _array(path: Path) -> Array:
    from latentry.data.files import maps
    from latentry.data.files.header import BadImage

    try:
        return maps.read_array(path)
    except BadImage as error:
        raise UsageError(str(error)) from None
