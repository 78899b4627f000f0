"""What a run and a model leave on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentry.checkpoints.durable import DiskFull as DiskFull
    from latentry.checkpoints.lock import RunLock as RunLock
    from latentry.checkpoints.manifest import publishing as publishing
    from latentry.checkpoints.manifest import verify as verify
    from latentry.checkpoints.manifest import write_manifest as write_manifest
    from latentry.checkpoints.store import Saved as Saved
    from latentry.checkpoints.store import Store as Store

_WHERE = {
    "DiskFull": "durable",
    "RunLock": "lock",
    "Saved": "store",
    "Store": "store",
    "publishing": "manifest",
    "verify": "manifest",
    "write_manifest": "manifest",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> object:
    """Imported when first used: a lock is looked at before torch is loaded."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
