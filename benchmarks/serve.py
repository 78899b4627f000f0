"""How fast the server is: sixteen clients beside one, and the overhead of a single request beside the bare pipeline.

python benchmarks/serve.py [--model models/emoji] [--requests 64] [--quick]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

CLIENTS = 16
ALONE = 8


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The address of a server of the model, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "latentry", "serve", str(model), "--port", "0", "--store", f"{folder}/jobs"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                url = process.stdout.readline().split(": ", 1)[-1].strip()
                while httpx.get(f"{url}/readyz", trust_env=False).status_code != 200:
                    time.sleep(0.1)
                yield url
            finally:
                process.terminate()


def ask(client: httpx.Client, seed: int, options: dict[str, object]) -> float:
    """The seconds of one request."""
    began = time.perf_counter()
    answer = client.post("/v1/images/generations", json={"prompt": "a red apple", "seed": seed, **options})
    answer.raise_for_status()
    return time.perf_counter() - began


def together(url: str, clients: int, requests: int, options: dict[str, object]) -> dict[str, float]:
    """Images a second and the latency, of so many clients that each ask again when they have their image."""
    with httpx.Client(base_url=url, timeout=600, trust_env=False) as client, ThreadPoolExecutor(clients) as pool:
        ask(client, 0, options)
        began = time.perf_counter()
        seconds = sorted(pool.map(lambda seed: ask(client, seed, options), range(requests)))
        whole = time.perf_counter() - began
    p95 = seconds[min(len(seconds) - 1, round(0.95 * len(seconds)))]
    return {"images per second": requests / whole, "p50 seconds": statistics.median(seconds), "p95 seconds": p95}


def bare(model: Path, rounds: int, options: dict[str, object]) -> float:
    """The median seconds of an image by the pipeline alone."""
    import latentry as lt

    pipe, seconds = lt.load(model), []
    for seed in range(rounds + 1):
        began = time.perf_counter()
        pipe.sample("a red apple", seed=seed, **options)  # type: ignore[arg-type]
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def measure(model: Path, requests: int, options: dict[str, object]) -> dict[str, object]:
    """All figures."""
    pipeline = bare(model, ALONE, options)
    with served(model) as url:
        one = together(url, 1, min(requests, 2 * ALONE), options)
        many = together(url, CLIENTS, requests, options)
    return {
        "model": str(model),
        "one client": one,
        f"{CLIENTS} clients": many,
        "times as many images": many["images per second"] / one["images per second"],
        "bare pipeline, seconds": pipeline,
        "overhead of a request": one["p50 seconds"] / pipeline - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="a few requests of two steps, to see that it runs")
    words = parser.parse_args()
    options: dict[str, object] = {"steps": 2} if words.quick else {}
    print(json.dumps(measure(words.model, CLIENTS if words.quick else words.requests, options), indent=2))


if __name__ == "__main__":
    main()
