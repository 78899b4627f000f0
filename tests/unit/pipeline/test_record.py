"""If these fail, a picture that somebody liked cannot be made again from its file, or another one comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from latentry.errors import UsageError
from latentry.models.config import SampleOptions
from latentry.pipeline import Pipeline, record
from tests.unit.pipeline.small_pipelines import pipeline

EVERYTHING: dict[str, Any] = {
    "solver": {"kind": "ddim", "eta": 0.7},
    "levels": "karras",
    "steps": 3,
    "guidance": 1.7,
    "clip": True,
    "size": "32x16",
}


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("depth", [8, 16])
def test_one_of_many_is_drawn_again_to_the_bit(tmp_path: Path, depth: int, suffix: str) -> None:
    """With those that were drawn beside it, on which its last bits depend; the last batch is smaller."""
    pipe = pipeline(depth=depth)
    out = pipe.sample(["a red circle", "a green star"], label="star", n=3, seed=5, batch=4, **EVERYTHING)
    for index in (0, 3, 5):
        (path,) = out.only(index).save(tmp_path / f"{index}{suffix}")
        assert torch.equal(pipe.again(path).tensor, out.tensor[index : index + 1])
        (twice,) = pipe.again(path).save(tmp_path / f"again {index}{suffix}")
        assert twice.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("solver", ["dpmpp_2m:eta=0.5", "heun:churn=3,churn_noise=1.1", "unipc:order=3"])
def test_options_of_a_solver_are_drawn_again(pipe: Pipeline, tmp_path: Path, solver: str) -> None:
    out = pipe.sample("a red circle", seed=4, solver=solver, levels="ays", steps=5)
    (path,) = out.save(tmp_path)
    assert torch.equal(pipe.again(path).tensor, out.tensor)


def test_what_the_model_does_by_default_may_change(pipe: Pipeline, tmp_path: Path) -> None:
    """Nothing is left to a default that another version, or `sample:` of the recipe, could change."""
    out = pipe.sample("a red circle", seed=2)
    (path,) = out.save(tmp_path)
    other = pipeline()
    changed = {"steps": 9, "solver": "ddpm", "levels": "uniform", "guidance": 7.0, "clip": True}
    other.config = other.config.model_copy(update={"sample": SampleOptions.model_validate(changed)})
    assert torch.equal(other.again(path).tensor, out.tensor)


def test_a_sheet_holds_every_seed_and_is_drawn_again(pipe: Pipeline, tmp_path: Path) -> None:
    out = pipe.sample("a red circle", n=5, seed=3, batch=2, bf16=True)
    path = out.save_sheet(tmp_path / "sheet.png")
    with Image.open(path) as sheet:
        assert sheet.info["seeds"] == "3, 4, 5, 6, 7"
        pixels = np.asarray(sheet)
    again = pipe.again(path)
    assert torch.equal(again.tensor, out.tensor)
    assert np.array_equal(np.asarray(again.grid()), pixels)


def test_other_options_replace_its_own(pipe: Pipeline, tmp_path: Path) -> None:
    """One of many is then drawn by itself: its own prompt and seed, whatever was beside it."""
    (first, second) = pipe.sample(["a red circle", "a green star"], seed=5, guidance=3.0).save(tmp_path)
    wanted = pipe.sample("a green star", seed=6, guidance=3.0, steps=7)
    assert torch.equal(pipe.again(second, steps=7).tensor, wanted.tensor)
    assert pipe.again(first, n=3, text="a blue square").tensor.shape[0] == 3
    with pytest.raises(UsageError, match=r'no solver "ddmm"; known: ddim'):
        pipe.again(first, solver="ddmm")


def test_no_metadata_leaves_everything_out(pipe: Pipeline, tmp_path: Path) -> None:
    out = pipe.sample("a secret", n=2)
    paths = [*out.save(tmp_path, metadata=False), out.save_sheet(tmp_path / "sheet.png", metadata=False)]
    paths += out.only(0).save(tmp_path / "one.tif", metadata=False)
    for path in paths:
        assert b"secret" not in path.read_bytes()
        with pytest.raises(UsageError, match="does not say how it was drawn"):
            record.read(path)


def test_a_picture_of_another_model_says_which(pipe: Pipeline, tmp_path: Path) -> None:
    (path,) = pipe.sample("a red circle").save(tmp_path)
    other = pipeline()
    other.model_hash, other.source = "fff000", "other"
    with pytest.raises(
        UsageError, match=r"was drawn by the model abc123 \(ema weights\), not by other, which is fff000"
    ):
        other.again(path)


def test_what_no_text_can_hold_is_named(pipe: Pipeline, tmp_path: Path) -> None:
    (path,) = pipe.sample(label=np.int64(1), text="", seed=9).save(tmp_path)
    assert torch.equal(pipe.again(path).tensor, pipe.sample(label=1, text="", seed=9).tensor)
    lost = {**GOOD, "incomplete": ["image"], "model": {"hash": "abc123"}}
    with pytest.raises(UsageError, match="image was no text"):
        pipe.again(write(tmp_path / "lost.png", json.dumps(lost)))


def write(path: Path, text: str) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_itxt(record.KEY, text)
    Image.new("L", (4, 4)).save(path, pnginfo=info)
    return path


GOOD: dict[str, Any] = {"task": "generate", "conditions": {}, "options": {}, "n": 1, "seed": 0, "batch": 1}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "9" * 5000,
        "[1, 2]",
        json.dumps({**GOOD, "n": 10**9}),
        json.dumps({**GOOD, "batch": 10**9}),
        json.dumps({**GOOD, "seed": -1}),
        json.dumps({**GOOD, "index": 3}),
        json.dumps({**GOOD, "conditions": {"text": []}}),
        json.dumps({**GOOD, "conditions": {"text": ["a", "b"], "label": ["a", "b", "c"]}}),
        json.dumps({**GOOD, "more": 1}),
    ],
    ids=range(11),
)
def test_a_strangers_text_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        record.read(write(tmp_path / "a.png", text))
    assert str(caught.value).startswith(f"{tmp_path / 'a.png'}: ")
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"II*\0\x08\0\0\0\xff\xff", b"MM", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"text"])
def test_what_is_no_picture_of_ours_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    for path in (tmp_path / "a", tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match=r"accepted: pictures|no such file"):
            record.read(path)
