"""If these fail, one client's load is everyone's trouble."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.unit.serve.live import Live, live, waited
from tests.unit.serve.test_jobs import begun, ended, state
from tests.unit.serve.toy import SLOW, process, slow_pipeline
from tests.unit.serve.watching import watching

ASKED, QUEUE = 500, 32
BODY = json.dumps({"prompt": "a red circle", "steps": 2, "seed": 1}).encode()
POST = b"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
REQUEST = POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY


async def exchange(port: int, sent: bytes) -> tuple[int, bytes, float]:
    """Status, the whole answer, and the seconds from the request to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer, time.perf_counter() - began


async def rush(port: int) -> list[tuple[int, bytes, float]]:
    """All at once."""
    return await asyncio.gather(*(exchange(port, REQUEST) for _ in range(ASKED)))


def port_of(running: Live) -> int:
    return port_of_url(running.url)


def port_of_url(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_500_at_once_on_a_queue_of_32():
    """Those that may not wait are told to come again; all others get their image, the one they asked for."""
    with live(queue=QUEUE, batch=8) as running:
        answers = asyncio.run(rush(port_of(running)))
    counts = Counter(status for status, _, _ in answers)
    assert set(counts) == {200, 503}
    assert counts[200] >= QUEUE
    refused = [answer for status, answer, _ in answers if status == 503]
    assert all(b"retry-after: " in answer.lower() for answer in refused)
    images = {json.loads(answer.partition(b"\r\n\r\n")[2])["data"][0]["seed"] for s, answer, _ in answers if s == 200}
    assert images == {1}


def rushed(folder: Path, times: int = 1) -> tuple[str, list[float]]:
    """The metrics after rushes, and how soon health was told in them; client and server in processes of their own."""
    health: list[float] = []
    with process(folder, "fast", queue=QUEUE, batch=8) as (url, _), httpx.Client(base_url=url) as client:
        for _ in range(times):
            with watching(port_of_url(url), health):
                asyncio.run(rush(port_of_url(url)))
        return client.get("/metrics").text, health


@pytest.mark.alone
def test_500_at_once_are_refused_at_once(tmp_path: Path):
    """In less than 100 ms by the server's clock."""
    told, _ = rushed(tmp_path)
    refused = [line for line in told.splitlines() if line.startswith("latentry_refused_seconds_bucket")]
    within = next(float(line.split()[-1]) for line in refused if 'le="0.1"' in line)
    assert within == max(float(line.split()[-1]) for line in refused) > 100


@pytest.mark.soak
def test_health_is_told_at_once_in_a_rush(tmp_path: Path):
    """Of a machine with a core for each of the two processes."""
    _, health = rushed(tmp_path, times=5)
    assert np.percentile(health, 99) < 0.1


def test_a_body_that_is_too_large_is_not_read(server: Live):
    """A gigabyte that is announced, and one that is not; another client is served meanwhile."""
    told = POST + b"Content-Length: 1073741824\r\n\r\n"
    status, answer, _ = asyncio.run(exchange(port_of(server), told))
    assert status == 413
    assert b"too_large" in answer
    sent = 0
    with socket.create_connection(("127.0.0.1", port_of(server))) as client:
        client.settimeout(10)
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 1 << 30:
                client.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                sent += 65_536
        except OSError:
            pass
        assert sent < 100_000_000


def test_a_body_that_does_not_arrive_is_not_waited_for(server: Live):
    """Others are served while twenty clients send a letter a second."""

    async def slow() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(POST + b"Content-Length: 1000\r\n\r\n{")
        for _ in range(4):
            await asyncio.sleep(0.6)
            writer.write(b" ")
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    async def all_of_them() -> tuple[list[int], int]:
        waiting = [asyncio.ensure_future(slow()) for _ in range(20)]
        await asyncio.sleep(0.3)
        served = (await exchange(port_of(server), REQUEST))[0]
        return await asyncio.gather(*waiting), served

    slow_ones, served = asyncio.run(all_of_them())
    assert slow_ones == [408] * 20
    assert served == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"n": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"n": 1e400}', b'{"seed": ' + b"9" * 9999 + b"}"],
)
def test_broken_json(server: Live, body):
    with server.http() as client:
        kind = {"Content-Type": "application/json"}
        answer = client.post("/v1/images/generations", content=body, headers=kind)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x", "text/plain"])
@pytest.mark.parametrize("body", [b"--x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--", b"\0" * 999])
def test_broken_forms(server: Live, kind, body):
    with server.http() as client:
        answer = client.post("/v1/images/edits", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 415)


def test_a_client_that_goes_away_is_not_drawn_for():
    """Within a step; whoever asks beside it gets the same image as alone."""
    with live({"small": slow_pipeline}, batch=4) as running, running.http() as client:
        alone = client.post("/v1/tasks/generate", json={"text": "a red circle", "seed": 3, "steps": 6}).json()
        found: list[Any] = []

        def ask() -> None:
            body = {"text": "a red circle", "seed": 3, "steps": 6}
            found.append(client.post("/v1/tasks/generate", json=body).json())

        gone = socket.create_connection(("127.0.0.1", port_of(running)))
        body = json.dumps({"prompt": "a blue star", "steps": 900}).encode()
        gone.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        waited(lambda: running.engine.drawing == 1)
        beside = threading.Thread(target=ask)
        beside.start()
        waited(lambda: running.engine.drawing == 2)
        gone.close()
        beside.join()
        began = time.monotonic()
        waited(lambda: running.engine.drawing == 0)
        assert time.monotonic() - began < 50 * SLOW
    assert found[0]["data"] == alone["data"]


def test_nobody_waits_for_all_of_anothers():
    """One key has a long line; of it one request at most is begun before the single one of another key."""
    with (
        live({"small": slow_pipeline}, batch=1, queue=20) as running,
        running.http("sk-many") as many,
        running.http("sk-one") as one,
    ):
        line = [begun(many, steps=6) for _ in range(8)]
        single = ended(one, begun(one, steps=6))
        behind = [ended(many, job) for job in line]
    assert sum(single["created"] < job["started"] < single["started"] for job in behind) <= 1
    assert max(job["started"] for job in behind) > single["started"]


def test_a_server_that_is_stopped_ends_what_it_began():
    """What is in flight is finished, what waits is told to come again, and nothing new is taken."""
    with live({"small": slow_pipeline}, batch=1, grace=20) as running, running.http() as client:
        under_way, waiting = begun(client, steps=20), begun(client, steps=20)
        waited(lambda: state(client, under_way)["status"] == "running")
        running.engine.close()
        assert client.get("/readyz").status_code == 503
        again = client.post("/v1/jobs", json={"task": "generate"})
        assert (again.status_code, again.headers["retry-after"]) == (503, "1")
        assert ended(client, waiting)["status"] == "interrupted"
        assert ended(client, under_way)["status"] == "completed"


def test_the_metrics_count(server: Live):
    with server.http() as client, httpx.Client(base_url=server.url) as other:
        before = client.get("/metrics").text
        other.post("/v1/images/generations", json={"prompt": "a red circle", "steps": 1})
        after = client.get("/metrics").text

    def drawn(text: str) -> float:
        wanted = 'latentry_requests_total{method="POST",route="/v1/images/generations",status="200"}'
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(wanted)), 0.0)

    assert drawn(after) == drawn(before) + 1
    assert "latentry_waiting_requests 0.0" in after
