"""Layouts, maps and arrays from the folder through training to the command. If these fail, they are drawn unheard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import latentry as lt
from latentry import cli
from latentry.data import shapes
from latentry.errors import UsageError
from tests.e2e.small_runs import noise, run_tiny, write_images

LAYOUT = {"kind": "layout", "width": 16, "layers": 1, "heads": 2, "head_channels": 8, "objects": 4, "vocabulary": 1025}
CONDITIONS = {
    "data": {"size": 16, "boxes": "objects", "semantic": "semantic", "arrays": ["embedding"], "flip": True},
    "diffusion.conditioning": {
        "layout": LAYOUT,
        "semantic": {"kind": "semantic", "classes": "auto", "channels": 2, "stages": 1, "unlabelled": 0},
        "embedding": {"kind": "embedding", "width": 3, "via": "vector", "hidden": 8},
    },
}


def images(folder: Path) -> Path:
    """Shapes of 16x16 with boxes, maps, and a vector each."""
    shapes.write(folder, 10, size=16)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["embedding"] = f"{number}.npy"
        np.save(folder / row["embedding"], np.random.default_rng(number).standard_normal(3))
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("conditions")
    run_tiny(root, images(root / "data"), CONDITIONS)
    return root / "run"


def run(arguments: list[Any]) -> int:
    return cli.run([str(one) for one in arguments])


def boxes(*rows: tuple[str, list[float]]) -> list[dict[str, Any]]:
    return [{"label": label, "bbox": bbox} for label, bbox in rows]


STAR = boxes(("star", [2, 2, 10, 12]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"layout": STAR}, {"layout": boxes(("ring", [2, 2, 10, 12]))}),
        ({"layout": STAR}, {"layout": boxes(("star", [0, 0, 4, 4]))}),
        ({"semantic": np.zeros((16, 16), int)}, {"semantic": np.full((16, 16), 3)}),
        ({"embedding": np.zeros(3)}, {"embedding": np.ones(3)}),
        ({"embedding": np.zeros(3)}, {}),
    ],
)
def test_what_is_asked_reaches_the_denoiser(one: dict[str, Any], other: dict[str, Any], trained: Path) -> None:
    """The others are absent, which training by dropping has taught."""
    pipe = lt.load(trained)
    assert pipe.denoiser is not None
    with torch.no_grad():  # a last layer of zeros hides everything in the first steps of a training
        for parameter in pipe.denoiser.unet.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    first, second = (list(pipe.steps(seed=1, guidance=1.0, **asked))[-1].x for asked in (one, other))
    assert not torch.equal(first, second)


def test_the_command_reads_files_and_draws_the_layout_beside_the_samples(trained: Path, tmp_path: Path) -> None:
    """Two layouts in a file, the second in pixels of a larger image; the same picture comes from its own text."""
    larger = {"boxes": boxes(("ring", [320, 0, 320, 480]), ("star", [0, 0, 64, 48])), "width": 640, "height": 480}
    (tmp_path / "boxes.json").write_text(json.dumps([STAR, larger]))
    Image.fromarray(np.full((32, 48), 2, np.uint8)).save(tmp_path / "map.png")
    np.save(tmp_path / "vector.npy", np.ones(3))
    asked = ["--layout", tmp_path / "boxes.json", "-n", 1]
    assert run(["sample", trained, *asked, "--out", tmp_path / "out"]) == 0
    names = ["seed-0-layout.png", "seed-0.png", "seed-1-layout.png", "seed-1.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert run(["sample", trained, *asked, "--out", tmp_path / "sheet.png"]) == 0
    assert (tmp_path / "sheet-layout.png").is_file()
    (tmp_path / "boxes.json").unlink()
    picture = tmp_path / "out" / "seed-1.png"
    assert run(["sample", "--from", picture, "--out", tmp_path / "again.png"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), np.asarray(Image.open(tmp_path / "again.png")))
    others = ["--semantic", tmp_path / "map.png", "--embedding", tmp_path / "vector.npy", "-n", 1]
    assert run(["sample", trained, *others, "--out", tmp_path / "large.png"]) == 0
    assert Image.open(tmp_path / "large.png").size == (48, 32)


def test_a_map_that_does_not_come_out_as_large_as_the_latent_is_refused_at_once(tmp_path: Path) -> None:
    semantic: dict[str, Any] = {"kind": "semantic", "classes": 7}
    changes = {"data.semantic": "semantic", "diffusion.conditioning": {"semantic": semantic}}
    with pytest.raises(UsageError, match=r"4 times smaller than the image, the latent .* 2 times.*stages: 1"):
        run_tiny(tmp_path, images(tmp_path / "data"), changes)
    semantic |= {"classes": 3, "stages": 1}
    with pytest.raises(UsageError, match=r"holds the class \d; accepted with classes 3: 0 to 2. Set classes: 7"):
        run_tiny(tmp_path, tmp_path / "data", changes)


def test_what_is_concatenated_fits_the_first_stage_without_being_told(tmp_path: Path) -> None:
    """A recipe had to repeat f and the channels of the latent; a wrong number was told only by the first step."""
    data = write_images(tmp_path / "data", noise(6, (16, 16, 3)))
    both = {"grey": {"kind": "grey"}, "masked": {"kind": "masked", "masks": "boxes"}}
    changes = {"autoencoder.z_channels": 5, "autoencoder.patch": 2, "diffusion.conditioning": both}
    run = run_tiny(tmp_path, data, changes)
    denoiser = lt.load(run.path, device="cpu").denoiser
    assert denoiser is not None
    options = denoiser.options.conditioning
    assert options["grey"].model_dump()["factor"] == 4  # a patch of 2, and one level that halves
    assert options["masked"].model_dump()["latent_channels"] == 5
    assert denoiser.unet.state_dict()["conv_in.weight"].shape[1] == 5 + 4**2 + (5 + 1)
    told = {"grey": {"kind": "grey", "factor": 4}, "masked": {"kind": "masked", "masks": "boxes", "latent_channels": 5}}
    again = run_tiny(tmp_path / "told", data, {**changes, "diffusion.conditioning": told})
    other = lt.load(again.path, device="cpu").denoiser
    assert other is not None
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in denoiser.state_dict().items())
