"""Helper of test_faults: loads a run over and over while it is trained; prints how often it could."""

from __future__ import annotations

import sys
from pathlib import Path

from latentry.errors import UsageError
from latentry.pipeline import load

if __name__ == "__main__":
    run = Path(sys.argv[1])
    print("ready", flush=True)
    loads, last = 0, False
    while not last:
        last = (run / "done").exists()
        try:
            load(run)
            loads += 1
        except UsageError as error:
            if loads or not any(text in str(error) for text in ("nothing saved yet", "neither a run", "no such file")):
                sys.exit(f"after {loads} loads: {error}")
    print(loads)
