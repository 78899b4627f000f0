"""Everything that a person can ask wrongly of the tasks, as it is typed: one line, exit 2, nothing written.

If these fail, a mistake ends in a traceback, in a picture of something else, or after the waiting instead of before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentry.cli import run
from tests.tables.sweep_models import Sweep


def box(x: Any, y: Any, w: Any, h: Any, label: Any = "star") -> dict[str, Any]:
    return {"label": label, "bbox": [x, y, w, h]}


TEXTS: dict[str, Any] = {
    "leaves": [box(8, 8, 9, 2)],
    "before": [box(-1, 8, 4, 2)],
    "empty-box": [box(8, 8, 0, 2)],
    "nobody": [box(0, 0, 4, 4, "stra")],
    "number": [box(0, 0, 4, 4, 77)],
    "unnamed": [{"bbox": [0, 0, 4, 4]}],
    "three": [{"label": "star", "bbox": [0, 0, 4]}],
    "words": [box("a", 0, 4, 4)],
    "null": [box(None, 0, 4, 4)],
    "infinite": '[{"label": "star", "bbox": [0, 0, 1e999, 4]}]',
    "nan": '[{"label": "star", "bbox": [NaN, 0, 4, 4]}]',
    "many": [box(0, 0, 4, 4)] * 3,
    "none": [],
    "object": {"a": 1},
    "plain": 5,
    "torn": '[{"label": "star"',
    "deep": "[" * 100_000,
    "sized": {"boxes": [box(0, 0, 4, 4)], "width": 0, "height": 16},
    "sizeless": {"boxes": [box(0, 0, 40, 4)], "width": 16},
}
"""Files of layouts: what is in each."""


def pictures(folder: Path) -> None:
    """The files that requests name: an image, and maps, masks and arrays that do not go with it."""
    draw = np.random.default_rng(0)
    arrays = {
        "image": draw.integers(0, 256, (16, 16, 3)),
        "large": draw.integers(0, 256, (16, 24, 3)),
        "colours": np.zeros((16, 16, 3)),
        "unknown": np.full((16, 16), 9),
        "narrow": np.zeros((16, 12)),
        "odd": np.zeros((16, 17)),
        "black": np.zeros((16, 16)),
        "white": np.full((16, 16), 255),
    }
    for name, array in arrays.items():
        Image.fromarray(array.astype(np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(np.zeros((16, 16, 4), np.uint8)).save(folder / "clear.png")
    for name, value in TEXTS.items():
        (folder / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    np.save(folder / "wide.npy", np.zeros(4))
    np.save(folder / "two.npy", np.zeros((2, 3)))
    np.save(folder / "nan.npy", np.array([0, np.nan, 0]))
    np.save(folder / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    (folder / "text.png").write_text("text")
    (folder / "nothing.png").touch()
    (folder / "folder.png").mkdir()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models: `all` takes every condition, `none` takes none, `first` is a first stage."""
    sweep = Sweep(tmp_path_factory.mktemp("desk"))
    folder = sweep.root / "desk"
    folder.mkdir()
    for which, name in (("together", "all"), ("none", "none")):
        (sweep.train(which, "run").path / "model").rename(folder / name)
    sweep.first.rename(folder / "first-stage")
    pictures(folder)
    return folder


@pytest.fixture
def ask(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command on the desk; gives its exit code and what it said on stderr."""
    monkeypatch.chdir(desk)

    def ask(words: str) -> tuple[int, str]:
        code = run([*words.split(), "--out", str(tmp_path / "out")])
        return code, capsys.readouterr().err

    return ask


INPAINT, LAYOUT, MAP, VECTOR = (
    "inpaint all image.png",
    "sample all -n 1 --layout",
    "sample all -n 1 --semantic",
    "sample all -n 1 --embedding",
)
# What is typed, and a part of what is said.
MISTAKES: dict[str, str] = {
    f"{INPAINT} --mask narrow.png": "a mask of 16x12 pixels (height x width) for an image of 16x16",
    f"{INPAINT} --mask black.png": "nothing to fill",
    f"{INPAINT} --mask white.png": "the whole image is to be filled",
    f"{INPAINT} --mask gone.png": "gone.png: no such file",
    f"{INPAINT} --mask text.png": "text.png: not an image",
    f"{INPAINT} --mask folder.png": "is a folder",
    f"{INPAINT}": "no hole was given",
    f"{INPAINT} --box 10,0,7,4": "leaves the image, which is 16 wide and 16 high",
    f"{INPAINT} --box nan,0,7,4": "accepted: X,Y,WIDTH,HEIGHT",
    f"{INPAINT} --box 0,0,0,4": "accepted: X,Y,WIDTH,HEIGHT",
    f"{INPAINT} --box=-1,0,4,4": "accepted: X,Y,WIDTH,HEIGHT",
    f"{INPAINT} --box 0,0,4,4 --resample 0": "greater than or equal to 1",
    f"{INPAINT} --box 0,0,4,4 --steps 0": "greater than or equal to 1",
    "inpaint all gone.png --box 0,0,4,4": "gone.png: no such file",
    "inpaint all nothing.png --box 0,0,4,4": "nothing.png: empty file",
    "inpaint all clear.png": "the whole image is to be filled",
    "inpaint gone image.png --box 0,0,4,4": "gone: no such file or folder",
    "outpaint all image.png": "no side to continue",
    "outpaint all image.png --left=-4": "greater than or equal to 0",
    "outpaint all image.png --left 200000": "less than or equal to 131072",
    "outpaint all image.png --left 131071": "sides are at most 131072",
    "outpaint all gone.png --left 4": "gone.png: no such file",
    f"{LAYOUT} leaves.json": "box 1 (star): ",
    f"{LAYOUT} before.json": "box 1 (star): ",
    f"{LAYOUT} empty-box.json": "is empty",
    f"{LAYOUT} nobody.json": 'no class "stra"; known: ',
    f"{LAYOUT} number.json": "77",
    f"{LAYOUT} unnamed.json": "label",
    f"{LAYOUT} three.json": "bbox",
    f"{LAYOUT} words.json": "bbox",
    f"{LAYOUT} null.json": "bbox",
    f"{LAYOUT} infinite.json": "bbox",
    f"{LAYOUT} nan.json": "NaN is no number of JSON",
    f"{LAYOUT} many.json": "3 ",
    f"{LAYOUT} none.json": "holds no box",
    f"{LAYOUT} object.json": "an object of a; accepted",
    f"{LAYOUT} plain.json": "holds 5; accepted",
    f"{LAYOUT} torn.json": "not JSON",
    f"{LAYOUT} deep.json": "not JSON",
    f"{LAYOUT} sized.json": "width",
    f"{LAYOUT} sizeless.json": "height",
    f"{LAYOUT} gone.json": "gone.json",
    f"{MAP} unknown.png": "classes that there are not (9)",
    f"{MAP} colours.png": "holds colours (RGB), not class numbers",
    f"{MAP} odd.png": "size 16x17 does not fit",
    f"{MAP} gone.png": "gone.png: no such file",
    f"{MAP} text.png": "text.png",
    f"{VECTOR} wide.npy": "vectors of width 4",
    f"{VECTOR} two.npy": "2 vectors",
    f"{VECTOR} nan.npy": "not finite",
    f"{VECTOR} objects.npy": "objects.npy",
    f"{VECTOR} gone.npy": "gone.npy: no such file",
    f"{VECTOR} image.png": "image.png",
    "sample all --label stra": 'no "stra"; known: ',
    "sample all --label 99": 'no "99"; known: ',
    "sample all --size 17x33": "size 17x33 does not fit",
    "sample all --size 0": "size",
    "sample all --size 300000": "up to 131072",
    "sample all -n 1000000000000000000000": "less than or equal to 1000000",
    "sample all -n 1000000 --size 4096": "n: 1000000 images of 4096x4096",
    "sample all -n 0": "greater than or equal to 1",
    "sample all --seed=-1": "greater than or equal to 0",
    "sample all --seed 99999999999999999999999": "less than or equal to 9",
    "sample all --guidance nan": "guidance",
    "sample all --guidance-interval 0.8,0.2": "guidance_interval",
    "sample all --guidance-interval a": 'guidance_interval: found "a"; accepted: two shares',
    "sample all --guidance-rescale 2": 'guidance_rescale: found "2"; accepted: less than or equal to 1',
    "sample all --classifier-scale 2": "has no classifier",
    "sample all --autoguide gone": "gone: no such file or folder",
    "sample all --autoguide first-stage": "first stage only",
    "sample all --guide gone.png": "gone.png: no such file",
    "sample all --guide large.png": "large.png",
    "sample all --guide-scale 3": "guide: is missing",
    "sample all --tile 5": "tile: 5; accepted: multiples of 4",
    "sample all --tile 8 --overlap 8": "overlap: 8",
    "sample all --overlap 4": "overlap: 4 without tiles",
    "sample none --text-of x": "--text-of",
    "sample none red": "takes no such condition",
    f"{LAYOUT.replace('all', 'none')} leaves.json": "takes no such condition",
    "sample first-stage": "holds a first stage only",
    "vary all image.png --strength 0": "strength: found 0",
    "vary all image.png --strength 1.5": "less than or equal to 1",
    "vary all image.png --strength nan": "strength",
    "vary all gone.png": "gone.png: no such file",
    "vary first-stage image.png": "It can: reconstruct.",
    "interpolate all": "no two ends",
    "interpolate all --seeds 1": "one end",
    "interpolate all --seeds 1,x": 'found "x"',
    "interpolate all --seeds 1,2,3": "seeds",
    "interpolate all --seeds 1,2 --frames 1": "greater than or equal to 2",
    "interpolate all --seeds 1,2 --frames 100000000000": "less than or equal to 1000000",
    "interpolate all --images image.png --images gone.png": "gone.png: no such file",
    "interpolate all --images image.png --images large.png": "16x16 and 16x24 pixels",
    "interpolate all --images image.png --images image.png --strength 0": "strength: found 0",
    "interpolate all --labels star --labels stra": 'no "stra"; known: ',
    "edit all red": "nothing is changed",
    "edit all red --to blue --cross-share 2": "less than or equal to 1",
    "edit all red --weight red": "accepted: WORD=FACTOR",
    "edit all red --weight rde=2": "rde",
    "edit none red --to blue": "It can: sample, reconstruct, inpaint, outpaint, vary, interpolate.",
    "colorize all gone.png": "gone.png: no such file",
    "colorize none image.png": "It can: sample, reconstruct, inpaint, outpaint, vary, interpolate.",
    "upscale all image.png --size 8x8": "larger than asked for; this model makes it up to 2 times as large, 32x32",
    "upscale all image.png --size 64x64": "this model makes it up to 2 times as large",
    "upscale all image.png --size 20x30": "is of another shape",
    "upscale all gone.png": "gone.png: no such file",
    "upscale all text.png": "text.png: not an image",
    "upscale all image.png --tile 5": "tile: 5; accepted: multiples of 4",
    "upscale none image.png": "It can: sample, reconstruct, inpaint, outpaint, vary, interpolate.",
    "upscale all image.png gone.png": "gone.png: no such file",
    "upscale all image.png large.png --size 32x32": "32x32 of large.png, which is 16x24, is of another shape",
    "reconstruct all image.png gone.png": "gone.png: no such file",
    "reconstruct all image.png folder.png": "is a folder",
    "reconstruct all gone.png": "gone.png: no such file",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: str, ask: Callable[[str], tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no step is sampled before it is told."""
    monkeypatch.setattr("latentry.nn.unet.UNet.forward", lambda *_, **__: pytest.fail("sampled"))
    code, said = ask(words)
    assert code == 2, said
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    assert MISTAKES[words] in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "nearest"),
    [(f"{LAYOUT} nobody.json", "star"), ("sample all --label stra", "star"), ("sample all --solver dimm", "ddim")],
)
def test_names_that_are_nearly_right_are_answered_with_the_nearest(
    words: str, nearest: str, ask: Callable[[str], tuple[int, str]]
) -> None:
    assert f'did you mean "{nearest}"?' in ask(words)[1]


def test_an_inverted_mask_is_told_and_filled(ask: Callable[[str], tuple[int, str]], desk: Path, tmp_path: Path) -> None:
    inverted = np.full((16, 16), 255, np.uint8)
    inverted[:4, :4] = 0
    Image.fromarray(inverted).save(desk / "inverted.png")
    code, said = ask(f"{INPAINT} --mask inverted.png --steps 1")
    assert code == 0
    assert "94% of the image is to be filled: white is filled, black kept. If inverted, invert it" in said
    assert list((tmp_path / "out").iterdir())
