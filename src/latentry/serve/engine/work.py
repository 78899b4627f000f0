"""One request in flight: its parts one after another, each a solver that stands still at its next network call."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from latentry.diffusion.contracts import Step
from latentry.pipeline import Pipeline
from latentry.pipeline.images import to_unit
from latentry.pipeline.pictures.drawing import Drawing
from latentry.serve.engine.sharing import Call
from latentry.serve.engine.strand import Strand
from latentry.serve.engine.ticket import Cancelled, Ticket

MOST_SHOWN = 4
"""Of so many images at once each is decoded on the way, of more the first alone."""


class Work:
    """A ticket with the model that draws it. call: the network call that it waits for; answer: what came of it."""

    def __init__(self, ticket: Ticket, pipe: Pipeline, drawing: Drawing) -> None:
        self.ticket, self.pipe, self.drawing = ticket, pipe, drawing
        self.call: Call | None = None
        self.answer: Any = None
        self.latents: list[Tensor] = []
        self._x = torch.empty(0)
        self._strand: Strand | None = None
        self._shown = 0
        ticket.total = drawing.evaluations

    def advance(self) -> None:
        """To the next network call; none is left at the end. Raises what the solver raises, and `Cancelled`."""
        while self._strand is not None or len(self.latents) < len(self.drawing.parts):
            if not self.ticket.wanted:
                self.stop()
                raise Cancelled
            strand = self._strand = self._strand or self._begun()
            asked, self.answer = strand.go_on(self.answer), None
            if isinstance(asked, Call):
                self.call = asked
                return
            if isinstance(asked, Step):
                self._reached(asked)
            else:
                self.latents.append(self._x)
                self._strand = None
        self.call = None

    def stop(self) -> None:
        """Nothing more of it is drawn."""
        if self._strand is not None and not self._strand.ended:
            with suppress(Cancelled):
                self._strand.go_on(error=Cancelled())
        self._strand, self.call, self.answer = None, None, None

    @property
    def waits(self) -> bool:
        """Whether it waits for the network."""
        return self.call is not None

    def _begun(self) -> Strand:
        """The next part. What needs no network call yet, its conditions above all, is computed here, outside of it."""
        part = self.drawing.parts[len(self.latents)]
        self._x = self.drawing.start(part)
        steps = self.pipe.walk(self.drawing, part)

        def walk(strand: Strand) -> None:
            for step in steps:
                strand.ask(step)

        return Strand(walk)

    def _reached(self, step: Step) -> None:
        ticket = self.ticket
        self._x = step.x
        ticket.done += self.drawing.calls[step.index]
        ticket.tell("step")
        spread = ticket.previews + 1  # evenly over the way, none of the last step, which is the image itself
        if (
            self._shown < ticket.previews
            and ticket.total * (self._shown + 1) <= ticket.done * spread < ticket.total * spread
        ):
            self._preview(step)

    def _preview(self, step: Step) -> None:
        """What the images will be, about: the x0 that was predicted on the way."""
        if self.drawing.large:
            return
        part, back = self.drawing.parts[len(self.latents)], self.drawing.request.back
        shown = step.x0 if part.count <= MOST_SHOWN else step.x0[:1]
        decoded = self.pipe.decode(shown)
        images = decoded if back is None or len(self.drawing.parts) > 1 or part.count > len(shown) else back(decoded)
        before = sum(len(latents) for latents in self.latents)
        self.ticket.tell("preview", self._shown, to_unit(images), before)
        self._shown += 1
