"""If these fail, the figures of images larger than memory hide a seam, a difference from whole decoding, or a size."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
import torch
from skimage.metrics import peak_signal_noise_ratio

from latentry.models import tiles
from latentry.pipeline.pictures import large

MODEL = Path(__file__).parents[2] / "models" / "shapes"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With tiles of 64 pixels."""
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(large, "SIDE", 64)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("tiles")


def test_a_planted_seam_is_found_and_a_grid_of_the_latent_is_none(benchmark: ModuleType) -> None:
    """White noise has differences of variance 2; a jump of j at a line adds j^2 to those across it."""
    image = np.random.default_rng(0).standard_normal((512, 320, 3))
    grid = image + (np.arange(320) // 8 % 2)[:, None]  # a jump of 1 at every eighth column
    assert benchmark.at_borders(image, 8) == pytest.approx(1, abs=0.03)
    assert benchmark.at_borders(grid, 8) == pytest.approx(1, abs=0.03)
    seam = image + (np.arange(512) // 64 % 2)[:, None, None]  # at the seven borders of rows, and not at the four others
    assert benchmark.at_borders(seam, 8) == pytest.approx((7 * 3 + 4 * 2) / (11 * 2), abs=0.03)


def test_energies_of_parts_are_those_of_the_whole(benchmark: ModuleType) -> None:
    image = np.random.default_rng(1).random((150, 70, 2)).astype(np.float32)
    down, across = benchmark.lines(image)
    assert down == pytest.approx(np.square(np.diff(image, axis=0)).mean((1, 2)), rel=1e-4)
    assert across == pytest.approx(np.square(np.diff(image, axis=1)).mean((0, 2)), rel=1e-4)


def test_the_psnr_is_that_of_scikit_image(benchmark: ModuleType, tmp_path: Path) -> None:
    whole = np.random.default_rng(2).uniform(-1.2, 1.2, (90, 50, 3)).astype(np.float32)
    saved = np.random.default_rng(3).integers(2**16, size=whole.shape, dtype=np.uint16)
    np.save(tmp_path / "whole.npy", whole)
    tifffile.imwrite(tmp_path / "tiled.tif", saved, photometric="rgb")
    truth = np.clip((whole.astype(np.float64) + 1) / 2, 0, 1)
    wanted = peak_signal_noise_ratio(truth, saved / 65535, data_range=1)
    assert benchmark.psnr(tmp_path / "whole.npy", tmp_path / "tiled.tif") == pytest.approx(wanted, abs=1e-6)


def test_every_line_of_the_mosaic_crosses_as_much_as_another(benchmark: ModuleType, tmp_path: Path) -> None:
    """Else the borders of tiles would be compared with places that are not like them."""
    benchmark.mosaic(tmp_path / "a.tif", 1024, 3)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert (file.is_bigtiff, file.pages.first.is_tiled) == (True, True)
        image = file.asarray()
    assert image.shape == (1024, 1024, 3)
    for energy in benchmark.lines(image):
        quarters = energy[:1020].reshape(4, -1).mean(1)
        assert quarters == pytest.approx(quarters.mean(), rel=0.1)
        assert energy.max() < 3 * energy.mean()


def test_tiles_give_the_shipped_model_s_whole_image(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it but that each image has a process of its own: in tiles through a file and whole, at 0.06 megapixels."""

    def within(arguments: Namespace, how: str, image: Path, file: Path) -> dict[str, float]:
        with tifffile.TiffFile(image) as opened:
            assert opened.pages.first.shape == (248, 248, 3)
        own = Namespace(**{**vars(arguments), "once": how, "image": image, "file": file})
        return json.loads(json.dumps(benchmark.once(own))) | {"peak": 1.0}

    threads = torch.get_num_threads()
    words = ["tiles.py", "--model", str(MODEL), "--megapixels", "0.0615", "--scratch", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*words, "--threads", str(threads)])
    monkeypatch.setattr(benchmark, "apart", within)
    assert benchmark.main() == 0
    said = capsys.readouterr().out
    assert "248x248 in tiles: peak 1.00 GB" in said
    assert float(said.split("PSNR ")[1].split()[0]) > 90
    assert "peaks from 1.00 to 1.00 GB (wanted: at most 2.5)" in said
    assert "one gigapixel" in said
    monkeypatch.setattr(benchmark, "apart", lambda *given: within(*given) | {"peak": 2.6})
    assert benchmark.main() == 1
    assert not any(tmp_path.iterdir())
