"""Vectors of training images, held-out ones and samples, in every view; memory does not grow with the training set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latentry.metrics.copies.search import Queries
from latentry.metrics.copies.shelf import Shelf
from latentry.metrics.copies.views import View

MOST = 1000
"""Training images, and held-out ones, that samples are judged by; between so many and half of them."""


@dataclass
class Gathered:
    """Queries of one set in one view, as they come."""

    plain: list[Tensor] = field(default_factory=list)
    mirrored: list[Tensor] = field(default_factory=list)

    def queries(self) -> Queries:
        return Queries.of(torch.cat(self.plain), torch.cat(self.mirrored))


def looked_at(views: Mapping[str, View], images: Iterable[Tensor]) -> dict[str, Queries]:
    """Every image (B, C, H, W) of a set in every view, as it is and mirrored; empty for no images."""
    found = {name: Gathered() for name in views}
    for part in images:
        for name, view in views.items():
            found[name].plain.append(view(part))
            found[name].mirrored.append(view(part.flip(-1)))
    return {name: one.queries() for name, one in found.items() if one.plain}


def shelved(views: Mapping[str, View], images: Iterable[Tensor]) -> tuple[dict[str, Shelf], dict[str, Queries]]:
    """Training images in every view: all of them in files, and some of them, evenly spread, to be held out in turn.

    These are compared as they are: many sets hold an image and its mirror image on purpose, which no sample's
    nearness is to be excused by.
    """
    shelves, kept = {name: Shelf() for name in views}, {name: list[Tensor]() for name in views}
    rows, every, count = list[int](), 1, 0
    for part in images:
        chosen = [i for i in range(len(part)) if (count + i) % every == 0]
        rows += [count + i for i in chosen]
        count += len(part)
        for name, view in views.items():
            vectors = view(part)
            shelves[name].append(vectors)
            if chosen:
                kept[name] += vectors[chosen].split(1)
        while len(rows) > MOST:
            every *= 2
            staying = [i for i, row in enumerate(rows) if row % every == 0]
            rows = [rows[i] for i in staying]
            kept = {name: [vectors[i] for i in staying] for name, vectors in kept.items()}
    own = torch.tensor(rows, dtype=torch.int64)
    stacked = {name: torch.cat(vectors) for name, vectors in kept.items() if rows}
    return shelves, {name: Queries.of(vectors, vectors, own) for name, vectors in stacked.items()}


def joined(parts: list[Queries]) -> Queries:
    """Queries one set after another."""
    return Queries(*(torch.cat(side) for side in zip(*((p.plain, p.mirrored, p.own) for p in parts), strict=True)))
