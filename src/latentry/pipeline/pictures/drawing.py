"""A request between its checks and its images: all that is decided before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentry.diffusion.schedule import Level
from latentry.models import tiles
from latentry.models.config import SampleOptions
from latentry.models.modes import Mode
from latentry.pipeline.guides.autoguide import Autoguide
from latentry.pipeline.made import Made
from latentry.pipeline.pictures.facts import picture_facts
from latentry.pipeline.record import DrawnBy
from latentry.tasks import TASKS, Request, Task
from latentry.tasks.options import TaskOptions
from latentry.tasks.sampling import Sampling


@dataclass(frozen=True)
class Drawing:
    """What `Pipeline.prepare` makes; `walk` each of the parts, then `finish` with their latents.

    options: of the task, checked. chosen: how it is sampled. calls: of the network in each step.
    parts: the request in batches, with the latents to start from. mode: how the step is computed.
    """

    task: str
    options: TaskOptions
    request: Request
    chosen: SampleOptions
    levels: Sequence[Level]
    calls: Sequence[int]
    parts: Sequence[Request]
    worse: Autoguide | None
    classified: DrawnBy | None
    files: Mapping[str, dict[str, str]]
    batch: int
    mode: Mode

    @property
    def evaluations(self) -> int:
        """Of the network, for all parts."""
        return len(self.parts) * sum(self.calls)

    @property
    def large(self) -> bool:
        """Whether the images are decoded only as they are written."""
        request, task = self.request, TASKS[self.task].task
        streamed = task.finish is Task.finish and (not request.back or request.by_windows is not None)
        return request.size[0] * request.size[1] > tiles.LARGE and streamed

    def start(self, part: Request) -> Tensor:
        """Where a part begins: its result, where no step is taken."""
        return torch.empty(0) if part.start is None else part.start[0]

    def said(self, opened: Mapping[str, Any], by: DrawnBy, device: str) -> tuple[list[dict[str, str]], Made | None]:
        """What the files of its images say: for people, and to be drawn again, where anything was drawn.

        opened: how the model was. by: the model.
        """
        worse, classified = self.worse, self.classified
        facts = picture_facts(self.request, self.chosen, sum(self.calls), worse, opened, by.hash, self.mode)
        if classified is not None:
            facts = [{**one, "classifier": f"{classified.source}, {classified}"} for one in facts]
        if not isinstance(self.options, Sampling):
            return facts, None
        return facts, Made(
            *(self.task, self.options, self.chosen, None if self.request.back else self.request.size),
            *(self.batch, self.mode, device, by),
            autoguide=None if worse is None else worse.drawn_by,
            classifier=classified,
            files=self.files,
        )
