"""What every study asks of its folder: a new one that can be made, or one that was made with the same options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentry.checkpoints.durable import unwritable
from latentry.errors import UsageError, shown
from latentry.text import one_line


def refuse_target(out: Path) -> None:
    """Raise an error where a new folder `out` cannot be made."""
    if os.path.lexists(out):
        raise UsageError(f"--out {one_line(str(out))}: already exists and is no study; name a new folder")
    if why := unwritable(out):
        raise UsageError(f"--out {one_line(str(out))}: {one_line(why)}; name a folder that can be written")


def refuse_other(before: Mapping[str, Any], named: Mapping[str, Any], out: Path) -> None:
    """Raise `UsageError` where options were named that are not those of the study that is there."""
    for name, value in named.items():
        if before.get(name) != value:
            was = shown(before[name]) if name in before else "left out"
            raise UsageError(
                f"--{name.replace('_', '-')}: found {shown(value)}; the study in {one_line(str(out))} was made with "
                f"{was}. Leave it out to go on with that study, or name another --out."
            )
