"""The one thread that draws: between any two steps requests join and leave, and what is alike is computed together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch

from latentry.errors import LatentryError, UsageError
from latentry.pipeline.pictures.drawing import Drawing
from latentry.serve.engine.models import Models
from latentry.serve.engine.queue import FairQueue
from latentry.serve.engine.sharing import groups, together
from latentry.serve.engine.ticket import Cancelled, Ticket, Unavailable
from latentry.serve.engine.within import check_drawing
from latentry.serve.engine.work import Work
from latentry.serve.options import ServeOptions

LOG = logging.getLogger("latentry.serve")
GUIDES = ("autoguide", "classifier")
CALLS_OF_A_ROW = 2  # with guidance each image is two rows of the network


class Engine:
    """Takes tickets from any thread; draws in one of its own.

    counted: called with (what, how much) after each network call and model that was opened, for metrics.
    """

    def __init__(self, models: Models, options: ServeOptions, counted: Callable[[str, float], None] = lambda *_: None):
        self.models, self.options, self.counted = models, options, counted
        self.ready, self.closing = threading.Event(), False
        self._queue, self._active = FairQueue(options.queue), list[Work]()
        self._changed = threading.Condition()
        self._until = float("inf")
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to draw, after a first image of each model in memory."""
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether a further request would be refused."""
        return self._queue.full or self.closing

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def drawing(self) -> int:
        """Images that are worked on."""
        return sum(work.ticket.images for work in list(self._active))

    def submit(self, ticket: Ticket) -> None:
        """Let it wait for its turn. Raises `Full`, and `Unavailable` where the server is about to stop."""
        with self._changed:
            if self.closing:
                raise Unavailable
            self._queue.put(ticket)
            self._changed.notify()

    def cancel(self, ticket: Ticket) -> None:
        """It is no longer wanted: it leaves before its next step."""
        with self._changed:
            ticket.wanted = False
            waited = self._queue.remove(ticket)
        if waited:
            ticket.become("cancelled", error=Cancelled())

    def place(self, ticket: Ticket) -> int | None:
        """How many of its key are before it; None: it waits no longer."""
        with self._changed:
            return self._queue.place(ticket)

    def move(self, ticket: Ticket, place: int) -> bool:
        """To another place among those of its key. Whether it still waited."""
        with self._changed:
            return self._queue.move(ticket, place)

    def close(self, grace: float | None = None) -> None:
        """Refuse what waits and what comes; what is in flight has `grace` seconds. Returns at once; see `join`."""
        with self._changed:
            if self.closing:
                return
            self.closing = True
            self._until = time.monotonic() + (self.options.grace if grace is None else grace)
            refused = self._queue.empty()
            self._changed.notify()
        for ticket in refused:
            ticket.become("failed", error=Unavailable())

    def join(self) -> None:
        """Wait until all that was in flight has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._warm_up()
        self.ready.set()
        while True:
            with self._changed:
                while not self._active and not self._queue and not self.closing:
                    self._changed.wait()
                if self.closing and not self._active:
                    return
            try:
                self._round()
            except Exception as error:  # a defect, of which requests shall know and other rounds nothing
                LOG.exception("a round failed")
                self._end(list(self._active), error)

    def _warm_up(self) -> None:
        """One image of one step of each model in memory: what is slow the first time is slow now."""
        for name in self.models.opened:
            pipe = self.models.get(name)
            with suppress(LatentryError):  # one that draws nothing without a condition
                pipe.sample(steps=1)

    def _round(self) -> None:
        """A step of all in flight."""
        self._admit()
        if time.monotonic() > self._until:
            for work in self._active:
                work.ticket.wanted = False
        done = [work for work in list(self._active) if self._stands(work, work.advance) and not work.waits]
        self._finish(done)
        waiting = [work for work in self._active if work.call is not None]
        calls = [work.call for work in waiting if work.call is not None]
        for group in groups(calls, CALLS_OF_A_ROW * self.options.batch):
            self._jointly([waiting[number] for number in group], self._call)

    def _admit(self) -> None:
        """Those whose turn it is, while there is room for their images and their model; nobody is overtaken."""
        while True:
            with self._changed:
                ticket = self._queue.first()
                if ticket is None or self.closing:
                    return
                room = not self._active or self.drawing + ticket.images <= self.options.batch
                if not room or not self.models.has_room(ticket.model):
                    return
                self._queue.take()
            self._begin(ticket)

    def _begin(self, ticket: Ticket) -> None:
        ticket.become("running")
        loads = self.models.loads
        try:
            pipe = self.models.use(ticket.model)
        except Exception as error:
            ticket.become("failed", error=error)
            return
        self.counted("loads", self.models.loads - loads)
        try:
            named = {name: self.models.get(str(ticket.options[name])) for name in GUIDES if ticket.options.get(name)}
            how: dict[str, Any] = {"batch": self.options.batch, "bf16": self.options.bf16}
            drawing: Drawing = pipe.prepare(ticket.task, **how, **{**ticket.options, **named})
            check_drawing(drawing, self.options)
            self._active.append(Work(ticket, pipe, drawing))
        except Exception as error:
            self.models.leave(ticket.model)
            ticket.become("failed", error=error)

    def _stands(self, work: Work, doing: Callable[[], object]) -> bool:
        """Do a part of a request; whether it goes on. What it raises ends it, and no other."""
        try:
            doing()
        except Cancelled as error:
            self._end([work], error)
        except Exception as error:
            if not isinstance(error, UsageError):
                LOG.warning("a request failed", exc_info=error)
            self._end([work], error)
        else:
            return True
        return False

    def _jointly(self, works: list[Work], doing: Callable[[list[Work]], None]) -> None:
        """Do a part of several requests as one; where that fails, each by itself."""
        if len(works) == 1:
            self._stands(works[0], lambda: doing(works))
            return
        try:
            doing(works)
        except Exception:
            for work in works:
                self._jointly([work], doing)

    def _call(self, works: list[Work]) -> None:
        calls = [work.call for work in works if work.call is not None]
        answers = together(calls)
        self.counted("rows", float(sum(len(call.x) for call in calls)))
        for work, answer in zip(works, answers, strict=True):
            work.answer = answer

    def _finish(self, works: list[Work]) -> None:
        """Decode those that took their last step; latents of one model and size together."""
        alike: dict[object, list[Work]] = {}
        for work in works:
            key = (work.ticket.model, work.latents[0].shape[1:]) if not work.drawing.large else work
            alike.setdefault(key, []).append(work)
        for group in alike.values():
            self._jointly(group, self._decode)

    def _decode(self, works: list[Work]) -> None:
        first, latents = works[0], [torch.cat(work.latents) for work in works if not work.drawing.large]
        images = first.pipe.decode(torch.cat(latents)).split([len(one) for one in latents]) if latents else ()
        outputs = []
        for number, work in enumerate(works):
            with torch.no_grad():
                drawn = work.pipe.output(work.drawing, images[number]) if images else None
            outputs.append(drawn or work.pipe.finish(work.drawing, work.latents))
        for work, output in zip(works, outputs, strict=True):
            self._leave(work)
            work.ticket.become("completed", output=output)

    def _leave(self, work: Work) -> None:
        self._active.remove(work)
        self.models.leave(work.ticket.model)

    def _end(self, works: Iterable[Work], error: BaseException) -> None:
        for work in works:
            if work not in self._active:
                continue
            work.stop()
            self._leave(work)
            if not isinstance(error, Cancelled):
                work.ticket.become("failed", error=error)
            elif self.closing and time.monotonic() > self._until:
                work.ticket.become("failed", error=Unavailable())
            else:
                work.ticket.become("cancelled", error=error)
