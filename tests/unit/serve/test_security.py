"""If these fail, a page that someone visits, or anyone on the network, can use the server or read this machine."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from latentry.errors import UsageError
from latentry.serve.run import Setting, check_setting
from tests.unit.serve.live import Live, as_text, live, opened, picture
from tests.unit.serve.test_tasks import IMAGE

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
OWN = "http://127.0.0.1"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8420", "a@127.0.0.1", "8.8.8.8", ""]
)
def test_a_name_that_is_not_ours_is_refused(server: Live, method, host):
    """A page can let a name of its own lead to 127.0.0.1 (DNS rebinding); its requests then say that name."""
    with server.http() as client:
        assert client.request(method, "/v1/models", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:9", "[::1]:9"])
def test_our_own_names_are_not(server: Live, host):
    with server.http() as client:
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://localhost.evil.example"]
)
def test_a_page_of_another_site_is_refused(server: Live, method, origin):
    with server.http() as client:
        answer = client.request(method, "/v1/models", headers={"Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_picture_in_a_page_of_another_site_is_refused(server: Live):
    """Such a request has no Origin; browsers tell by Sec-Fetch-Site."""
    with server.http() as client:
        there = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert client.get("/v1/models", headers=there).status_code == 403
        assert client.get("/", headers={**there, "Sec-Fetch-Mode": "navigate"}).status_code == 200
        assert client.get("/v1/models", headers={"Origin": server.url}).status_code == 200


def test_with_a_token_nothing_is_told_without_it():
    """But whether the server lives."""
    with live(tokens=["correct horse"], names=["images.example"]) as running:
        with running.http() as client:
            for path in ("/v1/models", "/v1/jobs", "/metrics", "/openapi.json"):
                assert client.get(path).status_code == 401
            assert client.post("/v1/images/generations", json={}).status_code == 401
            assert client.get("/v1/models", headers={"Authorization": "Bearer correct hors"}).status_code == 401
            assert client.get("/healthz").status_code == 200
        with running.http("correct horse") as client:
            assert client.get("/v1/models").status_code == 200
            proxied = {"Host": "images.example", "Origin": "https://images.example"}
            assert client.get("/v1/models", headers=proxied).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com"])
def test_others_can_reach_it_only_with_a_token(host):
    with pytest.raises(UsageError, match="--token"):
        check_setting(Setting(host=host))
    check_setting(Setting(host=host, tokens=["correct horse"]))


def test_nobody_else_can_by_default():
    check_setting(Setting())
    assert Setting().host == "127.0.0.1"
    with pytest.raises(UsageError, match="at least 8"):
        check_setting(Setting(tokens=["short"]))


PLACES = [
    "/etc/passwd",
    "../../etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/x.png",
    "..%2f..%2fetc",
    "a\0b",
    "~/x",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "body",
    [
        ("vary", lambda place: {"file": place}),
        ("reconstruct", lambda place: {"images": [place]}),
        ("inpaint", lambda place: {"file": IMAGE, "mask": place}),
        ("generate", lambda place: {"layout": place, "model": "files"}),
        ("generate", lambda place: {"layout": [place], "model": "files"}),
        ("generate", lambda place: {"semantic": place, "model": "files"}),
        ("generate", lambda place: {"embedding": place, "model": "files"}),
        ("generate", lambda place: {"guide": place}),
        ("generate", lambda place: {"autoguide": place}),
        ("generate", lambda place: {"classifier": place}),
        ("generate", lambda place: {"model": place}),
    ],
    ids=lambda body: body[0],
)
def test_no_path_or_address_is_followed(server: Live, place, body):
    task, make = body
    with server.http() as client:
        answer = client.post(f"/v1/tasks/{task}", json=make(place))
    assert answer.status_code == 400
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/pyproject.toml", "/v1/jobs/..%2f..", "//etc/passwd"]
)
def test_no_file_outside_of_the_page_is_served(server: Live, path):
    with server.http() as client:
        answer = client.get(path, follow_redirects=True)
    assert not re.search(r"root:|\[project\]|sqlite", answer.text)
    assert answer.status_code in (200, 404)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "x\0y", "..", "мир", "a" * 300])
def test_the_name_of_a_file_is_not_used(server: Live, name):
    before = set(server.folder.parent.rglob("*evil*"))
    with server.http() as client:
        answer = client.post("/v1/tasks/vary", data={"steps": "1"}, files={"file": (name, picture())})
    assert answer.status_code in (200, 400)  # 400: a name that no form can hold
    assert set(server.folder.parent.rglob("*evil*")) == before


BROKEN: list[dict[str, Any]] = [
    {"text": "x" * 100_001},
    {"guidance": "NaN"},
    {"steps": 10**40},
    {"seed": -1},
    {"seed": 2**80},
    {"n": 10**9},
    {"size": [10**9, 10**9]},
    {"solver": {"kind": {"kind": {}}}},
    {"solver": "{!!python/object/apply:os.system [id]}"},
    {"tile": 4, "overlap": 10**6},
    {"guide": as_text(b"not an image")},
    {"text": ["\ud800"]},
]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: next(iter(body)))
def test_what_is_wrong_is_told_without_a_traceback(server: Live, body):
    with server.http() as client:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/tasks/generate", content=json.dumps(body), headers=headers)
    assert answer.status_code in (400, 413)
    assert not re.search(r"Traceback|\.py\b|/tmp/|line \d+, in", answer.text)
    assert answer.json()["error"]["message"]


def test_a_bomb_is_refused_by_its_header(server: Live):
    """12000x12000 pixels in a few kB."""
    buffer = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")
    with server.http() as client:
        answer = client.post("/v1/tasks/vary", json={"file": as_text(buffer.getvalue())})
    assert answer.status_code == 400
    assert "pixels" in answer.json()["error"]["message"]


def test_the_text_of_a_picture_is_not_believed(server: Live):
    """A picture's own text may name any file: it is not read, nor handed on."""
    text = PngImagePlugin.PngInfo()
    text.add_text("latentry", '{"task": "vary", "options": {"file": "/etc/passwd"}}')
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture())).save(buffer, "PNG", pnginfo=text)
    with server.http() as client:
        answer = client.post("/v1/tasks/vary", json={"file": as_text(buffer.getvalue()), "steps": 1})
    assert answer.status_code == 200
    assert not any("passwd" in value for value in opened(answer.json()["data"][0]["b64_json"]).info.values())
