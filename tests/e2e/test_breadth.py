"""If these fail, somebody's images, which are not 8-bit RGB squares, cannot be trained on or come out changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import latentry as lt
from latentry.data.files import images
from latentry.errors import UsageError
from tests.e2e.small_runs import TEXT, noise, recipe, run_tiny, write_images, write_metadata
from tests.shared import SHARED, needs_shared


def facts(path: Path) -> tuple[int, int, int, int]:
    """(height, width, channels, depth) of a file, from its header."""
    header = images.header(path)
    return header.height, header.width, header.channels, header.depth


FORMATS: dict[str, tuple[str, tuple[int, int, int], int, dict[str, Any]]] = {
    "grey 16 bit png": (".png", (96, 64, 1), 16, {"background": "black"}),
    "five bands 8 bit tiff": (".tif", (16, 24, 5), 8, {}),
    "five bands 16 bit tiff": (".tif", (24, 16, 5), 16, {}),
    "transparent 8 bit png": (".png", (16, 16, 4), 8, {"background": None}),
    "transparent 16 bit png": (".png", (16, 16, 4), 16, {"background": None}),
    "colour 16 bit png": (".png", (16, 16, 3), 16, {}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_out_as_it_went_in(name, tmp_path):
    suffix, shape, depth, more = FORMATS[name]
    data = write_images(tmp_path / "data", noise(4, shape, depth), suffix)
    changes: dict[str, Any] = {"data.size": list(shape[:2]), "data.channels": shape[2], "data.held_out": 0}
    changes |= {f"data.{key}": value for key, value in more.items()}
    run = run_tiny(tmp_path, data, changes)
    pipe = lt.load(run.path / "model")
    out = pipe.sample(n=2, seed=3)
    assert out.tensor.shape == (2, shape[2], *shape[:2])
    written = out.save(tmp_path / "out")
    assert [path.suffix for path in written] == [suffix] * 2
    assert [facts(path) for path in written] == [(*shape, depth)] * 2
    back = pipe.reconstruct([data / f"1{suffix}"]).save(tmp_path / "again")
    assert facts(back[0]) == (*shape, depth)


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 1), (".png", 3), (".png", 4), (".tif", 5)])
def test_16_bits_lose_nothing_on_the_way_in_and_out(suffix, channels, tmp_path):
    from latentry.data.dataset import ImageData
    from latentry.data.options import DataOptions
    from latentry.pipeline.images import to_unit
    from latentry.pipeline.output import Output

    arrays = noise(2, (96, 64, channels), 16)
    data = write_images(tmp_path / "data", arrays, suffix)
    options = DataOptions(size=(96, 64), channels=channels, background=None, held_out=0)
    samples = ImageData(options, data)
    tensor = to_unit(torch.stack([samples.sample(i).image for i in range(2)]))
    written = Output(tensor, samples.depth, [{"seed": "0"}, {"seed": "1"}]).save(tmp_path / "out")
    for array, path in zip(arrays, written):
        assert np.array_equal(images.read(path), array)


NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images with captions, labels, a kind and, for subfolders as classes, a folder each third."""
    root = tmp_path_factory.mktemp("pictures")
    write_images(root / "flat", noise(9, (16, 16, 3)))
    kinds = ["common", "common", "common", "common", "common", "common", "common", "rare", None]
    write_metadata(
        root / "flat",
        [{"text": f"a {NAMES[i % 3]} thing", "label": NAMES[i % 3], "kind": kinds[i]} for i in range(9)],
    )
    for number, name in enumerate(NAMES):
        write_images(root / "classes" / name, noise(3, (16, 16, 3), seed=number))
    write_images(root / "plain", noise(5, (16, 16, 3)))
    return root


LABEL = {"kind": "class_label", "via": "vector", "width": 8}
CONDITIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "none": ("plain", {}, {}),
    "subfolders by vector": (
        "classes",
        {"data.label": "folder", "diffusion.conditioning": {"label": LABEL}},
        {"label": "blue"},
    ),
    "label by context": (
        "flat",
        {"data.label": "label", "diffusion.conditioning": {"label": {**LABEL, "via": "context"}}},
        {"label": ["red", "green"]},
    ),
    "text": ("flat", {"data.text": "text", "diffusion.conditioning": {"text": TEXT}}, {"text": "a red thing"}),
    "text and label": (
        "flat",
        {
            "data.text": "text",
            "data.label": "label",
            "diffusion.conditioning": {"text": TEXT, "label": {**LABEL, "via": "context", "width": 12}},
        },
        {"text": "a red thing", "label": "red"},
    ),
    "auto, text": (
        "flat",
        {"diffusion.conditioning": "auto", "data.text": "auto", "data.label": "auto"},
        {"text": "a blue thing"},
    ),
    "auto, class": (
        "classes",
        {"diffusion.conditioning": "auto", "data.text": "auto", "data.label": "auto"},
        {"label": "red"},
    ),
    "auto, nothing": ("plain", {"diffusion.conditioning": "auto", "data.text": "auto", "data.label": "auto"}, {}),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_way_to_be_told_what_to_draw(name, folder, tmp_path):
    source, changes, asked = CONDITIONS[name]
    run = run_tiny(tmp_path, folder / source, {**changes, "diffusion.train.drop_condition": 0.5})
    pipe = lt.load(run.path)
    assert sorted(pipe.describe()["conditions"]) == sorted(asked)
    out = pipe.sample(n=2, guidance=2.0, **asked)
    count = max((len(v) for v in asked.values() if isinstance(v, list)), default=1)
    assert out.tensor.shape == (2 * count, 3, 16, 16)
    assert all(fact[{"text": "prompt"}.get(name, name)] for fact in out.facts for name in asked)
    told, untold = pipe.sample(n=2 * count, guidance=1.0).tensor, pipe.sample(n=2, guidance=1.0, **asked).tensor
    assert torch.equal(told, untold) == (not asked)


@needs_shared
def test_bands_can_be_shown_to_the_perceptual_net(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTRY_WEIGHTS", str(SHARED / "data" / "weights"))
    data = write_images(tmp_path / "data", noise(4, (32, 32, 5), 16), ".tif")
    changes = {"data.size": 32, "data.channels": 5, "autoencoder.objective": {"perceptual": {"bands": [4, 2, 0]}}}
    run = run_tiny(tmp_path, data, changes, stage="autoencoder")
    rows = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["perceptual"] > 0


FIRST_STAGES: dict[str, dict[str, Any]] = {
    "f 1": {"autoencoder.multipliers": [1], "autoencoder.latent_channels": 3},
    "f 2 vq": {"autoencoder.kind": "vq", "autoencoder.codes": 16},
    "f 4 attention": {"autoencoder.multipliers": [1, 1, 2], "autoencoder.attention": [2, 4]},
    "f 8 vq attention": {
        "autoencoder.multipliers": [1, 1, 1, 1],
        "autoencoder.kind": "vq",
        "autoencoder.attention": [8],
    },
    "f 16": {"autoencoder.multipliers": [1] * 5, "autoencoder.middle_attention": True},
    "f 32": {"autoencoder.multipliers": [1] * 6},
}


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_every_factor_and_both_kinds_of_first_stage(name, folder, tmp_path):
    levels = len(FIRST_STAGES[name].get("autoencoder.multipliers", [1, 2]))
    size = max(16, 2**levels)
    run = run_tiny(tmp_path, folder / "plain", {"data.size": size, **FIRST_STAGES[name]})
    pipe = lt.load(run.path / "model")
    assert pipe.describe()["factor"] == 2 ** (levels - 1)
    z = pipe.encode(torch.zeros(1, 3, size, size))
    assert z.shape[2:] == (size // 2 ** (levels - 1),) * 2
    assert pipe.decode(z).shape == pipe.sample().tensor.shape == (1, 3, size, size)


WAYS: dict[str, dict[str, Any]] = {
    "flip, cached": {"data.flip": True},
    "flip, not cached": {"data.flip": True, "diffusion.train.cache_latents": False},
    "random crop": {"data.crop": "random", "diffusion.train.cache_latents": False, "data.size": [8, 16]},
    "pad": {"data.crop": "pad", "data.size": [16, 32]},
    "balance and where": {"data.balance": "kind", "data.where": {"kind": ["common", "rare"]}, "data.held_out": 0},
    "recomputed activations": {
        "autoencoder.train.checkpoint_activations": True,
        "diffusion.train.checkpoint_activations": True,
    },
    "two workers": {"autoencoder.train.workers": 2, "diffusion.train.workers": 2},
    "accumulation, channels last, no average": {
        "autoencoder.train.accumulate": 2,
        "autoencoder.train.channels_last": True,
        "diffusion.train.accumulate": 2,
        "diffusion.train.channels_last": True,
        "diffusion.train.ema": None,
    },
    "bf16 and a discriminator": {
        "autoencoder.objective": {"perceptual": "none", "discriminator": {"channels": 4, "layers": 1}},
        "autoencoder.train.precision": "bf16",
        "diffusion.train.precision": "bf16",
    },
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_train(name, folder, tmp_path):
    run = run_tiny(tmp_path, folder / "flat", WAYS[name])
    height, width = WAYS[name].get("data.size") or [16, 16]
    assert lt.load(run.path).sample().tensor.shape == (1, 3, height, width)
    rows = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    losses = [(row["stage"], row["step"]) for row in rows if "loss" in row]
    assert losses == [("autoencoder", 1), ("autoencoder", 2), ("diffusion", 1), ("diffusion", 2)]


def test_a_trained_first_stage_is_taken_over_as_it_is(folder, tmp_path):
    first = run_tiny(tmp_path / "a", folder / "plain", stage="autoencoder")
    changes = {"autoencoder": {"from": str(first.path)}}
    second = run_tiny(tmp_path / "b", folder / "classes", changes)
    assert not (second.path / "autoencoder").exists()
    taken, given = (lt.load(path).autoencoder.state_dict() for path in (second.path / "model", first.path))
    assert all(torch.equal(taken[name], given[name]) for name in given)
    assert lt.load(second.path).sample().tensor.shape == (1, 3, 16, 16)
    with pytest.raises(UsageError, match="nothing to train"):
        run_tiny(tmp_path / "c", folder / "plain", changes, stage="autoencoder")


def test_a_run_with_a_given_first_stage_can_be_opened_while_it_trains(folder, tmp_path, monkeypatch):
    first = run_tiny(tmp_path / "a", folder / "plain", stage="autoencoder")
    monkeypatch.setattr("latentry.training.stages.diffusion.build.split_denoiser", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_tiny(tmp_path / "b", folder / "plain", {"autoencoder": {"from": str(first.path)}})
    assert lt.load(tmp_path / "b" / "run").sample().tensor.shape == (1, 3, 16, 16)


def test_without_a_compiler_compile_is_one_line_and_training_goes_on(folder, tmp_path):
    path = recipe(tmp_path, {"autoencoder.train.compile": True, "diffusion.train.compile": True})
    done = subprocess.run(
        [sys.executable, "-m", "latentry", "train", path, "--data", folder / "plain", "--out", tmp_path / "run"],
        env={**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "not compiled" in line]
    assert len(lines) == 2, lines
    assert all("no working C++ compiler" in line for line in lines)
    assert "Traceback" not in done.stderr
