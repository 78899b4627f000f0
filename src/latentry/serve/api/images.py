"""`/v1/images/...` and `/v1/models`, as OpenAI's clients send and read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request

from latentry import config
from latentry.data.files import images
from latentry.errors import UsageError
from latentry.serve.apart import aside
from latentry.serve.api import answers
from latentry.serve.api.bodies.body import Body, read
from latentry.serve.api.bodies.masks import as_hole
from latentry.serve.api.bodies.openai import Edit, Generation, ImageRequest, Variation, options_of, size_of
from latentry.serve.api.bodies.schemas import body_of
from latentry.serve.api.desk import Asked, Desk, unknown
from latentry.tasks import TASKS

router = APIRouter(tags=["images"])


def desk_of(request: Request) -> Desk:
    """What the endpoints share."""
    desk: Desk = request.app.state.desk
    return desk


@router.post("/v1/images/generations", openapi_extra=body_of("Generation", "application/json"))
async def generations(request: Request) -> Any:
    """Draw images of a prompt."""
    desk, body = desk_of(request), await read(request)
    asked, model = _checked(Generation, body, desk)
    body.fields = options_of(asked, desk.engine.models, model, asked.prompt)
    if size := size_of(asked.size):
        body.fields["size"] = "{}x{}".format(*size)
    return await _answer(request, desk, "generate", asked, model, body, "image_generation")


@router.post("/v1/images/edits", openapi_extra=body_of("EditForm", "multipart/form-data"))
async def edits(request: Request) -> Any:
    """Fill the hole of an image: where its mask is transparent, or the image itself; without either, vary it."""
    desk, body = desk_of(request), await read(request)
    image, mask = _one(body, "image"), body.take("mask")
    asked, model = _checked(Edit, body, desk)
    body.fields = options_of(asked, desk.engine.models, model, asked.prompt)
    limits = desk.limits(model)
    body.files = {"file": [image]}
    task = "vary"
    hole = await aside(as_hole, mask[0] if mask else image, limits, needed=bool(mask))
    if hole is not None:
        task = "inpaint"
        body.files |= {"mask": [hole]} if mask else {}
    return await _answer(request, desk, task, asked, model, body, "image_edit")


@router.post("/v1/images/variations", openapi_extra=body_of("VariationForm", "multipart/form-data"))
async def variations(request: Request) -> Any:
    """Vary an image."""
    desk, body = desk_of(request), await read(request)
    image = _one(body, "image")
    asked, model = _checked(Variation, body, desk)
    body.fields, body.files = options_of(asked, desk.engine.models, model, None), {"file": [image]}
    return await _answer(request, desk, "vary", asked, model, body, "image_edit")


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The models that are served."""
    served = desk_of(request).engine.models
    return {"object": "list", "data": [_model(name, served.facts[name].told) for name in served.named]}


@router.get("/v1/models/{name}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    served = desk_of(request).engine.models
    found = served.name_of(name)
    return _model(found, served.facts[found].told)


def _model(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "latentry", **told}


def _one(body: Body, name: str) -> bytes:
    given = body.take(name)
    if len(given) != 1:
        raise UsageError(f"{name}: {len(given)} images; accepted: one, as a part of a form or as base64.")
    return given[0]


def _checked(cls: type[ImageRequest], body: Body, desk: Desk) -> tuple[Any, str]:
    """The fields, and the model that is meant. Raises UsageError and Problem."""
    asked = config.validate(cls, body.fields, "body")
    model = desk.engine.models.name_of(asked.model)
    task = TASKS["generate" if cls is Generation else "inpaint" if cls is Edit else "vary"].task.options
    known = [*cls.model_fields, *task.model_fields, *desk.engine.models.facts[model].conditions]
    further = [*TASKS["vary"].task.options.model_fields] if cls is Edit else []
    for name in asked.own():
        if name not in (*known, *further):
            raise unknown(name, list(dict.fromkeys(known)))
    return asked, model


async def _answer(
    request: Request, desk: Desk, task: str, asked: ImageRequest, model: str, body: Body, kind: str
) -> Any:
    key = request.scope["state"]["key"]
    size = images_size(body)
    wanted = size_of(asked.size)
    one: Asked = await desk.asked(key, task, model, body, asked.look(), asked.previews)
    one.given = {"quality": asked.quality}
    if size is not None:
        one.given["pixels"] = int(np.prod(size))
        if wanted is not None and wanted != size:
            one.drop()
            raise UsageError(
                f"size: {wanted[1]}x{wanted[0]}; an image is edited at its own size, {size[1]}x{size[0]}. Leave it out."
            )
    if asked.stream:
        return answers.streamed(request, desk, one, kind)
    return await answers.whole(request, desk, one)


def images_size(body: Body) -> tuple[int, int] | None:
    """(H, W) of the image that is edited, if one is."""
    given = body.files.get("file")
    return None if given is None else measured(given[0])


def measured(content: bytes) -> tuple[int, int]:
    """(H, W) by the header of a file."""
    from latentry.serve.api.bodies.masks import as_file

    with as_file(content) as path:
        header = images.header(path)
    return header.height, header.width
