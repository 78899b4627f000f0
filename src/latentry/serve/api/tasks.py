"""`POST /v1/tasks/{task}`: every task of `TASKS`, its body being the options class of the task."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from latentry import config
from latentry.kinds import lookup
from latentry.serve.api import answers
from latentry.serve.api.bodies.body import Body, read
from latentry.serve.api.bodies.looks import Look
from latentry.serve.api.bodies.openai import LARGEST_DRAWN
from latentry.serve.api.bodies.schemas import body_name, body_of
from latentry.serve.api.images import desk_of
from latentry.tasks import TASKS

router = APIRouter(tags=["tasks"])


def split(body: Body, task: str) -> tuple[Look, Any]:
    """How the answer is to look, and the model that is named; what is left in the body are the task's options."""
    fields = {name: body.fields.pop(name) for name in Look.model_fields if name in body.fields}
    options = lookup(TASKS, task, "task").task.options
    if "seed" in options.model_fields and body.fields.get("seed") is None:
        body.fields["seed"] = secrets.randbelow(LARGEST_DRAWN)
    return config.validate(Look, fields, "body"), body.fields.pop("model", None)


def _endpoint(task: str) -> Any:
    async def endpoint(request: Request) -> Any:
        desk, body = desk_of(request), await read(request)
        look, model = split(body, task)
        name = desk.engine.models.name_of(model)
        asked = await desk.asked(request.scope["state"]["key"], task, name, body, look)
        return await answers.whole(request, desk, asked)

    endpoint.__doc__ = TASKS[task].help
    endpoint.__name__ = task
    return endpoint


for _task in TASKS:
    router.post(f"/v1/tasks/{_task}", openapi_extra=body_of(body_name(_task)))(_endpoint(_task))
