"""The application: endpoints, and around them what guards, limits and counts every request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from latentry import __version__
from latentry.errors import LatentryError
from latentry.serve.api import health, images, jobs, runs, tasks
from latentry.serve.api.bodies.looks import Look
from latentry.serve.api.bodies.openai import Edit, Generation, Variation
from latentry.serve.api.bodies.schemas import ERROR, FILE, REF, body_name, component, refusals, task_schema
from latentry.serve.api.desk import Desk
from latentry.serve.api.edge.errors import Problem, answer
from latentry.serve.api.edge.guard import Guard
from latentry.serve.api.edge.limits import Limits
from latentry.serve.engine.queue import Full
from latentry.serve.engine.ticket import Cancelled, Unavailable
from latentry.serve.jobs.jobs import Jobs
from latentry.serve.runs.runs import Runs
from latentry.tasks import TASKS

PAGE = Path(__file__).parents[1] / "page"
"""The files of the page, served as they are."""


def application(
    desk: Desk,
    jobs_: Jobs,
    metrics: health.Metrics,
    *,
    watched: Runs | None = None,
    host: str = "127.0.0.1",
    tokens: Sequence[str] = (),
    names: Sequence[str] = (),
) -> ASGIApp:
    """What uvicorn serves. watched: trainings that are shown. names: further ones that this server has."""
    app = FastAPI(
        title="latentry", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )  # its own pages of documentation would be fetched from elsewhere
    app.state.desk, app.state.jobs, app.state.metrics = desk, jobs_, metrics
    app.state.runs = watched or Runs()
    for router in (images.router, tasks.router, jobs.router, runs.router, health.router):
        app.include_router(router, responses=refusals())
    for error in (
        Problem,
        LatentryError,
        Full,
        Unavailable,
        Cancelled,
        HTTPException,
        RequestValidationError,
        Exception,
    ):
        app.add_exception_handler(error, answer)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    if PAGE.is_dir():
        app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    limits = desk.engine.options
    limited = Limits(app, limits.most_bytes, limits.body_seconds, lambda: desk.engine.full)
    return Guard(health.Counted(limited, metrics), host, tokens, names)


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the bodies as their classes describe them."""
    if app.openapi_schema is None:
        tree = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = tree.setdefault("components", {}).setdefault("schemas", {})
        schemas["Error"] = ERROR
        for cls in (Generation, Edit, Variation, Look):
            schemas |= component(cls)
        for name, of in (("EditForm", "Edit"), ("VariationForm", "Variation")):
            schemas[name] = _with_files(schemas[of], ("image", "mask") if of == "Edit" else ("image",))
        for task in TASKS:
            schemas |= task_schema(task)
        schemas["Job"] = {
            "type": "object",
            "properties": {
                "task": {"enum": list(TASKS)},
                "model": {"type": ["string", "null"]},
                "previews": {"type": "integer", "minimum": 0, "maximum": jobs.MOST_PREVIEWS},
            },
            "required": ["task"],
            "anyOf": [{"$ref": REF + body_name(task)} for task in TASKS],
        }
        for path in tree["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)  # FastAPI's own, which are answered 400 here
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = tree
    return app.openapi_schema


def _with_files(schema: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A body with files as parts of a form."""
    files = {name: {**FILE, "format": "binary", "description": "A picture."} for name in names}
    return {**schema, "properties": {**schema["properties"], **files}, "required": ["image"]}
