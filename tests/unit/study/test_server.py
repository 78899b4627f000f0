"""If these fail, other sites or programs read or spoil a study, or an answer that was given is gone."""

from __future__ import annotations

import json

import pytest

from tests.unit.study.studies import request, served, study_of


@pytest.fixture
def study_port(tmp_path):
    with served(study_of(tmp_path, "a", "b", checks=5)) as (study, port):
        yield study, port


def test_a_question_as_the_page_asks_it(study_port):
    study, port = study_port
    status, body, headers = request(port, "POST", "/api/raters", {"name": "Ada"})
    state = json.loads(body)
    number = state["question"]["number"]
    assert (status, state["answered"], state["of"]) == (200, 0, 11)
    assert request(port, "GET", f"/api/raters/1/questions/{number}/left.png")[1][:4] == b"\x89PNG"
    assert request(port, "POST", "/api/showings", {"rater": 1, "question": number})[0] == 200
    study._seen.clear()
    status, body, _ = request(port, "POST", "/api/answers", {"rater": 1, "question": number, "side": "left"})
    assert json.loads(body)["answered"] == 1
    assert [one.question for one in study.answers.all()] == [number]
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/api/study"])
def test_the_page_is_there(study_port, path):
    status, body, headers = request(study_port[1], "GET", path)
    assert status == 200
    assert body
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    ["/study.json", "/answers.sqlite", "/../study.json", "/%2e%2e/study.json", "/images/00000-a.png", "/page.html/..",
     "/api/raters/1/questions/0/../../x.png", "/api/raters/9/questions/0/left.png", "//etc/passwd"],
)  # fmt: skip
def test_nothing_else_is_given(study_port, path):
    assert request(study_port[1], "GET", path)[0] in (400, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Host": "localhost:9000"}, 200),
    ],
)
def test_other_sites_are_refused(study_port, headers, status):
    study, port = study_port
    assert request(port, "POST", "/api/raters", {"name": "Eve"}, headers)[0] == status
    assert bool(study.answers.names()) == (status == 200)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe\xff", b"[" * 4000, b"[]", b'{"name": 3}', b'{"name": ""}', b'{"name": "a", "x": 1}',
     b'{"name": "\\ud800"}', b'{"name": "\\u0000"}', b"9" * 4000],
)  # fmt: skip
def test_what_is_no_request_is_refused(study_port, body):
    study, port = study_port
    status, told, _ = request(port, "POST", "/api/raters", body)
    assert status == 400
    assert json.loads(told)["error"]
    assert not study.answers.names()


def test_long_bodies_are_not_read(study_port):
    assert request(study_port[1], "POST", "/api/raters", b"x" * 5000)[0] == 413


@pytest.mark.parametrize("change", [{"side": "up"}, {"question": -1}, {"question": 10**30}, {"rater": 7}])
def test_wrong_answers_are_refused(study_port, change):
    study, port = study_port
    number = study.join("Ada")["question"]["number"]
    study.show(1, number)
    study._seen.clear()
    answer = {"rater": 1, "question": number, "side": "left", **change}
    assert request(port, "POST", "/api/answers", answer)[0] == 400
    assert study.answers.all() == []
