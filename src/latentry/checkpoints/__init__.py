"""What a run and a model leave on disk."""

from latentry.checkpoints.durable import DiskFull
from latentry.checkpoints.lock import RunLock
from latentry.checkpoints.manifest import publishing, verify, write_manifest
from latentry.checkpoints.store import Saved, Store

__all__ = ["DiskFull", "RunLock", "Saved", "Store", "publishing", "verify", "write_manifest"]
