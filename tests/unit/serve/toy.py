"""A server in a process of its own, to be killed or measured: `python -m tests.unit.serve.toy STORE fast|slow JSON`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latentry.pipeline import Pipeline
from tests.unit.pipeline import small_pipelines

ROOT = Path(__file__).parents[3]
SLOW = 0.03
"""Seconds of a network call."""


def slow_pipeline() -> Pipeline:
    """Steps take long enough to be broken off."""
    pipe = small_pipelines.pipeline()
    assert pipe.denoiser is not None
    pipe.denoiser.unet.register_forward_pre_hook(lambda *_: time.sleep(SLOW))
    return pipe


@contextmanager
def process(folder: Path, model: str, **options: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address, and the process, which ends with the block."""
    command = [sys.executable, "-m", "tests.unit.serve.toy", str(folder / "jobs"), model, json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip(), running
        finally:
            running.kill()


def main() -> None:
    from latentry.serve.run import SWITCH
    from tests.unit.serve.live import live

    sys.setswitchinterval(SWITCH)
    store, model, options = sys.argv[1:]
    made = slow_pipeline if model == "slow" else small_pipelines.pipeline
    with live({"small": made}, store=Path(store), **json.loads(options)) as running:
        print(running.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
