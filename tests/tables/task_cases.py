"""Every entry of TASKS with options for two images, and for the second of them alone, for the sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PER_SEED = {"edit": 2}
"""How many images a seed gives, where it is not one."""
SEED = 3
Values = Mapping[str, Sequence[Any]]
"""Two values for each condition that a person can name."""
Ask = tuple[str, dict[str, Any]]
"""The name of a task, and its options."""


def write_files(folder: Path) -> list[Path]:
    """Two images of 16x16, and one of 8x8."""
    draw = np.random.default_rng(0)
    for name, side in (("one", 16), ("two", 16), ("small", 8)):
        Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in ("one", "two", "small")]


def asked(task: str, files: Sequence[Path], values: Values, places: Sequence[int] = (0, 1)) -> Ask:
    """What gives the images of these places: both, or one alone with its own seed and its own value of each condition.

    The same task, but for a frame: it alone is the sample of its end.
    """
    return CASES[task](files, values, places)


def given(values: Values, places: Sequence[int]) -> dict[str, Any]:
    """Conditions, seed and number of images."""
    rows = {name: [each[place] for place in places] for name, each in values.items()}
    return {**rows, "seed": SEED + places[0], "n": 1 if rows else len(places)}


def one_file(task: str, which: int = 0, **more: Any) -> Callable[..., Ask]:
    """A task that begins with a file."""
    return lambda files, values, places: (task, {"file": files[which], **more, **given(values, places)})


def edit(files: Sequence[Path], values: Values, places: Sequence[int]) -> Ask:
    fixed = {name: each[0] for name, each in values.items() if name != "text"}
    return "edit", {"text": "a red circle", "to": "a blue star", **fixed, "n": len(places), "seed": SEED + places[0]}


def edit_image(files: Sequence[Path], values: Values) -> Ask:
    """An image of one's own and its edit: a pair, whatever the seed."""
    fixed = {name: each[0] for name, each in values.items() if name != "text"}
    return "edit", {"text": "a red circle", "to": "a blue star", "image": files[0], **fixed}


def interpolate(files: Sequence[Path], values: Values, places: Sequence[int]) -> Ask:
    if len(places) == 1:
        ends = {name: each[places[0] if name in ("text", "label") else 0] for name, each in values.items()}
        return "generate", {**{name: [end] for name, end in ends.items()}, "seed": SEED + places[0]}
    ends = {f"{name}s": list(each) for name, each in values.items() if name in ("text", "label")}
    fixed = {name: [each[0]] for name, each in values.items() if name not in ("text", "label")}
    return "interpolate", {"seeds": [SEED, SEED + 1], "frames": 2, **ends, **fixed}


def upscale(files: Sequence[Path], values: Values, places: Sequence[int]) -> Ask:
    return "upscale", {"images": [files[2]], **given(values, places)}


CASES: dict[str, Callable[[Sequence[Path], Values, Sequence[int]], Ask]] = {
    "generate": lambda files, values, places: ("generate", given(values, places)),
    "reconstruct": lambda files, values, places: ("reconstruct", {"images": [files[place] for place in places]}),
    "edit": edit,
    "inpaint": one_file("inpaint", box=[(4, 4, 6, 8)], resample=2),
    "outpaint": one_file("outpaint", 2, left=8, bottom=8, resample=2),
    "vary": one_file("vary", strength=1.0),
    "interpolate": interpolate,
    "colorize": one_file("colorize"),
    "upscale": upscale,
}
