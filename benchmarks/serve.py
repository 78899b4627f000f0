"""How fast the server is: sixteen clients beside one, and the overhead of a single request beside the bare pipeline.

Each is taken in turn with what it is compared with, so that what else the machine does is in both. Beside the first
stands the ceiling: what sixteen images in one call of the pipeline gain over one. CPU seconds tell where the machine
is busy.

python benchmarks/serve.py [--model models/emoji] [--requests 64] [--rounds 5] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

CLIENTS = 16


@contextmanager
def served(model: Path) -> Iterator[tuple[str, int]]:
    """The address of a server of the model, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "latentry", "serve", str(model), "--port", "0", "--store", f"{folder}/jobs"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                url = process.stdout.readline().split(": ", 1)[-1].strip()
                while httpx.get(f"{url}/readyz", trust_env=False).status_code != 200:
                    time.sleep(0.1)
                yield url, process.pid
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


def used(process: int | None = None) -> float:
    """CPU seconds of a process so far; of this one, where none is named."""
    if process is None:
        return time.process_time()
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(doing: Callable[[], object], process: int | None = None) -> tuple[float, float]:
    """Seconds by the clock, and of the CPU."""
    cpu, began = used(process), time.perf_counter()
    doing()
    return time.perf_counter() - began, used(process) - cpu


def measure(model: Path, requests: int, options: dict[str, object], rounds: int) -> dict[str, object]:
    """All figures."""
    import latentry as lt

    pipe = lt.load(model)

    def bare(seed: int, count: int) -> tuple[float, float]:
        wall, cpu = timed(lambda: pipe.sample("a red apple", n=count, seed=seed, **options))  # type: ignore[arg-type]
        return wall / count, cpu / count

    seconds: dict[str, list[tuple[float, float]]] = {"bare, 1": [], "bare, 16": [], "1 client": [], "16 clients": []}
    latencies: list[dict[str, float]] = []
    with served(model) as (url, process), httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
        ask(client, 0, options), bare(0, 1), together(url, CLIENTS, CLIENTS, options)  # what is slow the first time
        for seed in range(rounds):
            for _ in range(3):
                seconds["bare, 1"].append(bare(seed, 1))
                seconds["1 client"].append(timed(lambda: ask(client, seed, options), process))  # noqa: B023
            seconds["bare, 16"].append(bare(seed, CLIENTS))
            wall, cpu = timed(lambda: latencies.append(together(url, CLIENTS, requests, options)), process)
            seconds["16 clients"].append((wall / requests, cpu / requests))
    middle = {name: [statistics.median(parts) for parts in zip(*ones, strict=True)] for name, ones in seconds.items()}

    def gained(few: str, many: str) -> list[float]:
        return [one / other for one, other in zip(middle[few], middle[many], strict=True)]

    return {
        "model": str(model),
        "threads": torch_threads(),
        "seconds an image by the clock, of the CPU": middle,
        "16 clients": {name: statistics.median(one[name] for one in latencies) for name in latencies[0]},
        "times as many images with 16 clients": gained("1 client", "16 clients"),
        "the ceiling, 16 at once by the bare pipeline": gained("bare, 1", "bare, 16"),
        "overhead of a request": [ratio - 1 for ratio in gained("1 client", "bare, 1")],
    }


def torch_threads() -> int:
    """Of a computation."""
    import torch

    return torch.get_num_threads()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few requests of two steps, to see that it runs")
    words = parser.parse_args()
    options: dict[str, object] = {"steps": 2} if words.quick else {}
    requests, rounds = (CLIENTS, 1) if words.quick else (words.requests, words.rounds)
    print(json.dumps(measure(words.model, requests, options, rounds), indent=2))


if __name__ == "__main__":
    main()
