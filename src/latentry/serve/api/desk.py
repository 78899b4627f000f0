"""From a request's body to a ticket of the engine, and from that to the answer."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request

from latentry import config
from latentry.data.files.limits import Limits
from latentry.errors import UsageError, did_you_mean, shown
from latentry.serve.apart import aside
from latentry.serve.api.bodies.body import Body
from latentry.serve.api.bodies.files import MODELS, place
from latentry.serve.api.bodies.looks import Look
from latentry.serve.api.edge.errors import Problem
from latentry.serve.engine.engine import Engine
from latentry.serve.engine.models import Facts
from latentry.serve.engine.ticket import Event, Ticket
from latentry.serve.engine.within import check_options
from latentry.tasks import TASKS
from latentry.tasks.options import TaskOptions
from latentry.tasks.sampling import CONDITIONS, Sampling


@dataclass
class Asked:
    """A request that can be handed to the engine. folder: of its files, which goes with it."""

    ticket: Ticket
    look: Look
    facts: Facts
    folder: Path
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def private(self) -> list[str]:
        """What no answer tells of."""
        return [str(self.folder)]

    def drop(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Desk:
    """What the endpoints share. root: where the files of requests lie while these are done."""

    engine: Engine
    root: Path

    async def asked(self, key: str, task: str, model: str, body: Body, look: Look, previews: int = 0) -> Asked:
        """A request, checked as far as it can be without the networks. Raises UsageError."""
        folder = self.root / f"request-{secrets.token_hex(8)}"  # there only once it holds a file
        try:
            make = self._made if not body.files and task == "generate" else self._aside
            ticket = await make(key, task, model, body, folder, previews)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Asked(ticket, look, self.engine.models.facts[model], folder)

    async def _made(self, *what: Any) -> Ticket:
        return self.ticket(*what)

    async def _aside(self, *what: Any) -> Ticket:
        return await aside(self.ticket, *what)  # reading images takes a while, others are not to wait

    def ticket(self, key: str, task: str, model: str, body: Body, folder: Path, previews: int) -> Ticket:
        """The ticket; its files are put into the folder. Raises UsageError."""
        facts, limits = self.engine.models.facts[model], self.engine.options
        if task not in facts.tasks:
            raise UsageError(f"model: {model} cannot {task}; it can: {', '.join(facts.tasks) or 'nothing'}.")
        cls: type[TaskOptions] = TASKS[task].task.options
        check_fields(body.fields, cls, facts)
        for name in MODELS:
            if body.fields.get(name) is not None:
                body.fields[name] = self.engine.models.name_of(body.fields[name])
        options = place(cls, body, folder, self.limits(model))
        checked = config.validate(cls, options, "body")
        check_options(checked, limits)
        refuse_downloads(checked)
        images = min(checked.count, limits.batch)
        return Ticket(key, model, task, options, images=images, previews=previews)

    def limits(self, model: str) -> Limits:
        """Of the pictures that are sent to a model."""
        limits = self.engine.models.facts[model].limits
        return limits._replace(pixels=min(limits.pixels, self.engine.options.most_pixels))

    async def result(self, request: Request, asked: Asked) -> Ticket:
        """The ticket once it is completed. Raises what ended it otherwise; a client that goes away cancels it."""
        gone = asyncio.create_task(disconnected(request))
        try:
            async for _ in self.events(asked.ticket, gone):
                pass
        finally:
            gone.cancel()
        if asked.ticket.error is not None:
            raise asked.ticket.error
        if asked.ticket.output is None:  # cancelled: nobody is there to read the answer
            raise Problem(499, "The client went away.", code="client_gone")
        return asked.ticket

    async def events(self, ticket: Ticket, gone: asyncio.Task[None] | None = None) -> AsyncIterator[Event]:
        """What happens to a ticket, submitted now, until it ends; it is cancelled if nobody listens any more."""
        self.engine.submit(ticket)
        try:
            async for event in heard(ticket.listen, gone):
                yield event
                if event.ticket.ended and event.kind == event.ticket.state:
                    return
        finally:
            if not ticket.ended:
                self.engine.cancel(ticket)


async def heard(
    listen: Callable[[Callable[[Any], None]], Callable[[], None]], gone: asyncio.Task[None] | None = None
) -> AsyncIterator[Any]:
    """What another thread tells a listener. It ends where `gone` does."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()
    if gone is not None:
        gone.add_done_callback(lambda _: queue.put_nowait(None))

    def told(event: Any) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    stop = listen(told)
    try:
        while (event := await queue.get()) is not None:
            yield event
    finally:
        stop()


async def disconnected(request: Request) -> None:
    """Returns once the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_fields(fields: dict[str, Any], options: type[TaskOptions], facts: Facts) -> None:
    """Raises UsageError for a field that neither the task nor the model knows, naming the nearest."""
    known = [name for name in options.model_fields if name not in CONDITIONS or name in facts.conditions]
    if issubclass(options, Sampling):
        known += [name for name in facts.conditions if name not in known]
    for name in fields:
        if name not in known and fields[name] is not None:
            raise unknown(name, [*known, *Look.model_fields, "model"])


def unknown(name: str, known: list[str]) -> Problem:
    """The refusal of a field."""
    text = f"{shown(name)}: no such field{did_you_mean(name, known)}; known: {', '.join(known)}."
    return Problem(400, text, param=shown(name), code="unknown_field")


def refuse_downloads(options: TaskOptions) -> None:
    """Raises UsageError for what would fetch weights: nothing is fetched for a client."""
    from latentry.nn import weights

    if getattr(options, "guide_loss", None) == "lpips":
        missing = [name for name in ("squeezenet", "squeezenet heads") if weights.located(name) is None]
        if missing:
            raise UsageError("guide_loss: lpips needs weights that are not on this server; accepted: pixels, latents.")
