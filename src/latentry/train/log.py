"""The record of a run: `log.jsonl`, TensorBoard, and lines for a person."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Report = Callable[[str], None]
WALL_CLOCK = ("time", "images_per_second", "seconds_left")


class Log:
    """Appends rows to RUN/log.jsonl and RUN/tensorboard. A logger that fails never ends the run."""

    def __init__(self, run: Path | None, report: Report) -> None:
        self.run, self.report = run, report
        self._writer: Any = None

    def rewind(self, stage: str, step: int) -> None:
        """Forget the rows of `stage` beyond `step`, which a resume will write again."""
        path = self.run / "log.jsonl" if self.run else None
        if path is None or not path.exists():
            return
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row["stage"] != stage or row["step"] <= step:
                rows.append(line)
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        temporary.replace(path)

    def row(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """One line of numbers."""
        if self.run is None:
            return
        row = {"stage": stage, "step": step, **values, "time": time.time()}
        try:
            with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            writer = self._tensorboard()
            for name, value in values.items():
                writer.add_scalar(f"{stage}/{name}", value, step)
        except OSError as error:
            self.report(f"log: could not write ({error}); training goes on")

    def event(self, stage: str, step: int, text: str) -> None:
        """Something a person should know: said, and kept in events.jsonl."""
        self.report(text)
        if self.run is not None:
            try:
                with (self.run / "events.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"stage": stage, "step": step, "event": text, "time": time.time()}) + "\n")
            except OSError:
                pass

    def _tensorboard(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            assert self.run is not None
            self._writer = SummaryWriter(str(self.run / "tensorboard"))
        return self._writer

    def close(self) -> None:
        """Flush what is open."""
        if self._writer is not None:
            self._writer.close()


class Window:
    """Running means between two rows of the log; saved with the checkpoint so that a resume logs the same row."""

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """One step's numbers."""
        for name, value in values.items():
            entry = self.sums.setdefault(name, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1

    def take(self) -> dict[str, float]:
        """The means, and begin anew."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means
