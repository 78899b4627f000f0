"""Asks a server for its health, again and again, as a proxy does: `python -m tests.unit.serve.watching PORT`.

In a process of its own, so that what is measured is the server and not who else is busy in the client. Ends with its
input; tells the seconds of each answer as JSON.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ROOT = Path(__file__).parents[3]


@contextmanager
def watching(port: int, seconds: list[float]) -> Iterator[None]:
    """Watch while the block runs; then `seconds` has how long each answer took."""
    command = [sys.executable, "-m", "tests.unit.serve.watching", str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=ROOT, env=dict(os.environ)) as watcher:  # type: ignore[call-overload]
        watcher.stdout.readline()
        yield
        told, _ = watcher.communicate()
    seconds += json.loads(told)


def main() -> None:
    seconds = []
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        print("begun", flush=True)
        while not select.select([sys.stdin], [], [], 0.005)[0]:
            began = time.perf_counter()
            connection.sendall(HEALTH)
            while not connection.recv(4096).endswith(b'"ok"}'):
                pass
            seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
