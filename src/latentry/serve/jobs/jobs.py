"""Jobs between the engine and their store: what is finished is on disk before anyone is told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentry.checkpoints import durable
from latentry.pipeline.output import Output
from latentry.serve.engine.engine import Engine
from latentry.serve.engine.ticket import Event, Ticket, Unavailable
from latentry.serve.jobs.store import Store

LOG = logging.getLogger("latentry.serve")
Encode = Callable[[Output, int], tuple[bytes, str]]
"""(images, which) -> a file and its format."""


@dataclass(eq=False)
class Live:
    """A job that has not ended. listeners: told of its ticket's events, and of its end once it is stored."""

    ticket: Ticket
    encode: Encode
    told: Callable[[BaseException], dict[str, Any]]
    listeners: list[Callable[[Event | str], None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: str | None = None

    def listen(self, listener: Callable[[Event | str], None]) -> Callable[[], None]:
        """Tell it of all that happens; what is returned ends that."""
        with self.lock:
            self.listeners.append(listener)
            listener(self.over or Event("running" if self.ticket.ended else self.ticket.state, self.ticket))
        return lambda: self.listeners.remove(listener) if listener in self.listeners else None

    def tell(self, event: Event | str) -> None:
        """An event of the ticket; or the name of the end that is stored now."""
        with self.lock:
            self.over = event if isinstance(event, str) else None
            for listener in list(self.listeners):
                listener(event)


class Jobs:
    """The jobs of a server. All that writes is done by one thread, in order."""

    def __init__(self, engine: Engine, store: Store, keep: int) -> None:
        self.engine, self.store, self.keep = engine, store, keep
        self.live: dict[str, Live] = {}
        self._writer = ThreadPoolExecutor(1, "jobs")
        self.interrupted = store.interrupt()

    def begin(self, job: Live, body: dict[str, Any]) -> None:
        """Keep a new job and let it wait for its turn. body: of the request, to do it again. Raises as `submit`."""
        ticket = job.ticket
        self.store.add(ticket.id, ticket.key, ticket.task, ticket.model, body)
        self.live[ticket.id] = job
        try:
            self.engine.submit(ticket)
        except BaseException:
            del self.live[ticket.id]
            self.store.remove(ticket.id)
            raise
        ticket.listen(lambda event: self._heard(job, event))

    def cancel(self, id_: str) -> bool:
        """Whether it had not ended; it then ends before its next step."""
        job = self.live.get(id_)
        if job is None:
            return False
        self.engine.cancel(job.ticket)
        return True

    def close(self) -> None:
        """Wait until all that has ended is stored."""
        self._writer.shutdown(wait=True)
        self.store.close()

    def _heard(self, job: Live, event: Event) -> None:
        if event.kind == "running":
            self._writer.submit(self.store.change, job.ticket.id, status="running", started=time.time())
        if event.kind in ("completed", "failed", "cancelled"):
            self._writer.submit(self._ended, job, event.kind)
        else:
            job.tell(event)

    def _ended(self, job: Live, how: str) -> None:
        ticket = job.ticket
        try:
            images: list[dict[str, Any]] = [] if ticket.output is None else self._written(job, ticket.output)
            error = None if ticket.error is None else job.told(ticket.error)
            how = "interrupted" if isinstance(ticket.error, Unavailable) else how
        except Exception as failed:
            LOG.exception("a job's images could not be kept")
            how, images, error = "failed", [], job.told(failed)
        try:
            self.store.change(ticket.id, status=how, ended=time.time(), images=images, error=error)
            self.store.prune(self.keep)
        finally:
            self.live.pop(ticket.id, None)
            job.tell(how)

    def _written(self, job: Live, output: Output) -> list[dict[str, Any]]:
        folder, found = self.store.place(job.ticket.id), []
        folder.mkdir(exist_ok=True)
        for index, facts in enumerate(output.facts):
            data, kind = job.encode(output, index)
            name = f"{index}.{kind}"
            _write(folder / name, data)
            found.append({"file": name, "output_format": kind, **{k: v for k, v in facts.items() if k != "name"}})
        return found


def _write(path: Path, data: bytes) -> None:
    with durable.writing(path, len(data)) as fresh:
        fresh.write_bytes(data)
