"""Where the reference material lies, if it is there: beside the project, or at LATENTRY_SHARED."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("LATENTRY_SHARED", Path(__file__).resolve().parents[2] / "shared"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"reference material not found at {SHARED}")
