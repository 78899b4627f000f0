"""`/v1/jobs`: work that outlives its request, with events, and to be cancelled, moved and done again."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from latentry.errors import UsageError
from latentry.kinds import lookup
from latentry.serve.apart import aside
from latentry.serve.api.answers import event, sse
from latentry.serve.api.bodies.body import Body, parsed, read
from latentry.serve.api.bodies.files import path_fields
from latentry.serve.api.bodies.looks import MIME, Look, as_text, encode, preview
from latentry.serve.api.bodies.schemas import body_of
from latentry.serve.api.desk import heard
from latentry.serve.api.edge.errors import Problem, busy, problem_of
from latentry.serve.api.images import desk_of
from latentry.serve.api.tasks import split
from latentry.serve.engine.ticket import Event
from latentry.serve.jobs.jobs import Jobs, Live
from latentry.tasks import TASKS
from latentry.text import number

router = APIRouter(tags=["jobs"])
MOST_PREVIEWS = 10
NAME = re.compile(r"[0-9a-f]{24}")


def jobs_of(request: Request) -> Jobs:
    """The jobs of this server."""
    jobs: Jobs = request.app.state.jobs
    return jobs


@router.post("/v1/jobs", status_code=202, openapi_extra=body_of("Job"))
async def begin(request: Request) -> dict[str, Any]:
    """Begin a task, `task`, with its options; what it is called is told at once."""
    body = await read(request)
    return await _begin(request, body)


@router.get("/v1/jobs")
async def listed(
    request: Request, limit: int = Query(50, ge=1, le=1000), before: float | None = None
) -> dict[str, Any]:
    """The newest jobs. before: only those created before this time, in seconds since 1970."""
    store, until = jobs_of(request).store, time.time() + 1 if before is None else before
    rows = store.all_of(request.scope["state"]["key"], limit, until)
    return {"object": "list", "data": [_shown(request, row) for row in rows]}


@router.get("/v1/jobs/{id}")
async def one(request: Request, id: str) -> dict[str, Any]:
    """A job: its state, what it was asked, its images."""
    return _shown(request, _row(request, id))


@router.get("/v1/jobs/{id}/events")
async def events(request: Request, id: str) -> Response:
    """What happens to it, as server-sent events: `step`, `preview`, and at last how it ended."""
    row = _row(request, id)
    return sse(_events(request, row))


@router.get("/v1/jobs/{id}/images/{index}")
async def image(request: Request, id: str, index: int) -> Response:
    """An image that it made."""
    row = _row(request, id)
    if not 0 <= index < len(row["images"]):
        raise _missing()
    found = row["images"][index]
    path = jobs_of(request).store.place(row["id"]) / str(found["file"])
    if not path.is_file():
        raise _missing()
    headers = {"Content-Disposition": f'inline; filename="{row["id"]}-{found["file"]}"'}
    return FileResponse(path, media_type=MIME[found["output_format"]], headers=headers)


@router.get("/v1/jobs/{id}/inputs/{name}/{index}")
async def given(request: Request, id: str, name: str, index: int) -> Response:
    """A file that it was given. Its bytes are as they were sent: nothing shows them by itself."""
    row = _row(request, id)
    files = row["body"]["files"].get(name, [])
    if not 0 <= index < len(files):
        raise _missing()
    path = jobs_of(request).store.place(row["id"]) / str(files[index])
    if not path.is_file():
        raise _missing()
    return FileResponse(path, media_type="application/octet-stream", headers={"Content-Disposition": "attachment"})


@router.delete("/v1/jobs/{id}")
async def cancel(request: Request, id: str) -> dict[str, Any]:
    """Cancel a job within one step; one that has ended is removed, with its images."""
    jobs, row = jobs_of(request), _row(request, id)
    if jobs.cancel(row["id"]):
        return {"id": row["id"], "object": "job", "status": "cancelling", "deleted": False}
    jobs.store.remove(row["id"])
    return {"id": row["id"], "object": "job", "status": row["status"], "deleted": True}


@router.patch("/v1/jobs/{id}", openapi_extra=body_of("Move", "application/json"))
async def move(request: Request, id: str) -> dict[str, Any]:
    """Move a job that waits: `{"place": 0}` is next of yours."""
    jobs, row = jobs_of(request), _row(request, id)
    place = parsed(await request.body()).get("place")
    if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < 1_000_000:
        raise UsageError("place: accepted: a whole number, 0 is the next.")
    live = jobs.live.get(row["id"])
    if live is None or not jobs.engine.move(live.ticket, place):
        raise Problem(409, "The job does not wait any more.", code="not_waiting")
    return _shown(request, row)


@router.post("/v1/jobs/{id}/retry", status_code=202)
async def retry(request: Request, id: str) -> dict[str, Any]:
    """Do a job again, with all that it was asked, as a new one."""
    row = _row(request, id)
    if row["status"] not in ("completed", "failed", "cancelled", "interrupted"):
        raise Problem(409, "The job has not ended. Cancel it first.", code="not_ended")
    place, kept = jobs_of(request).store.place(row["id"]), row["body"]
    files = {name: [(place / str(file)).read_bytes() for file in ones] for name, ones in kept["files"].items()}
    return await _begin(request, Body({**kept["fields"], "task": row["task"], "model": row["model"]}, files))


async def _begin(request: Request, body: Body) -> dict[str, Any]:
    desk, jobs = desk_of(request), jobs_of(request)
    task, previews = body.fields.pop("task", "generate"), body.fields.pop("previews", 3)
    previews = number(previews) if isinstance(previews, str) else previews  # of a form
    if not isinstance(previews, int) or isinstance(previews, bool) or not 0 <= previews <= MOST_PREVIEWS:
        raise UsageError(f"previews: accepted: a whole number from 0 to {MOST_PREVIEWS}.")
    if not isinstance(task, str):
        raise UsageError(f"task: accepted: {', '.join(TASKS)}.")
    lookup(TASKS, task, "task")
    if desk.engine.full:
        raise busy()
    look, model = split(body, task)
    name, kept = desk.engine.models.name_of(model), copy.deepcopy(body.fields)
    asked = await desk.asked(request.scope["state"]["key"], task, name, body, look, previews)
    folder = jobs.store.place(asked.ticket.id)
    try:
        files = await aside(_adopt, asked.folder, folder, asked.ticket.options)
        options = TASKS[task].task.options
        fields = {n: v for n, v in kept.items() if n not in path_fields(options) and n not in files}
        live = Live(
            asked.ticket,
            lambda output, index: encode(output, index, look, [str(folder)]),
            lambda error: problem_of(error, [str(folder)]).body()["error"],
        )
        jobs.begin(live, {"fields": {**fields, **look.model_dump(exclude_defaults=True)}, "files": files})
    except BaseException:
        jobs.store.remove(asked.ticket.id)
        raise
    finally:
        asked.drop()
    return _shown(request, _row(request, asked.ticket.id))


def _adopt(source: Path, folder: Path, options: dict[str, Any]) -> dict[str, list[str]]:
    """Move the files of a request into its job's folder, and its options with them; by option, their names."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = {}
    for path in sorted(source.iterdir() if source.is_dir() else (), key=lambda path: int(path.stem.rpartition("-")[2])):
        path.replace(folder / path.name)
        files.setdefault(path.stem.rpartition("-")[0], []).append(path.name)
    for name, value in options.items():
        if isinstance(value, Path):
            options[name] = folder / value.name
        elif isinstance(value, list) and value and all(isinstance(one, Path) for one in value):
            options[name] = [folder / one.name for one in value]
    return files


def _row(request: Request, id_: str) -> dict[str, Any]:
    """A job of who asks. Raises Problem for none, and for another's."""
    row = jobs_of(request).store.get(id_, request.scope["state"]["key"]) if NAME.fullmatch(id_) else None
    if row is None:
        raise _missing()
    return row


def _missing() -> Problem:
    return Problem(404, "There is no such job or image.", code="not_found")


def _shown(request: Request, row: dict[str, Any]) -> dict[str, Any]:
    """A job as clients see it."""
    jobs = jobs_of(request)
    live, told = jobs.live.get(row["id"]), {k: v for k, v in row.items() if k not in ("key", "body")}
    images = [
        {**{k: v for k, v in one.items() if k != "file"}, "url": f"/v1/jobs/{row['id']}/images/{i}"}
        for i, one in enumerate(row["images"])
    ]
    place = f"/v1/jobs/{row['id']}/inputs"
    inputs = {name: [f"{place}/{name}/{i}" for i in range(len(ones))] for name, ones in row["body"]["files"].items()}
    shown = {**told, "object": "job", "options": row["body"]["fields"], "inputs": inputs, "images": images}
    if live is None:
        return shown
    ticket = live.ticket
    return {**shown, **_progress(ticket), "place": jobs.engine.place(ticket)}


def _progress(ticket: Any) -> dict[str, Any]:
    left = ticket.seconds_left
    return {"step": ticket.done, "steps": ticket.total, "seconds_left": None if left is None else round(left, 2)}


async def _events(request: Request, row: dict[str, Any]) -> AsyncIterator[str]:
    jobs, id_ = jobs_of(request), row["id"]
    live = jobs.live.get(id_)
    if live is not None:
        yield event("status", _shown(request, row))
        async for happened in heard(live.listen):
            if isinstance(happened, str):
                break
            if happened.kind == "preview":
                yield event("preview", await aside(_preview, happened))
            else:
                yield event("step" if happened.kind == "step" else "status", _state(happened))
    last = jobs.store.get(id_, row["key"])
    if last is not None:
        yield event(last["status"], _shown(request, last))


def _state(happened: Event) -> dict[str, Any]:
    return {"status": happened.ticket.state, **_progress(happened.ticket)}


def _preview(happened: Event) -> dict[str, Any]:
    assert happened.images is not None
    look = Look(metadata=False)
    each = [as_text(preview(happened.images, True, look, index)) for index in range(len(happened.images))]
    return {"b64_json": each[0], "images": each, "first": happened.first, "index": happened.number, **_state(happened)}
