"""A server in a thread, on a port of its own, of models small enough for a test."""

from __future__ import annotations

import base64
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
from PIL import Image

from latentry.pipeline import Pipeline
from latentry.serve.api.app import application
from latentry.serve.api.desk import Desk
from latentry.serve.api.health import Metrics
from latentry.serve.engine.engine import Engine
from latentry.serve.engine.models import Models
from latentry.serve.jobs.jobs import Jobs
from latentry.serve.jobs.store import Store
from latentry.serve.listening import Server, bound
from latentry.serve.options import ServeOptions
from latentry.serve.run import configured
from latentry.serve.runs.runs import Runs
from tests.unit.pipeline import small_pipelines

MODELS: dict[str, Callable[[], Pipeline]] = {
    "small": small_pipelines.pipeline,
    "grey": lambda: small_pipelines.pipeline(conditions="grey"),
    "low": lambda: small_pipelines.pipeline(conditions="low"),
    "files": lambda: small_pipelines.pipeline(conditions="files"),
}


@dataclass
class Live:
    """A running server. folder: where its requests' files are; store: its jobs."""

    url: str
    engine: Engine
    jobs: Jobs
    folder: Path
    store: Path

    def client(self, key: str = "sk-test", **how: Any) -> openai.OpenAI:
        """The official client."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60, **how)

    def http(self, key: str | None = None, **how: Any) -> httpx.Client:
        """A plain one; without certificates, of which reading all takes longer than most requests."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False, verify=False, **how)


@contextmanager
def live(
    models: Mapping[str, Callable[[], Pipeline]] | None = None,
    *,
    tokens: Sequence[str] = (),
    names: Sequence[str] = (),
    store: Path | None = None,
    runs: Sequence[Path] = (),
    **options: Any,
) -> Iterator[Live]:
    """Serve `models`, or `small`, while the block runs. runs: as named on the command line."""
    limits, metrics = ServeOptions(**options), Metrics()
    named = {"small": MODELS["small"]} if models is None else models
    engine = Engine(Models(named, limits.keep, {"gpt-image-1": "small"}), limits)
    engine.counted = metrics.counted
    with tempfile.TemporaryDirectory() as folder, bound("127.0.0.1", 0) as listening:
        place = store or Path(folder) / "jobs"
        root = Path(folder) / "requests"
        root.mkdir()
        jobs = Jobs(engine, Store(place), limits.keep_jobs)
        metrics.watch(engine)
        engine.start()
        app = application(Desk(engine, root), jobs, metrics, watched=Runs(runs), tokens=tokens, names=names)
        server = Server(configured(app, limits), engine)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            waited(lambda: server.started and engine.ready.is_set())
            yield Live(url, engine, jobs, root, place)
        finally:
            server.should_exit = True
            engine.close(0)
            thread.join(30)
            engine.join()
            jobs.close()


def waited(done: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.005)


def picture(side: int = 16, mode: str = "RGB", seed: int = 0) -> bytes:
    """A PNG of noise."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return png(Image.fromarray(values).convert(mode))


def png(image: Image.Image) -> bytes:
    """As a file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def opened(b64: str | None) -> Image.Image:
    """What an answer holds."""
    assert b64 is not None
    return Image.open(io.BytesIO(base64.b64decode(b64)))


def as_text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()
