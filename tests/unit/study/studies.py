"""Small preference studies, and people who answer them by the requests that the page makes."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentry.study.preference.asking import Study
from latentry.study.preference.making import make
from latentry.study.preference.options import PreferenceOptions
from latentry.study.preference.questions import swapped
from latentry.study.preference.server import pages
from latentry.study.preference.web import Server

GREY = {"a": 60, "b": 140, "truth": 220, "input": 20}
"""Each folder has images of its own brightness, so that a picture tells where it is from."""


def folder(path: Path, value: int, count: int = 6, size: tuple[int, int] = (16, 16), mode: str = "L") -> Path:
    """A folder of plain images."""
    path.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((*size, 3), value, np.uint8)).convert(mode).save(path / f"{number}.png")
    return path


def folders(root: Path, *roles: str, count: int = 6) -> dict[str, Path]:
    return {role: folder(root / role, GREY[role], count) for role in roles}


def study_of(root: Path, *roles: str, count: int = 6, **options: Any) -> Path:
    """A study of such folders; images are seen for a tenth of a second."""
    make(PreferenceOptions(**folders(root, *roles, count=count), **{"seconds": 0.1, **options}), root / "study")
    return root / "study"


@contextmanager
def served(path: Path) -> Iterator[tuple[Study, int]]:
    """A study on a port of its own, for the length of a `with`."""
    study, server = Study(path), Server(0)
    server.app = pages(study)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield study, server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        study.answers.close()


def request(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """(status, body, headers) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"} if method == "POST" else {}
    try:
        connection.request(method, path, data, {**kind, **(headers or {})})
        reply = connection.getresponse()
        return reply.status, reply.read(), dict(reply.headers)
    finally:
        connection.close()


def answer_all(study: Study, name: str, prefers: Callable[[str, tuple[str, str], int], int], stop: int = 10**9) -> int:
    """Answer as a person who sees the images; prefers: which of (first, second) of a contest, and its place."""
    state, given = study.join(name), 0
    while state["question"] and given < stop:
        number, rater = state["question"]["number"], state["rater"]
        asked = study.questions[number]
        study.show(rater, number)
        study._seen.pop((rater, number))  # time has gone by
        wanted = prefers(asked.contest, asked.images, number)
        state = study.answer(rater, number, "left" if (wanted == 0) != swapped(study.made, rater, number) else "right")
        given += 1
    return given
