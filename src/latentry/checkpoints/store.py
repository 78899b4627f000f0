"""Checkpoints of one training: a reader sees a whole one or none, and only one whose files are as they were written."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from latentry.checkpoints import durable
from latentry.checkpoints import tensors as files
from latentry.checkpoints.manifest import publishing, recover, verify
from latentry.errors import LatentryError, UsageError

SUFFIX = ".safetensors"
STATE = "state.json"
LATEST = "latest"
PRUNED = ".pruned" + durable.TMP
SPARE = 1 << 16  # bytes for the manifest and the file system's own blocks


@dataclass(frozen=True)
class Saved:
    """A checkpoint whose files are as they were written.

    step: optimiser steps done. path: its folder. state: the state passed to `Store.save`, through JSON.
    """

    step: int
    path: Path
    state: dict[str, Any]

    @property
    def groups(self) -> list[str]:
        """The names that `tensors` takes."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self.path.glob("*" + SUFFIX))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one group, on the CPU."""
        return files.read(self.path / (name + SUFFIX))


@dataclass
class Store:
    """The folder `root` of `step-N` checkpoints.

    keep: how many of the newest stay. milestones: every checkpoint at a multiple of this many steps stays too.
    report: called with one line for each damaged checkpoint that is passed over. best: a step whose checkpoint stays.
    A reader only calls `newest`, `at` and `steps`; the one writer, holding the run's lock, calls `clean` first.
    """

    root: Path
    keep: int = 2
    milestones: int | None = None
    report: Callable[[str], None] = logging.getLogger("latentry").warning
    best: int | None = None
    _damaged: set[int] = field(default_factory=set, init=False, repr=False)

    def clean(self) -> None:
        """Remove what a killed save left behind."""
        recover(self.root)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, damaged or not, in rising order."""
        if not self.root.is_dir():
            return []
        matches = (re.fullmatch(r"step-(\d+)", path.name) for path in self.root.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step`, move `latest` to it and prune; returns its folder.

        tensors: groups of named tensors, one file each. state: anything JSON holds.
        Errors: `DiskFull` (exit code 74) or another `LatentryError`; the checkpoints of before are then untouched.
        """
        text = json.dumps(state, indent=1).encode()
        need = sum(files.size(group) for group in tensors.values()) + len(text) + SPARE
        final = self._folder(step)
        with publishing(final, need) as folder:
            for name, group in tensors.items():
                files.write(folder / (name + SUFFIX), group)
            durable.write(folder / STATE, [text])
        self._damaged.discard(step)
        durable.replace_file(self.root / LATEST, final.name + "\n")
        self._prune(step)
        return final

    def newest(self) -> Saved | None:
        """The newest checkpoint without damage, or None. Damaged ones are reported and passed over."""
        reported: set[int] = set()
        while True:
            for step in reversed(self.steps()):
                saved, problems = self._open(step)
                if saved:
                    return saved
                if not problems:
                    break  # replaced or pruned while it was read: look again
                if step not in reported:
                    self.report(f"{self._folder(step)}: damaged: {'; '.join(problems)}. Taking the one before it.")
                reported.add(step)
                self._damaged.add(step)
            else:
                return None

    def at(self, step: int) -> Saved:
        """The checkpoint of `step`. Errors: `UsageError` when there is none, `LatentryError` when it is damaged."""
        problems: list[str] = []
        while step in self.steps():
            saved, problems = self._open(step)
            if saved:
                return saved
            if problems:
                raise LatentryError(f"{self._folder(step)}: damaged: {'; '.join(problems)}. Choose another step.")
        steps = ", ".join(map(str, self.steps())) or "none"
        raise UsageError(f"{self.root}: no checkpoint of step {step}; known: {steps}. Choose one of these.")

    def _folder(self, step: int) -> Path:
        return self.root / f"step-{step}"

    def _open(self, step: int) -> tuple[Saved | None, list[str]]:
        """The checkpoint, or what is wrong with it; neither when the folder changed while it was read."""
        folder = self._folder(step)
        try:
            identity = folder.stat().st_ino
            problems = verify(folder)
            saved = None if problems else Saved(step, folder, json.loads((folder / STATE).read_bytes()))
            if folder.stat().st_ino == identity:
                return saved, problems
        except (OSError, ValueError) as error:
            if folder.is_dir():
                return None, [f"{STATE} cannot be read ({error})"]
        return None, []

    def _prune(self, step: int) -> None:
        """Remove damaged checkpoints and those before `step` that are neither among the newest nor milestones."""
        sound = [s for s in self.steps() if s <= step and s not in self._damaged]
        stay = {*sound[-self.keep :], step, self.best}
        for old in [s for s in self.steps() if s in self._damaged or (s < step and s not in stay)]:
            if self.milestones and old % self.milestones == 0 and old not in self._damaged:
                continue
            folder = self._folder(old)
            aside = folder.with_name(folder.name + PRUNED)
            try:
                durable.rename(folder, aside)
                durable.remove(aside)
            except OSError as error:
                self.report(f"{folder}: could not be removed: {error.strerror}. Remove it by hand.")
            self._damaged.discard(old)
