"""The images of a recipe that brings its own: a procedural set, drawn once and kept beside downloaded weights."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from latentry.bounds import Seed
from latentry.checkpoints import durable
from latentry.data.shapes import write
from latentry.kinds import Options
from latentry.nn.weights import cache


class DrawnOptions(Options):
    """Images that latentry draws itself, as `latentry data shapes` does, at `data.size`.

    kind: `shapes`, one an image, or `scenes`, one or two. count: how many images. seed: another one, other images.
    """

    kind: Literal["shapes", "scenes"] = "scenes"
    count: int = Field(8000, ge=1, le=10_000_000)
    seed: Seed = 0


def drawn_folder(options: DrawnOptions, size: tuple[int, int], report: Callable[[str], None]) -> Path:
    """The data folder of these images in the cache; drawn now if it is not there.

    size: (height, width). It is made under a passing name and then renamed, so that no reader sees half of it. Raises
    UsageError for a size that is too small, LatentryError where it cannot be written.
    """
    name = f"{options.kind}-{options.count}-{size[0]}x{size[1]}-seed-{options.seed}"
    target = cache() / name
    if target.is_dir():
        return target
    report(f"data: drawing {options.count} images into {target}")
    passing: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        passing = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{name}."))
        write(passing / name, options.count, size, options.seed, scenes=options.kind == "scenes")
        (passing / name).replace(target)
    except OSError as error:
        if not target.is_dir():  # another process has just drawn it
            raise durable.explain(error, target, options.count * 4 * size[0] * size[1]) from error
    finally:
        if passing is not None:
            shutil.rmtree(passing, ignore_errors=True)
    return target
