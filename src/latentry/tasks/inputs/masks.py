"""Where an image is to be filled: mask files, the transparency of the image, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MaxLen
from pydantic import BeforeValidator

from latentry.bounds import LARGEST_SIDE
from latentry.errors import UsageError, shown
from latentry.text import number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latentry.data.files.limits import Limits

    Hole = NDArray[np.bool_]
    """(H, W), True where the image is to be filled."""

MOST_BOXES = 1000
WHITE = 0.5
NEARLY_ALL = 0.9
"""Share of the image from which a mask is taken for one that is white where it should be black."""


def parse_box(text: str) -> tuple[int, int, int, int]:
    """`16,8,32,24` as left, top, width, height in pixels. Raises ValueError."""
    parts = [number(part.strip()) for part in text.split(",")]
    found = [part for part in parts if part is not None and 0 <= part <= LARGEST_SIDE]
    if len(parts) != 4 or len(found) != 4 or not found[2] or not found[3]:
        raise ValueError(f'found "{shown(text)}"; accepted: X,Y,WIDTH,HEIGHT in pixels, as in 16,8,32,24')
    left, top, width, height = found
    return left, top, width, height


def _box_texts(value: Any) -> Any:
    """Boxes as texts, of four numbers too; checked."""
    if not isinstance(value, list | tuple):
        return value
    texts = [",".join(map(str, one)) if isinstance(one, list | tuple) else one for one in value]
    for text in texts:
        if isinstance(text, str):
            parse_box(text)
    return texts


BoxTexts = Annotated[tuple[str, ...], BeforeValidator(_box_texts), MaxLen(MOST_BOXES)]


def boxes_hole(boxes: Sequence[str], size: tuple[int, int]) -> Hole:
    """The union of boxes. Raises UsageError for one that does not lie inside an image of `size` (H, W)."""
    import numpy as np

    hole = np.zeros(size, dtype=bool)
    for text in boxes:
        left, top, width, height = parse_box(text)
        if left + width > size[1] or top + height > size[0]:
            raise UsageError(
                f"--box {text}: leaves the image, which is {size[1]} wide and {size[0]} high; accepted: "
                "X,Y,WIDTH,HEIGHT inside it, from the upper left corner"
            )
        hole[top : top + height, left : left + width] = True
    return hole


def read_mask(path: Path, size: tuple[int, int], limits: Limits) -> tuple[Hole, tuple[str, ...]]:
    """A mask file, white (above half) and opaque where to fill, and notes on it.

    Raises UsageError for one of another size than `size` (H, W), and for one that is dark, but not black.
    """
    import numpy as np

    from latentry.data.files import images
    from latentry.data.sample import to_float
    from latentry.tasks.inputs.images import named_by_hand

    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a mask file, white where the image is to be filled")
    with named_by_hand():
        header, array = images.picture(path, limits)
    if array.shape[:2] != size:
        raise UsageError(
            f"{path}: a mask of {array.shape[0]}x{array.shape[1]} pixels (height x width) for an image of "
            f"{size[0]}x{size[1]}; accepted: one as large as the image. Draw it on the image, or resize it."
        )
    values = (to_float(array) + 1) / 2  # in [0, 1]
    notes: tuple[str, ...] = ()
    if header.alpha:
        values, opaque = values[..., :-1] * values[..., -1:], values[..., -1]
        notes = (f"{path}: has transparency: what is white and opaque is filled",) if opaque.min() < 1 else ()
    grey = values.mean(-1)
    if 0 < grey.max() <= WHITE:
        raise UsageError(
            f"{path}: nothing to fill: no pixel is white, the lightest is {grey.max():.1%} of white; accepted: white "
            "where to fill. Multiply a mask of 0 and 1 by 255."
        )
    return np.asarray(grey > WHITE), notes


def transparent(path: Path, limits: Limits) -> Hole | None:
    """Where an image is not wholly opaque; None for one without transparency."""
    import numpy as np

    from latentry.data.files import images

    header, array = images.decode(path, limits)
    if not header.alpha:
        return None
    top = 1.0 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    return np.asarray(array[..., -1] < top)


def checked(hole: Hole, where: str) -> tuple[str, ...]:
    """Notes on a hole that looks wrong. where: what it came from.

    Raises UsageError for one that leaves nothing to fill, or nothing known.
    """
    share = float(hole.mean())
    if share == 0:
        raise UsageError(f"{where}: nothing to fill; accepted: a mask with white, or a box. White is filled.")
    if share == 1:
        raise UsageError(f"{where}: the whole image is to be filled, so that nothing is known. Leave some of it black.")
    if share > NEARLY_ALL:
        return (
            f"{where}: {share:.0%} of the image is to be filled: white is filled, black kept. If inverted, invert it",
        )
    return ()
