"""A procedural set as a data folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from latentry.data.shapes.figures import SHAPES
from latentry.data.shapes.one import Drawing, generate
from latentry.data.shapes.scenes import Scene, generate_scenes
from latentry.errors import UsageError


def write(
    out: str | Path,
    count: int,
    size: int | tuple[int, int] = 64,
    seed: int = 0,
    exclude: Sequence[str] = (),
    scenes: bool = False,
) -> None:
    """Write the set as a data folder: images/, semantic/, semantic_classes.json, metadata.jsonl.

    scenes: several shapes an image, as `draw_scene` makes them, instead of one.
    The same arguments give the same bytes. The metadata comes last, so a broken-off folder has none. Errors: UsageError
    for a count below 1 and as in `draw` or `draw_scene`.
    """
    if count < 1:
        raise UsageError(f"shapes: count {count}; at least 1 image is needed. Ask for more.")
    out, lines = Path(out), []
    arguments = (count, size, seed, exclude)
    drawings: Iterator[Drawing | Scene] = generate_scenes(*arguments) if scenes else generate(*arguments)
    for index, drawing in enumerate(drawings):
        name = f"{index:06d}.png"
        if index == 0:
            for folder in ("images", "semantic"):
                (out / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.image).save(out / "images" / name)
        Image.fromarray(drawing.semantic).save(out / "semantic" / name)
        lines.append(json.dumps(drawing.record(f"images/{name}", f"semantic/{name}")))
    classes = {0: "background"} | dict(enumerate(SHAPES, 1))
    (out / "semantic_classes.json").write_text(json.dumps(classes) + "\n", encoding="utf-8")
    (out / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
