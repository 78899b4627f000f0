"""`/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentry.serve.engine.engine import Engine

router = APIRouter(tags=["health"])


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        named = {"registry": self.registry}
        self.requests = Counter("latentry_requests", "Answers.", ["method", "route", "status"], **named)  # type: ignore[arg-type]
        self.seconds = Histogram("latentry_request_seconds", "Until the answer began.", ["route"], **named)  # type: ignore[arg-type]
        self.refused = Histogram("latentry_refused_seconds", "Until a request was refused for load.", **named)  # type: ignore[arg-type]
        self.rows = Histogram(
            "latentry_network_rows", "Rows of a network call.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.loads = Counter("latentry_model_loads", "Models that were opened.", registry=self.registry)

    def watch(self, engine: Engine) -> None:
        """Also how the queue stands."""
        waiting = Gauge("latentry_waiting_requests", "Requests that wait.", registry=self.registry)
        waiting.set_function(lambda: engine.waiting)
        drawing = Gauge("latentry_images_in_flight", "Images that are worked on.", registry=self.registry)
        drawing.set_function(lambda: engine.drawing)

    def counted(self, what: str, much: float) -> None:
        """What the engine tells."""
        if what == "rows":
            self.rows.observe(much)
        elif much:
            self.loads.inc(much)


class Counted:
    """Counts and times every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "PATCH", "HEAD") else "other"
                self.metrics.requests.labels(method, route, str(message["status"])).inc()
                self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
                if message["status"] == 503:
                    self.metrics.refused.observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noted)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the server answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Any:
    """Whether it draws: after its first images, until it is stopped."""
    engine: Engine = request.app.state.desk.engine
    if engine.ready.is_set() and not engine.closing:
        return {"status": "ready"}
    return JSONResponse({"status": "stopping" if engine.closing else "warming up"}, 503, {"Retry-After": "1"})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    found: Metrics = request.app.state.metrics
    return Response(generate_latest(found.registry), media_type=CONTENT_TYPE_LATEST)
