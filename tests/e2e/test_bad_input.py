"""If these fail, a mistake ends in a traceback, in a wrong exit code, in a night's training lost, or in silence."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from latentry.checkpoints.manifest import write_manifest
from latentry.cli import run
from tests.e2e.small_runs import TEXT, noise, recipe, run_tiny, write_images, write_metadata

Go = Callable[..., str]
LABEL = {"kind": "class_label", "via": "vector", "width": 8}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with and without metadata, a recipe, and three runs: of a first stage, without and with conditions."""
    root = tmp_path_factory.mktemp("desk")
    write_images(root / "plain", noise(6, (16, 16, 3)))
    write_images(root / "told", noise(6, (16, 16, 3)))
    write_metadata(root / "told", [{"text": f"thing {i}", "label": ["red", "green"][i % 2]} for i in range(6)])
    (root / "empty").mkdir()
    recipe(root)
    run_tiny(root / "first", root / "plain", stage="autoencoder")
    run_tiny(root / "bare", root / "plain")
    conditioning = {"text": TEXT, "label": LABEL}
    run_tiny(
        root / "cond",
        root / "told",
        {"data.text": "text", "data.label": "label", "diffusion.conditioning": conditioning},
    )
    return root


@pytest.fixture
def go(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """Runs a command on the desk; its exit code must be the one expected; gives the one error text it printed."""
    monkeypatch.chdir(desk)

    def go(code: int, *words: object) -> str:
        capsys.readouterr()
        assert run([str(word) for word in words]) == code, capsys.readouterr()
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        if code:
            assert said.err.count("error: ") == 1, said.err
            assert said.err.startswith("error: ")
        return said.err if code else said.out

    return go


def train(go: Go, *words: object, data: str = "plain", code: int = 2, of: str = "tiny.yaml") -> str:
    """An attempt to train, which must not leave a run behind."""
    said = go(code, "train", of, *words, "--data", data, "--out", "new/run")
    assert not Path("new/run/recipe.yaml").exists()
    assert not Path("new/run/autoencoder").exists()
    return said


RECIPES: dict[str, tuple[list[str], list[str]]] = {
    "a key": (["autoencoder.chanels=8"], ["autoencoder.chanels: unknown key", 'did you mean "channels"']),
    "several": (
        ["autoencoder.channels=abc", "diffusion.unet.blocks=x", "data.sise=3", "diffusion.prediction=eps"],
        ["4 errors", 'found "abc"', 'did you mean "size"', "diffusion.unet.blocks", 'did you mean "epsilon"'],
    ),
    "a type": (["autoencoder.train.lr=fast"], ["autoencoder.train.lr", 'found "fast"', "number"]),
    "not finite": (["autoencoder.train.lr=.nan"], ["found .nan", "finite"]),
    "betas": (["diffusion.train.betas=[0.9,2]"], ["betas.1: found 2"]),
    "an override": (["autoencoder.channels"], ["not KEY=VALUE"]),
    "size": (["data.size=[17,33]"], ["17x33 does not fit", "multiple of 4", "16x32 or 20x36"]),
    "no size": (["data.size=0"], ["data.size: found 0"]),
    "norm groups": (["autoencoder.norm_groups=3"], ["norm_groups 3 does not divide the width 8", "1, 2, 4, 8"]),
    "unet norm groups": (["diffusion.unet.norm_groups=5"], ["diffusion.unet: norm_groups 5", "1, 2, 4, 8"]),
    "heads": (["diffusion.unet.head_channels=3"], ["head_channels: 3 does not divide"]),
    "depth": (["diffusion.unet.transformer_depth=[1]"], ["transformer_depth: 1 values for 2 levels"]),
    "attention": (["autoencoder.attention=[8]"], ["attention at factor 8", "the factors 1, 2"]),
    "schedule": (["diffusion.schedule=cosin"], ['no schedule "cosin"', 'did you mean "cosine"']),
    "falling schedule": (["diffusion.schedule={kind: linear, start: 0.2, end: 0.1}"], ["noise has to rise"]),
    "more steps than levels": (["sample.steps=2000"], ["sample.steps: 2000", "1 to 1000"]),
    "accumulation": (
        ["autoencoder.train.batch=3", "autoencoder.train.accumulate=2"],
        ["not a multiple of accumulate 2"],
    ),
    "no labels": (["diffusion.conditioning.label.kind=class_label"], ["the data has no labels", "data.label"]),
    "no captions": (["diffusion.conditioning.text.kind=text"], ["the data has no captions", "data.text"]),
    "a condition's name": (["diffusion.conditioning.steps.kind=text"], ['"steps" cannot be the name']),
    "first stage": (["autoencoder.from=nowhere"], ["nowhere: no such file or folder"]),
    "first stage's size": (["autoencoder.from=first/run", "data.size=18"], ["18x18 does not fit", "16x16 or 20x20"]),
    "channels": (["data.channels=1"], ["6 of 6 files do not have the 1 channels", "Set data.channels: 3"]),
    "judge": (["judge=shape"], ['no judge "shape"', 'did you mean "shapes"']),
    "a stage": (["--stage", "unet"], ["accepted: autoencoder, diffusion"]),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_wrong_recipe_is_told_before_anything_is_trained(name, go):
    words, parts = RECIPES[name]
    said = train(go, *words)
    assert all(part in said for part in parts), said


def test_a_wrong_name_of_a_recipe(go, desk):
    assert 'did you mean "tiny-shapes"' in train(go, of="tiny-shape")
    assert "nope.yaml: no such file" in train(go, of="nope.yaml")
    (desk / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "byte 0 is not UTF-8" in train(go, of="bytes.yaml")
    (desk / "list.yaml").write_text("- a")
    assert "is a list; accepted: a mapping" in train(go, of="list.yaml")


def test_missing_perceptual_weights_name_file_place_and_ways_out(go, monkeypatch, tmp_path):
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    said = train(go, "autoencoder.objective.perceptual=squeezenet", code=1)
    for part in ("squeezenet1_1-b8a52dc0.pth", str(tmp_path), "network is unreachable", "perceptual: none"):
        assert part in said


def test_weights_that_are_no_longer_needed_are_not_asked_for(tmp_path, monkeypatch):
    """A first stage trained where the perceptual weights are, the second where they are not."""
    fake = torch.nn.Module()
    fake.forward = lambda x, y: (x - y).abs().mean((1, 2, 3))
    data = write_images(tmp_path / "data", noise(4, (16, 16, 3)))
    changes = {"autoencoder.objective.perceptual": "squeezenet"}
    with monkeypatch.context() as there:
        there.setattr("latentry.nn.lpips.load", lambda *_: fake)
        run_tiny(tmp_path, data, changes, stage="autoencoder")
    monkeypatch.setattr("latentry.nn.lpips.load", lambda *_: pytest.fail("asked for"))
    assert run_tiny(tmp_path, data, changes).figures


def test_too_little_memory_is_one_line(go, monkeypatch, tmp_path):
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):

        def sample(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("latentry.pipeline.Pipeline.run", sample)
        assert "not enough memory" in go(1, "sample", "bare/run", "--out", tmp_path / "out")


def test_a_wrong_data_folder(go, desk):
    assert "no images found" in train(go, data="empty")
    assert "does not exist" in train(go, data="none")
    assert "is a file" in train(go, data="plain/0.png")
    assert 'no image has a field "caption"; fields: text, label' in train(go, "data.text=caption", data="told")
    assert "values found: green, red" in train(go, "data.where.label=blue", data="told")
    assert "all 6 images are held out" in train(go, "data.held_out=0.999")
    said = go(2, "train", "tiny.yaml", "--data", "plain", "--out", "plain/run")
    assert "lies in the data folder" in said
    assert "name the folder of images" in go(2, "train", "tiny.yaml", "--out", "new/run")


def test_metadata_that_cannot_be_followed(go, desk, tmp_path):
    folder = write_images(tmp_path / "meta", noise(3, (16, 16, 3)))
    write_metadata(folder, [{}] * 5)
    assert "2 of 5: 3.png, 4.png" in train(go, data=str(folder))
    for text, part in (
        ('{"file_name": "../plain/0.png"}', "leads out of the folder"),
        ('{"file_name": "/etc/passwd"}', "leads out of the folder"),
        ('{"file_name": "0.png"', "metadata.jsonl:1: not a JSON object"),
        ('{"text": "x"}', 'no "file_name"'),
    ):
        (folder / "metadata.jsonl").write_text(text)
        assert part in train(go, data=str(folder))


def bomb() -> bytes:
    """A PNG of 12000x12000 in 20 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compressobj(9)
    body = b"".join([*(rows.compress(bytes(1501)) for _ in range(12000)), rows.flush()])
    size = struct.pack(">IIBBBBB", 12000, 12000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_broken_images_are_skipped_and_named_until_there_are_too_many(go, tmp_path):
    folder = write_images(tmp_path / "broken", noise(9, (16, 16, 3)))
    (folder / "text.png").write_text("text")
    (folder / "empty.png").touch()
    (folder / "bomb.png").write_bytes(bomb())
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    said = train(go, "data.max_bad=2", data=str(folder), code=1)
    for name in ("text.png: not an image", "empty.png: empty file", "bomb.png: 12000x12000"):
        assert name in said
    out = go(0, "train", "tiny.yaml", "--data", folder, "--out", tmp_path / "run", "data.held_out=0")
    assert "skipped bomb.png" in out
    assert "skipped cut.png" in out
    assert run(["data", "check", str(folder)]) == 1


MIXTURES: dict[str, tuple[str, Any, list[str]]] = {
    "a fourth band": (".tif", noise(7, (16, 16, 4)), ["7 of 13 files", "0.tif (4 channels), 1.tif", "never cut"]),
    "sixteen bits": (
        ".tif",
        noise(2, (16, 16, 3), 16),
        ["2 of 8 files are not 8-bit", "0.tif (16-bit)", "data.depth: 16"],
    ),
    "NaN": (".tif", [np.full((16, 16, 3), np.nan, np.float32)], ["0.tif (768 values are not finite", "Fill in values"]),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_are_refused_with_the_first_files_and_the_fix(name, go, tmp_path):
    suffix, arrays, parts = MIXTURES[name]
    folder = tmp_path / "mixed"
    if name != "NaN":
        write_images(folder, noise(6, (16, 16, 3)))
    folder.mkdir(exist_ok=True)
    for number, array in enumerate(arrays):
        kind = "rgb" if array.shape[2] == 3 else "minisblack"
        tifffile.imwrite(folder / f"{number}{suffix}", array, photometric=kind, planarconfig="contig")
    said = train(go, data=str(folder))
    assert all(part in said for part in parts), said


def test_a_run_of_another_recipe_is_not_touched(go, desk):
    before = sorted((path, path.read_bytes()) for path in (desk / "bare" / "run").rglob("*") if path.is_file())
    said = go(2, "train", "tiny.yaml", "autoencoder.channels=16", "--data", "plain", "--out", "bare/run")
    assert "holds a run of another recipe: autoencoder.channels (8 -> 16)" in said
    said = go(2, "train", "tiny.yaml", "--data", "told", "--out", "bare/run")
    assert "the images are not those this run began with" in said
    after = sorted((path, path.read_bytes()) for path in (desk / "bare" / "run").rglob("*") if path.is_file())
    assert [entry for entry in after if entry[0].name != "lock"] == [e for e in before if e[0].name != "lock"]


SAMPLES: dict[str, tuple[list[str], str]] = {
    "no model": (["nowhere"], "nowhere: no such file or folder"),
    "no model folder": (["plain"], "neither a run nor a model folder"),
    "first stage only": (["first/run"], "holds a first stage only"),
    "text": (["bare/run", "a thing"], "takes no such condition"),
    "label": (["bare/run", "--label", "red"], "takes no such condition"),
    "unknown label": (
        ["cond/run", "--label", "gren"],
        'known: green, red; or a number from 0 to 1 (did you mean "green"?)',
    ),
    "steps 0": (["bare/run", "--steps", "0"], "greater than or equal to 1"),
    "n 0": (["bare/run", "-n", "0"], "greater than or equal to 1"),
    "n": (["bare/run", "-n", "1000000000"], "less than or equal to 1000000"),
    "seed": (["bare/run", "--seed", "-1"], "greater than or equal to 0"),
    "size abc": (["bare/run", "--size", "abc"], 'found "abc"; accepted: HEIGHTxWIDTH'),
    "size 17x33": (["bare/run", "--size", "17x33"], "nearest: 16x32 or 18x34"),
    "size": (["bare/run", "--size", "200000x200000"], "in pixels up to 131072"),
    "more steps than levels": (["bare/run", "--steps", "1001"], "1 to 1000"),
    "solver": (["bare/run", "--solver", "dimm"], 'did you mean "ddim"'),
    "guidance": (["bare/run", "--guidance", "nan"], "finite"),
    "weights": (["bare/run", "--weights", "emma"], 'did you mean "ema"'),
    "step": (["bare/run", "--step", "77"], "no checkpoint of step 77; known: 2"),
    "step of a model": (["bare/run/model", "--step", "2"], "need the run it came from"),
    "option": (["bare/run", "--stepps", "2"], "--stepps"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_wrong_request_for_samples(name, go, tmp_path):
    words, part = SAMPLES[name]
    assert part in go(2, "sample", *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_take_the_images_is_told_before_they_are_drawn(go, monkeypatch):
    monkeypatch.setattr("latentry.pipeline.Pipeline.run", lambda *_, **__: pytest.fail("drawn"))
    assert "is a file, not a folder" in go(1, "sample", "bare/run", "--out", "tiny.yaml/x")
    assert "saved as .png, .tif, .tiff" in go(2, "sample", "bare/run", "-n", "1", "--out", "x.jpg")
    assert "2 images into one file" in go(2, "sample", "bare/run", "-n", "2", "--out", "x.tif")
    assert "is a file" in go(1, "reconstruct", "bare/run", "plain/0.png", "--out", "tiny.yaml")
    assert "cannot be written" in go(1, "train", "tiny.yaml", "--data", "plain", "--out", "tiny.yaml")


DAMAGES = ["unet.safetensors", "autoencoder.safetensors", "conditioning.safetensors", "model.yaml", "manifest.json"]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_flipped_bit_in_a_model_folder_is_found(name, go, desk, tmp_path):
    folder = shutil.copytree(desk / "cond" / "run" / "model", tmp_path / "model")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert f"{name} is damaged" in go(1, "sample", folder, "--out", tmp_path / "out")
    (folder / name).unlink()
    said = go(2 if name == "model.yaml" else 1, "sample", folder, "--out", tmp_path / "out")
    assert "missing" in said or "neither a run nor a model" in said


def test_weights_of_another_model_are_refused_by_name(go, desk, tmp_path):
    folder = shutil.copytree(desk / "cond" / "run" / "model", tmp_path / "model")
    shutil.copy(desk / "bare" / "run" / "model" / "unet.safetensors", folder)
    write_manifest(folder)
    said = go(1, "sample", folder, "--out", tmp_path / "out")
    assert "found missing, model.yaml asks for" in said
    assert "belong to another model" in said


def test_images_that_cannot_be_reconstructed(go, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    for code, image, part in (
        (2, "none.png", "none.png: no such file"),
        (2, "tiny.yaml", "not an image"),
        (2, "plain", "is a folder; name image files"),
        (2, tmp_path / "one.png", "smaller than 2x2"),
    ):
        assert part in go(code, "reconstruct", "bare/run", image, "--out", tmp_path / "out")


def test_odd_names_no_home_and_a_read_only_working_folder(desk, tmp_path):
    """Row 25 of the faults: `/proc` is a folder where nobody can write."""
    folder = write_images(tmp_path / "my images", noise(4, (16, 16, 3)))
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes((folder / "0.png").read_bytes())
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    source = str(Path(__file__).parents[2] / "src")
    out = tmp_path / "my run"
    for words in (
        ["train", desk / "tiny.yaml", "--data", folder, "--out", out],
        ["sample", out, "-n", "1", "--out", os.fsencode(tmp_path) + b"/s\xff"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "latentry", *words],
            env={**environment, "PYTHONPATH": source},
            cwd="/proc",
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert len(list(Path(os.fsdecode(os.fsencode(tmp_path) + b"/s\xff")).glob("*.png"))) == 1
