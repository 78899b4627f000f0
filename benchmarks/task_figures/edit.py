"""Prompt-to-prompt: one colour word of a caption is swapped. What becomes of the shape, and of all else?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentry import rng
from latentry.data.shapes import COLOURS, SHAPES, Scene
from latentry.data.shapes.scenes import words
from latentry.metrics.layout import box_iou
from latentry.metrics.maps import mean_iou, silhouette_iou
from latentry.metrics.scenes import Found, Seen, look
from latentry.models.config import SampleOptions
from latentry.models.editing import PromptEdit
from latentry.pipeline import Pipeline
from latentry.pipeline.images import to_unit
from latentry.pipeline.sampling import levels_of, solve
from latentry.tasks.edit import EditOptions, request
from task_figures.common import Asked, Figure, Measured, corners, judge_itself, pictures, rows, share_of_captions

ROUNDS = 5
"""So many times the requests are drawn, at most, until there are enough originals that are right."""
KEPT = {"self_share": 0.8}
"""A colour leaves all of a shape, so that pixels may belong together as in the original for most of the steps."""
PLACE = 0.5
"""Least IoU of the boxes of one thing before and after."""


class Swap(NamedTuple):
    """thing: which of the scene's gets the new colour. after: the caption with it."""

    thing: int
    colour: str
    after: str


class Original(NamedTuple):
    """A request as it came before its edit. image: (1, 3, H, W). seed: it came of."""

    scene: Scene
    swap: Swap
    seed: int
    image: Tensor
    seen: Seen

    @property
    def right(self) -> bool:
        """Whether it shows what its caption says."""
        return bool(share_of_captions([self.seen], [self.scene]))


@dataclass(frozen=True)
class Walked(PromptEdit):
    """An edit whose images are drawn even where nothing is changed."""

    @property
    def changes_nothing(self) -> bool:
        return False


def edit(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Edits of originals that are right, beside the new caption alone from the same noise."""
    candidates = list(drawn(pipe, asked))
    chosen = sorted(candidates, key=lambda one: not one.right)[: asked.count]  # stable: the first that are right
    same, pairs, plain = list[Tensor](), list[Tensor](), list[Tensor]()
    for one in chosen:
        how = {**asked.how, "seed": one.seed}
        same += [
            walked(pipe, one.scene.text, how),
            pipe.run("edit", text=one.scene.text, to=one.scene.text, **how).tensor,
        ]
        pairs.append(pipe.run("edit", text=one.scene.text, to=one.swap.after, **KEPT, **how).tensor)
        plain.append(pipe.sample(one.swap.after, **how).tensor)
    before, after, others = (torch.cat(part) for part in ([p[:1] for p in pairs], [p[1:] for p in pairs], plain))
    scenes = [one.scene for one in chosen]
    kept = [float((first - second).abs().max()) for first, second in same]
    alone = [float((pair[0] - one.image[0]).abs().max()) for pair, one in zip(pairs, chosen, strict=True)]
    return [
        judge_itself(pictures(scenes), scenes),
        Figure("captions right, of all that were drawn", float(np.mean([one.right for one in candidates])), None),
        Figure("originals right, of those that are edited", float(np.mean([one.right for one in chosen])), 1.0),
        Figure("no change: largest difference, drawn or not", max(kept), 0.0, True),
        Figure("originals beside edits and alone: largest difference", max(alone), None),
        *judged("edit", chosen, before, after, wanted=True),
        *judged("new caption alone", chosen, before, others, wanted=False),
    ], rows(before, after, others)


def drawn(pipe: Pipeline, asked: Asked) -> Iterator[Original]:
    """Originals, a round of `count` after another, until so many of them are right."""
    right, scenes = 0, asked.scenes(count=ROUNDS * asked.count)
    for first in range(0, len(scenes), asked.count):
        part, seed = scenes[first : first + asked.count], asked.seed + first
        made = pipe.sample([scene.text for scene in part], **{**asked.how, "seed": seed}).tensor
        for i, (scene, seen) in enumerate(zip(part, look(made), strict=True)):
            yield (one := Original(scene, swap_of(scene, asked.seed, first + i), seed + i, made[i : i + 1], seen))
            right += one.right
        if right >= asked.count:
            return


def swap_of(scene: Scene, seed: int, index: int) -> Swap:
    """Any thing of a scene in any other colour that makes no two things of one colour and shape."""
    chance, pairs = rng.generator(seed, "task figures/edit", index), [thing.pair for thing in scene.things]
    number = int(chance.integers(len(pairs)))
    shape = scene.things[number].shape
    free = [colour for colour in COLOURS if f"{colour} {shape}" not in pairs]
    colour = free[int(chance.integers(len(free)))]
    pairs[number] = f"{colour} {shape}"
    return Swap(number, colour, words(pairs))


def walked(pipe: Pipeline, text: str, how: dict[str, float]) -> Tensor:
    """(2, 3, H, W): an original and its edit by the same prompt, both drawn and decoded."""
    options = EditOptions.model_validate({"text": text, "to": text, **how})
    asked = request(options, pipe.model)
    assert asked.edit is not None
    asked = replace(asked, edit=Walked(**{part.name: getattr(asked.edit, part.name) for part in fields(asked.edit)}))
    chosen = SampleOptions.model_validate({**pipe.config.sample.model_dump(), **options.sampling()})
    *_, last = solve(pipe.model, asked, levels_of(pipe.model, asked, chosen), chosen)
    return to_unit(pipe.decode(last.x))


def judged(name: str, chosen: list[Original], before: Tensor, after: Tensor, wanted: bool) -> list[Figure]:
    """Is the new colour on the shape, does its silhouette stay, and does the rest?"""
    found = [outcome(*row) for row in zip(chosen, look(before), look(after), strict=True)]
    colour, silhouette, rest, maps = np.mean(found, axis=0)
    median = np.median([same for _, same, *_ in found])
    both = np.mean([new and same >= 0.8 for new, same, *_ in found])
    return [
        Figure(f"{name}: the shape has the new colour", float(colour), 0.8 if wanted else None),
        Figure(f"{name}: IoU of its silhouettes", float(silhouette), 0.8 if wanted else None),
        Figure(f"{name}: their median, for a few shapes vanish", float(median), None),
        Figure(f"{name}: both of the same edit", float(both), None),
        Figure(f"{name}: mean IoU of maps", float(maps), None),
        Figure(f"{name}: the other shapes stay as they were", float(rest), None),
    ]


def outcome(one: Original, before: Seen, after: Seen) -> tuple[bool, float, float, float]:
    """Of one edit: the new colour is on the shape in its place; IoU of silhouettes of this shape; share of the others
    that stay (1 where there are none); mean IoU of the maps."""
    thing = one.scene.things[one.swap.thing]
    old, rest = Found(thing.bbox, thing.shape, thing.colour), list(before.things)
    for found in before.things:  # where it came, rather than where the scene had it
        if found[1:] == old[1:]:
            old = found
            rest.remove(found)
    number = 1 + list(SHAPES).index(thing.shape)
    silhouette = silhouette_iou(before.semantic == number, after.semantic == number)
    stay = float(np.mean([there(other, after) for other in rest])) if rest else 1.0
    return (
        there(old._replace(colour=one.swap.colour), after),
        silhouette,
        stay,
        mean_iou(after.semantic, before.semantic),
    )


def there(thing: Found, seen: Seen) -> bool:
    """Whether an image shows this shape in this colour at this place."""
    same = [f for f in seen.things if f[1:] == thing[1:]]
    return bool(same) and float(box_iou(corners([thing.bbox]), corners([f.bbox for f in same])).max()) >= PLACE
