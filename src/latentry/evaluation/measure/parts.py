"""The parts of an evaluation: from sets of images to figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from latentry.errors import LatentryError, UsageError
from latentry.evaluation.images.sets import ImageSet
from latentry.evaluation.measure.fidelity import Fidelity, Pairs, pairs_of
from latentry.evaluation.measure.names import distances_of, kept
from latentry.evaluation.measure.processes import ALONE, Processes
from latentry.evaluation.measure.streams import Images, Watch, reference_statistics, statistics_of
from latentry.metrics.compare import Figure, compare, gap, score
from latentry.metrics.distances import DISTANCES
from latentry.metrics.distances.interval import DRAWS
from latentry.metrics.features import Features, tag
from latentry.metrics.statistics import Statistics


def silent(what: str, done: int, total: int) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Bench:
    """In which features and by which metrics is measured, and what came to light on the way.

    networks: the features. names: of the metrics, as asked for. draws: subsets that intervals come from. told: called
    with (what is done, images, of how many). notes: lines on what could not be measured.
    """

    networks: Sequence[Features]
    names: Sequence[str]
    seed: int = 0
    draws: int = DRAWS
    processes: Processes = ALONE
    told: Callable[[str, int, int], None] = silent
    notes: list[str] = field(default_factory=list)

    def reference(self, images: ImageSet, watches: Sequence[Watch] = ()) -> list[Statistics]:
        """Statistics of a folder in each of the features, from the cache where they are kept."""
        told = partial(self.told, images.words)
        how = {"seed": self.seed, "processes": self.processes, "told": told, "watches": watches}
        return reference_statistics(images, self.networks, **how)  # type: ignore[arg-type]

    def statistics(
        self, images: Images, count: int, part: int, what: str, watches: Sequence[Watch] = ()
    ) -> list[Statistics]:
        """Statistics of other images."""
        told = partial(self.told, what)
        how = {"seed": self.seed, "processes": self.processes, "told": told, "watches": watches}
        return statistics_of(images, count, self.networks, part, **how)  # type: ignore[arg-type]

    def compared(
        self, real: Sequence[Statistics], other: Sequence[Statistics], names: Sequence[str] | None = None
    ) -> list[Figure]:
        """The distances in each of the features, and Inception Score. names: of other metrics than the bench's."""
        chosen = self.names if names is None else names
        figures = list[Figure]()
        for features, one, two in zip(self.networks, real, other, strict=True):
            for distance in distances_of(chosen):
                figures += self.tried(partial(self._one, distance, features, one, two), DISTANCES[distance].other)
            if "is" in chosen and two.scores is not None:
                figures.append(score(two.scores, tag(features)))
        return kept(figures, chosen)

    def lean(self) -> Bench:
        """In the first features alone."""
        return replace(self, networks=self.networks[:1])

    def gaps(
        self, train: Sequence[Statistics], held_out: Sequence[Statistics], other: Sequence[Statistics]
    ) -> list[Figure]:
        """How much nearer the images are to the training images than to held-out ones, by each distance."""
        wanted = [name for name in self.names if name != "gap"]
        figures = list[Figure]()
        for features, one, two, three in zip(self.networks, train, held_out, other, strict=True):
            for distance in distances_of(wanted):
                made = partial(gap, one, two, three, tag(features), [distance])
                figures += self.tried(made, f"gap of {DISTANCES[distance].other}")
        return figures

    def of_pairs(
        self, pairs: Pairs, count: int, part: int, fidelity: Fidelity, what: str
    ) -> tuple[list[Figure], list[Statistics], list[Statistics]]:
        """Figures of single images, and the statistics of the real ones and of what was made of them."""
        told = partial(self.told, what)
        how = {"seed": self.seed, "processes": self.processes}
        found = pairs_of(pairs, count, self.networks, fidelity, part, **how, told=told)  # type: ignore[arg-type]
        figures = fidelity.figures(what, self.processes, self.seed)
        return figures, [real for real, _ in found], [again for _, again in found]

    def _one(self, distance: str, features: Features, real: Statistics, other: Statistics) -> list[Figure]:
        return compare(real, other, tag(features), [distance], self.draws, self.seed)

    def tried(self, make: Callable[[], list[Figure]], what: str) -> list[Figure]:
        """The figures, or a note why there are none, as where there are too few images for neighbours."""
        try:
            return make()
        except LatentryError as error:
            name = what or "neighbours"
            line = f"{name}: left out: {error}"
            self.notes.append(line) if line not in self.notes else None
            return []


def refuse_few(found: int, asked: int | None, where: str) -> None:
    """Raise UsageError where a folder has fewer images than were asked for."""
    if asked is not None and found < asked:
        raise UsageError(f"samples: {where} has {found} images, {asked} were asked for. Ask for {found}, or add some.")


def refuse_none(found: int, where: str) -> None:
    """Raise LatentryError for a set without images that can be read."""
    if not found:
        raise LatentryError(f"{where}: no image could be read, so nothing is measured.")
