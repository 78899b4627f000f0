"""The images of a run: what they are now, and what changed since it began."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from latentry.checkpoints.run_folder import RECIPE, read_recipe
from latentry.data.dataset import ImageData
from latentry.data.folders.listing import Listing, difference
from latentry.errors import UsageError

LISTING = "data.listing"


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
    known = Listing.from_bytes(path.read_bytes()) if path.is_file() else None
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


def before(out: Path, what: str) -> list[str]:
    made_with = read_recipe(out).get("made_with") if (out / RECIPE).is_file() else None
    return list((made_with or {}).get(what, []))
