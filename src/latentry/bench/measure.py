"""Time the groups one after another, as far as the budget reaches."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from latentry.bench.groups import OURS, Contender, Group, Work
from latentry.bench.peak import products, reached
from latentry.bench.result import Row
from latentry.bench.subject import Subject
from latentry.bench.theirs import Theirs
from latentry.devices import forget_peak, peak, set_formats
from latentry.errors import is_out_of_memory
from latentry.timing import Times, alternate, clocked, flops

Clock = Callable[..., tuple[float, Any]]
LEAST = 2
"""Calls of each thing that there has to be time for: one that does not count, and one that does."""
FEW = 3
"""Rounds at most of what takes long: samples."""


@dataclass
class Bench:
    """subject: what is measured. rounds: at most. end: by `time.monotonic`. doing: called with what comes next. clock:
    as of `timing.clocked`.

    rows, notes, peaks: what was found so far.
    """

    subject: Subject
    rounds: int
    end: float
    doing: Callable[[str], None]
    clock: Clock = clocked
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[Hashable, int] = field(default_factory=dict)
    paces: dict[str, float] = field(default_factory=dict)

    def run(self, groups: list[Group]) -> None:
        """Measure them, the cheapest first, and note what there was no time or no memory for."""
        late, found = [], dict[int, list[Row]]()
        order = sorted(range(len(groups)), key=lambda place: groups[place].effort)
        for number, place in enumerate(order):
            group, left = groups[place], self.end - time.monotonic()
            if found and self.pace(group) * group.effort * LEAST * len(group.contenders) > left:
                late.append(group.name)
                continue
            self.doing(f"{number + 1} of {len(groups)}: {group.name}")
            try:
                found[place] = self.measured(group, max(left / (len(groups) - number), 0.0))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.notes.append(f"not enough memory for {group.name}. Ask for smaller batches or images.")
        self.rows += [row for place in sorted(found) for row in found[place]]
        if late:
            what = f"{late[0]} and {len(late) - 1} more" if late[1:] else late[0]
            self.notes.append(f"no time for {what}, of {len(groups)}. Give a larger --budget, or ask for less.")

    def measured(self, group: Group, seconds: float) -> list[Row]:
        """Its rows. seconds: after which no other round is begun."""
        each, calls, memory = self.count(group), dict[Hashable, Work](), dict[Hashable, float]()
        without = self._now()
        for one in group.contenders:
            before = self._now() if calls else without
            calls[one] = self._within(one.mode.precision, one.make())
            memory[one] = without + self._first(calls[one]) - before  # without what the others keep
        beside = {} if each is None else self._products(group)
        rounds = min(self.rounds, FEW) if group.steps else self.rounds
        timed = alternate(
            {**calls, **{key: work for key, (work, _) in beside.items()}},
            rounds=rounds,
            seconds=seconds,
            warm=0,
            wait=self.subject.wait,
            clock=self.clock,
        )
        self.paces |= {group.what: max(timed[one].median for one in calls) / group.effort}
        peaks = self._peaks(beside, timed)
        return [self._row(group, one, timed, memory[one], each, peaks) for one in group.contenders]

    def pace(self, group: Group) -> float:
        """Seconds that an effort takes: of the same thing at the last size, or of what was measured last."""
        return self.paces.get(group.what, next(reversed(self.paces.values())))

    def count(self, group: Group) -> int | None:
        """FLOPs of one image of it."""
        if group.counted is None:
            return None
        key = (group.what, group.size)
        if key not in self.counts:
            work = group.counted()
            work()  # what is computed once for many calls is no part of one
            self.counts[key] = flops(work)
        return self.counts[key]

    def _now(self) -> float:
        """GiB in use; from here on the peak is counted."""
        gc.collect()
        forget_peak(self.subject.device)
        return peak(self.subject.device)

    def _first(self, work: Work) -> float:
        """GiB at most from here to the end of the first call, which prepares much and is not timed."""
        work()
        self.subject.wait()
        return peak(self.subject.device)

    def _products(self, group: Group) -> dict[Hashable, tuple[Work, int]]:
        """The large products in every precision of the group, with their FLOPs."""
        precisions = dict.fromkeys(one.mode.precision for one in group.contenders)
        device = self.subject.device
        large = {p: products(device, p) for p in precisions}
        return {(p, n): (self._within(p, work), c) for p, made in large.items() for n, (work, c) in made.items()}

    def _within(self, precision: str, work: Work) -> Work:
        """The work with the device's formats of a precision, whatever was done before it."""

        @wraps(work)
        def call() -> object:
            set_formats(self.subject.device, precision)
            return work()

        return call

    def _peaks(
        self, beside: Mapping[Hashable, tuple[Work, int]], timed: Mapping[Hashable, Times]
    ) -> dict[str, dict[str, float]]:
        """FLOP/s of the products that were timed beside, by precision and name; the highest ever are kept."""
        found: dict[str, dict[str, float]] = {}
        for key, (_, count) in beside.items():
            assert isinstance(key, tuple)
            rate = reached({key[1]: count}, {key[1]: timed[key]})[key[1]]
            found.setdefault(key[0], {})[key[1]] = rate
            best = self.peaks.setdefault(key[0], {})
            best[key[1]] = max(best.get(key[1], 0.0), rate)
        return found

    def _row(
        self,
        group: Group,
        one: Contender,
        timed: Mapping[Hashable, Times],
        memory: float,
        each: int | None,
        peaks: Mapping[str, Mapping[str, float]],
    ) -> Row:
        times, (low, high) = timed[one], timed[one].spread
        count = None if each is None else each * group.images
        nearest = Theirs.nearest(one.mode)
        other = next((c for c in group.contenders if c.by != OURS and c.mode == nearest), None)
        beside = other is not None and one.by == OURS
        limit = (
            max(min(peaks[name].values()) for name in {one.mode.precision, "fp32"} & peaks.keys()) if peaks else None
        )
        return Row(
            what=group.what,
            by=one.by,
            mode=str(one.mode),
            batch=group.batch,
            size="x".join(map(str, group.size)),
            steps=group.steps,
            images=group.images,
            seconds=times.median,
            low=low,
            high=high,
            rounds=len(times.seconds),
            images_per_second=group.images / times.median,
            flops=count,
            share=None if count is None or limit is None else count / times.median / limit,
            memory=memory,
            ratio=times.over(timed[other]) if beside else None,
        )
