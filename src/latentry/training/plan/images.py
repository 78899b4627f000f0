"""The images of a run: what they are now, and what changed since it began."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from latentry import text
from latentry.checkpoints.run_folder import RECIPE, read_recipe
from latentry.data.dataset import ImageData
from latentry.data.folders.listing import Listing, difference
from latentry.errors import LatentryError, UsageError

LISTING = "data.listing"
LONGEST = 2**30 - 1  # bytes


class Images(NamedTuple):
    """The images of a run. new: the listing is not yet kept in it. changes: accepted ones since it began, in words."""

    listing: Listing
    new: bool
    changes: list[str]

    @classmethod
    def unread(cls) -> Images:
        """Before they were looked at."""
        return cls(Listing({}), True, [])


def check_images(data: ImageData, out: Path, accept: bool) -> Images:
    """What the images are now, compared with the listing in the run.

    Raises UsageError with the list of changes unless they are accepted.
    """
    path = out / LISTING
    known = _known(path) if os.path.lexists(path) else None
    now = data.listing(known)
    changes = difference(known, now) if known else None
    if changes and not accept:
        raise UsageError(
            f"{data.root}: the images are not those this run began with: {changes.text()}. "
            "Restore them, choose another --out, or go on with --accept-data-change."
        )
    notes = before(out, "data_changes")
    if changes and changes.text() not in notes[-1:]:
        notes = [*notes, changes.text()]
    return Images(now, bool(changes) or known is None, notes)


def _known(path: Path) -> Listing:
    """The listing that a run keeps. Raises LatentryError naming its file if it is damaged."""
    try:
        return Listing.from_bytes(text.read_bytes(path, LONGEST))
    except UsageError:
        raise
    except LatentryError as error:
        raise LatentryError(
            f"{path}: {str(error).partition(': ')[2]} Without it nobody can say whether the images changed."
        ) from None


def before(out: Path, what: str) -> list[str]:
    """Earlier notes of this kind in a run's recipe."""
    made_with = read_recipe(out).get("made_with") if (out / RECIPE).is_file() else None
    notes = made_with.get(what, []) if isinstance(made_with, dict) else []
    return [str(note) for note in notes] if isinstance(notes, list) else []
