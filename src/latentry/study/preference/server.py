"""The page of a preference study: which address gives what. `web.Server` serves it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen

from latentry import config
from latentry.errors import LatentryError, UsageError
from latentry.kinds import Options
from latentry.study.preference.asking import Study
from latentry.study.preference.web import App, Reply, Request
from latentry.text import decode

Number = Annotated[int, Ge(0), Le(10**9)]
FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
WHERE = "the request"
_STATE = re.compile(r"/api/raters/(\d{1,9})")
_IMAGE = re.compile(r"/api/raters/(\d{1,9})/questions/(\d{1,9})/(left|middle|right)\.png")


class Join(Options):
    """Body of `POST /api/raters`: who begins."""

    name: Annotated[str, MaxLen(200)]


class Showing(Options):
    """Body of `POST /api/showings`: images that appear now."""

    rater: Number
    question: Number


class Choice(Options):
    """Body of `POST /api/answers`."""

    rater: Number
    question: Number
    side: Literal["left", "right"]


def pages(study: Study) -> App:
    """What the server answers; every path that is not named here is not there."""

    def app(request: Request) -> Reply:
        try:
            return _get(study, request.path) if request.method == "GET" else _post(study, request)
        except UsageError as error:
            return _json(400, {"error": str(error)})
        except LatentryError as error:  # the disk is full, say: nothing is lost that was answered before
            return _json(503, {"error": str(error)})

    return app


def _get(study: Study, path: str) -> Reply:
    if path in FILES:
        file = files("latentry.study.preference").joinpath("page").joinpath(FILES[path])
        return Reply(200, f"{KINDS[FILES[path].rpartition('.')[2]]}; charset=utf-8", file.read_bytes())
    if path == "/api/study":
        return _json(200, study.about())
    if found := _STATE.fullmatch(path):
        return _json(200, study.state(int(found[1])))
    if found := _IMAGE.fullmatch(path):
        try:
            return Reply(200, "image/png", study.image(int(found[1]), int(found[2]), found[3]).read_bytes())
        except OSError:
            return _json(503, {"error": "An image of this study cannot be read."})
    return _json(404, {"error": "There is no such page."})


def _post(study: Study, request: Request) -> Reply:
    if request.path == "/api/raters":
        return _json(200, study.join(_read(Join, request).name))
    if request.path == "/api/showings":
        seen = _read(Showing, request)
        study.show(seen.rater, seen.question)
        return _json(200, {})
    if request.path == "/api/answers":
        choice = _read(Choice, request)
        return _json(200, study.answer(choice.rater, choice.question, choice.side))
    return _json(404, {"error": "There is no such page."})


def _read(model: Any, request: Request) -> Any:
    try:
        tree = json.loads(decode(request.body, WHERE))
    except (ValueError, RecursionError):
        raise UsageError(f"{WHERE}: is no JSON") from None
    return config.validate(model, tree, WHERE)


def _json(status: int, value: dict[str, Any]) -> Reply:
    return Reply(status, "application/json", json.dumps(value).encode())
