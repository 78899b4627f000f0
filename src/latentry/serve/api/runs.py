"""`/v1/runs`: trainings in the folders that are served, whoever started them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from latentry.evaluation.report.page import SHOWN_CURVES
from latentry.serve.api.edge.errors import Problem, without
from latentry.serve.runs.run import State, TrainingRun
from latentry.serve.runs.runs import Runs

router = APIRouter(tags=["runs"])
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A sheet of samples."}}


class StageShown(BaseModel):
    """A stage of the recipe, and how far it is."""

    stage: str
    step: int
    steps: int


class EventShown(BaseModel):
    """What happened at a step."""

    stage: str
    step: int
    text: str
    time: float = Field(description="Seconds since 1970.")
    warning: bool


class RunShown(BaseModel):
    """A training, in short."""

    id: str
    object: str = "run"
    recipe: str
    state: State = Field(description="running: a process trains it. stopped: it can go on. ended: all is trained.")
    stage: str | None = Field(description="The stage that wrote last; null before the first row.")
    step: int
    steps: int | None
    stages: list[StageShown]
    images_per_second: float | None
    seconds_left: float | None = Field(description="Of this stage, while it runs.")
    updated: float | None = Field(description="When the last row was written, in seconds since 1970.")
    newest: dict[str, float] = Field(description="The newest value of each number of this stage.")
    warnings: list[str]
    revision: str = Field(description="Another one whenever anything of the run has changed.")


class RunsShown(BaseModel):
    """All of them."""

    object: str = "list"
    data: list[RunShown]


class CurveShown(BaseModel):
    """A number over steps. main: whether it is the one that says most of its stage."""

    stage: str
    name: str
    main: bool
    points: list[tuple[int, float]]


class LookShown(BaseModel):
    """What was measured while it trained."""

    stage: str
    step: int
    values: dict[str, float]


class GridShown(BaseModel):
    """A sheet of samples."""

    stage: str
    step: int
    url: str


class RunWhole(RunShown):
    """A training with its curves, sheets of samples, events and what was measured."""

    curves: list[CurveShown]
    grids: list[GridShown]
    evaluations: list[LookShown]
    figures: dict[str, float] = Field(description="Measured at its end.")
    events: list[EventShown]


def runs_of(request: Request) -> Runs:
    """Those that this server watches."""
    runs: Runs = request.app.state.runs
    return runs


@router.get("/v1/runs")
def listed(request: Request) -> RunsShown:
    """The trainings, those under way first, then the ones that wrote last."""
    found = list[RunShown]()
    for name, run in runs_of(request).table().items():
        with run.lock:
            run.look()
            found.append(RunShown(**_shown(name, run)))
    found.sort(key=lambda one: (one.state != "running", -(one.updated or 0), one.id))
    return RunsShown(data=found)


@router.get("/v1/runs/{name}")
def one(request: Request, name: str) -> RunWhole:
    """One of them, with its curves."""
    run = _run(request, name)
    with run.lock:
        run.look()
        return RunWhole(
            **_shown(name, run),
            curves=_curves(run),
            grids=[
                GridShown(stage=grid.stage, step=grid.step, url=f"/v1/runs/{name}/grids/{number}?of={grid.changed:.3f}")
                for number, grid in enumerate(run.grids)
            ],
            evaluations=[LookShown(**look._asdict()) for look in run.looks],
            figures=run.figures,
            events=[EventShown(**{**event._asdict(), "text": _told(event.text, run)}) for event in run.events],
        )


@router.get("/v1/runs/{name}/grids/{index}", response_class=Response, responses=PNG)
def grid(request: Request, name: str, index: int) -> Response:
    """A sheet of samples, by its place in `grids`."""
    run = _run(request, name)
    with run.lock:
        run.look()
        data = run.png(index)
    if data is None:
        raise _missing()
    return Response(data, media_type="image/png")


def _run(request: Request, name: str) -> TrainingRun:
    found = runs_of(request).table().get(name)
    if found is None:
        raise _missing()
    return found


def _missing() -> Problem:
    return Problem(404, "There is no such run or sheet of samples.", code="not_found")


def _shown(name: str, run: TrainingRun) -> dict[str, object]:
    stage = run.stage
    newest = run.newest.get(stage) if stage else None
    known = run.stages.get(stage) if stage else None
    warnings = [_told(event.text, run) for event in run.events if event.warning]
    return {
        "id": name,
        "recipe": run.recipe,
        "state": run.state,
        "stage": stage,
        "step": newest.step if newest else 0,
        "steps": known.steps if known else None,
        "stages": [
            StageShown(stage=each, step=run.newest[each].step if each in run.newest else 0, steps=whole.steps)
            for each, whole in run.stages.items()
        ],
        "images_per_second": newest.rate if newest else None,
        "seconds_left": run.seconds_left,
        "updated": newest.time if newest else None,
        "newest": newest.values if newest else {},
        "warnings": [*([_told(run.problem, run)] if run.problem else []), *warnings],
        "revision": run.revision,
    }


def _told(text: str, run: TrainingRun) -> str:
    """A text without the folders of this machine."""
    return without(text, (str(run.path), str(run.path.parent)))


def _curves(run: TrainingRun) -> list[CurveShown]:
    """Those that say most first, then by name."""
    main = {
        (stage, next((name for name in names if (stage, name) in run.curves), ""))
        for stage, names in SHOWN_CURVES.items()
    }
    ordered = sorted(run.curves.items(), key=lambda item: (item[0] not in main, item[0]))
    return [
        CurveShown(stage=stage, name=name, main=(stage, name) in main, points=curve.points)
        for (stage, name), curve in ordered
    ]
