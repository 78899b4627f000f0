"""What a request says: fields of JSON or of a form, and the files that came with it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from latentry import text
from latentry.errors import UsageError, shown
from latentry.serve.api.edge.errors import Problem

MOST_JSON = 16 * 2**20
MOST_FIELDS = 200
WORDS = ("text", "prompt", "label", "to", "texts", "labels", "user")
"""Fields of a form that are words, whatever they begin with."""


@dataclass
class Body:
    """fields: as they were sent. files: the contents of those that are files, by name without `[]`."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)

    def take(self, name: str) -> list[bytes]:
        """The files of a field, sent as such or as base64; it is then no field any more. Raises UsageError."""
        given = self.fields.pop(name, None)
        ones = [] if given is None else given if isinstance(given, list) else [given]
        return [*self.files.pop(name, []), *(decoded(name, one) for one in ones)]


def decoded(name: str, value: Any) -> bytes:
    """A file as base64, also behind `data:image/png;base64,`. Raises UsageError: paths and addresses are never read."""
    wanted = f"{name}: accepted: the file itself, as a part of a form or as base64 (data:image/png;base64,...)"
    if not isinstance(value, str):
        raise UsageError(f"{wanted}; found {shown(type(value).__name__)}.")
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return base64.b64decode("".join(value.split()), validate=True) or _nothing(wanted)
    except (binascii.Error, ValueError):
        raise UsageError(f'{wanted}; found "{shown(value, 40)}". Nothing is fetched for a client.') from None


def _nothing(wanted: str) -> bytes:
    raise UsageError(f"{wanted}; found nothing.")


async def read(request: Request) -> Body:
    """The body of a request. Raises Problem for what is neither JSON nor a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await _form(request)
    if kind not in ("application/json", ""):
        raise Problem(415, "Content-Type: accepted: application/json, multipart/form-data.", code="content_type")
    data = await request.body()
    if len(data) > MOST_JSON:
        raise Problem(413, f"JSON of more than {MOST_JSON} bytes; send files as parts of a form.", code="too_large")
    return Body(parsed(data))


def parsed(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises Problem."""
    try:
        tree = json.loads(text.decode(data, "body"), parse_constant=_refused)
    except (ValueError, RecursionError, UsageError) as error:
        raise Problem(400, f"body: not JSON ({text.one_line(str(error))[:200]}).", code="json") from None
    if not isinstance(tree, dict):
        raise Problem(400, "body: accepted: a JSON object.", code="json")
    return tree


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


async def _form(request: Request) -> Body:
    body = Body()
    try:
        form = await request.form(max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=MOST_JSON)
    except HTTPException as error:
        raise Problem(400, f"form: {text.one_line(str(error.detail))[:200]}", code="form") from None
    try:
        for name, value in form.multi_items():
            plain = name.removesuffix("[]")
            if isinstance(value, UploadFile):
                body.files.setdefault(plain, []).append(await value.read())
            elif plain not in body.fields:
                body.fields[plain] = [_value(plain, value)] if name != plain else _value(plain, value)
            else:
                before = body.fields[plain]
                body.fields[plain] = [*(before if isinstance(before, list) else [before]), _value(plain, value)]
    finally:
        await form.close()
    return body


def _value(name: str, value: str) -> Any:
    """The text of a field of a form; lists and objects are written as JSON."""
    if name in WORDS or not value.startswith(("[", "{")):
        return value
    try:
        return json.loads(value, parse_constant=_refused)
    except (ValueError, RecursionError):
        return value
