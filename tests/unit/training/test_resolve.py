"""If these fail, `auto` trains a model on conditions that a folder does not have, or leaves out those it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentry.training.plan import recipes
from latentry.training.plan.auto import resolve
from latentry.training.plan.recipes import Recipe

AUTO: dict[str, Any] = {"data": {"size": 16, "text": "auto", "label": "auto"}, "diffusion": {"conditioning": "auto"}}


def write(root: Path, paths: list[str], rows: list[dict] | None = None) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / path)
    if rows is not None:
        lines = [json.dumps({"file_name": path, **row}) for path, row in zip(paths, rows, strict=True)]
        (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


def settled(root: Path) -> tuple[str | None, str | None, list[str]]:
    found = resolve(Recipe.model_validate({"name": "x", **AUTO}), root)
    return found.data.text, found.data.label, list(found.diffusion.conditioning)


FOUR = ["0.png", "1.png", "2.png", "3.png"]
LABELS = [{"label": name} for name in ("a", "b", "a", "b")]


@pytest.mark.parametrize(
    ("paths", "rows", "expected"),
    [
        (FOUR, None, (None, None, [])),
        (["a/0.png", "a/1.png", "b/0.png", "b/1.png"], None, (None, "folder", ["label"])),
        (["a/0.png", "a/1.png"], None, (None, None, [])),
        (["a/0.png", "b/0.png", "1.png", "2.png"], None, (None, None, [])),
        (FOUR, LABELS, (None, "label", ["label"])),
        (FOUR, [{"label": str(i)} for i in range(4)], (None, None, [])),
        (FOUR, [*LABELS[:3], {}], (None, None, [])),
        (FOUR, [{"text": "x", **row} for row in LABELS], ("text", "label", ["text"])),
        (FOUR, [{"text": "x"}, {}, {}, {}], ("text", None, ["text"])),
    ],
    ids=[
        "plain",
        "folders",
        "one folder",
        "some in folders",
        "labels",
        "a label each",
        "a label missing",
        "both",
        "text",
    ],
)
def test_what_a_folder_has_decides(paths, rows, expected, tmp_path):
    assert settled(write(tmp_path, paths, rows)) == expected


def conditions_of(recipe: Recipe, root: Path) -> list[Any]:
    conditioning = resolve(recipe, root).diffusion.conditioning
    assert conditioning != "auto"
    return list(conditioning.values())


def test_auto_takes_the_conditioner_that_the_recipe_has_for_it(tmp_path):
    """Without one, a model made for an hour of a CPU would read captions by a transformer as large as its denoiser."""
    own = {"auto": {"text": {"kind": "text", "width": 32, "pooled": "words"}}, "conditioning": "auto"}
    captioned = write(tmp_path / "a", FOUR, [{"text": "x", **row} for row in LABELS])
    recipe = Recipe.model_validate({"name": "x", **AUTO, "diffusion": own})
    (options,) = conditions_of(recipe, captioned)
    assert (options.kind, options.width, options.pooled) == ("text", 32, "words")
    labelled = write(tmp_path / "b", FOUR, LABELS)
    (options,) = conditions_of(recipe, labelled)
    assert options.kind == "class_label"


def test_only_the_images_that_take_part_decide(tmp_path):
    rows = [{"kind": "x", "label": "a"}, {"kind": "x", "label": "b"}, {"kind": "x", "label": "a"}, {"kind": "y"}]
    write(tmp_path, FOUR, rows)
    tree = {"name": "x", **AUTO, "data": {**AUTO["data"], "where": {"kind": "x"}}}
    assert resolve(Recipe.model_validate(tree), tmp_path).data.label == "label"


def test_what_a_recipe_says_is_left_and_what_was_found_is_told(tmp_path):
    write(tmp_path, FOUR, [{"text": "x", **row} for row in LABELS])
    said: list[str] = []
    tree = {"name": "x", "data": {"size": 16, "label": "label"}, "diffusion": {"conditioning": "auto"}}
    found = resolve(Recipe.model_validate(tree), tmp_path, said.append)
    assert (found.data.text, list(found.diffusion.conditioning)) == (None, ["label"])
    assert said == ["data: 4 images with label (label); conditioned on label"]
    plain = recipes.load("tiny-shapes")
    assert resolve(plain, tmp_path / "not looked at") is plain


@pytest.mark.parametrize(("mode", "channels", "told"), [("RGBA", 3, True), ("LA", 1, True), ("RGB", 3, False)])
def test_that_a_colour_is_put_behind_transparency_is_told(tmp_path, mode, channels, told):
    for name in FOUR:
        Image.new(mode, (4, 4)).save(tmp_path / name)
    said: list[str] = []
    tree = {"name": "x", "data": {"size": 16, "channels": "auto", "background": "black"}}
    assert resolve(Recipe.model_validate(tree), tmp_path, said.append).data.channels == channels
    assert ("transparency is laid over black (data.background)" in said[-1]) is told
