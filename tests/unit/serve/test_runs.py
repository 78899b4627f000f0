"""If these fail, a training cannot be watched, or watching it tells what is not so, or more than it may."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from PIL import Image

from latentry.checkpoints.lock import RunLock, is_held
from latentry.errors import UsageError
from latentry.serve.options import ServeOptions
from latentry.serve.run import Setting, found_in, is_watched, serve
from latentry.serve.runs.curve import MOST, Curve
from latentry.serve.runs.run import TrainingRun
from latentry.serve.runs.runs import Runs
from latentry.serve.runs.tail import Tail
from tests.unit.serve.folders import STEPS, add, add_grid, add_rows, write_run
from tests.unit.serve.live import live


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched") / "runs"


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    """Of a server that was started with a folder of runs, in which there is one, and with no model."""
    write_run(root / "first")
    with live({}, runs=[root]) as running, running.http() as client:
        yield client


def test_a_run_is_shown(client: httpx.Client, root: Path):
    with RunLock(root / "first"):
        [run] = client.get("/v1/runs").json()["data"]
    assert (run["id"], run["recipe"], run["state"]) == ("first", "tiny", "running")
    assert (run["stage"], run["step"], run["steps"]) == ("diffusion", 200, STEPS)
    assert run["images_per_second"] == 40
    assert 30 < run["seconds_left"] <= 200 * 8 / 40
    assert run["newest"]["held_out_error"] == 0.5
    assert run["warnings"] == ["diffusion: warning at step 100: overfitting, see log.jsonl"]
    assert client.get("/v1/runs").json()["data"][0]["state"] == "stopped"


def test_curves_grids_and_events_are_shown(client: httpx.Client):
    run = client.get("/v1/runs/first").json()
    curves = {(one["stage"], one["name"]): one for one in run["curves"]}
    assert [one["name"] for one in run["curves"] if one["main"]] == ["loss", "error"]
    assert curves["diffusion", "loss"]["points"][-1] == [200, pytest.approx(1 / 3)]
    assert ("diffusion", "time") not in curves
    assert [(one["stage"], one["step"]) for one in run["grids"]] == [
        ("autoencoder", 200), ("diffusion", 50), ("diffusion", 100), ("diffusion", 150),
    ]  # fmt: skip
    image = Image.open(io.BytesIO(client.get(run["grids"][2]["url"]).content))
    assert image.getpixel((30, 30)) == (40, 40, 40)
    assert run["evaluations"] == [{"stage": "diffusion", "step": 200, "values": {"held_out_error": 0.5}}]
    assert [one["warning"] for one in run["events"]] == [True, False]


def test_what_is_new_is_shown(client: httpx.Client, root: Path):
    """Also a run that was begun after the server."""
    folder = write_run(root / "second")
    before = client.get("/v1/runs/second").json()
    assert before["revision"] == client.get("/v1/runs/second").json()["revision"]
    add_rows(folder, "diffusion", [210])
    add_grid(folder, "diffusion", 200, 9)
    after = client.get("/v1/runs/second").json()
    assert after["revision"] != before["revision"]
    assert after["step"] == 210
    assert len(after["grids"]) == len(before["grids"]) + 1
    add_rows(folder, "diffusion", range(220, STEPS + 1, 10))
    assert client.get("/v1/runs/second").json()["state"] == "ended"


def test_numbers_that_json_has_not_and_damaged_rows_are_left_out(client: httpx.Client, root: Path):
    folder = write_run(root / "odd")
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"stage": "diffusion", "step": 201, "loss": NaN, "error": 0.25, "time": Infinity}\n')
        log.write('[1]\n{"stage": 3, "step": 4}\n{"step": true, "stage": "x"}\n' + "[" * 9999 + "\n\xff\n")
        log.write('{"stage": "diffusion", "step": 202, "loss": 0.1')
    (folder / "figures.json").write_text('{"a": NaN, "b": 2, "c": "x"}')
    run = client.get("/v1/runs/odd").json()
    assert (run["step"], run["newest"]["error"], run["figures"]) == (201, 0.25, {"b": 2})
    (folder / "recipe.yaml").write_text("a: [")
    run = client.get("/v1/runs/odd").json()
    assert run["warnings"][0].startswith("recipe.yaml: ")
    assert str(root) not in json.dumps(run)


@pytest.mark.parametrize(
    "path",
    [
        *("..", "%2e%2e", "..%2ffirst", "%2Fetc%2Fpasswd", "first%00", "nobody", "first/..", "first%2f..", "."),
        *("first/grids/-1", "first/grids/99", "first/grids/..%2f..%2frecipe.yaml", "first/grids/0%00"),
        *("first/grids/" + "9" * 400, "first/recipe.yaml", "first/grids/%2e%2e/recipe.yaml"),
    ],
)
def test_nothing_but_what_was_found_is_opened(client: httpx.Client, path):
    with closing(
        http.client.HTTPConnection("127.0.0.1", client.base_url.port)
    ) as connection:  # httpx would tidy the path
        connection.request("GET", f"/v1/runs/{path}")
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    assert status in (400, 404)
    assert "error" in json.loads(body)


def test_links_and_half_sheets_are_not_shown(client: httpx.Client, root: Path, tmp_path: Path):
    folder = write_run(root / "linked", grids=0)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    (folder / "samples" / "diffusion-0000001.png").symlink_to(secret)
    (folder / "samples" / "diffusion-0000002.png").write_bytes(secret.read_bytes()[:-8])
    (folder / "samples" / "diffusion-0000003.png").write_text("root:x:0:0")
    grids = client.get("/v1/runs/linked").json()["grids"]
    assert [one["step"] for one in grids] == [200, 2, 3]
    assert [client.get(one["url"]).status_code for one in grids] == [200, 404, 404]


def test_without_a_model_what_draws_is_refused(client: httpx.Client):
    assert client.get("/v1/models").json()["data"] == []
    assert client.get("/readyz").status_code == 200
    answer = client.post("/v1/images/generations", json={"prompt": "a red circle"})
    assert answer.status_code == 400
    assert "none is served" in answer.json()["error"]["message"]


def test_runs_are_as_private_as_all_else(root: Path):
    with live({}, runs=[root], tokens=["correct horse"]) as running, running.http() as client:
        assert client.get("/v1/runs").status_code == 401
        assert client.get("/v1/runs/first/grids/0").status_code == 401
        assert client.get("/v1/runs", headers={"Authorization": "Bearer correct horse"}).status_code == 200
        assert client.get("/v1/runs", headers={"Host": "evil.example"}).status_code == 421


def test_a_curve_is_bounded_and_has_its_newest_point():
    curve = Curve()
    for step in range(12_345):
        curve.add(step, step / 2)
    assert MOST / 2 - 1 <= len(curve.points) <= MOST + 1
    assert curve.points[0] == (0, 0.0)
    assert curve.points[-1] == (12_344, 6172.0)
    assert [step for step, _ in curve.points] == sorted({step for step, _ in curve.points})


def test_a_file_is_read_on_and_read_again_once_it_was_taken_back(tmp_path: Path):
    file = tmp_path / "log.jsonl"
    tail = Tail(file)
    assert tail.news() == (False, [])
    add(file, {"stage": "a", "step": 1})
    add(file, {"stage": "a", "step": 2})
    assert [row["step"] for row in tail.news()[1]] == [1, 2]
    assert tail.news() == (False, [])
    with file.open("a") as lines:
        lines.write('{"stage": "a", ')
        lines.flush()
        assert tail.news() == (False, [])
        lines.write('"step": 3}\n')
    assert tail.news() == (False, [{"stage": "a", "step": 3}])
    fresh = tmp_path / "fresh"
    for step in (1, 9, 3):
        add(fresh, {"stage": "a", "step": step})
    fresh.replace(file)
    begun, rows = tail.news()
    assert begun
    assert [row["step"] for row in rows] == [1, 9, 3]


def test_looking_again_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A page asks every few seconds, and runs are long."""
    run = TrainingRun(write_run(tmp_path / "run"))
    run.look()
    monkeypatch.setattr("latentry.serve.runs.run.read_recipe", None)
    monkeypatch.setattr(Tail, "news", None)
    run.look()


def test_who_holds_a_run_is_seen_without_taking_it(tmp_path: Path):
    assert not is_held(tmp_path)
    with RunLock(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_what_is_named_is_a_model_or_watched_or_both(tmp_path: Path):
    empty, fresh = tmp_path / "empty", write_run(tmp_path / "runs" / "fresh")
    empty.mkdir()
    assert [(found_in(one), is_watched(one)) for one in (empty, fresh, fresh.parent)] == [([], True)] * 3
    (fresh / "model").mkdir()
    (fresh / "model" / "model.yaml").write_text("")
    assert (found_in(fresh.parent), is_watched(fresh.parent)) == ([fresh], True)
    assert (found_in(fresh), is_watched(fresh)) == ([fresh], True)
    assert (found_in(fresh / "model"), is_watched(fresh / "model")) == ([fresh / "model"], False)
    assert (found_in(tmp_path), is_watched(tmp_path)) == ([tmp_path], False)
    with pytest.raises(UsageError, match="MODEL is missing"):
        serve([], Setting(), ServeOptions())
    with RunLock(tmp_path / "jobs"), pytest.raises(UsageError, match="choose another --store"):
        serve([empty], Setting(port=0, store=tmp_path / "jobs"), ServeOptions())


def test_runs_of_one_name_are_told_apart(tmp_path: Path):
    for folder in ("a", "b"):
        write_run(tmp_path / folder / "run")
    assert list(Runs([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "run"]).table()) == ["run", "run-2"]
