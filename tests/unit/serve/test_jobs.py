"""If these fail, work that took long is lost, cannot be stopped, or is shown to others."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from latentry.serve.jobs.store import Store
from tests.unit.pipeline import small_pipelines
from tests.unit.serve.live import Live, as_text, live, opened, picture, waited
from tests.unit.serve.toy import SLOW, process, slow_pipeline


@pytest.fixture(scope="module")
def slow() -> Iterator[Live]:
    with live({"small": slow_pipeline}, queue=8, batch=4) as running:
        yield running


def begun(client: httpx.Client, **body: Any) -> str:
    answer = client.post("/v1/jobs", json={"task": "generate", "text": "a red circle", **body})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def state(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    return found


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    waited(lambda: state(client, job)["status"] not in ("queued", "running"))
    return state(client, job)


def events(client: httpx.Client, job: str) -> list[tuple[str, dict[str, Any]]]:
    found, kind = [], ""
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        for line in answer.iter_lines():
            kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
            if line.startswith("data: "):
                found.append((kind, json.loads(line.removeprefix("data: "))))
    return found


def test_a_job_is_followed_to_its_images(slow: Live):
    """Steps with the time left, previews, then the end; the image is the pipeline's, with its recipe."""
    with slow.http() as client:
        job = begun(client, seed=4, steps=8, previews=2)
        told = events(client, job)
        kinds = [kind for kind, _ in told]
        assert kinds.count("preview") == 2
        assert kinds[-1] == "completed"
        steps = [data for kind, data in told if kind == "step"]
        assert [data["step"] for data in steps] == sorted(data["step"] for data in steps)
        assert 0 < steps[0]["seconds_left"] < 30
        found = client.get(told[-1][1]["images"][0]["url"])
        listed = client.get("/v1/jobs").json()["data"]
    drawn = small_pipelines.pipeline().sample("a red circle", seed=4, steps=8).images[0]
    image = np.asarray(opened(as_text(found.content))).astype(int)
    assert found.headers["content-type"] == "image/png"
    assert np.abs(image - np.asarray(drawn)).max() <= 1
    assert job in [one["id"] for one in listed]
    assert str(slow.store) not in json.dumps(listed)


def test_a_job_is_cancelled_within_one_step(slow: Live):
    with slow.http() as client:
        job = begun(client, steps=500)
        waited(lambda: state(client, job).get("step", 0) > 2)
        client.delete(f"/v1/jobs/{job}")
        told = ended(client, job)
        assert told["status"] == "cancelled"
        assert (told["ended"] - told["started"]) < 500 * SLOW / 4
        assert slow.engine.drawing == 0
        assert client.delete(f"/v1/jobs/{job}").json()["deleted"]
        assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert not (slow.store / job).exists()


def test_another_key_sees_no_job(slow: Live):
    """Nor can it be cancelled, moved, done again or looked at."""
    with slow.http("sk-mine") as mine, slow.http("sk-theirs") as theirs:
        job = begun(mine, steps=2)
        asked = [
            theirs.get(f"/v1/jobs/{job}"),
            theirs.delete(f"/v1/jobs/{job}"),
            theirs.post(f"/v1/jobs/{job}/retry"),
            theirs.patch(f"/v1/jobs/{job}", json={"place": 0}),
            theirs.get(f"/v1/jobs/{job}/events"),
            theirs.get(f"/v1/jobs/{job}/images/0"),
        ]
        assert [answer.status_code for answer in asked] == [404] * 6
        assert ended(mine, job)["status"] == "completed"
        assert theirs.get("/v1/jobs").json()["data"] == []


def test_waiting_jobs_are_seen_and_moved(slow: Live):
    with slow.http("sk-mover") as client:
        first = begun(client, n=4, steps=30)
        second, third = begun(client, n=4, steps=1), begun(client, n=4, steps=1)
        assert [state(client, job)["place"] for job in (second, third)] == [0, 1]
        assert client.patch(f"/v1/jobs/{third}", json={"place": 0}).json()["place"] == 0
        assert state(client, second)["place"] == 1
        assert client.patch(f"/v1/jobs/{third}", json={"place": -1}).status_code == 400
        client.delete(f"/v1/jobs/{first}")
        assert ended(client, second)["started"] >= ended(client, third)["started"]


def test_a_job_with_files_is_done_again(slow: Live):
    """All that it was asked is kept: the same seed and picture give the same image."""
    with slow.http() as client:
        answer = client.post("/v1/jobs", json={"task": "vary", "file": as_text(picture()), "steps": 3})
        first = ended(client, answer.json()["id"])
        again = ended(client, client.post(f"/v1/jobs/{first['id']}/retry").json()["id"])
        one, other = (client.get(job["images"][0]["url"]).content for job in (first, again))
    assert first["images"][0]["seed"] == again["images"][0]["seed"]
    assert np.array_equal(np.asarray(opened(as_text(one))), np.asarray(opened(as_text(other))))


def test_a_failed_job_says_why(slow: Live):
    with slow.http() as client:
        told = ended(client, begun(client, solver="ddin"))
    assert told["status"] == "failed"
    assert "ddim" in told["error"]["message"]


def test_what_was_finished_is_there_after_kill_9(tmp_path: Path):
    """The rest is said to be interrupted, and can be done again; a half-written image is never shown."""
    with process(tmp_path, "slow", batch=1) as (url, server), httpx.Client(base_url=url, timeout=60) as client:
        done = [begun(client, seed=seed, steps=1) for seed in range(2)]
        under_way, waiting = begun(client, steps=400), begun(client, steps=400)
        files = [client.get(ended(client, job)["images"][0]["url"]).content for job in done]
        waited(lambda: state(client, under_way)["status"] == "running")
        server.send_signal(signal.SIGKILL)
    with live(store=tmp_path / "jobs") as running, running.http() as client:
        assert [client.get(state(client, job)["images"][0]["url"]).content for job in done] == files
        assert [state(client, job)["status"] for job in (under_way, waiting)] == ["interrupted"] * 2
        assert client.post(f"/v1/jobs/{waiting}/retry").status_code == 202


def test_only_so_many_ended_jobs_are_kept(tmp_path: Path):
    store = Store(tmp_path)
    for number in range(5):
        store.add(f"job{number}", "me", "generate", "small", {})
        store.place(f"job{number}").mkdir()
        store.change(f"job{number}", status="completed" if number else "running")
    store.prune(2)
    assert [row["id"] for row in store.all_of("me", 9, time.time() + 1)] == ["job4", "job3", "job0"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["job0", "job3", "job4"]
    store.close()


def test_slow_is_slow():
    """The tests of breaking off would pass for a network that is done at once."""
    began = time.monotonic()
    with torch.no_grad():
        slow_pipeline().sample("a red circle", steps=4)
    assert time.monotonic() - began > 3 * SLOW
