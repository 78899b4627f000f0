"""How many channels the images of a folder have, where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from latentry.data.files import images
from latentry.data.files.header import BadImage
from latentry.data.folders.record import Record
from latentry.data.options import DataOptions

LOOKED_AT = 2000  # images


def channels_of(root: Path, records: Sequence[Record], options: DataOptions) -> tuple[int, str]:
    """How many channels the images have, of an even sample, and the reason in words."""
    counts, transparent = set[int](), False
    for record in records[:: max(1, len(records) // LOOKED_AT)]:
        with suppress(BadImage):
            header = images.header(root / record.path, options.limits)
            laid = header.alpha and options.colour is not None
            counts.add(header.channels - laid)
            transparent |= laid
    behind = f"; transparency is laid over {options.background} (data.background)" if transparent else ""
    grey_behind = options.colour is None or len(set(options.colour)) == 1
    if counts == {1} and grey_behind:
        return 1, f"as every image is grey{behind}"
    if len(counts) == 1 and not counts & {1, 3}:
        return counts.pop(), f"as every image has{behind}"
    return 3, f"as the images are in colour{behind}" if 3 in counts else "as the images differ, or cannot be read"
